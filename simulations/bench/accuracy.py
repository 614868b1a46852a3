"""What privacy costs in AUC on the shipped data: same splits, same columns, for every model.

The federated figures are the batched engine's, with the members' shares of noise drawn from seeded streams so
that they can be repeated; ``tests/e2e`` shows that the protocol opens exactly these sums.
How the training rows are split among members does not change a sum, only how many shares of noise are in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.reading.table import Table, load_mapping, read_table
from fedrepay.client.learning import make_learner
from fedrepay.client.learning.contribution import Rows, from_table, gram
from fedrepay.client.scoring.score import probability
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.privacy.delta import usual_delta
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.bench.page import at_several, curve, table
from fedrepay.simulations.bench.peers.start import measured
from fedrepay.simulations.engines import clear
from fedrepay.simulations.rows import baselines, figures
from fedrepay.simulations.rows.columns import labels, raw
from fedrepay.simulations.rows.split import split_members, split_test
from fedrepay.simulations.run.arguments import SHIPPED, SHIPPED_MAPPING, SHIPPED_SCHEMA

SPLITS, SEEDS, ROUNDS, ATTEMPTS = (0, 1, 2, 3, 4), (1, 2, 3), 5, 3
OTHER_SPLITS = range(10)
MEMBERS, COLLUDERS = 50, 5
COHORTS = ((3, 1), (5, 1), (5, 3), (8, 1), (8, 6))
EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class SplitOfRows:
    """One split of the data, and what models without privacy reach on its test rows; ``name`` tells it from others."""

    name: str
    book: CodeBook
    rows: Rows
    gram: I64
    train: Table
    test: Table
    lightgbm: float
    lightgbm_raw: float
    pooled: float


def delta(book: CodeBook) -> float:
    """δ of a run that nobody asked another of."""
    return usual_delta(book.schema.public)


def score(truth: npt.NDArray[np.generic], predicted: F64) -> float:
    """AUC; the shipped test parts hold both outcomes."""
    found = figures.auc(truth, predicted)
    if found is None:
        raise ValueError("the test part has one class")
    return found


def tables(seed: int, *, other: bool = False) -> tuple[CodeBook, Table, Table]:
    """Training and test rows of a split, as :func:`part` takes them."""
    book = codebook.load(SHIPPED_SCHEMA)
    whole, _ = read_table(book, SHIPPED, load_mapping(SHIPPED_MAPPING), need_outcome=True)
    if other:
        held_out = split_test(whole.customers, seed)
    else:
        order = np.random.default_rng(seed).permutation(len(whole.codes))
        held_out = np.isin(np.arange(len(order)), order[: len(order) // 5])
    return book, whole.take(~held_out), whole.take(held_out)


@cache
def part(seed: int, *, other: bool = False) -> SplitOfRows:
    """Split the shipped rows and fit the baselines.

    Args:
        seed: of the split.
        other: split as ``simulate --seed`` does, rather than by NumPy's permutation, first fifth for testing.
    """
    book, train, test = tables(seed, other=other)
    rows = from_table(book, train)
    given = [column.name for column in book.schema.columns if column.is_input and not column.derived]

    def trees(names: Sequence[str]) -> float:
        model, reason = baselines.lightgbm_baseline(raw(train, names), labels(train), seed)
        if model is None:
            raise ValueError(reason)
        return score(labels(test), model.predict(raw(test, names)))

    return SplitOfRows(
        f"{'other ' if other else ''}{seed}",
        book,
        rows,
        gram(rows),
        train,
        test,
        lightgbm=trees(list(train.values)),
        lightgbm_raw=trees(given),
        pooled=additive(book, train, test, seed),
    )


def additive(book: CodeBook, train: Table, test: Table, seed: int) -> float:
    """AUC of the same additive model fitted to convergence without privacy."""
    model, reason = baselines.ridge_logistic(book.rows(train.codes) / book.scale, labels(train), seed)
    if model is None:
        raise ValueError(reason)
    return score(labels(test), model.predict(book.rows(test.codes) / book.scale))


def alone(given: SplitOfRows, seed: int) -> float:
    """Mean AUC of what each of ``MEMBERS`` members makes of its own rows."""
    members = split_members(given.train.customers, "iid", MEMBERS, seed, None)
    return float(
        np.mean([additive(given.book, given.train.take(index), given.test, seed) for _, index in members])
    )


def federated(
    given: SplitOfRows, epsilon: float | None, members: int, colluders: int, seed: int, *, noise: bool = True
) -> float:
    """AUC of one run of the batched engine with seeded shares of noise, others on every split; ε None is mode none.

    Without ``noise`` the ridge that goes with it stays.
    """
    learner = make_learner("dp-newton", given.book, ROUNDS)
    sums = clear.together(learner, given.rows)
    mechanisms: clear.Charged = ((),) * ROUNDS
    if epsilon is not None:
        terms = {"epsilon": epsilon, "delta": delta(given.book)}
        mechanisms = clear.planned(
            learner, **terms, members=members, colluders=colluders, max_attempts=ATTEMPTS
        )
    state = clear.run(
        learner,
        lambda index, state: given.gram if index == 0 else sums(index, state),
        mechanisms,
        members,
        lambda member, index: SeededEntropy(f"{given.name} {seed} {member} {index} {epsilon}".encode()),
        noise=noise,
    ).state
    return score(labels(given.test), probability(given.book, state.weights[0], given.test.codes))


def pooled_peers(given: SplitOfRows) -> dict[str, list[float]]:
    """AUC of others' private models on one split's pooled rows, one a seed, at ε = 1: run in the peers' environment."""
    names = [column.name for column in given.book.schema.columns if column.is_input and not column.derived]
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for before, rows in (("", given.train), ("test_", given.test)):
        arrays[f"{before}raw"] = raw(rows, names)
        arrays[f"{before}bins"] = given.book.rows(rows.codes) / given.book.scale
        arrays[f"{before}labels"] = labels(rows)
    both = np.concatenate([arrays["raw"], arrays["test_raw"]])
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "split.npz"
        np.savez(
            path,
            allow_pickle=False,
            bounds=np.stack([both.min(0), both.max(0)]),
            delta=delta(given.book),
            **arrays,
        )
        found: dict[str, list[float]] = measured("pooled", str(path))["auc"]
    return found


def over_splits(values: Sequence[Sequence[float]]) -> str:
    """Mean over seeds and splits, and the standard deviation between splits."""
    means = [float(np.mean(each)) for each in values]
    return f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}"


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    parts = [part(seed) for seed in SPLITS]
    others = [part(seed, other=True) for seed in OTHER_SPLITS]
    lines: list[tuple[str, ...]] = []

    def add(
        label: str, values: Sequence[Sequence[float]], of: Sequence[SplitOfRows], target: str = ""
    ) -> float:
        mean = float(np.mean(values))
        trees, trees_raw = (
            float(np.mean([each.lightgbm for each in of])),
            float(np.mean([each.lightgbm_raw for each in of])),
        )
        lines.append(
            (
                label,
                over_splits(values),
                f"{mean / trees_raw:.4f}",
                f"{trees_raw - mean:+.4f}",
                f"{trees - mean:+.4f}",
                target,
            )
        )
        print(*lines[-1], sep=" | ", flush=True)
        return mean

    def runs(epsilon: float | None, members: int, colluders: int, *, noise: bool = True) -> list[list[float]]:
        seeds = SEEDS if epsilon is not None and noise else SEEDS[:1]
        return [
            [federated(each, epsilon, members, colluders, seed, noise=noise) for seed in seeds]
            for each in parts
        ]

    levels = {
        "LightGBM, pooled": add(
            "LightGBM, pooled, raw columns (baseline)", [[each.lightgbm_raw] for each in parts], parts
        ),
        "same model, pooled": 0.0,
    }
    add("LightGBM, pooled, raw and derived columns", [[each.lightgbm] for each in parts], parts)
    levels["same model, pooled"] = add(
        "the same additive model, pooled", [[each.pooled] for each in parts], parts
    )
    levels["members alone"] = add(
        f"members alone, K = {MEMBERS} (mean)",
        [[alone(each, seed)] for each, seed in zip(parts, SPLITS, strict=True)],
        parts,
    )
    add("federated, mode none (no noise, so no ridge)", runs(None, MEMBERS, COLLUDERS), parts)
    add(
        f"federated, no noise, with the ridge of ε = 1, K = {MEMBERS}, c = {COLLUDERS}",
        runs(1.0, MEMBERS, COLLUDERS, noise=False),
        parts,
    )
    for members, colluders in COHORTS:
        add(f"federated, ε = 1, K = {members}, c = {colluders}", runs(1.0, members, colluders), parts)
    by_epsilon = {
        epsilon: add(
            f"federated, ε = {epsilon:g}, K = {MEMBERS}, c = {COLLUDERS}",
            runs(epsilon, MEMBERS, COLLUDERS),
            parts,
            "AUC ≥ 0.783, gap ≤ 0.006 (aim 0.004)" if epsilon == 1 else "",
        )
        for epsilon in EPSILONS
    }
    again = [[federated(each, 1.0, MEMBERS, COLLUDERS, seed) for seed in SEEDS] for each in others]
    add(f"the same on {len(others)} other splits, ε = 1", again, others)
    add("the same additive model, pooled, on them", [[each.pooled] for each in others], others)
    peers = [pooled_peers(each) for each in parts]
    add("DP-EBM (interpret, defaults), pooled, raw columns, ε = 1", [each["DP-EBM"] for each in peers], parts)
    add(
        "DP-SGD (Opacus), logistic on the same public bins, pooled, ε = 1",
        [each["Opacus"] for each in peers],
        parts,
    )
    name = curve("accuracy", "AUC of the released model against ε", {"": by_epsilon}, levels)
    heads = (
        "Model",
        "AUC, mean ± sd between splits",
        "ratio to baseline",
        "gap to LightGBM, raw columns",
        "gap, raw and derived",
        "target",
    )
    intro = (
        f"UCI default of credit card clients, {len(SPLITS)} splits (`numpy.random.default_rng(s).permutation`, first "
        f"fifth for testing, s = 0 … 4) × {len(SEEDS)} seeds of noise, δ = {delta(parts[0].book):.3g}, d = {parts[0].book.dimension}, "
        f"{ROUNDS} secure sums, no demographic columns. {at_several(1.0, delta(parts[0].book))}. Rows without ε are without privacy. Each gap is to LightGBM "
        f"on the same splits; the two rows on other splits use those of `simulate --seed 0 … {len(others) - 1}`. Peers see the same "
        "training rows in one pool, so no member's noise adds to theirs; DP-EBM's bounds of columns count as public."
    )
    note = (
        "Splits differ more from each other than models do, so only gaps compare. The mode `none` has no ridge; what the noise itself costs "
        "is the difference from the row with the same ridge. *Alone* and "
        "*pooled* choose theirs by cross-validation. Most of the gap is the additive form, not privacy: it stands "
        "in the row of the same model, pooled. Against trees that also get our derived columns the gap at ε = 1 "
        "is above the target of 0.006; pairs beyond the four crosses would narrow it, at twice the bytes."
    )
    return f"{intro}\n\n{table(heads, lines)}\n\n![AUC against ε]({name})\n\n{note}"
