"""Ghosts in two rosters whose words should agree: what a coordinator can choose, and when.

It isolates one member: in roster A that one is real and all others are ghosts, in roster B it is a ghost and the others
are real. People compare twelve words, so both rosters need the same ones. Where it may choose anything after all else is
known (ghosts' keys where the words cover keys alone; a ghost's nonce where members reveal theirs to a second list), it
meets in the middle: 2^(b/2) hashes for b bits. Where every list is frozen before nonces are revealed to it, and to no
other, a pair of proposals is one try.
"""

import math
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.enrolling import MemberEnrolment
from fedrepay.shared import keys
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Call, Joining, Proposal, Revealed
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.tools.adversary import say
from fedrepay.simulations.attacks.tools.haunted import Haunted

SIZE = 5
ALONE: tuple[str, ...] = ("m0",)
OTHERS: tuple[str, ...] = ("m1", "m2", "m3", "m4")
BITS = 33
"""The first three of twelve words."""
WORDS = BITS // 11


@dataclass(frozen=True)
class Collision:
    """Two rosters whose hashes begin alike.

    Attributes:
        left: the 32 bytes chosen in the first.
        right: in the second.
        hashes: that it took.
    """

    left: bytes
    right: bytes
    hashes: int

    @property
    def power(self) -> float:
        """log2 of the hashes."""
        return math.log2(self.hashes)


def start_of(hashed: bytes) -> int:
    """The first ``BITS`` bits of a hash: what the first words say."""
    return int.from_bytes(hashed[:8], "big") >> (64 - BITS)


def collide(left: Roster, at_left: bytes, right: Roster, at_right: bytes) -> Collision:
    """Choose 32 bytes in each roster until their hashes begin alike.

    Args:
        left: a roster.
        at_left: the 32 bytes of it that may be chosen: a ghost's key or nonce.
        right: another roster.
        at_right: of that one.
    """
    sides = [_around(left, at_left), _around(right, at_right)]
    seen: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
    base, tried = os.urandom(24), 0
    while True:
        chosen = base + tried.to_bytes(8, "big")
        tried += 1
        for mine, (begun, rest) in enumerate(sides):
            state = begun.copy()
            state.update(chosen + rest)
            start = start_of(state.digest())
            seen[mine][start] = chosen
            if start in seen[1 - mine]:
                return Collision(seen[0][start], seen[1][start], 2 * tried - (1 - mine))


def _around(roster: Roster, free: bytes) -> tuple[Any, bytes]:
    """``Roster.hash`` begun up to the free bytes, and what follows them."""
    data = roster.encode()
    at = data.index(free)
    state = sha256((6).to_bytes(8, "big") + b"roster" + len(data).to_bytes(8, "big") + data[:at])
    return state, data[at + len(free) :]


class TwoCalls:
    """A coordinator with two calls for a roster: one to the member it isolates, one to all others.

    Args:
        folder: for the members' stores.
    """

    def __init__(self, folder: Path) -> None:
        self.sides = tuple(
            Haunted(folder / f"of-{honest[0]}", SIZE, rounds=2, honest=honest) for honest in (ALONE, OTHERS)
        )
        self._key = self.sides[0].key
        self._nonces = {name: os.urandom(32) for name in self.sides[0].names}
        self._joined: list[dict[str, Signed]] = [{}, {}]
        self._call = Signed.make(self._key, self._numbered(1))

    def _numbered(self, number: int) -> Call:
        return Call(
            number=number,
            coordinator=keys.public_bytes(self._key),
            predecessor=enrolment.FIRST,
            released=0,
            release=bytes(32),
        )

    def call(self, number: int) -> None:
        """Call for a roster: honest members join with a commitment."""
        self._call = Signed.make(self._key, self._numbered(number))
        for side, joined in zip(self.sides, self._joined, strict=True):
            for name in side.honest:
                reply = say(side, name, Kind.PROPOSE, self._call.encode())
                joined[name] = Signed.decode(reply.body)

    def ghost(self, identity: Identity, nonce: bytes) -> Signed:
        """A ghost's joining."""
        joining = Joining(
            call=self._call.digest(),
            entry=identity.entry(),
            commitment=enrolment.commitment(nonce, identity.name),
        )
        return Signed.make(identity.signing, joining)

    def proposal(self, at: int, nonces: dict[str, bytes]) -> bytes:
        """One side's list, its ghosts committed to these nonces."""
        side = self.sides[at]
        joinings = self._joined[at] | {
            name: self.ghost(side.identities[name], nonces[name]) for name in side.ghosts
        }
        return Proposal(call=self._call, joinings=tuple(joinings[name] for name in side.names)).encode()

    def reveal(self, at: int, nonces: dict[str, bytes]) -> tuple[bytes, dict[str, Signed], set[str]]:
        """Ask the honest members of one side for their nonces: (list, what was revealed, codes of refusals)."""
        side, proposal = self.sides[at], self.proposal(at, nonces)
        found, refused = {}, set()
        for name in side.honest:
            reply = say(side, name, Kind.REVEAL, proposal)
            if reply.kind == "ok":
                found[name] = Signed.decode(reply.body)
            else:
                refused.add(reply.code)
        for name in side.ghosts:
            said = Revealed(proposal=keys.digest(proposal), name=name, nonce=nonces[name])
            found[name] = Signed.make(side.identities[name].signing, said)
        return proposal, found, refused

    def roster(self, at: int, proposal: bytes, revealed: dict[str, Signed]) -> Roster:
        """The roster of one side, as members compute it."""
        return enrolment.roster_of(proposal, [revealed[name] for name in self.sides[at].names])

    def fresh(self) -> dict[str, bytes]:
        """A nonce for each ghost."""
        return {name: os.urandom(32) for name in self.sides[0].names}


@dataclass(frozen=True)
class Proposed:
    """What N numbered proposals a side gave.

    Attributes:
        pairs: of rosters that were compared.
        alike: pairs whose first words agree.
        second: members that revealed a nonce to a second list.
        restarted: members that revealed one after a restart.
        refused: codes of those refusals.
        chosen: hashes in which first words were made to agree by a ghost's nonce; None where that was not possible.
    """

    pairs: int
    alike: int
    second: int
    restarted: int
    refused: tuple[str, ...]
    chosen: Collision | None


def propose(folder: Path, proposals: int) -> Proposed:
    """Real members, so many proposals to each side; then one list is tried again with a nonce made to fit."""
    split = TwoCalls(folder)
    starts: tuple[set[int], set[int]] = (set(), set())
    second, refused, chosen = 0, set[str](), None
    for number in range(1, proposals + 1):
        split.call(number)
        nonces = (split.fresh(), split.fresh())
        made = [split.reveal(at, nonces[at]) for at in (0, 1)]
        rosters = [split.roster(at, made[at][0], made[at][1]) for at in (0, 1)]
        for at in (0, 1):
            starts[at].add(start_of(rosters[at].hash()))
        if number < proposals:
            continue
        collision = collide(rosters[0], nonces[0]["m4"], rosters[1], nonces[1]["m0"])
        nonces[0]["m4"], nonces[1]["m0"] = collision.left, collision.right
        again = [split.reveal(at, nonces[at]) for at in (0, 1)]
        refused |= again[0][2] | again[1][2]
        second = sum(len(set(again[at][1]) & set(split.sides[at].honest)) for at in (0, 1))
        if second == SIZE:
            words = [split.roster(at, again[at][0], again[at][1]).code().split()[:WORDS] for at in (0, 1)]
            chosen = collision if words[0] == words[1] else None
    split.call(proposals + 1)
    for side in split.sides:
        side.members = {name: side.member(name) for name in side.names}
    after = [split.reveal(at, split.fresh()) for at in (0, 1)]
    restarted = sum(len(set(after[at][1]) & set(split.sides[at].honest)) for at in (0, 1))
    refused |= after[0][2] | after[1][2]
    return Proposed(
        len(starts[0]) * len(starts[1]),
        len(starts[0] & starts[1]),
        second,
        restarted,
        tuple(sorted(refused)),
        chosen,
    )


def reveal_always(member: MemberEnrolment, shared: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A build that reveals its nonce to every list that holds its joining."""
    kept = dict(member._nonces)  # noqa: SLF001
    answer = _reveal(member, shared)
    member._nonces = kept  # noqa: SLF001
    return answer


_reveal = MemberEnrolment.reveal


def over_keys_alone() -> Collision:
    """Two rosters whose words cover names and keys, and no nonces: ghosts' sealing keys are chosen."""
    real = {f"m{i}": Identity.create(f"m{i}").entry() for i in range(SIZE)}
    ghosts = {name: Identity.create(name).entry() for name in real}
    coordinator = os.urandom(32)

    def roster(honest: tuple[str, ...]) -> Roster:
        return Roster(
            number=1,
            predecessor=enrolment.FIRST,
            members=tuple(real[name] if name in honest else ghosts[name] for name in sorted(real)),
            coordinator=coordinator,
            released=0,
            release=bytes(32),
            nonces=(bytes(32),) * SIZE,
        )

    return collide(roster(ALONE), ghosts["m4"].sealing, roster(OTHERS), ghosts["m0"].sealing)
