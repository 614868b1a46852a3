"""Who is in the consortium: the roster, its hash, its twelve words, and what follows from it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated

from mnemonic import Mnemonic
from pydantic import Field

from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.message import Wire
from fedrepay.shared.trust.wire import MAX_MEMBERS, Key, Name


class Entry(Wire):
    """One member's long-term facts."""

    name: Name
    signing: Key
    sealing: Key
    node: bytes = b""


class Roster(Wire):
    """A sorted list of members and the coordinator's signing key."""

    members: Annotated[tuple[Entry, ...], Field(min_length=3, max_length=MAX_MEMBERS)]
    coordinator: Key

    @classmethod
    def of(cls, members: Sequence[Entry], coordinator: bytes) -> "Roster":
        """Sort and check.

        Raises:
            ProtocolError: a name or a key appears twice.
        """
        ordered = tuple(sorted(members, key=lambda entry: entry.name))
        roster = cls(members=ordered, coordinator=coordinator)
        roster.check()
        return roster

    def check(self) -> None:
        """Names sorted and unique, keys unique.

        Raises:
            ProtocolError: otherwise.
        """
        names = [entry.name for entry in self.members]
        signing = {entry.signing for entry in self.members} | {self.coordinator}
        sealing = {entry.sealing for entry in self.members}
        if names != sorted(set(names)) or len(signing) != len(names) + 1 or len(sealing) != len(names):
            raise ProtocolError(
                "The roster names a member or a key twice, or is not sorted.",
                "Ask the operator for a correct roster and compare its twelve words again.",
            )

    @cached_property
    def _hash(self) -> bytes:
        return keys.digest(b"roster", self.encode())

    @cached_property
    def _by_name(self) -> Mapping[str, Entry]:
        return {entry.name: entry for entry in reversed(self.members)}

    def hash(self) -> bytes:
        """SHA-256 of the roster's bytes (32 bytes)."""
        return self._hash

    def code(self) -> str:
        """The roster code: 128 bits of the hash as 12 words of the BIP-39 list, with its check bits."""
        return str(Mnemonic("english").to_mnemonic(self.hash()[:16]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Member names in order."""
        return tuple(entry.name for entry in self.members)

    def entry(self, name: str) -> Entry:
        """The member of that name.

        Raises:
            ProtocolError: no such member.
        """
        found = self._by_name.get(name)
        if found is None:
            raise ProtocolError(f"{name!r} is not in the roster.", "Refuse the message.")
        return found

    def by_key_hash(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Names (all, or the given ones) by rising hash of the signing key."""
        chosen = self.names if names is None else tuple(names)
        return tuple(sorted(chosen, key=lambda name: keys.key_hash(self.entry(name).signing)))

    def seeders(self, colluders: int) -> tuple[str, ...]:
        """The c + 1 members of lowest key hash: one of them is honest, so the seed is unknown outside."""
        return self.by_key_hash()[: colluders + 1]


def default_colluders(members: int) -> int:
    """max(1, ⌈K/10⌉), but never so many that no two members stay honest."""
    return min(max(1, -(-members // 10)), max(1, members - 2))


def minimum_cohort(members: int, colluders: int) -> int:
    """max(c + 2, ⌊K/2⌋ + 1): more than half, so that two forks cannot both go on."""
    return max(colluders + 2, members // 2 + 1)


def check_size(members: int, colluders: int) -> None:
    """The protocol's bounds on K and c.

    Raises:
        ArgumentError: K outside 3 … 1,500, c below 1 or so large that fewer than two stay honest.
    """
    if not 3 <= members <= MAX_MEMBERS:
        raise ArgumentError(
            f"A consortium of {members} members is outside 3 … {MAX_MEMBERS}.",
            "Below 3 a member reads its rival's update; above, decryption may fail. Choose another number.",
        )
    if not 1 <= colluders <= members - 2:
        raise ArgumentError(
            f"colluders = {colluders} is outside 1 … {members - 2} for {members} members.",
            "Every member knows its own noise, so at least 1; at least two members must stay honest.",
        )
