"""Attempts at sums, at the coordinator: who is asked, what is added, what becomes of one that a member loses. Pure."""

import math
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol.state import Ask, Event, State
from fedrepay.server.protocol.verify import check_upload
from fedrepay.shared.errors import CohortError, ProtocolError
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.sums import run_chunks
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Attempt, Kind, Prepare, PrepareRequest, Reply, Sum, Upload

TWICE = 2
"""So often a member may lose an attempt of a run before it is left out of the next ones, while a quorum is left."""


class Attempts:
    """The attempts of one run; adds uploads as they come, and keeps no single one.

    Args:
        terms: terms and number.
        key: the coordinator's signing key.
        state: what the events of the run have said; the coordinator's own.
    """

    def __init__(self, terms: NumberedTerms, key: Ed25519PrivateKey, state: State) -> None:
        self._terms, self._key, self._state = terms, key, state
        self._sum: PublicSum | None = None
        self._fresh: dict[str, Signed] = {}  # headers added in the open attempt
        self._failed: set[str] = set()  # members lost in the open attempt
        self._needs: dict[str, int] = {}  # from which round on a member asked for older sums
        self.unprepared: set[str] = set()  # who is to prepare the open attempt again
        self._forgetful: set[str] = set()  # who has said so of it before

    def config(self, epoch: Epoch, round_: int, cohort: tuple[str, ...]) -> Signed:
        """The next configuration: the run's terms, this cohort, and every attempt before."""
        return Signed.make(self._key, self._prepared(epoch, round_).config(cohort))

    def _prepared(self, epoch: Epoch, round_: int) -> Prepare:
        """The next attempt but for its cohort."""
        fields = {name: getattr(self._terms, name) for name in type(self._terms.terms()).model_fields}
        history = tuple(
            Attempt(
                round=record.config.round,
                attempt=record.config.attempt,
                cohort=record.config.cohort,
                completed=record.status == "completed",
            )
            for record in self._state.attempts
            if record.status != "open"
        )
        return Prepare(
            **fields,
            run=self._terms.run,
            epoch=epoch.id,
            roster_hash=epoch.roster.hash(),
            round=round_,
            history=history,
        )

    def prepare(self, epoch: Epoch, names: Sequence[str], patience: float = math.inf) -> Ask:
        """What comes before the next attempt, with the sums that each of these may lack.

        Args:
            epoch: the run's.
            names: who is asked.
            patience: seconds for their answers.
        """
        state = self._state
        asked = Signed.make(self._key, self._prepared(epoch, len(state.sums)))
        confirmations = tuple(Signed.decode(body) for body in state.answers[Kind.CONFIRM].values())
        shared: dict[int, bytes] = {}
        parts = {}
        for name in names:
            first = state.known.get(name, 0)
            if first not in shared:
                request = PrepareRequest(
                    asked=asked,
                    confirmations=confirmations if first == 0 else (),
                    sums=state.sums_from(first),
                )
                shared[first] = request.encode()
            parts[name] = (shared[first], state.own_header(name))
        return Ask(Kind.PREPARE, parts, patience)

    def ask(self) -> Ask:
        """The open attempt, to everybody of its cohort who has neither answered nor failed."""
        record = self._state.attempts[-1]
        answered = {*self._fresh, *self._failed}
        names = [name for name in record.config.cohort if name not in answered]
        shared = record.signed.encode()
        return Ask(Kind.ROUND, {name: (shared, self._state.own_header(name)) for name in names})

    def lost(self, name: str) -> None:
        """A member gave no good answer to the open attempt."""
        self.unprepared.discard(name)
        self._failed.add(name)

    def need(self, name: str, first: int) -> list[Event]:
        """A member asks for sums from that round on; it opens what it is sent, so it never asks for those again.

        Raises:
            ProtocolError: there are none, or it has asked for them before.
        """
        if first <= self._needs.get(name, -1) or first > len(self._state.sums):
            raise ProtocolError(f"{name} keeps asking for sums from round {first}.", "It is left out.")
        self._needs[name] = first
        return [Event("need", name, str(first).encode())]

    def forgotten(self, name: str) -> None:
        """A member was started again since it prepared the open attempt.

        Raises:
            ProtocolError: it says so again.
        """
        if name in self._forgetful:
            raise ProtocolError(f"{name} forgets again and again what it has prepared.", "It is left out.")
        self._forgetful.add(name)
        self.unprepared.add(name)

    def receive(self, epoch: Epoch, name: str, reply: Reply) -> list[Event]:
        """Check an upload and add it.

        Raises:
            ProtocolError: it is not one of this attempt's, by this member.
        """
        record = self._state.attempts[-1]
        upload = Upload.decode(reply.body)
        chunks = run_chunks(self._terms, len(epoch.roster.names))[record.config.round]
        header = check_upload(upload, record.signed, record.config, epoch, name, chunks)
        if self._sum is None:
            self._sum = PublicSum(chunks)
        self._sum.add(upload.payload, header.tags)
        self._fresh[name] = upload.header
        return [Event("header", name, upload.header.encode())]

    def check_left(self, why: str) -> None:
        """Whether the run may begin another attempt.

        Args:
            why: who is away and why, for the error.

        Raises:
            CohortError: more were lost than it may lose.
        """
        state, terms, round_ = self._state, self._terms, len(self._state.sums)
        voids = sum(record.status == "void" for record in state.attempts)
        if voids > terms.max_attempts:
            raise CohortError(
                f"Round {round_}: {voids} attempts were lost, {terms.max_attempts} extra are allowed in a run. Lost by: "
                f"{_losers(state)}{why}.",
                "Every attempt costs budget, so the run stops here. `fedrepay coordinator abandon`, then train --new-run, "
                "--without whoever lost most while the quorum holds.",
            )

    def open(self, epoch: Epoch, there: Mapping[str, int], why: str) -> list[Event]:
        """Begin the next attempt, with those who are there and did not lose the ones before.

        Args:
            epoch: the run's.
            there: who has prepared it, and of how many members it must be for each to take part.
            why: who is away and why, for an error.

        Raises:
            CohortError: fewer than the quorum are left.
        """
        state = self._state
        needed = quorum(len(epoch.roster.names), self._terms.colluders)
        often = {name for name, count in state.losses.items() if count >= TWICE}
        here = tuple(name for name in epoch.present if name in there)
        reliable = _willing([name for name in here if name not in often], there)
        cohort = reliable if len(reliable) >= needed else _willing(here, there)
        round_ = len(state.sums)
        if len(cohort) < needed:
            left, more = (cohort, there) if len(here) >= needed else (here, {})
            unwilling = "".join(
                f"; {name} takes part among {least} or more"
                for name, least in sorted(more.items())[:5]
                if name not in cohort and name not in often
            )
            raise CohortError(
                f"Round {round_}: {len(left)} members are left, the quorum is {needed}{unwilling}{why}.",
                "Bring members back, then run the same command again: the run resumes. A member that is out of this "
                "epoch comes back after `fedrepay coordinator abandon` and a new run.",
            )
        self._sum, self._fresh, self._failed, self._needs = None, {}, set(), {}
        self.unprepared, self._forgetful = set(), set()
        return [Event("attempt", "", self.config(epoch, round_, cohort).encode())]

    def close(self) -> list[Event]:
        """The sum of the open attempt; or that it is void; or nothing, where somebody was not asked yet."""
        record = self._state.attempts[-1]
        if set(record.config.cohort) - set(self._fresh) - self._failed:
            return []
        if self._failed:
            return [Event("void", "", " ".join(sorted(self._failed)).encode())]
        assert self._sum is not None  # noqa: S101 - everybody's upload was added
        completed = Sum(
            round=record.config.round,
            attempt=record.config.attempt,
            config=record.signed,
            headers=tuple(self._fresh[name] for name in record.config.cohort),
            payload=self._sum.payload(),
            tags=tuple(self._sum.tags),
        )
        return [Event("sum", "", completed.encode())]


def _willing(names: Sequence[str], least: Mapping[str, int]) -> tuple[str, ...]:
    """Of these, the most who take part with each other."""
    kept = tuple(names)
    while (fewer := tuple(name for name in kept if least[name] <= len(kept))) != kept:
        kept = fewer
    return kept


def _losers(state: State) -> str:
    worst = sorted(state.losses.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} ({count})" for name, count in worst[:5])
