"""A canary audit: does the noise that comes out of the real road bound a record as the accountant says?

Each canary is one worst-case record of one member, in or out by a coin, in a release of its own: its Gram matrix
and its gradients, or its sums of labels and without, are encoded by the learner, get the members' shares of noise, are masked, encrypted, tagged, added
and opened. Releases of a small code book are a few dozen numbers, so thousands lie side by side in one secure sum;
each number has noise of its own, so their scores are independent. The claim is at most the μ
that (ε, δ) allow, whatever the plan of the noise adds up to.

**The score.** The auditor is the worst case of the claim: it knows all other records, chose the models at which
gradients are taken, and c colluders have given it their noise. With v_i the record's contribution to sum i, o_i what
is left of the opened sum once all that is known is taken off, and σ_i² the variance of the K − c honest shares,
T = Σᵢ⟨o_i, v_i⟩/σ_i² is the log-likelihood ratio up to a constant, so no test is better (Neyman and Pearson).

**The test.** T is normal with the same variance whether the record is in or out, so the trade-off between its two
errors is exactly that of N(0, 1) against N(μ̂, 1), μ̂ = (mean in − mean out)/standard deviation. A release that is
μ-Gaussian-DP allows no test below that curve at μ (Dong, Roth and Su, *Gaussian differential privacy*, JRSS B 2022,
Theorem 2.7 and Definition 2.6), so μ̂ ≤ μ up to sampling. With m₁ canaries in, m₀ out and a pooled standard deviation,
μ̂ is the standardised difference of two means, with standard error √(1/m₁ + 1/m₀ + μ²/(2(m₁ + m₀ − 2))) (Hedges and
Olkin 1985, ch. 5). The claim is rejected where μ̂ − 1.645 errors lie above it: at 95 %. Parametric audits by μ: Nasr
et al., *Tight auditing of differentially private machine learning*, USENIX Security 2023. Counting hits at a threshold
(Steinke et al. 2023) needs far more canaries: it did not notice halved noise. That T is normal is not assumed
silently: a Kolmogorov–Smirnov test of its residuals is part of the audit.

**Power.** At ε = 1 and δ = 1e-5, μ is 0.268 and 20,000 canaries have an error of 0.0142. A build with half the noise
has 2μ: it is missed with probability Φ(1.645 − 0.268/0.0144) < 1e-60; one with half the variance (√2·μ) with
probability 5e-10; an excess of 17 % is found in 19 audits of 20 (60,000 canaries: 10 %). A sound build whose canary
is as bad as the claim allows is rejected in one audit of 20; so a rejection is repeated with new canaries, and stands
if both say so (1 in 400; the excess just named is then found in 9 runs of 10).

**Cross-check in development**: jax-privacy 2.0.0's ``CanaryScoreAuditor`` on the scores of three such audits of
20,000. Its AUROC gives μ = √2·Φ⁻¹(AUROC) = 0.255, 0.367, 0.520 for the product, half the variance and half the noise,
where μ̂ is 0.247, 0.357, 0.513. Its counting bounds on ε miss even half the noise (Clopper–Pearson 0.76, one-run f-DP
0.88, one-run 0.43, all below the claim of 1); its ``epsilon_from_gdp`` takes the best of all thresholds without a
correction and rejects the sound build too (1.78).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning import contribution, make_learner
from fedrepay.client.learning.base import Learner, Model
from fedrepay.client.learning.contribution import Rows
from fedrepay.shared.arrays import F64, I8, U16, Bool
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.cohort import Cohort

EPSILON, DELTA = 1.0, 1e-5
MEMBERS, COLLUDERS = 5, 1
MAX_ATTEMPTS = 3
CANARIES, QUICK_CANARIES = 60_000, 20_000
LEVEL_95 = 1.6448536269514722
"""The standard normal's 95 % point: one-sided bounds."""
TRIES = 2
LABELS = "dp-surrogate"
"""The learner whose sums of labels and without are audited too: they are charged half a gradient's sensitivity."""
LEAST_NORMAL = 1e-4
"""p-value of the Kolmogorov–Smirnov test below which scores are not normal and μ̂ says nothing."""

_SCHEMA = b"""
name = "canary"
version = 1
title = "Canary"
[public]
n_max = 500
members_max = 16
prior = 0.3
one_row_per_customer = true
[[columns]]
name = "x"
role = "account"
type = "number"
bounds = [0, 6]
edges = [2, 4]
outside = "clip"
missing = "refuse"
[[columns]]
name = "id"
role = "customer"
type = "text"
[[columns]]
name = "y"
role = "outcome"
type = "integer"
good = 0
"""

Records = tuple[U16, I8]
"""Bins, (n, features), and outcomes, (n, 1)."""


@dataclass(frozen=True)
class Build:
    """What is audited: the product as it is, or with a mistake put in.

    Attributes:
        noise: standard deviation of each share, in parts of the product's.
        weight: of the canary's record, in parts of the product's.
        colluders_in_noise: noise is shared among K − c members, as the product does; else among K.
    """

    noise: float = 1.0
    weight: int = 1
    colluders_in_noise: bool = True

    def drawn(self, mechanism: Mechanism) -> Mechanism:
        """The mechanism whose noise this build draws."""
        changed = replace(mechanism, variance=self.noise**2 * mechanism.variance)
        return changed if self.colluders_in_noise else replace(changed, colluders=0)


@dataclass(frozen=True)
class Audit:
    """What canaries say about a claim.

    Attributes:
        claim: the accountant's μ of the release.
        mu: μ̂ of the canaries.
        low: what it is at least, at 95 %.
        reach: the canary's own μ by construction, in parts of the claim: 1 is the worst that the claim allows.
        normal: p-value of the Kolmogorov–Smirnov test of the scores' residuals.
        scores: T in units of its standard deviation under the claim, (canaries,).
        inside: which canaries were in, (canaries,).
    """

    claim: float
    mu: float
    low: float
    reach: float
    normal: float
    scores: F64
    inside: Bool

    @property
    def canaries(self) -> int:
        """How many."""
        return len(self.scores)

    @property
    def over(self) -> bool:
        """Whether the claim is rejected at 95 %."""
        return self.low > self.claim


def estimate(scores: F64, inside: Bool, claim: float, reach: float = 1.0) -> Audit:
    """μ̂ and its bound from scores, (m,), and which canaries were in, (m,); see the module's text."""
    from scipy.special import kolmogorov, ndtr  # noqa: PLC0415 - slow to import

    inner, outer = scores[inside], scores[~inside]
    left = np.where(inside, scores - inner.mean(), scores - outer.mean())
    deviation = math.sqrt(float(left @ left) / (len(scores) - 2))
    mu = float(inner.mean() - outer.mean()) / deviation
    error = math.sqrt(1 / len(inner) + 1 / len(outer) + mu**2 / (2 * (len(scores) - 2)))
    places = np.sort(left) / deviation
    steps = np.arange(len(places)) / len(places)
    gap = float(np.maximum(ndtr(places) - steps, steps + 1 / len(places) - ndtr(places)).max())
    normal = float(kolmogorov(math.sqrt(len(places)) * gap))
    return Audit(claim, mu, mu - LEVEL_95 * error, reach, normal, scores, inside)


def audit(
    build: Build,
    *,
    canaries: int,
    rounds: int,
    seed: int,
    known_shares: int,
    entropy: Entropy,
    learner_name: str = "dp-newton",
) -> Audit:
    """Send canaries along the road and judge them.

    Args:
        build: what is audited.
        canaries: releases, one canary each.
        rounds: secure sums a release: the Gram matrix and ``rounds`` − 1 gradients, or sums of and without labels.
        seed: of the coins and of the other records.
        known_shares: members that give the auditor their noise, 0 … c.
        entropy: of the noise.
        learner_name: whose sums.
    """
    book = codebook.build(_SCHEMA, "the canary's schema")
    learner = make_learner(learner_name, book, rounds)
    rng = np.random.default_rng([seed, 7])
    inside = rng.random(canaries) < 0.5
    state, record = _worst(book)
    base = {index: _known(book, rng, 40) for index in range(MEMBERS)}
    cohort = Cohort(MEMBERS)
    scores = np.zeros(canaries)
    norm = 0.0
    claimed = planned(learner)
    for index in range(rounds):
        (mechanism,) = claimed[index]
        own = {m: learner.contribution(index, state, _rows(book, rows)) for m, rows in base.items()}
        # the canary among the others' records, encoded with them
        both = _rows(book, _together(base[0], record))
        honest = learner.contribution(index, state, both) - own[0]
        both.weights[-1] *= build.weight
        with_canary = learner.contribution(index, state, both)
        noisy, known = {}, np.tile(sum(own.values()), canaries)
        drawn = replace(build.drawn(mechanism), size=canaries * mechanism.size)
        for member, name in enumerate(cohort.names):
            values = np.tile(own[member], (canaries, 1))
            if member == 0:
                values[inside] = with_canary
            exact = values.ravel()
            noisy[name] = add_noise(exact, (drawn,), entropy)
            if member >= MEMBERS - known_shares:
                known += noisy[name] - exact
        left = (cohort.sum(noisy, index) - known).reshape(canaries, -1).astype(np.float64)
        variance = (MEMBERS - known_shares) * mechanism.share_variance
        scores += left @ honest.astype(np.float64) / variance
        norm += float(honest.astype(np.float64) @ honest) / variance
    composed = math.sqrt(math.fsum(m.mu(known_shares) ** 2 for (m,) in claimed))
    claim = min(composed, accounting.gdp_mu(EPSILON, DELTA))  # whatever was planned, (ε, δ) was promised
    return estimate(scores / math.sqrt(norm), inside, claim, math.sqrt(norm) / claim)


def planned(learner: Learner[Any]) -> list[tuple[Mechanism, ...]]:
    """The mechanisms of a run without retries at the audited (ε, δ)."""
    sums = learner.segments()
    mu = accounting.target_mu(EPSILON, DELTA, accounting.most_draws(sums, MEMBERS, MAX_ATTEMPTS))
    return [
        accounting.plan_attempt(mu, sums, range(index), index, MEMBERS, COLLUDERS)
        for index in range(len(sums))
    ]


def _known(book: CodeBook, rng: np.random.Generator, count: int) -> Records:
    """Records that the auditor knows."""
    codes = np.column_stack([rng.integers(0, len(block.matrix), count) for block in book.blocks[:-1]])
    return codes.astype(np.uint16), rng.integers(0, 2, (count, 1)).astype(np.int8)


def _worst(book: CodeBook) -> tuple[Model, Records]:
    """The record of the longest row, and a model that is certain of its outcome and wrong."""
    longest = [int((block.matrix**2).sum(axis=1).argmax()) for block in book.blocks[:-1]]
    codes = np.array([longest], dtype=np.uint16)
    row = book.rows(codes)
    weights = 30 * book.scale * row / float((row**2).sum())  # p = 1 − 1e-13 for outcome 0
    return Model(weights, np.zeros_like(weights)), (codes, np.zeros((1, 1), dtype=np.int8))


def _together(records: Records, last: Records) -> Records:
    return np.vstack([records[0], last[0]]), np.vstack([records[1], last[1]])


def _rows(book: CodeBook, records: Records) -> Rows:
    """Records as a member holds them, each of a customer of its own."""
    customers = np.array([f"k{i}" for i in range(len(records[0]))], dtype=object)
    return contribution.prepare(book, *records, customers, None)


def settled(
    build: Build,
    known_shares: int,
    options: AttackOptions,
    entropy: Entropy,
    tries: int = TRIES,
    learner_name: str = "dp-newton",
) -> Audit:
    """An audit, repeated with new canaries while it rejects, ``tries`` times at most: what it says then stands."""
    canaries, rounds = (QUICK_CANARIES, 2) if options.quick else (CANARIES, 5)
    found: list[Audit] = []
    while not found or (found[-1].over and len(found) < tries):
        seed = 1_000 * options.seed + len(found)
        found.append(
            audit(
                build,
                canaries=canaries,
                rounds=rounds,
                seed=seed,
                known_shares=known_shares,
                entropy=entropy,
                learner_name=learner_name,
            )
        )
    return found[-1]


def run(options: AttackOptions, entropy: Entropy | None = None) -> AttackFinding:
    """Audit the product, and builds with a mistake put in.

    Args:
        options: ``quick`` takes 20,000 canaries in releases of two sums; else 60,000 in releases of five.
        entropy: of the noise, for tests; the operating system's by default.
    """
    source = OsEntropy() if entropy is None else entropy
    built = settled(Build(), COLLUDERS, options, source)
    outside = None if options.quick else settled(Build(), 0, options, source)
    half = settled(Build(noise=0.5), COLLUDERS, options, source, tries=1)
    double = settled(Build(weight=2), COLLUDERS, options, source, tries=1)
    labels = settled(Build(), COLLUDERS, options, source, learner_name=LABELS)
    whole = settled(Build(weight=2), COLLUDERS, options, source, tries=1, learner_name=LABELS)
    rows = [_row(f"shares of K − c = {MEMBERS - COLLUDERS}; off: half the noise", built, half)]
    rows.append(_row("the same; off: a record counted twice", built, double))
    rows.append(
        _row(f"{LABELS}'s sums of labels and without; off: a label at twice its sensitivity", labels, whole)
    )
    if outside is not None:
        shared = settled(Build(colluders_in_noise=False), COLLUDERS, options, source, tries=1)
        rows.append(_row("the same; off: noise shared among K, not K − c", built, shared))
        rows.append(Row(f"shares of all K = {MEMBERS}, nobody colludes", _figure(outside), "–"))
    rows.append(
        Row(
            f"ε at least, at 95 % (claim {EPSILON:g} at δ = {DELTA:g}); off: half the noise",
            f"{accounting.gdp_epsilon(max(built.low, 1e-9), DELTA):.2f}",
            f"{accounting.gdp_epsilon(max(half.low, 1e-9), DELTA):.2f}",
        )
    )
    sound = [built, labels, *([] if outside is None else [outside])]
    return AttackFinding(
        attack="canary",
        threat="B4",
        adversary=(
            f"An auditor that knows every other record, chose the models and holds {COLLUDERS} colluder's noise "
            f"tells {built.canaries:,} records that were in from those that were not."
        ),
        defence="noise: its width, the weight of a record, and c among those who share it",
        rows=tuple(rows),
        held=all(not each.over and each.normal > LEAST_NORMAL for each in sound),
        bites=half.over and double.over and whole.over,
        note=(
            "μ̂ with its lower bound at 95 % beside the accountant's μ, of which the worst record's own is "
            f"{built.reach:.1%}; each audit rejects a sound build once in 400 runs. It audits what this code draws and adds, "
            "with the records and models that are worst for it; not the operating system's generator, and no excess "
            "below a tenth (quick: a sixth) of μ."
        ),
    )


def _row(what: str, sound: Audit, control: Audit) -> Row:
    return Row(what, _figure(sound), _figure(control))


def _figure(found: Audit) -> str:
    verdict = "over" if found.over else "not over"
    return f"μ̂ {found.mu:.3f} (≥ {found.low:.3f}), {verdict} the claim of {found.claim:.3f}"
