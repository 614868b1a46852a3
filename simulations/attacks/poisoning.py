"""Poisoning: one member of ten sends false gradients. There is no defence on the sum.

Under masks nobody sees one member's update, so nobody can clip it, drop it or name its sender; a malicious member can
add any vector mod t. What there is: an honest member judges the release on its own held-out customers before it uses
it, at full precision and without telling anybody. Here each compares the release's log-loss on them with that of a
model it fitted alone on its own rows, and sees harm where the release is worse in 95 % of bootstrap samples. No
command does that for a member; `simulate` shows members' own figures. The protocol's held-out gate (one more secure sum before a release is signed) is not built: releases say "gate: not run".

Attacks as in Bagdasaryan et al., *How to backdoor federated learning*, AISTATS 2020 (scaling), and Fung et al.,
*Mitigating sybils in federated learning poisoning*, 2018 (flipping), on the gradients of DP-Newton; the Gram matrix is
sent honestly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import make_learner
from fedrepay.client.learning.contribution import from_table
from fedrepay.client.scoring.score import probability
from fedrepay.shared.arrays import F64
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.rows import baselines, figures
from fedrepay.simulations.rows.columns import labels
from fedrepay.simulations.rows.prepare import Prepared, prepare
from fedrepay.simulations.run.arguments import Arguments

MEMBERS, COLLUDERS, ROUNDS = 10, 1, 5
EPSILON, DELTA, MAX_ATTEMPTS = 1.0, 1e-5, 3
ATTACKS = {"no attack": 1, "sign flipped": -1, "×100": 100, "sign flipped, ×100": -100}
HARM = 0.01
"""Loss of AUC from which on an attack has done harm; the cost of privacy is 0.002 to 0.005."""
LEAST_SEEN = 8
"""Honest members, of nine, that must see harm."""
PENALTY = 1.0
"""λ of a member's own model: what cross-validation picks for 2,400 of the shipped rows."""
REPEATS = 1_000


@dataclass(frozen=True)
class Poisoned:
    """What one attack did to one release."""

    auc: float
    loss: float
    seen: int  # honest members that see harm on their own rows
    filled: float  # largest number of any sum, in parts of t/2


def run(options: AttackOptions, entropy: Entropy | None = None) -> AttackFinding:
    """Train with one false member and see who notices.

    Args:
        options: ``quick`` takes one split of the data, else three.
        entropy: of the noise, for tests; the operating system's by default.
    """
    source = OsEntropy() if entropy is None else entropy
    seeds = range(options.seed, options.seed + (1 if options.quick else 3))
    outcomes = _outcomes("iid", ATTACKS, seeds, source)
    honest = outcomes["no attack"]
    rows = [_row(name, found, honest) for name, found in outcomes.items()]
    if not options.quick:
        unequal = _outcomes("sizes:zipf", {"honest": 1, "flipped": -1}, seeds, source)
        what = "not judged: sign flipped, by a member with a third of all rows"
        rows.append(_row(what, unequal["flipped"], unequal["honest"]))
    judged = [
        (each, reference)
        for found in outcomes.values()
        for each, reference in zip(found, honest, strict=True)
    ]
    harmed = [each for each, reference in judged if reference.auc - each.auc > HARM]
    return AttackFinding(
        attack="poisoning",
        threat="B5",
        adversary=f"1 member of {MEMBERS} adds false gradients to the sum, to spoil the release.",
        defence="honest members' look at their own held-out customers; there is no defence on the sum",
        rows=tuple(rows),
        held=all(each.seen >= LEAST_SEEN for each in harmed) and all(each.seen <= 1 for each in honest),
        bites=len(harmed) >= len(honest),
        note=(
            f"Held means: what costs more than {HARM} AUC is seen by {LEAST_SEEN} of {MEMBERS - 1} honest members, and "
            "without an attack by one at most; looking is the member's own work. Nothing keeps it out of the sum, nobody is named, and the gate that "
            'would judge a release before it is signed is not built (a release says "gate: not run"). '
            "A flipped sign costs next to nothing where members are equal and alike: the other nine outweigh it, and "
            "the model comes to rest at the same place. From a member with a third of all rows it costs more, and few "
            "see it; nor would they see harm to a small group. "
            f"×100 fills {max(each.filled for found in outcomes.values() for each in found):.1%} of the range mod t here; "
            "more wraps around, which is one more wrong vector. "
            f"Splits of the shipped rows: {len(honest)}, ε = {EPSILON:g}."
        ),
    )


def _outcomes(
    split: str, attacks: Mapping[str, int], seeds: Sequence[int], entropy: Entropy
) -> dict[str, list[Poisoned]]:
    """What each attack of the first member did, one outcome a split of the data."""
    outcomes: dict[str, list[Poisoned]] = {name: [] for name in attacks}
    for seed in seeds:
        given = prepare(Arguments(members=MEMBERS, seed=seed, split=split))
        alone = {party.name: _own_loss(given, party.train, party.name, seed) for party in given.parties[1:]}
        for name, factor in attacks.items():
            outcomes[name].append(_attack(given, factor, alone, seed, entropy))
    return outcomes


def _attack(given: Prepared, factor: int, alone: dict[str, F64], seed: int, entropy: Entropy) -> Poisoned:
    """One run in which the first member multiplies its gradients."""
    book, cohort = given.book, Cohort(MEMBERS)
    learner = make_learner("dp-newton", book, ROUNDS)
    sums = learner.segments()
    mu = accounting.target_mu(EPSILON, DELTA, accounting.most_draws(sums, MEMBERS, MAX_ATTEMPTS))
    members = [from_table(book, party.train) for party in given.parties]
    state, largest = learner.start(), 0
    for index in range(ROUNDS):
        mechanisms = accounting.plan_attempt(mu, sums, range(index), index, MEMBERS, COLLUDERS)
        sent = [learner.contribution(index, state, rows) for rows in members]
        if index:
            sent[0] = sent[0] * factor
        noisy = [add_noise(values, mechanisms, entropy) for values in sent]
        largest = max(largest, int(np.abs(np.sum(noisy, axis=0)).max()))
        opened = cohort.sum(dict(zip(cohort.names, noisy, strict=True)), index)
        state = learner.step(index, state, opened, mechanisms)
    weights = state.weights[0]
    predicted = probability(book, weights, given.test.codes)
    seen = 0
    for name, loss in alone.items():
        own = given.tests[name]
        more = _losses(probability(book, weights, own.codes), labels(own)) - loss
        seen += worse(more, seed)
    truth = labels(given.test)
    auc = figures.auc(truth, predicted)
    if auc is None:
        raise AssertionError("the shipped rows have both outcomes")
    return Poisoned(auc, figures.log_loss(truth, predicted), seen, 2 * largest / GAM.t)


def _own_loss(given: Prepared, train: Table, name: str, seed: int) -> F64:
    """Log-loss of each of a member's own held-out customers under the model of its own rows alone."""
    own, book = given.tests[name], given.book
    model, reason = baselines.ridge_logistic(
        book.rows(train.codes) / book.scale, labels(train), seed, PENALTY
    )
    if model is None:
        raise AssertionError(f"the shipped rows fit: {reason}")
    return _losses(model.predict(book.rows(own.codes) / book.scale), labels(own))


def _losses(chance: F64, outcomes: NDArray[np.generic]) -> F64:
    kept = np.clip(chance, 1e-15, 1 - 1e-15)
    return -np.where(outcomes.astype(np.bool_), np.log(kept), np.log1p(-kept))


def worse(differences: F64, seed: int) -> bool:
    """Whether the mean is above 0 in 95 % of bootstrap samples of customers."""
    rng = np.random.default_rng([seed, 19])
    drawn = rng.integers(0, len(differences), (REPEATS, len(differences)))
    return bool(np.quantile(differences[drawn].mean(axis=1), 0.05) > 0)


def _row(what: str, found: list[Poisoned], honest: list[Poisoned]) -> Row:
    """Who sees it, and what the release is worth if nobody looks."""
    numbers = sorted({each.seen for each in found})
    seen = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    auc = float(np.mean([each.auc for each in found]))
    lost = float(np.mean([each.auc - reference.auc for each, reference in zip(found, honest, strict=True)]))
    loss = float(np.mean([each.loss for each in found]))
    return Row(
        what,
        f"{seen} of {MEMBERS - 1} honest members see harm",
        f"AUC {auc:.3f} ({lost:+.3f}), log-loss {loss:.3f}",
    )
