"""The coordinator's state: what the events of a run have said, and how each changes it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fedrepay.shared.trust.handshake import Introduction
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, RoundConfig, Sum, Written


@dataclass(frozen=True)
class Event:
    """One fact of the run: kind, whom it concerns, bytes."""

    kind: str
    name: str
    body: bytes


@dataclass(frozen=True)
class Ask:
    """What to send: (shared bytes, own bytes) for each target; equal ``shared`` is one object."""

    kind: Kind
    parts: Mapping[str, tuple[bytes, bytes]]
    patience: float = math.inf  # seconds for the answers, where less than the run's time-out


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt at a round; ``status`` is open, void or completed."""

    signed: Signed
    config: RoundConfig
    status: str


_TEXTS = {"declined": "declined", "complaint": "complaints", "away": "away"}
_SIGNED = {"verdict": "verdicts", "vote": "votes"}
_READ: dict[str, Callable[[bytes], object]] = {
    "introduction": Introduction.decode,
    "closing": Signed.decode,
    "ended": bytes.decode,
    "abandoned": lambda _: True,
    "done": lambda _: True,
}
"""Events that say one thing, or one thing of each name: where it is kept, and how it is read."""


@dataclass
class State:
    """Everything the events have said."""

    answers: dict[str, dict[str, bytes]] = field(default_factory=dict)
    declined: dict[str, str] = field(default_factory=dict)  # name → why it says no to the terms
    floor: int = 0  # highest run that a call for an epoch of ours, shown by a member, proves
    introduction: Introduction | None = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    sums: dict[int, Sum] = field(default_factory=dict)
    headers: dict[str, Signed] = field(default_factory=dict)  # newest signed header of a member
    known: dict[str, int] = field(default_factory=dict)  # first sum a member may lack
    ready: set[str] = field(
        default_factory=set
    )  # who has prepared the attempt that comes, or is under way again
    away: dict[str, str] = field(default_factory=dict)  # name → reason
    losses: dict[str, int] = field(default_factory=dict)  # name → attempts of the run that it lost
    failed: tuple[int, int] | None = None  # attempt and ciphertext of a sum that a member says was changed
    disputes: set[str] = field(default_factory=set)  # who said so, of any sum
    # who refuses a sum for another reason, and which
    complaints: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, Signed] = field(default_factory=dict)  # on the sum under dispute
    ended: str = ""  # why this epoch cannot go on; the run is to be abandoned
    abandoned: bool = False
    closing: Signed | None = None
    written: Written | None = None
    votes: dict[str, Signed] = field(default_factory=dict)
    bad_writers: set[str] = field(default_factory=set)  # members refused what they wrote
    stored: set[str] = field(default_factory=set)
    done: bool = False

    @classmethod
    def replayed(cls, events: Iterable[Event]) -> "State":
        """The state that these events lead to."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    @property
    def over(self) -> bool:
        """Whether nothing of this run can go on: it is done, abandoned, or was never agreed on."""
        return self.done or self.abandoned or bool(self.declined)

    def sums_from(self, first: int) -> tuple[Sum, ...]:
        """The completed sums from that round on."""
        return tuple(self.sums[i] for i in range(first, len(self.sums)))

    def own_header(self, name: str) -> bytes:
        """A member's newest header, as it is shown to it; empty before its first."""
        header = self.headers.get(name)
        return b"" if header is None else header.encode()

    def last_cohort(self) -> tuple[str, ...]:
        """Of the newest completed attempt."""
        return next(r.config.cohort for r in reversed(self.attempts) if r.status == "completed")

    def apply(self, event: Event) -> None:
        """Take in one event.

        Raises:
            ValueError: an event of a kind this version does not know.
        """
        kind, name, body = event.kind, event.name, event.body
        if kind.startswith("answer:"):
            self.answers.setdefault(kind.removeprefix("answer:"), {})[name] = body
        elif kind in _TEXTS:
            getattr(self, _TEXTS[kind])[name] = body.decode()
        elif kind in _SIGNED:
            getattr(self, _SIGNED[kind])[name] = Signed.decode(body)
        elif kind in _READ:
            setattr(self, kind, _READ[kind](body))
        elif kind in ("attempt", "void", "sum", "header", "retry"):
            self._of_attempt(kind, name, body)
        elif kind in ("failed", "disputed", "dismissed"):
            self._of_dispute(kind, name, body)
        elif kind == "floor":
            self.floor = max(self.floor, int(body))
        elif kind == "ready":
            self.away.pop(name, None)
            self.ready.add(name)
            self.known[name] = int(body)
        elif kind == "need":
            self.known[name] = int(body)
        elif kind == "written":
            self.written = Written.decode(body)
            self.votes[name] = self.written.vote
        elif kind == "unwritten":
            self.written, self.votes = None, {}
            self.bad_writers.add(name)
        elif kind == "stored":
            self.stored.add(name)
        else:
            raise ValueError(kind)

    def _of_attempt(self, kind: str, name: str, body: bytes) -> None:
        if kind == "attempt":
            signed = Signed.decode(body)
            self.attempts.append(AttemptRecord(signed, RoundConfig.decode(signed.body), "open"))
            self.ready = set()
        elif kind == "void":
            self._settle("void")
            for lost in body.decode().split():
                self.losses[lost] = self.losses.get(lost, 0) + 1
        elif kind == "sum":
            completed = Sum.decode(body)
            self.sums[completed.round] = completed
            self._settle("completed")
        elif kind == "header":
            self.headers[name] = Signed.decode(body)

    def _of_dispute(self, kind: str, name: str, body: bytes) -> None:
        if kind == "dismissed":
            self.failed = None
            return
        self.disputes.add(name)
        if kind == "failed":
            attempt, chunk = body.split()
            self.failed, self.verdicts = (int(attempt), int(chunk)), {}

    def _settle(self, status: str) -> None:
        self.ready = set()
        last = self.attempts[-1]
        self.attempts[-1] = AttemptRecord(last.signed, last.config, status)
