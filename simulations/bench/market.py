"""What learning plans together brings, against the market's truth: value by size of member and market, with intervals.

The shared model's sums are added in the clear with every member's share of seeded noise, so that figures can be
repeated; ``tests/e2e`` shows that the protocol opens exactly such sums. Settings were chosen on the markets of seeds 0 and
1; the seeds here are others.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from rich.console import Console

from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.simulations.bench import market_gains as gains_of
from fedrepay.simulations.bench import market_tables as tables_of
from fedrepay.simulations.bench.page import at_several, table
from fedrepay.simulations.market import cases, evaluate, lenders, models, prices, records, study
from fedrepay.simulations.market.lenders import PRESETS, SIZES, Lender, Preset
from fedrepay.simulations.rows import figures
from fedrepay.simulations.run.arguments import MarketArguments
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import Screen
from fedrepay.simulations.simulate import run as simulate

SEEDS, DRAWS = tuple(range(11, 21)), 3
"""Markets, and draws of noise in each."""
MAIN, FEWER, FEWER_DRAWS = ("mixed", "complement"), 3, 2
"""The presets with all of them, and how many the others get; the slow trees are fitted in so many markets too."""
SMALL: Literal["small"] = "small"
"""``mixed`` with its eight lenders of 400 offers alone."""
ACCOUNTS, COLLUDERS, EPSILON = 400, 2, 1.0
EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LAMBDAS = (0.0, 0.04, 0.07, 0.10, 0.20)
WORKERS = 2
Figures = dict[str, Any]
Which = Preset | Literal["small"]


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    names: tuple[Which, ...] = (*PRESETS, SMALL)
    jobs: list[tuple[Which, int]] = [(name, seed) for name in names for seed in SEEDS[: _of(name)[0]]]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        wire = pool.submit(_wire)
        results, rows = pool.map(one_market, *zip(*jobs, strict=True)), pool.map(by_epsilon, SEEDS[:FEWER])
        left_off = pool.map(by_condition, SEEDS[:FEWER])
        found: dict[tuple[Which, int], list[Figures]] = {}
        for job, result in zip(jobs, results, strict=True):
            found[job] = result
            print(*job, "done", flush=True)
        privacy, conditions = list(rows), list(left_off)
    of: dict[Which, list[list[Figures]]] = {
        name: [found[job] for job in jobs if job[0] == name] for name in names
    }
    mixed = of["mixed"]
    return "\n\n".join(
        (
            _intro(),
            gains_of.values(mixed, "mixed"),
            gains_of.small(of[SMALL], mixed),
            gains_of.values(of["complement"], "complement"),
            gains_of.gains_map({name: of[name] for name in PRESETS}),
            tables_of.objective(mixed),
            tables_of.affordable(mixed),
            tables_of.conditions(conditions),
            tables_of.privacy(privacy),
            tables_of.groups(mixed),
            wire.result(),
        )
    )


def _of(name: Which) -> tuple[int, int]:
    """How many markets, and draws of noise in each."""
    return (len(SEEDS), DRAWS) if name in (*MAIN, SMALL) else (FEWER, FEWER_DRAWS)


def _intro() -> str:
    return (
        "Simulated debt market (docs/market.md): nothing here is evidence about real debtors. 20 lenders (8 × 400, 6 × "
        f"1,500, 4 × 5,000, 2 × 12,000 offers). Of {' and '.join(f'`{each}`' for each in MAIN)} {len(SEEDS)} markets (seeds {SEEDS[0]} … {SEEDS[-1]}) "
        f"with {DRAWS} draws of noise each, of the others the first {FEWER} with {FEWER_DRAWS}; {ACCOUNTS} new accounts a lender, "
        f"ε = {EPSILON:g}, δ = {models.delta():.3g}, c = {COLLUDERS}, d = {records.book().dimension} parameters a head, default "
        f"settings; {at_several(EPSILON, models.delta())}. "
        "Value = present value ÷ balance per eligible account, 24 months of no-plan cash included; uplift = "
        "value − no-plan value; regret = the part of the oracle's uplift that is missed. (a) own policy until now, (a′) the same among affordable plans, (b) the same optimiser with "
        "the better of two own models by own cross-validation, without privacy (baseline), (b°) with the own expert ridge at the "
        "λ that was worth most on seeds 0 and 1, as the ridge of (c) was chosen, (c) with the released private "
        f"model, (c′) and the member's own part, (h) perfect heads, (d) oracle; LightGBM in the first {FEWER} markets, its ratio to (c) there. Intervals: 95 %, by how much markets differ, each with all its draws and members "
        "(`simulations/market/intervals.py`); what was asked for is compared with the figure, its interval stands beside."
    )


def one_market(name: Which, seed: int) -> list[Figures]:
    """One market, a study of each release: all are judged on the same lenders, accounts and own models."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        who = _lenders(name, seed)
        tables = {each.name: records.training_table(records.record(each, seed)) for each in who}
        given = cases.cases(
            who, tables, seed, Settings(), ACCOUNTS, trees=name in MAIN and seed in SEEDS[:FEWER]
        )
        lambdas = LAMBDAS if name == "mixed" else ()
        return [
            study.study(
                given, models.shared(list(tables.values()), EPSILON, COLLUDERS, seed, draw), lambdas=lambdas
            )
            for draw in range(_of(name)[1])
        ]


def _lenders(name: Which, seed: int) -> tuple[Lender, ...]:
    if name == "small":
        return lenders.lenders("mixed", seed, SIZES[: SIZES.count(SIZES[0])])
    return lenders.lenders(name, seed)


def by_epsilon(seed: int) -> list[tuple[str, Figures]]:
    """(ε, AUC of both heads on other offers, value, regret, ranking within accounts) on ``mixed``, one draw of noise."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        who = lenders.lenders("mixed", seed)
        tables = [records.training_table(records.record(each, seed)) for each in who]
        others = [records.training_table(records.record(each, seed, 1)) for each in who]
        encoder = models.encoder()
        grounds = [evaluate.ground(encoder, each, seed, ACCOUNTS, Settings()) for each in who]
        releases = {
            f"{epsilon:g}": models.shared(tables, epsilon, COLLUDERS, seed) for epsilon in EPSILONS
        } | {
            f"no noise, the ridge of ε = {EPSILON:g}": models.shared(
                tables, EPSILON, COLLUDERS, seed, noise=False
            ),
            "no noise, no ridge": models.shared(tables, None, COLLUDERS, seed),
        }
        best = float(np.mean([g.oracle.uplift.mean() for g in grounds]))
        rows: list[tuple[str, Figures]] = []
        for label, shared in releases.items():
            row: Figures = {}
            for head, name in enumerate(("auc_first", "auc_kept")):
                row[name] = _auc(others, shared, head)
            worths = [g.worth(shared.predict(g.scored)) for g in grounds]
            row["value"] = float(np.mean([w.value.mean() for w in worths]))
            row["regret"] = 1 - float(np.mean([w.uplift.mean() for w in worths])) / best
            counted = np.array([evaluate.ranked_right(g, shared.predict(g.scored)) for g in grounds])
            row["within"] = float(counted[:, 0].sum() / counted[:, 1].sum())
            rows.append((label, row))
    return rows


def by_condition(seed: int) -> list[dict[str, dict[str, float]]]:
    """What each hard condition costs and brings on ``mixed``, a lender a row (``prices``)."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        who = lenders.lenders("mixed", seed)
        tables = [records.training_table(records.record(each, seed)) for each in who]
        shared, encoder = models.shared(tables, EPSILON, COLLUDERS, seed), models.encoder()
        grounds = (evaluate.ground(encoder, each, seed, ACCOUNTS, Settings()) for each in who)
        return [prices.prices(encoder, each, shared, seed) for each in grounds]


def _auc(others: Sequence[Any], shared: models.FittedAdditive, head: int) -> float:
    labels, scores = [], []
    for other in others:
        inside, truth = models.population(other, head)
        labels.append(truth)
        scores.append(records.book().rows(other.codes[inside]) @ shared.weights[head])
    found = figures.auc(np.concatenate(labels), np.concatenate(scores))
    return float("nan") if found is None else found


def _wire() -> str:
    """One run of the real protocol: bytes a member and release (``stages`` has its time)."""
    with TemporaryDirectory() as scratch, Screen(Console(stderr=True)) as screen:
        metrics: Figures = simulate(MarketArguments(accounts=50), Folder(Path(scratch) / "run"), screen)
    rows = [
        ("sent a member and release", f"{metrics['bytes_up_per_member'] / 1e6:.2f} MB"),
        ("key ceremony", f"{metrics['bytes_ceremony_per_member'] / 1e3:.1f} kB"),
        ("ciphertexts", f"{metrics['ciphertexts_per_release']}"),
    ]
    return "### Cost of a release (20 members, the real protocol)\n\n" + table(("", "a member"), rows)
