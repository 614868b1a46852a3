"""What must hold of an honest member after every message, whoever sent it: seen from outside and in its store."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.enrolment import held, newest_run
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.errors import FedrepayError
from fedrepay.shared.trust.enrolment import Approval, Revealed
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Header, ReleaseVote, Reply, Upload, Verdict, Written, asked
from support.faultworld.invariants import Violation

CEREMONY = ("introduce", "seed", "confirm")
SECRETS = ("envelope", "mask", "contribution", "seed")


@dataclass
class Honest:
    """One honest member, and all it has said.

    Args:
        name: its own.
        identity: its keys.
        store: its state.
        framed: members that no verdict of its may name.
    """

    name: str
    identity: Identity
    store: MemberStore
    framed: frozenset[str] = frozenset()
    said: dict[tuple[str, Any], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    secrets: set[bytes] = field(default_factory=set)
    low: dict[str, int] = field(default_factory=dict)
    sums: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def handle(self, member: Member, kind: str, shared: bytes, own: bytes) -> tuple[bytes, Reply]:
        """Give it a message, and check all.

        Raises:
            Violation: something that must never be.
        """
        try:
            body = member.handle(kind, shared, own)
        except Exception as error:
            raise Violation(f"{self.name} raised {type(error).__name__} on {kind!r}: {error}") from error
        try:
            reply = Signed.decode(body).verified(keys.public_bytes(self.identity.signing), Reply)
        except FedrepayError as error:
            raise Violation(f"{self.name} gave an answer to {kind!r} that does not verify") from error
        if (reply.name, reply.asked) != (self.name, asked(kind, shared, own)):
            raise Violation(f"{self.name}'s answer to {kind!r} names something else")
        if reply.code == "internal":
            raise Violation(f"{self.name} met an error that nobody foresaw, in {kind!r}")
        if reply.kind == "ok":
            self._ok(kind, reply)
        elif reply.kind == "refused" and not reply.cause:
            raise Violation(f"{self.name} refuses {kind!r} and does not say why")
        self._secret(kind, body)
        self._stored()
        return body, reply

    def _once(self, what: str, of: Any, answer: bytes) -> None:
        answers = self.said[what, of]
        answers.add(answer)
        if len(answers) > 1:
            raise Violation(f"{self.name} answered {what!r} in two ways")

    def _epoch(self) -> EpochState | None:
        stored = self.store.fact("epoch")
        return None if stored is None else EpochState.decode(stored)

    def _ok(self, kind: str, reply: Reply) -> None:
        if kind in CEREMONY:
            state = self._epoch()
            if state is None:
                raise Violation(f"{self.name} answers {kind!r} in no epoch")
            self._once(kind, state.nonce, reply.body)
        elif kind == "hello":
            self._once(kind, newest_run(self.store), reply.body)
        elif kind == "reveal":
            said = Revealed.decode(Signed.decode(reply.body).body)
            self._once(kind, said.nonce, said.proposal)
        elif kind == "approve":
            signed = Roster.decode(self.store.fact("signed") or b"")
            said_roster = Approval.decode(Signed.decode(reply.body).body).roster
            if signed.hash() == said_roster:  # else: an old answer once more
                self._once("approve", signed.number, said_roster)
        elif kind == "round":
            self._uploaded(reply)
        elif kind in ("write", "close"):
            cast = Written.decode(reply.body).vote if self._written(reply.body) else Signed.decode(reply.body)
            vote = ReleaseVote.decode(cast.body)
            self._once("a run's release", vote.run, vote.release)
        elif kind == "blame":
            verdict = Verdict.decode(Signed.decode(reply.body).body)
            if named := set(verdict.suspects) & self.framed:
                raise Violation(f"{self.name} names {sorted(named)}, who is honest")

    def _written(self, body: bytes) -> bool:
        try:
            Written.decode(body)
        except FedrepayError:
            return False
        return True

    def _uploaded(self, reply: Reply) -> None:
        upload = Upload.decode(reply.body)
        header = Header.decode(upload.header.body)
        self._once("an attempt", (header.run, header.round, header.attempt), keys.digest(reply.body))
        charged = {(e.run, e.round, e.attempt) for e in self.store.ledger()}
        if (header.run, header.round, header.attempt) not in charged:
            raise Violation(f"{self.name} sent an upload without a charge")

    def _secret(self, kind: str, body: bytes) -> None:
        state = self._epoch()
        if state is not None:
            self.secrets |= {value for name in SECRETS if (value := getattr(state, name))}
        for secret in self.secrets:
            if secret in body:
                raise Violation(f"{self.name} gave a secret away in answer to {kind!r}")

    def _stored(self) -> None:
        """Numbers only rise; a sum, once being opened, stays the one."""
        store, roster, release = self.store, held(self.store), self.store.release()
        now = {
            "run": newest_run(store),
            "roster": 0 if roster is None else roster.number,
            "call": int.from_bytes(store.fact("call") or b"", "big"),
            "release": 0 if release is None else release[0],
        }
        for what, number in now.items():
            if number < self.low.get(what, 0):
                raise Violation(f"{self.name}: the number of its {what} fell")
        self.low = now
        computed = Counter(
            (e.run, e.round, e.attempt) for e in store.ledger() if e.status in ("reserved", "unprotected")
        )
        if twice := [each for each, times in computed.items() if times > 1]:
            raise Violation(f"{self.name} computed {twice} twice")
        if now["run"]:
            for opening in store.openings(now["run"]):
                if self.sums.setdefault((now["run"], opening.round), opening.sum) != opening.sum:
                    raise Violation(f"{self.name} opens two sums of one round")
            if len({o.round for o in store.openings(now["run"])}) != len(store.openings(now["run"])):
                raise Violation(f"{self.name} opens two sums of one round")
