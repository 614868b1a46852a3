"""What the operator may know of a run: who took part, when, how much, what was refused, who signed; and what it claims.

Nothing here was read out of a sum or a model: the coordinator can open neither. The statement inside the release is the
members'; of it the operator knows the terms that all said yes to, and which attempts were charged.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from fedrepay.server.operating.progress import received, refusals
from fedrepay.server.protocol.state import State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster, quorum
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import ReleaseVote, RoundConfig


@dataclass(frozen=True)
class AttemptReport:
    """One attempt at a sum; times in seconds since 1970."""

    round: int
    attempt: int
    cohort: tuple[str, ...]
    status: str  # open, void or completed
    begun: float
    ended: float | None
    lost: tuple[str, ...]


@dataclass(frozen=True)
class RunReport:
    """A run's report; digests in hexadecimal, times in seconds since 1970.

    Attributes:
        run: its number.
        state: done, abandoned, declined, or under way.
        begun: when its first event was stored.
        ended: when its last was.
        terms: that all members were asked for.
        terms_hash: of them.
        agreed: hash of the consortium's terms; empty in a simulation.
        schema: hash of the schema.
        roster: number of the roster of its epoch.
        members: of that roster.
        present: of them, in the epoch.
        quorum: that had to be.
        attempts: at sums, in order.
        charged: attempts that every member of them was charged for, void ones too.
        refusals: how many of each code.
        told: (kind, member, why), as members told.
        received: bytes that members sent.
        release: SHA-256 of the release, that members signed.
        sealed: bytes of it, sealed to the members.
        writer: who wrote it.
        signed: members that signed it.
    """

    run: int
    state: str
    begun: float | None
    ended: float | None
    terms: dict[str, object]
    terms_hash: str
    agreed: str
    schema: str
    roster: int | None
    members: tuple[str, ...]
    present: tuple[str, ...]
    quorum: int | None
    attempts: tuple[AttemptReport, ...]
    charged: int
    refusals: dict[str, int]
    told: tuple[tuple[str, str, str], ...]
    received: int
    release: str
    sealed: int
    writer: str
    signed: tuple[str, ...]

    def as_json(self) -> str:
        """For machines."""
        return json.dumps(asdict(self), indent=1)

    def page(self) -> str:
        """For people: plain text."""
        terms = self.terms
        lines = [
            f"Run {self.run}: {self.state}",
            f"  begun {when(self.begun)}, last event {when(self.ended)}",
            f"  mode {terms['mode']}, ε = {terms['epsilon']:g}, δ = {terms['delta']:g} of one customer, c = {terms['colluders']}"
            if terms["mode"] != "none"
            else "  mode none: NO noise, and no ε is claimed",
            (
                f"  {terms['rounds']} sums planned; {self.charged} attempts charged, "
                f"{sum(each.status == 'void' for each in self.attempts)} of them void"
            ),
            f"  terms {self.terms_hash}",
            f"  consortium's terms {self.agreed or 'none'}",
            f"  schema {self.schema}",
            f"Roster {self.roster if self.roster is not None else 'none'}: {', '.join(self.members) or 'nobody'}",
            f"  present: {', '.join(self.present) or 'nobody'} (quorum {self.quorum or 'unknown'})",
            "Attempts:",
            *(
                f"  sum {each.round + 1}, attempt {each.attempt + 1}: {each.status}, {len(each.cohort)} members, "
                f"{when(each.begun)}, {_lasted(each)}{', lost by ' + ', '.join(each.lost) if each.lost else ''}"
                for each in self.attempts
            ),
            f"Refusals: {', '.join(f'{code} {count}' for code, count in self.refusals.items()) or 'none'}",
            *(f"  {kind} {name}: {why}" for kind, name, why in self.told),
            f"Received: {self.received:,} bytes",
        ]
        if self.release:
            lines += [
                f"Release {self.run}: SHA-256 {self.release}, {self.sealed:,} bytes sealed, written by {self.writer}",
                f"  signed by {', '.join(self.signed)}",
            ]
        return "\n".join([*lines, "The coordinator read no update, no sum and no model of it."])


def report(store: CoordinatorStore, run: int | None = None) -> RunReport:
    """Of a run, the newest by default.

    Raises:
        ArgumentError: there is no such run.
    """
    found = {terms.run: terms for terms in store.runs()}
    if run is None and found:
        run = max(found)
    if run is None or run not in found:
        known = ", ".join(map(str, found)) or "none"
        raise ArgumentError(
            f"There is no run {'' if run is None else run}.".replace(" .", "."), f"Runs: {known}."
        )
    return _report(found[run], store)


def _report(terms: NumberedTerms, store: CoordinatorStore) -> RunReport:
    timed = store.timed(terms.run)
    events = [event for _, event in timed]
    state = State.replayed(events)
    roster = None if state.introduction is None else Roster.decode(state.introduction.roster)
    names = () if roster is None else roster.names
    written = state.written
    writer = next((e.name for e in reversed(events) if e.kind == "written"), "") if written else ""
    return RunReport(
        run=terms.run,
        state=_state(state),
        begun=timed[0][0] if timed else None,
        ended=timed[-1][0] if timed else None,
        terms=terms.terms().model_dump(mode="json", exclude={"schema_hash", "agreed", "local", "pairs"})
        | ({} if terms.local is None else {"model": terms.local.model}),
        terms_hash=terms.terms_hash().hex(),
        agreed=terms.agreed.hex() if any(terms.agreed) else "",
        schema=terms.schema_hash.hex(),
        roster=None if roster is None else roster.number,
        members=names,
        present=tuple(sorted(state.answers.get("hello", {}))),
        quorum=None if roster is None else quorum(len(names), terms.colluders),
        attempts=_attempts(store, terms.run),
        charged=0 if terms.mode == "none" else len(state.attempts),
        refusals=refusals(events),
        told=tuple(
            (e.kind, e.name, printable(e.body.decode("utf-8", "replace")))
            for e in events
            if e.kind in ("declined", "away", "retry", "complaint", "ended")
        ),
        received=received(terms, events, len(names)),
        release="" if written is None else ReleaseVote.decode(written.vote.body).release.hex(),
        sealed=0 if written is None else len(written.sealed),
        writer=writer,
        signed=tuple(sorted(state.votes)),
    )


def _state(state: State) -> str:
    if state.done:
        return "done"
    if state.abandoned:
        return "abandoned"
    return "declined" if state.declined else "under way"


def _attempts(store: CoordinatorStore, run: int) -> tuple[AttemptReport, ...]:
    made: list[AttemptReport] = []
    for at, event in store.timed(run):
        if event.kind == "attempt":
            config = RoundConfig.decode(Signed.decode(event.body).body)
            made.append(AttemptReport(config.round, config.attempt, config.cohort, "open", at, None, ()))
        elif event.kind in ("sum", "void"):
            last = made[-1]
            lost = tuple(event.body.decode().split()) if event.kind == "void" else ()
            status = "void" if event.kind == "void" else "completed"
            made[-1] = AttemptReport(last.round, last.attempt, last.cohort, status, last.begun, at, lost)
    return tuple(made)


def when(at: float | None) -> str:
    """A time for people, in UTC."""
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _lasted(each: AttemptReport) -> str:
    return "open" if each.ended is None else f"{each.ended - each.begun:.0f} s"


@dataclass(frozen=True)
class ReleaseSeen:
    """A release as the operator knows it; times in seconds since 1970, digests in hexadecimal."""

    number: int
    at: float
    release: str  # SHA-256 of what members signed
    sealed: str  # digest of the sealed bytes
    size: int
    signed: tuple[str, ...]


def releases(store: CoordinatorStore) -> tuple[ReleaseSeen, ...]:
    """Every release, the oldest first."""
    return tuple(
        ReleaseSeen(
            number,
            at,
            ReleaseVote.decode(written.vote.body).release.hex(),
            keys.digest(written.sealed).hex(),
            len(written.sealed),
            tuple(sorted(State.replayed(store.events(number)).votes)),
        )
        for number, at, written in store.releases()
    )
