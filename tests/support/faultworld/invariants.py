"""What must hold after every step of a world, whatever goes wrong in it.

It sees what members really sent, computed and opened, beside what their stores say. A member restored from an
old copy has forgotten things: what it may do then is stated rule by rule (docs/protocol.md, *One round*, 5).
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import FedrepayError, ProtocolError
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import summed, uploaded
from fedrepay.shared.trust import release as trust_release
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.wire import (
    Closing,
    Header,
    Prepare,
    PrepareRequest,
    Reply,
    RoundConfig,
    Sum,
    Upload,
    Votes,
)

CHARGED = ("reserved", "unprotected", "rolled-back")
ENDS = ("tag", "canary", "rollback")  # refusals after which a member takes no part in the epoch
Attempt = tuple[int, bytes, int, int]  # run, epoch, round, attempt


class Violation(BaseException):
    """Something that must never be; no handler of the product may swallow it."""


@lru_cache(maxsize=256)
def _epoch(stored: bytes) -> tuple[int, bytes] | None:
    """(run, epoch) of a member's stored epoch, once it is introduced."""
    state = EpochState.decode(stored)
    return (state.run, state.epoch().id) if state.introduction else None


def _listed(kind: str, shared: bytes) -> frozenset[tuple[int, int]]:
    """(round, attempt) of every attempt that a message's configuration names, its own among them."""
    if kind == "prepare":
        asked = Prepare.decode(PrepareRequest.decode(shared).asked.body)
        own, history = (asked.round, len(asked.history)), asked.history
    else:
        signed = Signed.decode(shared) if kind == "round" else Closing.decode(shared).config
        config = RoundConfig.decode(signed.body)
        own, history = (config.round, config.attempt), config.history
    return frozenset({own, *((each.round, each.attempt) for each in history)})


def _signed(message: Signed, public: bytes) -> bool:
    try:
        message.verified(public, RoundConfig)
    except ProtocolError:
        return False
    return True


@dataclass(frozen=True)
class Sent:
    """One upload that left a member."""

    header: bytes
    config: bytes
    tags: tuple[int, ...]
    payload: U64
    noise: I64 | int


@dataclass
class Seen:
    """What one member has done, and what its restored stores have forgotten of it."""

    left: dict[Attempt, dict[bytes, Sent]] = field(default_factory=lambda: defaultdict(dict))
    computed: dict[Attempt, int] = field(default_factory=lambda: defaultdict(int))
    noise: dict[Attempt, I64] = field(default_factory=dict)
    opened: dict[tuple[bytes, int], set[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(set))
    forgotten: set[Attempt] = field(default_factory=set)
    unknown: set[Attempt] = field(default_factory=set)  # computed, and its restored store does not know
    counter: dict[bytes, int] = field(default_factory=dict)
    release: tuple[int, bytes] | None = None
    ended: bytes | None = None  # the epoch it has refused for good
    restored: set[bytes] = field(default_factory=set)  # epochs in which its store was set back


class Watch:
    """Keeps every member's history and checks it.

    Args:
        names: the members, sorted.
        store: a member's store as it is now.
        coordinator: the coordinator's public key; ``coordinators`` holds also those that came after it.
        place: where a member's 1 stands.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        store: Callable[[str], MemberStore],
        coordinator: bytes,
        place: Callable[[int, tuple[str, ...], str], int],
    ) -> None:
        self.names, self._store, self._place = names, store, place
        self.coordinators = [coordinator]
        self.seen = {name: Seen() for name in names}
        self.opening: tuple[str, tuple[bytes, tuple[str, ...]], Sum] | None = None
        self.forked: set[int] = set()  # runs in which the coordinator was set back
        self.releases: dict[int, bytes] = {}
        self.sums: dict[tuple[bytes, int], dict[int, bytes]] = defaultdict(dict)
        self.twice = 0  # answers given again by members whose store had forgotten them, undiscovered
        self._last: tuple[str, Attempt] | None = None
        self._before: dict[str, Any] = {}

    # --- what members do ---

    def drawn(self, noise: I64) -> None:
        """A member adds this noise to its contribution to the attempt that it is asked for."""
        name, kind, shared = self._before["message"]
        if kind != "round":
            raise Violation(f"{name} draws noise at {kind!r}")
        config = RoundConfig.decode(Signed.decode(shared).body)
        key, seen = (config.run, config.epoch, config.round, config.attempt), self.seen[name]
        seen.computed[key] += 1
        seen.noise[key] = noise
        self._last = (name, key)
        if seen.ended == config.epoch:
            raise Violation(f"{name} contributes in an epoch it had ended")
        if seen.computed[key] > 1:
            raise Violation(f"{name} drew noise for attempt {config.attempt} twice")

    def again(self, name: str) -> bool:
        """Whether what this member computes now is what its restored store has forgotten: see `twice`."""
        assert self._last is not None
        return self._last[0] == name and self._last[1] in self.seen[name].unknown

    def opened(self, values: I64) -> None:
        """A member has decrypted a sum: it must be exactly what its cohort signed and sent."""
        assert self.opening is not None
        name, (epoch, roster), completed = self.opening
        made = RoundConfig.decode(completed.config.body)
        if not any(_signed(completed.config, key) for key in self.coordinators):
            raise Violation(f"{name} opened a sum of no coordinator")
        seen, attempt = self.seen[name], (made.run, made.epoch, made.round, made.attempt)
        if seen.ended == epoch:
            raise Violation(f"{name} opens a sum in an epoch it had ended")
        seen.opened[epoch, made.round].add((made.attempt, keys.digest(completed.payload)))
        if len(seen.opened[epoch, made.round]) > 1:
            raise Violation(f"{name} opened two sums of round {made.round}")
        if not set(made.cohort) <= set(roster) or len(completed.headers) != len(made.cohort):
            raise Violation(f"{name} opened a sum that is not its cohort's")
        total = np.zeros_like(summed(completed.payload, len(completed.tags)))
        expected = np.zeros_like(values)
        for member, signed in zip(made.cohort, completed.headers, strict=True):
            sent = self.seen[member].left[attempt].get(signed.digest())
            if sent is None or sent.config != completed.config.digest():
                raise Violation(f"{name} opened a sum with a header that {member} never sent")
            ring.add(total, sent.payload, total)
            expected[self._place(made.attempt, roster, member)] += 1
            values = values - sent.noise
        if total.tobytes() != np.frombuffer(completed.payload, "<u8").tobytes():
            raise Violation(f"{name} opened ciphertexts that are not the sum of those sent")
        if not np.isin(values, (0, 1)).all() or not np.array_equal(values, expected):
            raise Violation(f"{name} opened something else than one 1 for each of {made.cohort}")
        others = self.sums[epoch, made.round]
        others[made.attempt] = keys.digest(completed.payload)
        if len(others) > 1 and made.run not in self.forked:
            raise Violation(f"members opened different sums of round {made.round}")

    # --- one message ---

    def before(self, name: str, kind: str, shared: bytes, own: bytes) -> None:
        """Note what must be compared after the message."""
        store = self._store(name)
        headers = {Signed.decode(h).digest() for _, _, _, h in self._uploads(store)}
        shown = self._own(name, own) if kind in ("prepare", "round", "write", "close") else None
        state = self._epoch(store)
        ahead = (
            shown is not None
            and state is not None
            and shown[1] not in headers
            and (shown[0].run, shown[0].epoch) == state
        )
        self._before = {
            "ahead": ahead,
            "shown": shown,
            "message": (name, kind, shared),
            "computed": sum(self.seen[name].computed.values()),
        }

    def answered(self, name: str, kind: str, body: bytes) -> Reply:
        """What left a member in answer to a message."""
        reply = Reply.decode(Signed.decode(body).body)
        seen = self.seen[name]
        if reply.code == "internal":
            raise Violation(f"{name} met an error that nobody foresaw, in {kind!r}")
        if reply.kind == "ok" and kind == "round":
            self._left(name, reply.body)
        if self._before["ahead"] and (
            reply.kind != "refused" or sum(seen.computed.values()) != self._before["computed"]
        ):
            raise Violation(f"{name} takes part with a store older than what it has sent")
        if kind == "hello" and reply.kind == "ok":
            seen.ended = None
        if reply.code in ENDS:
            state = self._epoch(self._store(name))
            seen.ended = None if state is None else state[1]
            if reply.code == "rollback" and self._before["ahead"]:
                self._charged_again(name)
        return reply

    def _left(self, name: str, body: bytes) -> None:
        upload, seen = Upload.decode(body), self.seen[name]
        header = Header.decode(upload.header.body)
        key = (header.run, header.epoch, header.round, header.attempt)
        if key not in self._charges(name):
            raise Violation(f"{name}'s upload to attempt {header.attempt} has no charge")
        if seen.ended == header.epoch:
            raise Violation(f"{name} answers in an epoch it had ended")
        payload = uploaded(upload.payload, len(header.tags))
        new = Sent(upload.header.digest(), header.config, header.tags, payload, seen.noise.get(key, 0))
        sent = seen.left[key]
        if new.header in sent:
            return  # the same bytes once more
        if sent:
            if key not in seen.forgotten:
                raise Violation(f"{name} answered attempt {header.attempt} in two ways")
            self.twice += 1
        sent[new.header] = new

    def _charged_again(self, name: str) -> None:
        """A rollback that was found out is charged for what the header says.

        Of a coordinator that was set back too: for what its run holds now; the other line's attempts are nowhere.
        """
        header, seen = self._before["shown"][0], self.seen[name]
        due = {k for k in seen.forgotten if k[:2] == (header.run, header.epoch) and k[3] <= header.attempt}
        if header.run in self.forked:
            listed = _listed(*self._before["message"][1:])
            due = {k for k in due if k[2:] in listed}
        if not due <= self._charges(name):
            raise Violation(f"{name} found its store set back and did not charge what it had sent")
        seen.forgotten -= due
        seen.unknown -= due

    def after(self, name: str) -> None:
        """What a member's store must say after a step."""
        store, seen = self._store(name), self.seen[name]
        charges = self._charges(name)
        if missing := set(seen.left) - charges - seen.forgotten:
            raise Violation(f"{name} sent {sorted(missing)} and its ledger does not say so")
        fact = store.fact("counter") or b""
        counter = int.from_bytes(fact[32:], "big")
        if fact and counter < seen.counter.get(fact[:32], -1):
            raise Violation(f"{name}'s counter fell")
        seen.counter[fact[:32]] = counter
        release = store.release()
        if release is not None:
            self._check_release(name, *release)

    def _check_release(self, name: str, number: int, body: bytes, votes: bytes) -> None:
        seen, digest = self.seen[name], keys.digest(body)
        if seen.release == (number, digest):
            return
        if seen.release is not None and number <= seen.release[0]:
            raise Violation(f"{name}'s release {seen.release[0]} changed")
        seen.release = (number, digest)
        roster = ReleaseContent.decode(body).roster
        if roster.names != self.names:
            raise Violation("a release of another roster")
        try:
            colluders = ReleaseContent.decode(body).colluders
            trust_release.check_votes(body, number, roster, colluders, Votes.decode(votes).signed)
        except FedrepayError as error:
            raise Violation(f"{name} stored a release without its votes: {error}") from error
        if self.releases.setdefault(number, digest) != digest:
            raise Violation(f"two releases {number}")

    # --- a store set back ---

    def restored(self, name: str) -> None:
        """A member's store is an old copy now: note what it has forgotten."""
        store, seen = self._store(name), self.seen[name]
        charges = self._charges(name)
        seen.forgotten = set(seen.left) - charges
        for key in set(seen.computed) - charges:
            del seen.computed[key]  # of these it does not know; see `twice`
            seen.unknown.add(key)
        held = {
            (self._epoch_id(store), opening.round)
            for opening in self._openings(store)
            if opening.values is not None or opening.sum
        }
        for each in set(seen.opened) - held:
            del seen.opened[each]
        seen.counter.clear()
        release = store.release()
        seen.release = None if release is None else (release[0], keys.digest(release[1]))
        state = self._epoch(store)
        blocked = store.fact("blocked")
        seen.ended = state[1] if state is not None and blocked else None

    # --- reading ---

    def _charges(self, name: str) -> set[Attempt]:
        """(run, epoch, round, attempt) charged; a run has one epoch at a member whose store is whole."""
        store, seen = self._store(name), self.seen[name]
        charged = {(e.run, e.round, e.attempt) for e in store.ledger() if e.status in CHARGED}
        keys_ = set(seen.left) | set(seen.computed)
        return {k for k in keys_ if (k[0], k[2], k[3]) in charged}

    def _epoch(self, store: MemberStore) -> tuple[int, bytes] | None:
        stored = store.fact("epoch")
        return None if stored is None else _epoch(stored)

    def _epoch_id(self, store: MemberStore) -> bytes:
        state = self._epoch(store)
        return b"" if state is None else state[1]

    def _uploads(self, store: MemberStore) -> tuple[tuple[int, int, bytes, bytes], ...]:
        state = self._epoch(store)
        return () if state is None else store.uploads(state[0])

    def _openings(self, store: MemberStore) -> tuple[Any, ...]:
        state = self._epoch(store)
        return () if state is None else store.openings(state[0])

    def _own(self, name: str, own: bytes) -> tuple[Header, bytes] | None:
        """The header shown to a member, if it is one that it has sent."""
        try:
            signed = Signed.decode(own)
            header = Header.decode(signed.body)
        except ProtocolError:
            return None
        sent = self.seen[name].left.get((header.run, header.epoch, header.round, header.attempt), {})
        return (header, signed.digest()) if signed.digest() in sent else None

    def within(self, epsilon: float, delta: float) -> None:
        """No run has cost a member more than its ε."""
        for name in self.names:
            runs: dict[int, list[Mechanism]] = defaultdict(list)
            for entry in self._store(name).ledger():
                if entry.status in CHARGED:
                    runs[entry.run] += [Mechanism(**facts) for facts in entry.event]
            for run, spent in runs.items():
                if composed_epsilon(spent, delta) > epsilon:
                    raise Violation(f"run {run} has cost {name} more than ε")
