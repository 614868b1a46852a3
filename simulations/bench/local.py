"""``local`` beside ``distributed``: what it costs that every member adds the whole noise itself.

Integers are summed in the clear, with every member's own sampling and noise from seeded streams, so that figures can
be repeated; ``tests/security/test_local_mode.py`` shows that the protocol opens exactly the sum of these integers.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import dp_sgd
from fedrepay.client.learning.contribution import Rows, from_table, gram
from fedrepay.client.learning.local_terms import LocalWishes, local_terms
from fedrepay.client.learning.torch_models.registry import TorchModel, load
from fedrepay.client.scoring import torch_score
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.subsampled import count_mechanism, steps_mechanism
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.sums import default_rounds
from fedrepay.simulations.bench.accuracy import (
    ATTEMPTS,
    SplitOfRows,
    additive,
    delta,
    federated,
    over_splits,
    score,
    tables,
)
from fedrepay.simulations.bench.page import at_several, curve, table
from fedrepay.simulations.rows.columns import labels
from fedrepay.simulations.rows.split import split_members

if TYPE_CHECKING:
    from fedrepay.shared.arrays import I64

SPLITS = (0, 1, 2)
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0)
COHORTS = (8, 50)
MODELS = ("logistic", "mlp")
MLP_MEMBERS = 8


@dataclass(frozen=True)
class LocalSplit:
    """One split: for shared noise all rows at once, for own noise each member's."""

    seed: int
    part: SplitOfRows
    members: dict[int, tuple[Rows, ...]]


@cache
def split(seed: int) -> LocalSplit:
    """The accuracy benchmark's split of this seed, without its trees."""
    book, train, test = tables(seed)
    rows = from_table(book, train)
    pooled = additive(book, train, test, seed)
    nothing = float("nan")
    part = SplitOfRows(
        f"{seed}", book, rows, gram(rows), train, test, lightgbm=nothing, lightgbm_raw=nothing, pooled=pooled
    )
    return LocalSplit(seed, part, {members: _members(book, train, members, seed) for members in COHORTS})


def _members(book: CodeBook, train: Table, members: int, seed: int) -> tuple[Rows, ...]:
    shares = split_members(train.customers, "iid", members, seed, None)
    return tuple(from_table(book, train.take(index)) for _, index in shares)


def local(given: LocalSplit, model: TorchModel, epsilon: float, members: int) -> float:
    """AUC of one run in local mode with the defaults of ``simulate``."""
    book, rounds = given.part.book, default_rounds("dp-sgd")
    terms = local_terms(model, LocalWishes(), epsilon, delta(book), rounds, ATTEMPTS)
    learners = [
        dp_sgd.DPSGD(
            book,
            rounds,
            terms,
            epsilon,
            delta(book),
            members,
            model,
            SeededEntropy(_stream(given, member, epsilon)),
        )
        for member in range(members)
    ]
    count = count_mechanism(epsilon, delta(book), members)
    steps = steps_mechanism(
        terms.noise_multiplier, terms.sampling_rate, terms.local_steps, members, terms.parameters
    )
    state = learners[0].start()
    for index in range(rounds):
        opened: I64 = np.sum(
            [
                learner.contribution(index, state, rows)
                for learner, rows in zip(learners, given.members[members], strict=True)
            ],
            axis=0,
        )
        state = learners[0].step(index, state, opened, (steps if index else count,))
    test = given.part.test
    return score(labels(test), torch_score.probability(model, book, state.weights[0], test.codes))


def _stream(given: LocalSplit, member: int, epsilon: float) -> bytes:
    return f"{given.seed} {member} {epsilon}".encode()


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    splits = [split(seed) for seed in SPLITS]
    models = {name: load(name, splits[0].part.book.dimension) for name in MODELS}
    lines: list[tuple[str, ...]] = []
    pictured: dict[str, dict[float, float]] = {}
    pooled = [each.part.pooled for each in splits]
    delta_ = delta(splits[0].part.book)

    def add(label: str, by_epsilon: dict[float, list[float]]) -> None:
        cells = [
            f"{over_splits([[value] for value in found])} ({np.mean(found) - np.mean(pooled):+.4f})"
            for found in by_epsilon.values()
        ]
        lines.append((label, *cells))
        print(*lines[-1], sep=" | ", flush=True)

    for members in COHORTS:
        c = default_colluders(members)
        shared = {
            epsilon: [federated(each.part, epsilon, members, c, each.seed) for each in splits]
            for epsilon in EPSILONS
        }
        own = {
            epsilon: [local(each, models["logistic"], epsilon, members) for each in splits]
            for epsilon in EPSILONS
        }
        add(f"`distributed`, K = {members}, c = {c}", shared)
        add(f"`local`, logistic, K = {members}", own)
        for name, found in (("shared", shared), ("own", own)):
            pictured[f"{name}, K = {members}"] = {each: float(np.mean(found[each])) for each in EPSILONS}
    add(
        f"`local`, mlp, K = {MLP_MEMBERS}",
        {
            epsilon: [local(each, models["mlp"], epsilon, MLP_MEMBERS) for each in splits]
            for epsilon in EPSILONS
        },
    )
    levels = {"pooled, no privacy": float(np.mean(pooled))}
    name = curve("local", "AUC against ε, noise shared by the members or each member's own", pictured, levels)
    terms = local_terms(models["logistic"], LocalWishes(), 1.0, delta_, default_rounds("dp-sgd"), ATTEMPTS)
    intro = (
        f"UCI default of credit card clients, the first {len(SPLITS)} splits of the accuracy benchmark × 1 seed of noise, "
        f"δ = {delta_:.3g}, rows dealt to members at random; with shared noise {at_several(1.0, delta_)}. Cells: mean AUC ± sd between splits (and the difference to "
        f"the baseline, the same additive model pooled without privacy: {over_splits([[value] for value in pooled])}). "
        f"`local` takes the defaults of `simulate`: {default_rounds('dp-sgd')} sums, {terms.local_steps} steps between "
        f"two of them, q = {terms.sampling_rate:g}."
    )
    note = (
        "In `local` mode ε holds even if all other members and the coordinator collude; with shared noise it holds "
        "up to c of them. That is what the difference buys: K members' noise is K times the variance. Splits differ "
        "more than rows of this table do, so only differences in one column compare. One seed of noise, since a "
        "run of 50 members takes minutes; defaults were chosen on validation parts of the training rows."
    )
    heads = ("Mode", *(f"ε = {epsilon:g}" for epsilon in EPSILONS))
    return f"{intro}\n\n{table(heads, lines)}\n\n![AUC against ε]({name})\n\n{note}"
