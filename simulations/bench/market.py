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
from typing import Any

import numpy as np
from rich.console import Console

from fedrepay.client.plans.settings import Settings
from fedrepay.simulations import figures
from fedrepay.simulations.arguments import Folder, MarketArguments
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.market import evaluate, lenders, models, records, study
from fedrepay.simulations.market.lenders import PRESETS, Preset
from fedrepay.simulations.market.value import Worth
from fedrepay.simulations.screen import Screen
from fedrepay.simulations.simulate import run as simulate

SEEDS = (11, 12, 13, 14, 15)
SIZES = (400, 1500, 5000, 12000)
ACCOUNTS, COLLUDERS, EPSILON = 400, 2, 1.0
EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LAMBDAS = (0.0, 0.04, 0.07, 0.10, 0.20)
WORKERS = 2
Figures = dict[str, Any]


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    jobs = [(preset, seed) for preset in PRESETS for seed in SEEDS]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        found: dict[tuple[Preset, int], Figures] = {}
        for job, result in zip(jobs, pool.map(one_market, *zip(*jobs, strict=True)), strict=True):
            found[job] = result
            print(*job, "done", flush=True)
        objectives = list(pool.map(objective, SEEDS))
        privacy = list(pool.map(by_epsilon, SEEDS))
    of = {preset: [found[preset, seed] for seed in SEEDS] for preset in PRESETS}
    parts = [_intro(), _values(of["mixed"], "mixed"), _values(of["complement"], "complement"), _map(of)]
    parts += [
        _objective(objectives),
        _affordable(of["mixed"]),
        _epsilon(privacy),
        _groups(of["mixed"]),
        _wire(),
    ]
    return "\n\n".join(parts)


def one_market(preset: Preset, seed: int) -> Figures:
    """The study of one market."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        who = lenders.lenders(preset, seed)
        tables = {each.name: records.training_table(records.record(each, seed)) for each in who}
        shared = models.shared(list(tables.values()), EPSILON, COLLUDERS, seed)
        trees = preset in ("mixed", "complement")
        return study.study(who, tables, shared, seed, Settings(), ACCOUNTS, trees=trees)


def objective(seed: int) -> list[tuple[str, float, Figures]]:
    """(way, λf, figures over members) on ``mixed``: first payments are a choice of λf."""
    from threadpoolctl import threadpool_limits

    rows: list[tuple[str, float, list[Worth]]] = []
    with threadpool_limits(limits=1):
        who = lenders.lenders("mixed", seed)
        tables = [records.training_table(records.record(each, seed)) for each in who]
        shared = models.shared(tables, EPSILON, COLLUDERS, seed)
        encoder = models.encoder()
        settings = Settings()
        grounds = [evaluate.ground(encoder, each, seed, ACCOUNTS, settings) for each in who]
        own = [evaluate.own_models(each, shared, seed, trees=False) for each in tables]
        before = [evaluate.logged(each, seed) for each in grounds]
        rows += [("own", 0.0, [a for a, _ in before]), ("own_affordable", 0.0, [b for _, b in before])]
        for weight in LAMBDAS:
            value = settings.value.model_copy(update={"lambda_first": weight})
            at = settings.model_copy(update={"value": value})
            rows.append(("shared", weight, [g.worth(shared.predict(g.scored), at) for g in grounds]))
            alone = [
                g.worth(o.best.predict(g.scored), at) for g, o in zip(grounds, own, strict=True) if o.best
            ]
            rows.append(("alone", weight, alone))
    return [(way, weight, _means(worths)) for way, weight, worths in rows]


def _means(worths: Sequence[Worth]) -> Figures:
    each = [study.figures(worth) for worth in worths]
    return {name: float(np.mean([f[name] for f in each if f[name] is not None])) for name in each[0]}


def by_epsilon(seed: int) -> list[tuple[float | None, Figures]]:
    """(ε, AUC of both heads on other offers, value, regret, ranking within accounts) on ``mixed``."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        who = lenders.lenders("mixed", seed)
        tables = [records.training_table(records.record(each, seed)) for each in who]
        others = [records.training_table(records.record(each, seed + 1000)) for each in who]
        encoder = models.encoder()
        grounds = [evaluate.ground(encoder, each, seed, ACCOUNTS, Settings()) for each in who]
        rows: list[tuple[float | None, Figures]] = []
        for epsilon in (*EPSILONS, None):
            shared = models.shared(tables, epsilon, COLLUDERS, seed)
            row: Figures = {}
            for head, name in enumerate(("auc_first", "auc_kept")):
                row[name] = _auc(others, shared, head)
            worths = [g.worth(shared.predict(g.scored)) for g in grounds]
            row["value"] = float(np.mean([w.value.mean() for w in worths]))
            best = float(np.mean([g.oracle.uplift.mean() for g in grounds]))
            row["regret"] = 1 - float(np.mean([w.uplift.mean() for w in worths])) / best
            row["within"] = float(np.mean([_within(g, shared) for g in grounds]))
            rows.append((epsilon, row))
    return rows


def _auc(others: Sequence[Any], shared: models.Additive, head: int) -> float:
    labels, scores = [], []
    for other in others:
        inside, truth = models.population(other, head)
        labels.append(truth)
        scores.append(models.book().rows(other.codes[inside]) @ shared.weights[head])
    found = figures.auc(np.concatenate(labels), np.concatenate(scores))
    return float("nan") if found is None else found


def _within(ground: evaluate.Ground, shared: models.Additive) -> float:
    """Of two affordable plans of an account, how often the one of higher true P(kept) is ranked first."""
    _, kept = shared.predict(ground.scored)
    usable = ground.within & ground.plans.valid & ground.plans.arms.is_kind(*evaluate.REAL)
    right = total = 0
    for row in np.flatnonzero(usable.sum(axis=1) >= 2):
        arms = np.flatnonzero(usable[row])
        a = np.sign(kept[row, arms][:, None] - kept[row, arms])
        b = np.sign(ground.truth.kept[row, arms][:, None] - ground.truth.kept[row, arms])
        counts = (b != 0) & (a != 0)
        right += int((a[counts] == b[counts]).sum())
        total += int(counts.sum())
    return right / max(total, 1)


def _percent(found: tuple[float, float, float]) -> str:
    middle, low, high = (100 * each for each in found)
    return f"{middle:+.1f} % [{low:+.1f}, {high:+.1f}]"


def _of_size(studies: Sequence[Figures], size: int) -> list[Figures]:
    return [each for found in studies for each in found["members"].values() if each["offers"] == size]


def _intro() -> str:
    return (
        f"Simulated debt market (docs/market.md): nothing here is evidence about real debtors. 20 lenders (8 × 400, 6 × "
        f"1,500, 4 × 5,000, 2 × 12,000 offers), seeds {', '.join(map(str, SEEDS))}, {ACCOUNTS} new accounts a lender, "
        f"ε = {EPSILON:g}, δ = {models.DELTA:g}, c = {COLLUDERS}, d = {models.book().dimension} parameters a head, default "
        "settings. Value = present value ÷ balance per eligible account, 24 months of no-plan cash included; uplift = "
        "value − no-plan value. (a) own policy until now, (a′) the same among affordable plans, (b) the same optimiser with "
        "the better of two own models by own cross-validation, without privacy (baseline), (c) with the released private "
        "model, (c′) and the member's own part, (h) perfect heads, (d) oracle. Intervals: 95 % bootstrap over members × seeds."
    )


def _values(studies: Sequence[Figures], preset: str) -> str:
    ways = (
        "own",
        "own_affordable",
        "alone",
        "additive",
        "expert",
        "trees",
        "shared",
        "shared_own",
        "perfect",
        "oracle",
    )
    heads = ("Offers", "a", "a′", "b", "own GAM", "own expert", "LightGBM", "c", "c′", "h", "d")
    heads += ("c/b value", "c/b uplift", "h/b uplift", "c/LightGBM uplift", "of the way to h")
    rows = []
    for size in SIZES:
        members = _of_size(studies, size)
        whole = [each for each in members if all(way in each["ways"] for way in ways)]
        means = [float(np.mean([each["ways"][way]["value"] for each in whole])) for way in ways]
        uplift = study.ratio(members, "shared", "alone", "uplift")
        perfect = study.ratio(members, "perfect", "alone", "uplift")
        rows.append(
            (
                f"{size:,}",
                *(f"{mean:.4f}" for mean in means),
                _percent(study.ratio(members, "shared", "alone", "value")),
                _percent(uplift),
                f"{100 * perfect[0]:+.1f} %",
                f"{100 * study.ratio(whole, 'shared', 'trees', 'uplift')[0]:+.1f} %",
                f"{100 * uplift[0] / perfect[0]:.0f} %",
            )
        )
    return f"### Value by size of member, `{preset}`\n\n" + table(heads, rows)


def _map(of: dict[Preset, list[Figures]]) -> str:
    heads = (
        "Market",
        *(f"{size:,} offers, c/b uplift" for size in SIZES),
        "c′/b, 12,000",
        "worst member, value",
        "members below −1 %",
    )
    rows = []
    for preset, studies in of.items():
        members = [each for found in studies for each in found["members"].values()]
        gains = [each["gain"] for each in members]
        rows.append(
            (
                f"`{preset}`",
                *(
                    _percent(study.ratio(_of_size(studies, size), "shared", "alone", "uplift"))
                    for size in SIZES
                ),
                _percent(study.ratio(_of_size(studies, SIZES[-1]), "shared_own", "alone", "uplift")),
                f"{100 * min(gains):+.1f} %",
                f"{sum(gain < -0.01 for gain in gains)} of {len(gains)}",
            )
        )
    note = "Where a figure is below 0, learning together loses; `unlike` and `opposed` are built so that it should."
    return "### Where it gains and where it loses\n\n" + table(heads, rows) + f"\n\n{note}"


def _objective(objectives: Sequence[list[tuple[str, float, Figures]]]) -> str:
    labels = {"own": "(a)", "own_affordable": "(a′)", "alone": "(b)", "shared": "(c)"}
    rows = []
    base = float(np.mean([each[0][2]["first_paid"] for each in objectives]))
    base_kept = float(np.mean([each[0][2]["kept_90"] for each in objectives]))
    for place, (way, weight, _) in enumerate(objectives[0]):
        mean = {
            name: float(np.mean([each[place][2][name] for each in objectives]))
            for name in objectives[0][place][2]
        }
        rows.append(
            (
                labels[way] + ("" if way.startswith("own") else f" λf = {weight:g}"),
                f"{mean['value']:.4f}",
                f"{mean['first_paid']:.4f} ({100 * (mean['first_paid'] / base - 1):+.0f} %)",
                f"{mean['kept_90']:.4f} ({100 * (mean['kept_90'] / base_kept - 1):+.0f} %)",
                f"{100 * mean['plans']:.0f} %",
                f"{100 * mean['affordable']:.1f} %",
            )
        )
    heads = (
        "Way",
        "value",
        "first payment, cash-weighted",
        "kept at 90 days, cash-weighted",
        "with a plan",
        "plans truly affordable",
    )
    note = (
        "Cash-weighted: each eligible account counts with its balance. (a′) and (b) reach nearly the same first payments, so that "
        "is the effect of offering what people can afford, not of learning together."
    )
    return (
        "### First payment is another objective than value, `mixed`\n\n" + table(heads, rows) + f"\n\n{note}"
    )


def _affordable(studies: Sequence[Figures]) -> str:
    rows = []
    for name in ("none", "stated", "estimated", "verified"):
        found = [each["affordable_by_class"][name] for each in studies]
        plans, accounts = sum(f["plans"] for f in found), sum(f["accounts"] for f in found)
        right = sum(f["plans"] * (f["affordable"] or 0) for f in found)
        proved = [each["if_verified"][name] for each in studies if name in each["if_verified"]]
        price = (
            "–" if name == "none" else f"{100 * np.mean([each['caution'][name] for each in studies]):+.1f} %"
        )
        gain = "–"
        if proved:
            gain = f"{100 * (sum(p['after'] * p['accounts'] for p in proved) / sum(p['before'] * p['accounts'] for p in proved) - 1):+.0f} %"
        rows.append(
            (
                name,
                f"{accounts:,}",
                f"{100 * plans / accounts:.0f} %",
                f"{100 * right / plans:.1f} %" if plans else "–",
                price,
                gain,
            )
        )
    whole = 100 * float(np.mean([each["caution"]["all"] for each in studies]))
    heads = (
        "Income",
        "accounts",
        "with a plan",
        "plans truly affordable (target 95 %)",
        "value against level 0.5",
        "value if it were verified",
    )
    note = (
        f"The price of the bound's caution over all accounts: {whole:+.1f} % of value against a bound at the middle of the posterior, "
        "which one in four debtors could not pay. Where there is no income form only a token plan, dormancy or a referral is offered."
    )
    return "### Affordability, `mixed`, (c)\n\n" + table(heads, rows) + f"\n\n{note}"


def _epsilon(privacy: Sequence[list[tuple[float | None, Figures]]]) -> str:
    rows = []
    for place, (epsilon, first) in enumerate(privacy[0]):
        mean = {name: float(np.mean([each[place][1][name] for each in privacy])) for name in first}
        rows.append(
            (
                "none, no ridge of its size" if epsilon is None else f"{epsilon:g}",
                f"{mean['auc_first']:.4f} / {mean['auc_kept']:.4f}",
                f"{mean['value']:.4f}",
                f"{100 * mean['regret']:.1f} %",
                f"{mean['within']:.3f}",
            )
        )
    heads = (
        "ε",
        "AUC first / kept",
        "value",
        "regret (uplift short of the oracle's)",
        "pairs of plans within an account ranked right",
    )
    note = "AUC, on other offers of the same lenders, misleads here: judge a release by regret and by the ranking within accounts."
    return "### Privacy, `mixed`\n\n" + table(heads, rows) + f"\n\n{note}"


def _groups(studies: Sequence[Figures]) -> str:
    rows = []
    for place, first in enumerate(studies[0]["groups"]):
        found = [each["groups"][place] for each in studies]
        accounts = sum(f["accounts"] for f in found)
        alone, shared, plans = (
            sum(f[name] * f["accounts"] for f in found) / accounts for name in ("alone", "shared", "plans")
        )
        rows.append(
            (
                f"{first['column']}: {first['group']}",
                f"{accounts:,}",
                f"{alone:.4f}",
                f"{shared:.4f}",
                f"{shared - alone:+.4f}",
                f"{100 * plans:.0f} %",
            )
        )
    return "### Gain by group of debtors, `mixed`\n\n" + table(
        ("Group", "accounts", "uplift (b)", "uplift (c)", "gain", "with a plan"), rows
    )


def _wire() -> str:
    """One run of the real protocol: bytes and seconds a member and release."""
    with TemporaryDirectory() as scratch, Screen(Console(stderr=True)) as screen:
        metrics: Figures = simulate(MarketArguments(accounts=50), Folder(Path(scratch) / "run"), screen)
    rows = [
        ("sent a member and release", f"{metrics['bytes_up_per_member'] / 1e6:.2f} MB"),
        ("key ceremony", f"{metrics['bytes_ceremony_per_member'] / 1e3:.1f} kB"),
        ("ciphertexts", f"{metrics['ciphertexts_per_release']}"),
        (
            "seconds a member and release, this machine",
            f"{metrics['seconds']['consortium'] / metrics['members']:.2f}",
        ),
    ]
    return "### Cost of a release (20 members, the real protocol)\n\n" + table(("", "a member"), rows)
