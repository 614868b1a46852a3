"""A cohort that seals and sums without roster or ceremony, for the tests of the secure sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from fedrepay.client.crypto.opening import open_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context
from fedrepay.shared.secure_sum.packing import GAM, Packing
from fedrepay.shared.secure_sum.tag import AttemptTags

SEED = sha256(b"group seed").digest()
GROUP = GroupKey.derive(SEED, bytes(32))


@dataclass(frozen=True)
class Upload:
    payload: bytes
    tags: Sequence[int]


@dataclass(frozen=True)
class Cohort:
    """K members m00, m01 … of one attempt; every secret follows from the names."""

    k: int
    round: int = 0
    attempt: int = 0
    packing: Packing = GAM

    @property
    def names(self) -> list[str]:
        return [f"m{index:02}" for index in range(self.k)]

    @property
    def context(self) -> bytes:
        return attempt_context(1, self.round, self.attempt, sha256(repr(self.names).encode()).digest())

    @property
    def tags(self) -> AttemptTags:
        return AttemptTags(SEED, self.context, tuple(self.names))

    @staticmethod
    def key_hash(name: str) -> bytes:
        return sha256(b"key of " + name.encode()).digest()

    def pair_secrets(self, name: str) -> dict[bytes, bytes]:
        return {
            self.key_hash(peer): sha256(repr(sorted([name, peer])).encode()).digest()
            for peer in self.names
            if peer != name
        }

    def masked(self, name: str, values: I64) -> U64:
        slots = self.packing.pack(values)
        slots[:, -1] = self.tags.canaries(len(slots), name, self.packing.t)
        filled = self.packing.filled(values.size)
        secrets = self.pair_secrets(name)
        return apply_masks(slots, filled, self.key_hash(name), secrets, self.context, self.packing.t)

    def upload(self, name: str, values: I64) -> Upload:
        payload, chunks = GROUP.encrypt(self.masked(name, values), self.packing.t_bits, OsEntropy())
        return Upload(payload, self.tags.tags(chunks, name))

    def uploads(self, values: Mapping[str, I64]) -> list[Upload]:
        return [self.upload(name, values[name]) for name in self.names]

    def open(self, payload: bytes, tags: Sequence[int], n_values: int) -> I64:
        return open_sum(GROUP, self.tags, payload, tags, n_values, self.packing)


def added(uploads: Sequence[Upload]) -> PublicSum:
    """What the coordinator makes of the uploads."""
    total = PublicSum(len(uploads[0].tags))
    for upload in uploads:
        total.add(upload.payload, upload.tags)
    return total
