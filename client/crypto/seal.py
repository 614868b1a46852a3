"""One contribution on its way out: integers → noise → masks mod t → encryption → homomorphic tag."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.arrays import I64
from fedrepay.shared.privacy.accounting import Charged, Mechanism
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.secure_sum.masking import apply_masks
from fedrepay.shared.secure_sum.packing import GAM, Packing
from fedrepay.shared.secure_sum.tag import AttemptTags


@dataclass(frozen=True)
class AttemptKeys:
    """What a member needs to seal for one attempt."""

    group: GroupKey
    tags: AttemptTags  # run, round, attempt, config hash, cohort: of tags, pads and canaries
    masked: bytes  # the same and the HMAC of the sums opened so far: of masks
    name: str
    key_hash: bytes
    pair_secrets: Mapping[bytes, bytes]  # peers' key hash → X25519 secret; the attempt's cohort only


def add_noise(values: I64, mechanisms: Sequence[Charged], entropy: Entropy) -> I64:
    """This member's share of each segment's discrete Gaussian noise; no mechanisms, no noise.

    In local mode the noise is in the values already: it was added to every step (``learning/dp_sgd.py``).
    """
    shared = [mechanism for mechanism in mechanisms if isinstance(mechanism, Mechanism)]
    if not shared:
        return values
    drawn = [DiscreteGaussian(m.share_variance).sample(m.size, entropy) for m in shared]
    return values + np.concatenate(drawn)


def seal(
    values: I64, keys: AttemptKeys, entropy: Entropy, packing: Packing = GAM
) -> tuple[bytes, tuple[int, ...]]:
    """Mask, encrypt and tag.

    Args:
        values: noisy integers, any length, |value| < t/2, or in the packing's range.
        keys: the attempt's keys.
        entropy: of the encryption's randomness, which is this member's own.
        packing: how values lie in slots.

    Returns:
        ciphertext bytes (32,800 a chunk) and one tag a chunk.
    """
    slots = packing.pack(values)
    slots[:, -1] = keys.tags.canaries(len(slots), keys.name, packing.t)
    filled = packing.filled(values.size)
    masked = apply_masks(slots, filled, keys.key_hash, keys.pair_secrets, keys.masked, packing.t)
    payload, chunks = keys.group.encrypt(masked, packing.t_bits, entropy)
    return payload, tuple(keys.tags.tags(chunks, keys.name))
