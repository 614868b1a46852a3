"""Who is in the consortium: the roster, its hash, its twelve words, the quorum, and what follows from them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from mnemonic import Mnemonic
from pydantic import Field

from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust.fields import MAX_MEMBERS, Digest, Key, Name, Small
from fedrepay.shared.trust.message import Signed, Wire

COORDINATOR = "coordinator"
"""In the place of a member's name, where the coordinator is meant: no member may bear it."""
_REMEDY = "Ask the operator for a correct roster and compare its twelve words again."


class Entry(Wire):
    """One member's long-term facts."""

    name: Name
    signing: Key
    sealing: Key
    node: Annotated[bytes, Field(max_length=1024)] = b""


class Revoked(Wire):
    """One member of the roster before that the others put out, and why, in their words."""

    name: Name
    reason: Annotated[str, Field(max_length=120)] = ""


RevokedMembers = Annotated[tuple[Revoked, ...], Field(max_length=MAX_MEMBERS)]


class Roster(Wire):
    """A sorted list of members and the coordinator's signing key, as people approved it.

    Attributes:
        number: of its proposal; numbers rise.
        predecessor: hash of the roster before; zeros for the first.
        members: sorted by name.
        coordinator: its signing key.
        released: number of the last release when this was proposed; 0 for none.
        release: SHA-256 of that release's bytes; zeros for none.
        nonces: one a member, in order: revealed after all of the above was fixed, so that nobody could choose keys for
            the words (``enrolment``).
        revoked: of the roster before, sorted by name: who goes without having signed it (``succession``).
        handover: where the coordinator has another key than in the roster before, the word of that one; None where its
            key is the same, or nobody could sign for the new one (``succession.KeyHandover``).
    """

    number: Small
    predecessor: Digest
    members: Annotated[tuple[Entry, ...], Field(min_length=3, max_length=MAX_MEMBERS)]
    coordinator: Key
    released: Small
    release: Digest
    nonces: Annotated[tuple[Key, ...], Field(min_length=3, max_length=MAX_MEMBERS)]
    revoked: RevokedMembers = ()
    handover: Signed | None = None

    def check(self) -> None:
        """Names sorted and unique, signing keys unique, a nonce each.

        A sealing key may be another's: both names stand in whatever is sealed, so the copier harms itself alone.

        Raises:
            ProtocolError: otherwise, naming who bears a name or key of another.
        """
        seen: dict[bytes, str] = {self.coordinator: "the coordinator"}
        for entry in self.members:
            other = seen.setdefault(entry.signing, entry.name)
            if other != entry.name:
                raise ProtocolError(f"{entry.name} has the signing key of {other}.", _REMEDY)
        names = [entry.name for entry in self.members]
        if COORDINATOR in names:
            raise ProtocolError(f"A member is called {COORDINATOR!r}.", "Give it another name.")
        if names != sorted(set(names)) or len(self.nonces) != len(names):
            raise ProtocolError(
                "The roster names a member twice, is not sorted, or lacks a member's nonce.", _REMEDY
            )
        check_revoked(self.revoked, names)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without what was worked out of the fields before."""
        made = super().model_copy(update=update, deep=deep)
        for name in ("_hash", "_by_name", "names"):
            made.__dict__.pop(name, None)
        return made

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
        """The roster code: 128 bits of the hash, nonces included, as 12 words of the BIP-39 list."""
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


def check_revoked(revoked: Sequence[Revoked], names: Sequence[str]) -> None:
    """Who is revoked is named once, in order, and is not in the roster.

    Raises:
        ProtocolError: otherwise.
    """
    out = [each.name for each in revoked]
    if out != sorted(set(out)):
        raise ProtocolError("The revoked are named twice, or are not sorted.", _REMEDY)
    if stayed := sorted(set(out) & set(names)):
        raise ProtocolError(f"{', '.join(stayed)}: revoked, and in the roster.", _REMEDY)


def default_colluders(members: int) -> int:
    """max(1, ⌈K/10⌉): of three members or more, two stay honest."""
    return max(1, -(-members // 10))


def quorum(members: int, colluders: int) -> int:
    """max(c + 2, ⌊(K + c)/2⌋ + 1): smallest cohort, smallest present part of an epoch, votes of a release.

    Two forks of this size share more than c members, so one that is honest stands in both and follows one of them.
    More than half alone is not enough: K = 5, c = 1, {A, B, X} and {C, D, X}.

    Args:
        members: K, the roster whose words people approved last.
        colluders: c.
    """
    return max(colluders + 2, (members + colluders) // 2 + 1)


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
