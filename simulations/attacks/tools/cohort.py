"""A cohort that seals, adds up and opens with the product's own functions; no roster, no transport.

For attacks that need many sums: every number goes through the members' noise, packing, canary slots, pairwise
masks, encryption, tags, the coordinator's addition, the tag's check and the opening, as in a run. What a run has beside
this (signatures, guard, ledger) decides whether a sum is made, not what is in it.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.opening import open_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.crypto.seal import AttemptKeys, seal
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.secure_sum.tag import AttemptTags


@dataclass(frozen=True)
class SealedUpload:
    """What leaves a member: ciphertexts in wire form and one tag a chunk."""

    payload: bytes
    tags: Sequence[int]


@dataclass(frozen=True)
class Cohort:
    """``size`` members m00, m01 … of one epoch, with fresh keys and a fresh group seed.

    Attributes:
        size: K, 2 or more.
        seed: the group seed (32 bytes).
    """

    size: int
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _masks: dict[str, X25519PrivateKey] = field(default_factory=dict)

    @cached_property
    def group(self) -> GroupKey:
        """The epoch's key."""
        return GroupKey.derive(self.seed, bytes(32))

    @property
    def names(self) -> list[str]:
        """The members, in order."""
        return [f"m{index:02}" for index in range(self.size)]

    def tags(self, attempt: bytes) -> AttemptTags:
        """Tags, pads and canaries of an attempt."""
        return AttemptTags(self.seed, attempt, tuple(self.names))

    def attempt(self, number: int) -> bytes:
        """The attempt's context (48 bytes): every sum is one of its own."""
        return attempt_context(1, number, number, keys.digest(*(name.encode() for name in self.names)))

    def keys(self, name: str, attempt: bytes) -> AttemptKeys:
        """What ``name`` seals with."""
        secrets_ = self.pair_secrets(name, self.names)
        return AttemptKeys(self.group, self.tags(attempt), attempt, name, _hash(name), secrets_)

    def pair_secrets(self, name: str, peers: Sequence[str]) -> dict[bytes, bytes]:
        """The X25519 secrets that ``name`` shares with ``peers``, by key hash."""
        for each in self.names:
            self._masks.setdefault(each, X25519PrivateKey.generate())
        return {
            _hash(peer): keys.shared_secret(self._masks[name], keys.public_bytes(self._masks[peer]))
            for peer in peers
            if peer != name
        }

    def upload(self, name: str, noisy: I64, attempt: bytes) -> SealedUpload:
        """Mask, encrypt and tag a member's noisy integers."""
        return SealedUpload(*seal(noisy, self.keys(name, attempt), OsEntropy()))

    def open(self, uploads: Sequence[SealedUpload], attempt: bytes, n_values: int) -> I64:
        """Add the uploads as the coordinator does and open the sum as a member does."""
        total = PublicSum(len(uploads[0].tags))
        for upload in uploads:
            total.add(upload.payload, upload.tags)
        return open_sum(self.group, self.tags(attempt), total.payload(), total.tags, n_values)

    def sum(self, noisy: Mapping[str, I64], number: int) -> I64:
        """The opened sum of what every member brings, (n,)."""
        attempt = self.attempt(number)
        uploads = [self.upload(name, noisy[name], attempt) for name in self.names]
        return self.open(uploads, attempt, len(noisy[self.names[0]]))


def _hash(name: str) -> bytes:
    """A stand-in for the hash of a member's Ed25519 key: it only orders the members."""
    return keys.digest(b"key of", name.encode())
