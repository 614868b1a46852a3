"""Membership inference: was this customer's record in what was learned?

**On the opened sums**, the most a member can do. The adversary opens them, as every member does, knows every other
record of the cohort and holds its coalition's noise. What is left of sum i once all that is known is taken off is noise
of variance σ_i², with or without the target's contribution v_i on top, so the log-likelihood ratio
Σᵢ(⟨o_i, v_i⟩ − ‖v_i‖²/2)/σ_i² is the best score there is (Neyman and Pearson; the weights of a release are computed
from these sums and add nothing). It is tried on records of the shipped data as they come, in whole runs, and on
the worst record there is (``canary``).

What (ε, δ) allows: TPR ≤ e^ε·FPR + δ (Kairouz, Oh and Viswanath 2015); under μ-Gaussian DP TPR ≤ Φ(μ − Φ⁻¹(1 − FPR))
and AUC ≤ Φ(μ/√2) (Dong, Roth and Su 2022). True positives at few false ones are what counts (Carlini et al.,
*Membership inference attacks from first principles*, IEEE S&P 2022).

**On a release** with nothing but its model: a low loss says "member" (Yeom et al., CSF 2018). Beside it the same attack
on a model that overfits, to show that it works where there is something to find.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import contribution, make_learner
from fedrepay.client.learning.contribution import from_table
from fedrepay.client.scoring.score import probability
from fedrepay.shared.arrays import F64, Bool
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.attacks import canary
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.attacks.tools.release_folder import read_release
from fedrepay.simulations.rows import baselines, figures
from fedrepay.simulations.rows.columns import labels
from fedrepay.simulations.rows.prepare import Prepared, prepare
from fedrepay.simulations.run.arguments import Arguments

EPSILON, DELTA, MAX_ATTEMPTS, ROUNDS = 1.0, 1e-5, 3, 5
MEMBERS, COLLUDERS = 5, 1
TARGETS = 1_500
"""Records in and as many out, tried in each run."""
FALSE_POSITIVES = 0.01
OVERFITTED_ROWS, OVERFITTED_PENALTY = 100, 1e-6
_SLACK = 4.0  # standard errors


@dataclass(frozen=True)
class Result:
    """How well scores tell members from others."""

    auc: float
    hits: float  # true positives at 1 % false ones
    members: int
    others: int

    @classmethod
    def of(cls, scores: F64, inside: Bool) -> "Result":
        """From a score each, (n,), higher for members."""
        found = figures.auc(inside.astype(np.int8), scores)
        bar = np.quantile(scores[~inside], 1 - FALSE_POSITIVES)
        members = int(inside.sum())
        hits = float((scores[inside] > bar).mean())
        return cls(0.5 if found is None else found, hits, members, len(scores) - members)

    def within(self, mu: float) -> bool:
        """Whether AUC and hits stay below what μ allows, up to sampling."""
        auc_error = math.sqrt((1 / self.members + 1 / self.others) / 12)
        slope = most_hits(mu) / FALSE_POSITIVES  # the bar itself is estimated from the others
        hit_error = math.sqrt(most_hits(mu) / self.members + slope**2 * FALSE_POSITIVES / self.others)
        return (
            self.auc <= most_auc(mu) + _SLACK * auc_error and self.hits <= most_hits(mu) + _SLACK * hit_error
        )

    def __str__(self) -> str:
        return f"AUC {self.auc:.3f}, {self.hits:.1%} found at 1 % false positives"


def most_auc(mu: float) -> float:
    """The largest AUC that μ-Gaussian DP allows: Φ(μ/√2)."""
    from scipy.special import ndtr  # noqa: PLC0415 - slow to import

    return float(ndtr(mu / math.sqrt(2)))


def most_hits(mu: float) -> float:
    """Most true positives at 1 % false ones under μ-Gaussian DP: Φ(μ − Φ⁻¹(0.99))."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - slow to import

    return float(ndtr(mu - ndtri(1 - FALSE_POSITIVES)))


def run(options: AttackOptions, entropy: Entropy | None = None) -> AttackFinding:
    """Ask of records whether they were in.

    Args:
        options: ``release`` is attacked by its losses; ``quick`` plays 2 runs with noise instead of 12.
        entropy: of the noise, for tests; the operating system's by default.

    Raises:
        ArgumentError: ``release`` is not of a simulation on rows, or its files have changed.
    """
    own_run = None if options.release is None else read_release(options.release)
    source = OsEntropy() if entropy is None else entropy
    given = prepare(Arguments(members=MEMBERS, seed=options.seed))
    game = Game(given, np.random.default_rng([options.seed, 13]))
    tries = 2 if options.quick else 12
    noisy = [game.play(source, noise=True) for _ in range(tries)]
    bare = game.play(source, noise=False)
    inside = np.tile(game.inside, tries)
    typical = Result.of(np.concatenate([scores for scores, _ in noisy]), inside)
    open_ = Result.of(bare[0], game.inside)
    audited = canary.audit(
        canary.Build(),
        canaries=canary.QUICK_CANARIES,
        rounds=2,
        seed=options.seed,
        known_shares=COLLUDERS,
        entropy=source,
    )
    worst = Result.of(audited.scores, audited.inside)
    mu = accounting.gdp_mu(EPSILON, DELTA)  # what was promised, whatever noise was planned for it
    losses = [by_loss(given.book, weights, given.train, given.test) for _, weights in noisy]
    loss = replace(
        losses[0],
        auc=float(np.mean([each.auc for each in losses])),
        hits=float(np.mean([each.hits for each in losses])),
    )
    rows = [
        Row("opened sums, shipped records", str(typical), str(open_)),
        Row("opened sums, the worst record", str(worst), "–"),
        Row(f"what ε = {EPSILON:g}, δ = {DELTA:g} allow", _allowed(mu), "everything"),
        Row("a release's losses; off: an overfitted model", str(loss), str(overfitted(given, options.seed))),
    ]
    found = [(typical, mu), (worst, mu), (loss, mu)]
    if own_run is not None:
        release, prepared = own_run
        own = by_loss(prepared.book, release.weights[0], prepared.train, prepared.test)
        control = overfitted(prepared, options.seed)
        rows.append(Row("losses of the given release; off: an overfitted model", str(own), str(control)))
        spent = release.statement["epsilon"]
        bound = math.inf if spent is None else accounting.gdp_mu(spent, release.statement["delta"])
        found.append((own, bound))
    return AttackFinding(
        attack="membership",
        threat="B4",
        adversary=(
            f"A member that opens the sums, knows every other record and holds {COLLUDERS} member's noise asks "
            "whether one customer's record was in them."
        ),
        defence="noise (mode none)",
        rows=tuple(rows),
        held=all(each.within(bound) for each, bound in found),
        bites=open_.auc > 0.99 and open_.hits > 0.99,
        note=(
            f"{2 * TARGETS:,} records a run, {tries} runs of {ROUNDS} sums with {MEMBERS} members; half of the records "
            "were in. Scores of one run share its noise. A person at several members is in several sums: the "
            "statement of a release says what ε becomes then."
        ),
    )


def _allowed(mu: float) -> str:
    pure = math.exp(EPSILON) * FALSE_POSITIVES + DELTA
    return f"AUC {most_auc(mu):.3f}, {most_hits(mu):.1%} found at 1 % false positives (by ε and δ alone {pure:.1%})"


class Game:
    """Runs on the shipped rows, attacked by somebody who knows all of them but one.

    Args:
        given: members and held-out rows.
        rng: chooses the targets.
    """

    def __init__(self, given: Prepared, rng: np.random.Generator) -> None:
        self.book = given.book
        self._learner = make_learner("dp-newton", self.book, ROUNDS)
        self._members = [from_table(self.book, party.train) for party in given.parties]
        self._grams = [contribution.gram(rows) for rows in self._members]
        sums = self._learner.segments()
        mu = accounting.target_mu(EPSILON, DELTA, accounting.most_draws(sums, MEMBERS, MAX_ATTEMPTS))
        self.mechanisms = [
            mechanism
            for index in range(ROUNDS)
            for mechanism in accounting.plan_attempt(mu, sums, range(index), index, MEMBERS, COLLUDERS)
        ]
        own = given.parties[0].train
        chosen = [own.take(rng.permutation(len(own.codes))[:TARGETS])]
        chosen.append(given.test.take(rng.permutation(len(given.test.codes))[:TARGETS]))
        self._targets = np.vstack([self.book.rows(each.codes) for each in chosen])
        self._outcomes = np.concatenate([labels(each) for each in chosen])
        self.inside = np.arange(2 * TARGETS) < TARGETS

    def play(self, entropy: Entropy, *, noise: bool) -> tuple[F64, F64]:
        """One run: the log-likelihood ratio of each target, (2·TARGETS,), and the weights it ended with, (d,)."""
        cohort, state = Cohort(MEMBERS), self._learner.start()
        scores = np.zeros(len(self._targets))
        for index, mechanism in enumerate(self.mechanisms):
            drawn = (mechanism,) if noise else ()
            exact = self._grams
            if index:
                exact = [self._learner.contribution(index, state, rows) for rows in self._members]
            noisy = [add_noise(values, drawn, entropy) for values in exact]
            opened = cohort.sum(dict(zip(cohort.names, noisy, strict=True)), index)
            left = opened - np.sum(exact, axis=0)
            for member in range(MEMBERS - COLLUDERS, MEMBERS):
                left -= noisy[member] - exact[member]
            along, square = self.against(index, left.astype(np.float64), state.weights[0])
            variance = mechanism.variance if noise else 1.0
            scores += (along + np.where(self.inside, square, 0.0) - square / 2) / variance
            state = self._learner.step(index, state, opened, drawn)
        return scores, state.weights[0]

    def against(self, index: int, left: F64, weights: F64) -> tuple[F64, F64]:
        """⟨left, v⟩ and ‖v‖² of each target's contribution v to this sum."""
        rows, d = self._targets, self.book.dimension
        if index == 0:
            upper = np.zeros((d, d))
            upper[np.triu_indices(d)] = left
            squares = rows**2
            return ((rows @ upper) * rows).sum(axis=1), (
                squares.sum(axis=1) ** 2 + (squares**2).sum(axis=1)
            ) / 2
        scale = self.book.residual_scales[0]
        chance = 0.5 * (1 + np.tanh(rows @ weights / (2 * self.book.scale)))
        residual = np.trunc(scale * (chance - self._outcomes))
        return residual * (rows @ left), residual**2 * (rows**2).sum(axis=1)


def by_loss(book: CodeBook, weights: F64, members: Table, others: Table) -> Result:
    """The attack of Yeom et al. on a model: a low loss says "member"."""
    scores = [
        _log_likelihood(probability(book, weights, each.codes), labels(each)) for each in (members, others)
    ]
    return Result.of(
        np.concatenate(scores), np.arange(len(members.codes) + len(others.codes)) < len(members.codes)
    )


def overfitted(given: Prepared, seed: int) -> Result:
    """The same attack on a model of few rows, without privacy and nearly without a penalty."""
    few = given.train.take(
        np.random.default_rng([seed, 17]).permutation(len(given.train.codes))[:OVERFITTED_ROWS]
    )
    model, reason = baselines.ridge_logistic(
        given.book.rows(few.codes) / given.book.scale, labels(few), seed, OVERFITTED_PENALTY
    )
    if model is None:
        raise ArgumentError(f"The control has nothing to fit: {reason}.", "Give a run of more rows.")
    scores = [
        _log_likelihood(model.predict(given.book.rows(each.codes) / given.book.scale), labels(each))
        for each in (few, given.test)
    ]
    return Result.of(
        np.concatenate(scores), np.arange(len(few.codes) + len(given.test.codes)) < len(few.codes)
    )


def _log_likelihood(chance: F64, outcomes: NDArray[np.generic]) -> F64:
    kept = np.clip(chance, 1e-15, 1 - 1e-15)
    return np.where(outcomes.astype(np.bool_), np.log(kept), np.log1p(-kept))
