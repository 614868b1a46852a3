"""Opened Gram matrices with what each member put in: drawn here, or of a simulated run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning import contribution, make_learner
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.fields import GRAM_LEARNERS
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.attacks.tools.release_folder import read_run
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms
from fedrepay.simulations.run.world import SCHEMA, rows

if TYPE_CHECKING:
    from fedrepay.shared.schema.codebook import CodeBook


@dataclass(frozen=True)
class OpenedMarket:
    """Members' contributions to an opened Gram matrix.

    Attributes:
        book: the code book.
        opened: upper triangle of the opened sum, (d(d+1)/2,), grid units.
        contributions: the same of each member before noise.
        share_variance: of one member's share of noise, grid units².
        colluders: c.
    """

    book: "CodeBook"
    opened: I64
    contributions: Mapping[str, I64]
    share_variance: float
    colluders: int

    def without_noise(self) -> "OpenedMarket":
        """The same run in mode ``none``."""
        exact = np.sum(list(self.contributions.values()), axis=0)
        return OpenedMarket(self.book, exact, self.contributions, 0.0, self.colluders)

    def noise(self) -> F64:
        """The squared noise in each value of the opened sum, in the variance that is stated for it."""
        total = np.sum(list(self.contributions.values()), axis=0)
        variance = len(self.contributions) * self.share_variance
        return np.asarray((self.opened - total).astype(np.float64) ** 2 / variance)


def played(seed: int, sizes: tuple[int, ...], *, quick: bool) -> list[OpenedMarket]:
    """Markets of so many members at ε = 1, from the shipped credit data (quick: from a few drawn customers)."""
    if quick:
        book = codebook.build(SCHEMA)
        parts = [contribution.gram(rows(book, 100 * seed + i, 150 + 20 * i)) for i in range(max(sizes))]
    else:
        prepared = prepare(Arguments(members=20, seed=seed))
        book = prepared.book
        parts = [contribution.gram(snapshot(book, party.train, b"")[0]) for party in prepared.parties]
    return [_market(book, [np.sum(parts[i::size], axis=0) for i in range(size)]) for size in sizes]


def _market(book: "CodeBook", parts: list[I64]) -> OpenedMarket:
    """These members' secure sum at ε = 1: noise, masks, encryption, tags and opening as in a first attempt."""
    terms = make_terms(Arguments(members=len(parts)), book, len(parts))
    sums = make_learner(terms.learner, book, terms.rounds).segments()
    mu = accounting.target_mu(
        terms.epsilon, terms.delta, accounting.most_draws(sums, len(parts), terms.max_attempts)
    )
    noise = accounting.plan_attempt(mu, sums, [], 0, len(parts), terms.colluders)[0]
    cohort, source = Cohort(len(parts)), OsEntropy()
    members = dict(zip(cohort.names, parts, strict=True))
    opened = cohort.sum({name: add_noise(part, (noise,), source) for name, part in members.items()}, 0)
    return OpenedMarket(book, opened, members, noise.share_variance, terms.colluders)


def recorded(path: Path) -> OpenedMarket:
    """A simulated run: its release's opened sum, its members' own data, and the noise that their ledgers tell.

    Args:
        path: ``release/`` inside the run's folder.

    Raises:
        ArgumentError: no release of a simulation, its files have changed, or it opened no Gram matrix.
    """
    release, book, parties = read_run(path)
    if release.card["learner"] not in GRAM_LEARNERS:
        raise ArgumentError(
            f"{path} is of a run that opened no Gram matrix.",
            "Attack one of learner dp-newton or dp-surrogate.",
        )
    cohort = release.card["cohorts"][0]
    taking_part = {party.name: party.train for party in parties if party.name in cohort}
    parts = {name: contribution.gram(snapshot(book, table, b"")[0]) for name, table in taking_part.items()}
    folder, variance = Folder(path.resolve().parent), 0.0
    for name in parts:
        store = MemberStore(folder.members / name, lambda: 0.0)
        opened = {each.attempt for each in store.openings(release.number) if each.round == 0}
        charged = [
            each for each in store.ledger() if each.round == 0 and each.attempt in opened and each.event
        ]
        if charged:
            variance = Mechanism(**charged[0].event[0]).share_variance
            break
    return OpenedMarket(book, release.sums[0], parts, variance, release.statement["colluders"])
