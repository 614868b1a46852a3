"""The coordinator's run, as a pure state machine over events.

``ask`` says what to send next, ``receive`` turns one answer into events, ``finish`` closes an ask.
The shell (``server/network/app.py``) stores every event before it applies it, so a restart replays them and
goes on. Nothing here reads a clock, a disk or a key that decrypts.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol import ceremony, dispute, release
from fedrepay.server.protocol.attempts import Attempts
from fedrepay.server.protocol.gathering import Gathering
from fedrepay.server.protocol.state import Ask, Event, State
from fedrepay.shared.errors import Code, CohortError, ProtocolError, TermsError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES
from fedrepay.shared.text import printable
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster, check_size, quorum
from fedrepay.shared.trust.sums import is_over, run_chunks
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import (
    Kind,
    Reply,
    asked,
)

NO = frozenset({Code.TERMS, Code.LIMITS, Code.BUDGET, Code.SCHEMA, Code.MODEL, Code.SNAPSHOT})
"""Refusals that are a member's no to the terms of a run."""
ENDING: dict[str, str] = {
    Code.CANARY: "a mask was wrong under a right tag, or encryption noise is exhausted, and nobody can tell whose: leave "
    "out as many members at a time as the quorum allows (--without), in turn",
    Code.HEADERS: "the signed headers do not fit together: the message says whose",
}
"""Refusals of a sum by which more members than may lie end an epoch, and what they mean; a failed tag is looked into."""
GONE = frozenset({Code.EPOCH, Code.ROLLBACK, Code.TAG, *ENDING})
"""Refusals after which a member is in this epoch no more: it comes back in the next."""
LARGEST_RELEASE = 128 << 20
"""Bytes of a sealed release: members must be able to take it beside the sums."""
ANSWER = 1 << 20
"""Bytes of an answer without ciphertexts: a seeder's envelopes to 1,500 members, or a context and its test vector."""
RETRY = Code.LOST_ATTEMPT
"""The member is there, this attempt of its is not."""


class Coordinator:
    """Runs one run: its terms, the ceremony, the rounds, the release.

    Args:
        terms: terms and number.
        key: the coordinator's signing key.
        roster: as people approved it.
        seats: member → Flower node, of those who are there.
    """

    def __init__(
        self, terms: NumberedTerms, key: Ed25519PrivateKey, roster: Roster, seats: Mapping[str, str]
    ) -> None:
        check_size(len(roster.names), terms.colluders)
        self.terms = terms
        self.roster = roster
        self.state = State()
        self._seats = {name: seats[name] for name in roster.names if name in seats}
        self._key = key
        self._start = ceremony.start(terms, roster, key)
        self._silent: dict[str, str] = {}  # who gave no good answer in this stage, and why
        self._told_runs: dict[str, int] = {}  # of another coordinator's, that members have answered
        self._writers_failed: set[str] = set()
        self._refusing: set[str] = set()  # who refused would refuse again: not asked back before a restart
        self._epoch: Epoch | None = None
        self._dispute = dispute.Dispute()
        self._attempts = Attempts(terms, key, self.state)
        self._gathering = Gathering()

    # --- facts ---

    @property
    def epoch(self) -> Epoch:
        """The epoch, once those who are present have said hello."""
        if self._epoch is None:
            assert self.state.introduction is not None  # noqa: S101 - nothing needs an epoch before
            self._epoch = Epoch.decode(self.state.introduction.encode())
        return self._epoch

    @property
    def quorum(self) -> int:
        """How many of the roster must be present, in a cohort, and sign."""
        return quorum(len(self.roster.names), self.terms.colluders)

    def node(self, name: str) -> str:
        """The Flower node of a member."""
        return self._seats[name]

    # --- what next ---

    def ask(self) -> Ask | None:
        """What to send next; None when the run is over.

        Raises:
            CohortError: too few members are left, or no attempt is.
            ProtocolError: the epoch has ended.
            TermsError: a member has said no.
        """
        state = self.state
        if state.done or state.abandoned or state.floor >= self.terms.run:
            return None
        self._check_going_on()
        if state.introduction is None:
            return self._gather()
        pending = None if state.attempts else ceremony.pending(state, self.epoch)
        if pending is not None:
            return Ask(*pending)
        if state.failed is not None:
            return self._dispute.ask(state, self.epoch)
        if self._open and self._attempts.unprepared:
            return self._attempts.prepare(self.epoch, sorted(self._attempts.unprepared))
        if self._open:
            return self._attempts.ask()
        if not self._over():
            self._attempts.check_left(self._why_away())
            waiting = self._gathering.waiting(filter(self._may_come, self.epoch.present))
            return self._attempts.prepare(self.epoch, waiting, self._gathering.patience)
        return release.ask(state, self.terms, self.roster, self._seats, self._writers_failed)

    def _check_going_on(self) -> None:
        ended = self.state.ended
        if not ended and len(self.state.complaints) > self.terms.colluders:
            codes = {cause.partition(":")[0] for cause in self.state.complaints.values()}
            meaning = "; ".join(ENDING[code] for code in sorted(codes))
            ended = "; ".join(f"{n} says {why}" for n, why in sorted(self.state.complaints.items())[:5])
            ended = f"{ended} That is more than may lie: {meaning}."
        if ended:
            raise ProtocolError(
                f"The epoch of run {self.terms.run} has ended: {ended}",
                "`fedrepay coordinator abandon`, then train again, --without whoever is at fault.",
            )
        if self.state.declined:
            said = "; ".join(f"{name}: {why}" for name, why in sorted(self.state.declined.items())[:5])
            raise TermsError(
                f"{len(self.state.declined)} members say no to the terms of run {self.terms.run}: {said}",
                "Nothing was reserved and nothing spent. Train again with terms that all accept.",
            )

    def _gather(self) -> Ask:
        """The terms, then the call for an epoch, to everybody who is there."""
        agreed = self.state.answers.get(Kind.TERMS, {})
        waiting = [name for name in self._seats if name not in agreed and name not in self._silent]
        if waiting or not agreed:
            body = ceremony.offer(self.terms, self.roster, self._key).encode()
            return Ask(Kind.TERMS, dict.fromkeys(waiting, (body, b"")))
        greeted = self.state.answers.get(Kind.HELLO, {})
        called = self._start.encode()
        return Ask(
            Kind.HELLO,
            {name: (called, b"") for name in agreed if name in self._seats and name not in greeted},
        )

    @property
    def _open(self) -> bool:
        """Whether an attempt is under way."""
        return bool(self.state.attempts) and self.state.attempts[-1].status == "open"

    def _may_come(self, name: str) -> bool:
        """Whether a member may be there for the next attempt, as far as is known."""
        gone = self.state.away.get(name, "").partition(":")[0] in GONE
        return name in self._seats and name not in self._refusing and not gone

    def _over(self) -> bool:
        last = self.state.attempts[-1] if self.state.attempts else None
        lost = last.config.round if last is not None and last.status == "void" else None
        return is_over(self.terms.rounds, self.terms.mode, len(self.state.sums), lost)

    # --- answers ---

    def receive(self, ask: Ask, name: str, signed: Signed | None, reason: str = "no answer") -> list[Event]:
        """One answer (None: lost, with the reason); what the member has not signed, or is wrong, counts as lost."""
        try:
            if signed is not None and len(signed.body) > self._longest(ask.kind):
                raise ProtocolError(f"The answer of {name} has {len(signed.body)} bytes.", "It is not read.")
            reply = None if signed is None else signed.verified(self.roster.entry(name).signing, Reply)
            if reply is not None and (reply.name, reply.asked) != (name, asked(ask.kind, *ask.parts[name])):
                raise ProtocolError(f"The answer of {name} is to another message.", "It does not count.")
            if reply is None:
                return [self._lost(ask, name, printable(reason))]
            return (
                self._refused(ask, name, reply) if reply.kind == "refused" else self._take(ask, name, reply)
            )
        except ProtocolError as error:
            return [self._lost(ask, name, error.cause)]

    def _longest(self, kind: Kind) -> int:
        """Bytes that an answer of this kind may have: nothing larger is read."""
        if kind == Kind.WRITE:
            return LARGEST_RELEASE
        if kind == Kind.ROUND and self.state.attempts:
            chunks = run_chunks(self.terms, len(self.roster.names))[self.state.attempts[-1].config.round]
            return chunks * (UPLOAD_BYTES + 64) + ANSWER
        return ANSWER

    def _take(self, ask: Ask, name: str, reply: Reply) -> list[Event]:
        if reply.kind == "need" and ask.kind == Kind.ROUND:
            self._attempts.forgotten(name)
            return []
        if reply.kind == "need":
            if ask.kind not in (Kind.PREPARE, Kind.WRITE, Kind.CLOSE):
                raise ProtocolError(f"{name} asks for sums where there are none.", "It is left out.")
            return self._attempts.need(name, reply.need)
        if ask.kind == Kind.ROUND:
            return self._attempts.receive(self.epoch, name, reply)
        if ask.kind in (Kind.WRITE, Kind.CLOSE):
            return release.receive(self.state, self.terms.run, self.roster, name, reply)
        if ask.kind == Kind.PREPARE:
            if self._open:  # it was started again, and is asked for the next attempt as all are
                self._attempts.unprepared.discard(name)
            else:
                self._gathering.answered(name, reply.need)
            return [Event("ready", name, str(len(self.state.sums)).encode())]
        if ask.kind == Kind.VOTES:
            return [Event("stored", name, b"")]
        if ask.kind in (Kind.RESEND, Kind.BLAME):
            return self._dispute.receive(self.state, self.epoch, ask.kind, name, reply)
        if ask.kind == Kind.HELLO:
            ceremony.check_hello(name, reply.body, self._start, self.roster)
        elif ask.kind != Kind.TERMS:
            ceremony.check_answer(ask.kind, name, reply.body, self.epoch)
        return [Event("answer:" + ask.kind, name, reply.body)]

    def _refused(self, ask: Ask, name: str, reply: Reply) -> list[Event]:
        cause = printable(f"{reply.code}: {reply.cause}")
        if ask.kind == Kind.TERMS:
            if reply.code in NO:
                return [Event("declined", name, cause.encode())]
            if reply.code == Code.RUN and reply.body:
                return self._run_in_use(name, Signed.decode(reply.body), cause)
        if reply.code == Code.TAG and ask.kind in (Kind.PREPARE, Kind.WRITE, Kind.CLOSE) and self.state.sums:
            return [*self._dispute.begin(self.state, name, reply.body), self._lost(ask, name, cause)]
        if reply.code != RETRY:
            self._refusing.add(name)
        if reply.code in ENDING:
            return [Event("complaint", name, cause.encode()), self._lost(ask, name, cause)]
        return [self._lost(ask, name, cause, away=reply.code != RETRY or ask.kind != Kind.ROUND)]

    def _run_in_use(self, name: str, start: Signed, cause: str) -> list[Event]:
        """A member has answered a call for a later run: ours proves it; another coordinator's counts with others' beside."""
        lost = [self._lost(Ask(Kind.TERMS, {}), name, cause)]
        try:
            proven = start.verified(self.roster.coordinator, EpochStart).run
        except ProtocolError:
            self._told_runs[name] = EpochStart.decode(start.body).run
            return lost
        return lost if proven < self.terms.run else [Event("floor", name, str(proven).encode())]

    def _lost(self, ask: Ask, name: str, cause: str, *, away: bool = True) -> Event:
        self._silent[name] = cause
        if ask.kind == Kind.PREPARE and not self._open:
            self._gathering.lost(name)
        elif ask.kind in (Kind.PREPARE, Kind.ROUND):
            self._attempts.lost(name)
        elif ask.kind == Kind.WRITE:
            self._writers_failed.add(name)
        return Event("away" if away else "retry", name, cause.encode())

    def finish(self, ask: Ask, seconds: float = 0.0, /) -> list[Event]:
        """Close an ask after all its answers were received or given up.

        Args:
            ask: the one.
            seconds: that the answers took.

        Raises:
            CohortError: the run cannot go on.
        """
        state = self.state
        if ask.kind == Kind.PREPARE:
            return [] if self._open else self._begin(seconds)
        if ask.kind == Kind.ROUND:
            return self._attempts.close()
        if ask.kind in (Kind.RESEND, Kind.BLAME):
            return self._dispute.finish(state, self.terms.colluders, ask.kind)
        if ask.kind == Kind.SIGN:
            return [
                Event(
                    "closing",
                    "",
                    self._attempts.config(self.epoch, len(state.sums), state.last_cohort()).encode(),
                )
            ]
        if ask.kind == Kind.VOTES:
            return [Event("done", "", b"")]
        if ask.kind == Kind.WRITE:
            return []
        if ask.kind == Kind.CLOSE:
            return release.finish(state, ask, self.terms, self.roster)
        missing = [name for name in ask.parts if name not in state.answers.get(ask.kind, {})]
        if ask.kind in (Kind.TERMS, Kind.HELLO):
            return self._gathered(ask.kind)
        if missing:
            raise CohortError(
                f"The ceremony ({ask.kind}) lacks {len(missing)} of those who are present: {self._why(missing)}.",
                "Bring them back and run again; or `fedrepay coordinator abandon`, and train --new-run --without whoever "
                "the reasons name.",
            )
        return []

    def _begin(self, seconds: float) -> list[Event]:
        """The next attempt, once it is known who is there for it."""
        state, gathering = self.state, self._gathering
        gathering.took(seconds)
        unsettled = state.failed is not None or len(state.complaints) > self.terms.colluders
        if unsettled:
            gathering.reset()  # what comes before may take long
        if unsettled or gathering.waiting(filter(self._may_come, self.epoch.present)):
            return []  # somebody needs older sums
        if gathering.again():
            return []
        there = gathering.there
        if len(there) < self.quorum and gathering.longer(self.terms.timeout):
            return []
        gathering.reset()
        return self._attempts.open(self.epoch, there, self._why_away())

    def _gathered(self, kind: Kind) -> list[Event]:
        """Whether enough have said yes, or hello; the others are absent from this epoch, which is no revocation."""
        state = self.state
        here = state.answers.get(kind, {})
        told = sorted(self._told_runs.values(), reverse=True)[self.terms.colluders :]
        if kind == Kind.TERMS and told and told[0] >= self.terms.run:
            return [Event("floor", "", str(told[0]).encode())]
        if kind == Kind.TERMS and (state.declined or state.floor >= self.terms.run):
            return []
        if len(here) < self.quorum:
            lacking = [name for name in self.roster.names if name not in here]
            raise CohortError(
                f"{len(here)} of {len(self.roster.names)} members are there ({kind}), {self.quorum} must be: "
                f"{self._why(lacking)}.",
                "Bring members back, then run the same command again; nothing was spent. Where members are shut out or in another "
                "roster: abandon, then train --new-roster.",
            )
        if kind == Kind.HELLO:
            return [Event("introduction", "", ceremony.introduction(self._start, self.roster, here).encode())]
        return []

    def _why(self, names: list[str]) -> str:
        said = self.state.away | self._silent
        return "; ".join(f"{name}: {said.get(name, 'not there')}" for name in names[:5])

    def _why_away(self) -> str:
        reasons = self._why(sorted(self.state.away))
        return f" ({reasons})" if reasons else ""
