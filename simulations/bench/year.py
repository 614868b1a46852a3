"""A year of windows: what a release of windows gives beside one of all rows, and what worlds of a year bring.

A figure of the market rests on how much markets differ (Student's t between them); worlds of one market meet the same debtors, so
their difference is paired. Splits of one table hang together, so of those the standard deviation is told, and no interval.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Any, Literal

import numpy as np

from fedrepay.client.learning import contribution, make_learner, monotone
from fedrepay.client.learning.contribution import Rows
from fedrepay.client.learning.dp_recursive import (
    FIRST_ROUNDS,
    LATER_ROUNDS,
    DPRecursive,
    RecursiveModel,
    WindowsSaid,
)
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.privacy.accounting import gdp_epsilon, gdp_mu
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.bench import learners
from fedrepay.simulations.bench.accuracy import delta, score
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.engines import clear
from fedrepay.simulations.market import evaluate, models, records
from fedrepay.simulations.market import lenders as market_lenders
from fedrepay.simulations.market.intervals import mean
from fedrepay.simulations.market.year.figures import year
from fedrepay.simulations.market.year.plan import YearPlan
from fedrepay.simulations.market.year.play import play
from fedrepay.simulations.market.year.presets import YearPreset, market_of

K, COLLUDERS, EPSILON, WINDOWS, ATTEMPTS = 20, 2, 1.0, 12, 3
MARKETS = tuple(range(31, 36))
FEW = MARKETS[:2]
PLAYED: dict[YearPreset, Sequence[int]] = {
    "mixed": MARKETS,
    "complement": MARKETS,
    "newcomer": FEW,
    "cold": FEW,
    "recession": FEW,
    "revive": FEW,
    "opposed": FEW,
}
CUT, DRAWS, SPLITS = MARKETS[:4], (1, 2, 3), (0, 1, 2, 3, 4)
ACCOUNTS, PROCESSES = 200, 2
WORLDS = ("own", "alone", "once", "monthly", "once_open", "monthly_open")
Judge = Callable[[F64], float]


def part(rows: Rows, here: I64) -> Rows:
    """Some of pooled rows."""
    return replace(
        rows,
        codes=rows.codes[here],
        outcomes=rows.outcomes[here],
        weights=rows.weights[here],
        owners=rows.owners[here],
    )


def carried(
    windows: Sequence[Rows], stream: str, epsilon: float | None = EPSILON, kept: float = 1.0
) -> list[F64]:
    """Weights after each window, (H, d) each; every window is a run with seeded noise of its own, or in mode none."""
    found: list[F64] = []
    running: WindowsSaid | None = None
    for number, rows in enumerate(windows):
        learner = DPRecursive(rows.book, LATER_ROUNDS if running else FIRST_ROUNDS, running, kept)
        state = _run(learner, rows, f"{stream} {number}", epsilon)
        assert isinstance(state, RecursiveModel)  # noqa: S101 - of this learner
        running = learner.running(state)
        found.append(monotone.project(rows.book, state.weights))
    return found


def one_release(rows: Rows, stream: str, wider: float = 1.0) -> F64:
    """The weights of one run over all rows, its noise ``wider`` than that of ε."""
    learner, limit = make_learner("dp-newton", rows.book, FIRST_ROUNDS), delta(rows.book)
    epsilon = gdp_epsilon(gdp_mu(EPSILON, limit) / wider, limit)
    return monotone.project(rows.book, _run(learner, rows, stream, epsilon).weights)


def _run(learner: Any, rows: Rows, stream: str, epsilon: float | None) -> Any:
    mechanisms: clear.Charged = ((),) * learner.rounds
    if epsilon is not None:
        mechanisms = clear.planned(
            learner,
            epsilon=epsilon,
            delta=delta(rows.book),
            members=K,
            colluders=COLLUDERS,
            max_attempts=ATTEMPTS,
        )

    def streams(member: int, index: int) -> SeededEntropy:
        return SeededEntropy(f"{stream} {member} {index}".encode())

    return clear.run(learner, clear.together(learner, rows), mechanisms, K, streams).state


def cut(rows: Rows, seed: int) -> list[Rows]:
    """Windows of as many customers each, drawn once."""
    window = np.random.default_rng([seed, 51]).integers(0, WINDOWS, rows.customers)[rows.owners]
    return [part(rows, np.flatnonzero(window == number)) for number in range(WINDOWS)]


def of_market(preset: YearPreset, seed: int) -> tuple[Rows, Judge]:
    """A market's past as pooled rows, and what weights bring: uplift as a part of that of perfect heads."""
    who = market_lenders.lenders(market_of(preset), seed)
    tables = records.training_tables({each.name: records.record(each, seed) for each in who})
    encoder = models.encoder()
    grounds = [evaluate.ground(encoder, each, seed, ACCOUNTS, Settings()) for each in who]
    best = sum(each.worth(models.Perfect(each.truth).predict(each.scored)).uplift.mean() for each in grounds)

    def judge(weights: F64) -> float:
        model = models.FittedAdditive(weights)
        return float(sum(each.worth(model.predict(each.scored)).uplift.mean() for each in grounds) / best)

    return clear.pool([contribution.from_table(records.book(), each) for each in tables.values()]), judge


def of_uci(split: int) -> tuple[Rows, Judge]:
    """A split of the shipped rows, and the AUC on its test rows."""
    made = learners.uci(split)
    book = made.rows.book
    return made.rows, lambda weights: score(made.labels, book.rows(made.codes) @ weights[0] / book.scale)


def windows_of(kind: YearPreset | Literal["uci"], seed: int) -> dict[str, float]:
    """Means over draws of noise of each way: one release, windows added up, the newest alone, and without privacy."""
    rows, judge = of_uci(seed) if kind == "uci" else of_market(kind, seed)
    windows = cut(rows, seed)
    found: dict[str, list[float]] = {}

    def put(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for draw in DRAWS:
        stream = f"{kind} {seed} {draw}"
        put("one", judge(one_release(rows, f"{stream} one")))
        put("same", judge(carried([rows], f"{stream} same")[-1]))
        put("wider", judge(one_release(rows, f"{stream} wider", WINDOWS**0.5)))
        every = [judge(each) for each in carried(windows, stream)]
        put("first", every[0])
        put("half", every[WINDOWS // 2 - 1])
        put("last", every[-1])
        put("newest", judge(carried(windows[-1:], f"{stream} newest")[-1]))
        put("faded", judge(carried(windows, stream, kept=0.9)[-1]))
    put("open", judge(carried(windows, "", None)[-1]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def year_of(preset: YearPreset, seed: int) -> dict[str, Any]:
    """The figures of a year."""
    return year(play(YearPlan(preset=preset, members=K, colluders=COLLUDERS, epsilon=EPSILON, seed=seed)))


def _cut_line(
    name: str, found: Sequence[Mapping[str, float]], digits: int, *, independent: bool
) -> tuple[str, ...]:
    def told(key: str) -> str:
        return f"{np.mean([each[key] for each in found]):.{digits}f}"

    differences = [each["last"] - each["one"] for each in found]
    value, low, high = mean(differences)
    apart = f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    if not independent:
        apart = f"{value:+.{digits}f}, sd {np.std(differences, ddof=1):.{digits}f}"
    return (
        name,
        *(told(key) for key in ("one", "first", "half", "last")),
        apart,
        *(told(key) for key in ("same", "wider", "newest", "faded", "open")),
    )


def _year_lines(preset: YearPreset, found: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for world in WORLDS:
        rows = [each["worlds"][world] for each in found]

        def at(month: int, rows: Sequence[dict[str, Any]] = rows) -> str:
            return f"{np.mean([each['months'][month - 1]['of_perfect'] for each in rows]):.3f}"

        earned = [each["earned"]["of_perfect"] for each in rows]
        beside = [
            100
            * (
                each["worlds"][world]["earned"]["of_perfect"]
                - each["worlds"]["alone"]["earned"]["of_perfect"]
            )
            for each in found
        ]
        value, low, high = mean(beside)
        lines.append(
            (
                f"{preset} ({len(found)})",
                rows[0]["label"],
                "/".join(at(month) for month in (1, 6, 9, 12)),
                f"{np.mean(earned):.3f}",
                "" if world == "alone" else f"{value:+.1f} [{low:+.1f}, {high:+.1f}]",
                " ".join(
                    f"{np.mean([each['by_offers'][place]['of_perfect'] for each in rows]):.3f}"
                    for place in range(len(rows[0]["by_offers"]))
                ),
                f"{100 * np.mean([each['earned']['regret'] for each in rows]):.1f} %",
                f"{100 * min(month['affordable'] for each in rows for month in each['months']):.1f} %",
            )
        )
    return lines


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        cuts = {
            "uci": pool.map(partial(windows_of, "uci"), SPLITS),
            "mixed": pool.map(partial(windows_of, "mixed"), CUT),
            "complement": pool.map(partial(windows_of, "complement"), CUT),
        }
        years = {preset: pool.map(partial(year_of, preset), seeds) for preset, seeds in PLAYED.items()}
        cut_lines = []
        for name, found in cuts.items():
            label = "UCI, AUC (5 splits)" if name == "uci" else f"{name}, of perfect ({len(CUT)} markets)"
            cut_lines.append(_cut_line(label, list(found), 4, independent=name != "uci"))
            print(" | ".join(cut_lines[-1]), flush=True)
        year_lines, newcomers = [], ""
        for preset, played in years.items():
            whole = list(played)
            year_lines += _year_lines(preset, whole)
            print(f"{preset}: {' '.join(line[3] for line in year_lines[-len(WORLDS) :])}", flush=True)
            if preset == "newcomer":
                first = {
                    world: np.mean([each["worlds"][world]["newcomers"][0] for each in whole])
                    for world in ("alone", "monthly")
                }
                newcomers = (
                    f"Newcomers in their first month: {first['monthly']:.3f} with the release of the others, "
                    f"{first['alone']:.3f} by their own policy."
                )
    return _page(cut_lines, year_lines, newcomers)


def _page(cut_lines: Sequence[tuple[str, ...]], year_lines: Sequence[tuple[str, ...]], newcomers: str) -> str:
    cut_heads = (
        *("Rows", "one release of all", "window 1", "6", "12", "12 − one release [95 %]"),
        *(
            "one window of all, same learner",
            "one release, noise × √12",
            "newest window alone",
            "γ = 0.9",
            "12, no privacy",
        ),
    )
    year_heads = (
        *("Year (markets)", "World", "of perfect, months 1/6/9/12", "earned", "points beside alone [95 %]"),
        *("by size, fewest offers first", "regret", "affordable, least month"),
    )
    return (
        f"ε = {EPSILON:g} a customer, K = {K}, c = {COLLUDERS}. **Windows**: the same rows cut by customer into {WINDOWS} windows of as many, each a run "
        f"with its own noise ({FIRST_ROUNDS} secure sums in the first, {LATER_ROUNDS} in the others; {len(DRAWS)} draws of noise each); of the market, uplift as "
        f"a part of what the true probabilities bring, lenders weighing alike. One release is dp-newton's. Constants were chosen on market seeds 0 and 1 and on splits 20 and 21 of the same UCI table, so its row flatters.\n\n{table(cut_heads, cut_lines)}\n\n"
        "**The year** (`fedrepay simulate --year`): history first, then a twelfth of it every month; month m is learned from in month m + 4. "
        f"*Earned*: uplift of the whole year as a part of that of the true probabilities.\n\n{table(year_heads, year_lines)}\n\n{newcomers}"
    )
