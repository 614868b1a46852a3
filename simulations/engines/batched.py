"""``--engine batched``: the members' sums computed together, and no protocol between them."""

from dataclasses import dataclass
from typing import Any, ClassVar

from fedrepay.client.learning import make_learner, monotone
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.statement import Charge, statement
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.roster import Entry, Roster
from fedrepay.simulations.engines import clear
from fedrepay.simulations.run.consortium import Consortium

NO_PROTOCOL = "no protocol ran (--engine batched)"
"""Why such a run claims nothing, as metrics and report say it."""


@dataclass
class BatchedConsortium(Consortium):
    """Has a consortium's figures without its members: no ceremony, store, message or signature."""

    engine: ClassVar[str] = "batched"
    streams: clear.Streams | None = None
    opened: clear.Opened | None = None

    def run(self) -> None:
        """Open all sums; nothing is written, so there is nothing to resume.

        Raises:
            ArgumentError: local mode, or simulated failures.
        """
        terms = self.terms
        if terms.mode == "local":
            raise ArgumentError(
                "--mode local does not go with --engine batched.", "Choose distributed or none."
            )
        if self.drops:
            raise ArgumentError("--drop does not go with --engine batched.", "Leave one of the two out.")
        learner, members = make_learner(terms.learner, self.book, terms.rounds), len(self.parties)
        rows = clear.pool([snapshot(self.book, party.train, b"")[0] for party in self.parties])
        mechanisms: clear.Charged = ((),) * terms.rounds
        if terms.mode == "distributed":
            mechanisms = clear.planned(
                learner,
                epsilon=terms.epsilon,
                delta=terms.delta,
                members=members,
                colluders=terms.colluders,
                max_attempts=terms.max_attempts,
            )
        self.opened = clear.run(learner, clear.together(learner, rows), mechanisms, members, self.streams)

    def traffic(self) -> dict[str, float]:
        """Nothing crossed a wire."""
        names = ("bytes_up_per_member", "bytes_ceremony_per_member", "bytes_release", "bytes_down_per_member")
        return dict.fromkeys(names, 0.0)

    def result(self) -> ReleaseContent:
        """The model as a release that nobody signed and that is written nowhere; it claims nothing."""
        if self.opened is None:
            raise ValueError("the run has not been carried")
        terms, schema = self.terms, self.book.schema
        names = sorted(party.name for party in self.parties)
        charges = [
            Charge(i, completed=True, mechanisms=each) for i, each in enumerate(self.opened.mechanisms)
        ]
        said = statement(
            charges,
            mode=terms.mode,
            epsilon=terms.epsilon,
            delta=terms.delta,
            colluders=terms.colluders,
            cohort=len(names),
            unit="customer" if any(column.role == "customer" for column in schema.columns) else "row",
            seeded=True,
        )
        card: dict[str, Any] = {
            "schema": {"name": schema.name, "version": schema.version, "hash": terms.schema_hash.hex()},
            "learner": terms.learner,
            "model": "additive logistic model on public bins",
            "heads": [outcome.name for outcome in schema.outcomes],
            "parameters": terms.heads * terms.dimension,
            "members": len(names),
            "cohorts": [names] * len(self.opened.sums),
            "rounds": len(self.opened.sums),
            "attempts": len(self.opened.sums),
        }
        return ReleaseContent(
            number=terms.run,
            weights=monotone.project(self.book, self.opened.state.weights),
            sums=self.opened.sums,
            schema=self.book.schema_bytes,
            codebook=self.book.codebook_bytes,
            roster=_nobody(),
            card=card,
            statement=said | {"not_private": NO_PROTOCOL},
        )


def _nobody() -> Roster:
    """A roster without keys: no signature can ever be of it."""
    entries = tuple(
        Entry(name=f"none{i}", signing=bytes([i] * 32), sealing=bytes([i] * 32)) for i in range(3)
    )
    return Roster(
        number=0,
        predecessor=bytes(32),
        members=entries,
        coordinator=bytes([255] * 32),
        released=0,
        release=bytes(32),
        nonces=(bytes(32),) * 3,
    )
