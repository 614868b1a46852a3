"""Pairwise masks mod t: each pair adds and subtracts the same numbers, so only the sum is readable.

docs/protocol.md, *Epochs, roster, keys*, 4: a mask is derived for the two identities, the whole round configuration, and
what its members have opened so far. No pair key is ever revealed: a drop means a new attempt.
"""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from fedrepay.shared import keys
from fedrepay.shared.arrays import U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum import ring, stream


def attempt_context(run: int, round_number: int, attempt: int, config_hash: bytes) -> bytes:
    """Canonical bytes (48) of one attempt: run (8, big-endian), round (4), attempt (4), config hash (32).

    The hash is of the attempt's ``RoundConfig``: members told different cohorts, noise or modes share no mask,
    so what they send adds up to nothing readable.

    Raises:
        ProtocolError: a number is out of range, or the hash has not 32 bytes.
    """
    try:
        numbers = run.to_bytes(8, "big") + round_number.to_bytes(4, "big") + attempt.to_bytes(4, "big")
    except OverflowError as error:
        raise ProtocolError(
            f"Run {run}, round {round_number}, attempt {attempt} are not numbers of a run.",
            "Refuse the message.",
        ) from error
    if len(config_hash) != 32:
        raise ProtocolError(f"A config hash of {len(config_hash)} bytes.", "Refuse the message.")
    return numbers + config_hash


def mask_context(run: int, round_number: int, attempt: int, config_hash: bytes, opened: bytes) -> bytes:
    """What the masks of an attempt are derived for: the attempt, and the HMAC of the sums its member has opened.

    Masks then cancel only among members whose models are the same. Without it, a colluder that signs another header for
    each victim has honest members open different sums, and their next uploads add up to one institution's own function.

    Args:
        run: number of the run.
        round_number: of the round.
        attempt: of the attempt.
        config_hash: as in :func:`attempt_context`.
        opened: HMAC under the group seed of all opened sums (32 bytes); it stands in the member's signed header too.

    Returns:
        48 bytes.

    Raises:
        ProtocolError: as :func:`attempt_context`.
    """
    return attempt_context(run, round_number, attempt, keys.digest(config_hash, opened))


def _pair_key(secret: bytes, pair: tuple[bytes, bytes], context: bytes) -> bytes:
    """The key of the stream that two members share for one attempt: keyed BLAKE2b (RFC 7693).

    HKDF would do as well, and takes four times as long; this is made for every other member in every sum.
    """
    info = context + min(pair) + max(pair)
    return blake2b(info, key=secret, digest_size=32, person=b"fedrepay/mask").digest()


def pair_mask(secret: bytes, pair: tuple[bytes, bytes], context: bytes, filled: int, t: int) -> U64:
    """The mask two members share for one attempt.

    Args:
        secret: their X25519 secret (32 bytes).
        pair: both key hashes (32 bytes each), in either order. Without them a member that publishes another's
            mask key as its own would make a third member add and subtract one and the same mask.
        context: :func:`mask_context`.
        filled: as :func:`apply_masks`.
        t: plain modulus, a power of two.

    Returns:
        (chunks, 4096) numbers, uniform mod t: words of the stream, cut; 0 where a slot is never filled.
    """
    mask = np.zeros((filled // ring.SLOTS + 1, ring.SLOTS), dtype=np.uint64)
    words = np.empty(filled + 1 + stream.SPARE, dtype="<u8")
    stream.fill(_pair_key(secret, pair, context), words)
    cut = words[: -stream.SPARE] & np.uint64(t - 1)
    mask.reshape(-1)[:filled], mask[-1, -1] = cut[:-1], cut[-1]
    return mask


def apply_masks(
    slots: U64, filled: int, mine: bytes, peers: Mapping[bytes, bytes], context: bytes, t: int
) -> U64:
    """Add the masks shared with peers of higher key hash, subtract the others'.

    The sum runs mod 2⁶⁴ and is cut to t once, which is the same as cutting every mask. Slots that no sum of this length
    ever fills hold 0 at every member, and need none.

    Args:
        slots: (chunks, 4096) numbers below t.
        filled: slots that hold values or canaries, from the first on; the last slot of all is a canary too.
        mine: this member's key hash.
        peers: key hash → X25519 secret of every other member of the attempt's cohort.
        context: :func:`mask_context`.
        t: plain modulus, a power of two.

    Returns:
        (chunks, 4096) numbers below t; without one peer's secret what is filled is uniform.

    Raises:
        ProtocolError: no peers, or this member is among them, or a slot beyond holds something: it would leave unmasked.
    """
    flat = slots.reshape(-1)
    if not peers or mine in peers or flat[filled:-1].any():
        raise ProtocolError("A contribution cannot be masked without other members.", "Refuse the round.")
    total = np.append(flat[:filled], flat[-1:])
    words = np.empty(total.size + stream.SPARE, dtype="<u8")
    mask = words[: -stream.SPARE]
    for peer, secret in peers.items():
        stream.fill(_pair_key(secret, (mine, peer), context), words)
        if mine < peer:
            total += mask
        else:
            total -= mask
    total &= np.uint64(t - 1)
    masked = np.zeros_like(slots)
    masked.reshape(-1)[:filled], masked[-1, -1] = total[:-1], total[-1]
    return masked
