"""Decisions: accounts a second, columns in and columns out, beside LightGBM's predictions on the same candidates.

Accounts are drawn at random from the debt market and weights too: timing does not depend on either. The release
is decoded but not signed here; checking signatures is a matter of milliseconds once a batch.
"""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans import batch_io
from fedrepay.client.plans.batch_io import output
from fedrepay.client.plans.batch_io.batch_files import parts
from fedrepay.client.plans.batch_io.register import Noted
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.pack import load_builtin
from fedrepay.shared.schema import codebook
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.market import people

if TYPE_CHECKING:
    from fedrepay.shared.arrays import F64

ACCOUNTS, SINGLE, REPEATS, TODAY = 20_000, 1_000, 3, 20_500
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
BOOK = people.Book(
    willingness=0.0,
    balance=150_000,
    stages=(0.2, 0.2, 0.2, 0.2, 0.2),
    products=(1 / 7,) * 7,
    income_known=(0.15, 0.3, 0.25, 0.3),
    apr=0.25,
)


def _drawn(engine: Engine, rng: np.random.Generator) -> Accounts:
    columns = people.draw(BOOK, ACCOUNTS, rng).columns
    names = [f"a{place:06d}" for place in range(ACCOUNTS)]
    facts: dict[str, npt.NDArray[np.generic]] = {
        name: np.full(ACCOUNTS, each) for name, each in FACTS.items()
    }
    facts["jurisdiction"] = np.full(ACCOUNTS, "UK", object)
    facts["debt_type"] = np.full(ACCOUNTS, "consumer", object)
    facts["vulnerability_driver"] = np.full(ACCOUNTS, "none", object)
    given: dict[str, Any] = {each.name: columns[each.name] for each in engine.encoder.account_columns}
    return engine.accounts(names, given, facts)


def _batch(engine: Engine, accounts: Accounts, out: Path) -> tuple[float, dict[str, int]]:
    """Decide and write all accounts; returns seconds and how many got which decision."""
    counts: dict[str, int] = {}
    begun = perf_counter()
    with parts(out) as files:
        for start in range(0, ACCOUNTS, engine.chunk):
            part = accounts.take(slice(start, start + engine.chunk))
            batch = engine.decide(part, today=TODAY, batch_id="bench")
            files.add(
                output.table_of(engine, batch, verify(engine, part, TODAY, batch)),
                {"account": part.names, **batch.facts.columns},
            )
            for name, count in output.counts(batch)["decisions"].items():
                counts[name] = counts.get(name, 0) + count
        files.finish(Noted("bench", {}, str(out)), (), None, {})
    return perf_counter() - begun, counts


def _trees(engine: Engine, accounts: Accounts, rng: np.random.Generator) -> float:
    """Seconds that two LightGBM models of usual size need to score the same candidates, given as one matrix."""
    import lightgbm

    part = accounts.take(slice(0, engine.chunk))
    batch = engine.judge(part, TODAY).judged
    numbers = [each.astype(float) for each in part.values.values() if each.dtype != object]
    pairs = batch.plans.valid.size
    of_account = np.repeat(np.stack(numbers, axis=1), pairs // len(part.names), axis=0)
    of_plan = [batch.plans.months, batch.plans.monthly, batch.plans.count, batch.plans.instalment]
    rows = np.column_stack([of_account, *(np.asarray(each, float).ravel() for each in of_plan)])
    models = []
    for _ in range(2):
        chosen = rng.choice(pairs, 20_000)
        models.append(
            lightgbm.LGBMClassifier(n_estimators=TREES, verbose=-1)
            .fit(rows[chosen], rng.integers(0, 2, 20_000))
            .booster_
        )
    for model in models:
        model.predict(rows)  # warm
    begun = perf_counter()
    for model in models:
        model.predict(rows)
    return (perf_counter() - begun) * ACCOUNTS / len(part.names)


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    rng = np.random.default_rng(0)
    book = codebook.build(SCHEMA.read_bytes(), str(SCHEMA))
    weights: F64 = rng.normal(0, 0.6, (book.heads, book.dimension))
    catalogue, _ = load_catalogue(CATALOGUE)
    engine = Engine(book, weights, catalogue, Settings(), load_builtin(PACKS))
    accounts = _drawn(engine, rng)
    plans = len(engine.arms.kind)
    with TemporaryDirectory() as folder:
        _batch(engine, accounts.take(slice(0, ACCOUNTS)), Path(folder) / "warm.parquet")
        timed = [_batch(engine, accounts, Path(folder) / "out.parquet") for _ in range(REPEATS)]
    seconds, counts = median(each[0] for each in timed), timed[0][1]
    trees = median(_trees(engine, accounts, rng) for _ in range(REPEATS))
    single = []
    for row in range(SINGLE):
        one = accounts.take(slice(row, row + 1))
        begun = perf_counter()
        batch = engine.decide(one, today=TODAY)
        output.table_of(engine, batch, verify(engine, one, TODAY, batch))
        single.append(1000 * (perf_counter() - begun))
    p50, p99 = np.percentile(single, (50, 99))
    engine.close()
    rows = [
        ("decisions a second, columns in, columns and reasons out", f"{ACCOUNTS / seconds:,.0f}", "≥ 5,000"),
        ("LightGBM's predictions alone, accounts a second", f"{ACCOUNTS / trees:,.0f}", ""),
        ("seconds against LightGBM's predictions alone", f"{seconds / trees:.2f}", ""),
        ("a single account, p50, ms", f"{p50:.1f}", ""),
        ("a single account, p99, ms", f"{p99:.1f}", "≤ 20"),
    ]
    for row_ in rows:
        print(*row_, sep=" | ", flush=True)
    outcome = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    intro = (
        f"{ACCOUNTS:,} accounts × {plans} plans, {len(PACKS)} rule packs, one process; medians of {REPEATS}. Decisions "
        "include candidates, affordability, rules, both heads, the choice and Parquet with facts apart. "
        f"LightGBM: two models of {TREES} trees, all cores, its matrix ready. Outcome: {outcome}."
    )
    return f"{intro}\n\n{table(('Figure', 'measured', 'target'), rows)}"
