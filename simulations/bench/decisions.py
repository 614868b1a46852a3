"""Decisions: columns in and columns out, beside what others need to score the same candidates and decide nothing.

Accounts are drawn at random from the debt market and weights too: timing does not depend on either. The release
is decoded but not signed here; checking signatures is a matter of milliseconds once a batch.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans import batch_io
from fedrepay.client.plans.batch_io import output
from fedrepay.client.plans.batch_io.batch_files import parts
from fedrepay.client.plans.batch_io.recommend import Job, Loaded, recommend_file
from fedrepay.client.plans.batch_io.register import Noted
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import FIRST, KEPT, Engine
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.pack import load_builtin
from fedrepay.shared.schema import codebook
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.bench.peers.start import measured
from fedrepay.simulations.market import people

if TYPE_CHECKING:
    from fedrepay.client.scoring.release_file import CheckedRelease
    from fedrepay.shared.arrays import F64

ACCOUNTS, SINGLE, REPEATS, TODAY = 20_000, 1_000, 3, 20_500
FILES, PROCESSES = (250_000, 1_000_000), 2
"""Accounts of a small and a large file, and the processes that decide about them."""
MILLION = 1_000_000
PACKS = ("uk-fca", "uk-breathing-space", "uk-adm")
SCHEMA = Path(people.__file__).with_name("debt_market.toml")
CATALOGUE = Path(batch_io.__file__).with_name("example_catalogue.toml")
FACTS = {"dispute": 0.0, "adviser_engaged": 0.0, "moratorium_day": -1.0, "mental_health_crisis_day": -1.0}
FACTS |= dict.fromkeys(("health_data", "time_barred", "deceased", "insolvent", "contact_refused"), 0.0)
FACTS |= {
    "collection_costs_charged": 0.0,
    "collection_cost_actual": 1e6,
    "automated_decision_basis": 1.0,
    "consent_portal": 1.0,
    "consent_letter": 1.0,
}
TREES = 100
SAME = 1e-6
"""Two ways to run the same trees differ by no more: LightGBM's own rounding."""
BOOK = people.Book(
    willingness=0.0,
    balance=150_000,
    stages=(0.2, 0.2, 0.2, 0.2, 0.2),
    products=(1 / 7,) * 7,
    income_known=(0.15, 0.3, 0.25, 0.3),
    apr=0.25,
)


def _drawn(
    engine: Engine, n: int, rng: np.random.Generator
) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Names, account columns and facts of n accounts."""
    columns = people.draw(BOOK, n, rng).columns
    names = [f"a{place:07d}" for place in range(n)]
    facts: dict[str, npt.NDArray[np.generic]] = {name: np.full(n, each) for name, each in FACTS.items()}
    facts["jurisdiction"] = np.full(n, "UK", object)
    facts["debt_type"] = np.full(n, "consumer", object)
    facts["vulnerability_driver"] = np.full(n, "none", object)
    return names, {each.name: columns[each.name] for each in engine.encoder.account_columns}, facts


def _batch(engine: Engine, accounts: Accounts, out: Path) -> tuple[float, dict[str, int]]:
    """Decide and write all accounts; returns CPU seconds and how many got which decision."""
    counts: dict[str, int] = {}
    begun = process_time()
    with parts(out) as files:
        for rows in engine.chunks(ACCOUNTS):
            part = accounts.take(rows)
            batch = engine.decide(part, today=TODAY, batch_id="bench")
            files.add(
                output.table_of(engine, batch, verify(engine, part, TODAY, batch)),
                {"account": part.names, **batch.facts.columns},
            )
            for name, count in output.counts(batch)["decisions"].items():
                counts[name] = counts.get(name, 0) + count
        files.finish(Noted("bench", {}, str(out)), (), None, {})
    return process_time() - begun, counts


@dataclass(frozen=True)
class _Whole:
    """``member recommend`` of one large file: seconds, CPU seconds of all processes, the largest process' memory, MB."""

    seconds: float
    cpu: float
    ours: float
    worker: float


def _whole(engine: Engine, n: int, folder: Path, rng: np.random.Generator) -> _Whole:
    """Read, decide and write a file of n accounts."""
    import duckdb

    names, columns, facts = _drawn(engine, n, rng)
    given = {"customer": np.array(names, object), **columns, **facts}
    chosen = ", ".join(
        f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}" if each.dtype.kind == "f" else name
        for name, each in given.items()
    )
    file = folder / "many.parquet"
    with duckdb.connect() as connection:
        connection.register("given", given)
        connection.execute(f"COPY (SELECT {chosen} FROM given) TO '{file}' (FORMAT parquet)")
    del names, columns, facts, given
    loaded = Loaded(engine, cast("CheckedRelease", None), {})  # what a batch notes of its inputs
    before, begun = _cpu(), perf_counter()
    job = Job(folder / "release", file, CATALOGUE)
    recommend_file(
        job, loaded, folder / f"decided{n}.parquet", f"{n} accounts", kept=False, processes=PROCESSES
    )
    seconds, after = perf_counter() - begun, _cpu()
    own, workers = (resource.getrusage(who).ru_maxrss / 1024 for who in _WHO)
    return _Whole(seconds, after - before, own, workers)


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _cpu() -> float:
    """CPU seconds of this process and of those that have ended."""
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, _WHO))


@dataclass(frozen=True)
class _Scored:
    """CPU seconds of one thread to score all accounts' candidates with two models, and which trees."""

    lightgbm: float
    compiled: float
    read: float
    logistic: float
    own: float
    versions: str


def _scored(engine: Engine, accounts: Accounts, rng: np.random.Generator, folder: Path) -> _Scored:
    """Score the same candidates, given as one matrix, with others' models of usual size; and ours, from columns."""
    import lightgbm

    part = accounts.take(slice(0, engine.chunk))
    batch = engine.judge(part, TODAY).judged
    numbers = [each.astype(float) for each in part.values.values() if each.dtype != object]
    pairs = batch.plans.valid.size
    of_account = np.repeat(np.stack(numbers, axis=1), pairs // len(part.names), axis=0)
    of_plan = [batch.plans.months, batch.plans.monthly, batch.plans.count, batch.plans.instalment]
    rows = np.column_stack([of_account, *(np.asarray(each, float).ravel() for each in of_plan)])
    np.save(folder / "rows.npy", rows)
    models = []
    for number in range(2):
        chosen = rng.choice(pairs, 20_000)
        trained = lightgbm.Dataset(rows[chosen], rng.integers(0, 2, 20_000))
        model = lightgbm.train({"objective": "binary", "verbose": -1}, trained, TREES)
        model.save_model(folder / f"{number}.txt")
        np.save(folder / f"{number}.npy", np.asarray(model.predict(rows)))
        models.append(model)
    weights = rng.normal(size=(rows.shape[1], 2))
    clean = np.nan_to_num(rows)

    def logistic() -> None:
        0.5 * (1 + np.tanh(0.5 * (clean @ weights)))

    def own() -> None:
        codes, _ = engine.encoder.encode(part.values, batch.plans)
        for name in (FIRST, KEPT):
            engine.likely(name, codes)

    peer = measured("trees", str(folder.absolute()))
    if peer["apart"] > SAME:
        raise AssertionError(f"the compiled trees are {peer['apart']} from LightGBM's")
    scale = ACCOUNTS / len(part.names)
    return _Scored(
        _median(lambda: [each.predict(rows, num_threads=1) for each in models]) * scale,
        peer["compiled"] * scale,
        peer["read"] * scale,
        _median(logistic) * scale,
        _median(own) * scale,
        peer["versions"],
    )


def _median(once: Callable[[], object]) -> float:
    """CPU seconds, the median of some after one that warms up."""
    taken = []
    for _ in range(REPEATS + 1):
        begun = process_time()
        once()
        taken.append(process_time() - begun)
    return median(taken[1:])


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    rng = np.random.default_rng(0)
    book = codebook.build(SCHEMA.read_bytes(), str(SCHEMA))
    weights: F64 = rng.normal(0, 0.6, (book.heads, book.dimension))
    catalogue, _ = load_catalogue(CATALOGUE)
    engine = Engine(book, weights, catalogue, Settings(), load_builtin(PACKS))
    plans = len(engine.arms.kind)
    with TemporaryDirectory() as made:
        folder = Path(made)
        many = {n: _whole(engine, n, folder, rng) for n in FILES}
        accounts = engine.accounts(*_drawn(engine, ACCOUNTS, rng))
        _batch(engine, accounts, folder / "warm.parquet")
        timed = [_batch(engine, accounts, folder / "out.parquet") for _ in range(REPEATS)]
        scored = _scored(engine, accounts, rng, folder)
    seconds, counts = median(each[0] for each in timed), timed[0][1]
    single = []
    for row in range(SINGLE):
        one = accounts.take(slice(row, row + 1))
        begun = process_time()
        batch = engine.decide(one, today=TODAY)
        output.table_of(engine, batch, verify(engine, one, TODAY, batch))
        single.append(1000 * (process_time() - begun))
    p50, p99 = np.percentile(single, (50, 99))
    engine.close()
    large = many[FILES[-1]]
    peers = {
        "LightGBM's predictions": scored.lightgbm,
        "compiled trees (tl2cgen)": scored.compiled,
        "trees as Treelite reads them": scored.read,
        "a dense logistic regression, two heads at once": scored.logistic,
        "our own two heads, from columns": scored.own,
    }
    rows = [
        (
            "decisions a CPU-second, columns in, columns and reasons out",
            f"{ACCOUNTS / seconds:,.0f}",
            "≥ 5,000",
            "",
        ),
        *(
            (f"{name} alone, accounts a CPU-second", f"{ACCOUNTS / each:,.0f}", "", f"{seconds / each:.2f} ×")
            for name, each in peers.items()
        ),
        *(
            (
                f"a file of {n:,} accounts, {PROCESSES} processes, seconds (CPU seconds)",
                f"{each.seconds:.0f} ({each.cpu:.0f})",
                "",
                "",
            )
            for n, each in many.items()
        ),
        (
            "a million accounts at the large file's rate, seconds",
            f"{large.seconds * MILLION / FILES[-1]:.0f}",
            "≤ 60",
            "",
        ),
        (
            "the same by its CPU seconds, both processors free",
            f"{large.cpu * MILLION / FILES[-1] / PROCESSES:.0f}",
            "",
            "",
        ),
        (
            "memory of the process that reads, and of each that decides, MB",
            f"{large.ours:,.0f}, {large.worker:,.0f}",
            "",
            "",
        ),
        ("a single account, p50, CPU ms", f"{p50:.1f}", "", ""),
        ("a single account, p99, CPU ms", f"{p99:.1f}", "≤ 4", ""),
    ]
    for row_ in rows:
        print(*row_, sep=" | ", flush=True)
    outcome = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    intro = (
        f"{ACCOUNTS:,} accounts × {plans} plans, {len(PACKS)} rule packs, one process; medians of {REPEATS}. Decisions "
        "include candidates, affordability, rules, both heads, the choice, what a proof would bring, reasons and Parquet with facts apart. "
        f"Beside them stands what others need to score the same candidates, one thread each, the matrix ready: two models of {TREES} trees "
        f"by LightGBM, as C ({scored.versions}, gcc), as Treelite reads them, and a logistic regression of two heads. Ratio: CPU time of "
        "our decisions ÷ theirs. Above 1 decisions cost more than the scores alone: a score is the least part of a decision, and the row of our own two heads "
        f"says how much of it. Outcome: {outcome}."
    )
    return f"{intro}\n\n{table(('Figure', 'measured', 'target', 'ratio'), rows)}"
