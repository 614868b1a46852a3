"""One contribution out and one sum in: noise, masks, encryption, tags and canaries."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedrepay.client.crypto.opening import open_sum, verify_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.crypto.seal import AttemptKeys, add_noise, seal
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import ArgumentError, Refusal
from fedrepay.shared.privacy.accounting import Mechanism, SampledSteps
from fedrepay.shared.privacy.entropy import OsEntropy, SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import SUM_BYTES, UPLOAD_BYTES, PublicSum, summed, uploaded
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context, mask_context
from fedrepay.shared.secure_sum.packing import GAM, Packing, update_packing
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.secure_cohort import GROUP, SEED, Cohort

NAMES = ("m00", "m01")
CONTEXT = attempt_context(1, 0, 0, bytes(32))
MASKED = mask_context(1, 0, 0, bytes(32), SEED)
MANY = np.arange(-2048, 2048, dtype=np.int64)  # one more than a ciphertext holds: two
TAG = AttemptTags(SEED, CONTEXT, NAMES)
UPDATES = update_packing(2)


def keys(name: str) -> AttemptKeys:
    return AttemptKeys(GROUP, TAG, MASKED, name, Cohort.key_hash(name), Cohort(2).pair_secrets(name))


def added(*uploads: tuple[bytes, Sequence[int]]) -> tuple[bytes, list[int]]:
    total = PublicSum(len(uploads[0][1]))
    for payload, tags in uploads:
        total.add(payload, tags)
    return total.payload(), total.tags


SEALED = {name: seal(MANY, keys(name), OsEntropy()) for name in NAMES}
PAYLOAD, TAGS = added(*SEALED.values())


# --- noise ---


def mechanism(variance: float, size: int) -> Mechanism:
    return Mechanism(sensitivity=10, variance=variance, cohort=5, colluders=1, size=size)


STEPS = SampledSteps(sensitivity=10, variance=1e4, sampling_rate=0.1, steps=2, cohort=5, size=3)


def test_every_segment_gets_its_own_share_of_noise() -> None:
    values = np.array([1, 2, 3, 4, 5], dtype=np.int64)
    two = [mechanism(4e4, 2), mechanism(4e8, 3)]
    again = SeededEntropy(b"n")
    drawn = [DiscreteGaussian(1e4).sample(2, again), DiscreteGaussian(1e8).sample(3, again)]
    found = add_noise(values, two, SeededEntropy(b"n"))
    assert np.array_equal(found, values + np.concatenate(drawn))
    assert not np.array_equal(found, values)


def test_where_a_step_was_noised_already_or_nothing_is_no_noise_is_drawn() -> None:
    values = np.array([1, 2, 3], dtype=np.int64)
    for charged in ([], [STEPS]):
        assert np.array_equal(add_noise(values, charged, SeededEntropy(b"n")), values)


# --- out ---


@pytest.mark.parametrize("packing", [GAM, UPDATES])
def test_the_sum_of_what_is_sealed_opens_to_the_sum_of_the_values(packing: Packing) -> None:
    values = MANY if packing is GAM else np.arange(-4096, 4096, dtype=np.int64)
    payload, tags = added(*(seal(values, keys(name), OsEntropy(), packing) for name in NAMES))
    assert (len(payload), len(tags)) == (2 * SUM_BYTES, 2)
    opened = open_sum(GROUP, TAG, payload, tags, values.size, packing)
    assert np.array_equal(opened, 2 * values)


def test_what_is_sealed_is_canary_and_values_under_the_masks_of_what_was_opened() -> None:
    payload, tags = SEALED["m00"]
    slots = GAM.pack(MANY)
    slots[:, -1] = TAG.canaries(2, "m00", GAM.t)
    mine = keys("m00")
    masked = apply_masks(slots, GAM.filled(MANY.size), mine.key_hash, mine.pair_secrets, MASKED, GAM.t)
    chunks = uploaded(payload, 2)
    assert np.array_equal(GROUP.decrypt(chunks, GAM.t_bits), masked)
    assert list(tags) == TAG.tags(chunks, "m00")


# --- in ---


def opened(payload: bytes = PAYLOAD, tags: Sequence[int] = TAGS) -> I64:
    return open_sum(GROUP, TAG, payload, tags, MANY.size)


def swapped(at: int) -> bytes:
    """One ciphertext of the sum in the place of its own member's."""
    chunks = summed(PAYLOAD, 2).copy()
    chunks[at] = uploaded(SEALED["m00"][0], 2)[at]
    return chunks.astype("<u8").tobytes()


@pytest.mark.parametrize(
    ("payload", "tags", "at"),
    [
        (swapped(0), TAGS, 0),
        (swapped(1), TAGS, 1),
        (PAYLOAD, [TAGS[0], TAGS[1] ^ 1], 1),
        (PAYLOAD[:-1], TAGS, 0),
        (PAYLOAD, TAGS[:1], 0),
        (b"", [], 0),
    ],
    ids=["first", "second", "tag", "a byte less", "a tag less", "nothing"],
)
def test_a_changed_sum_is_refused_and_the_answer_names_the_ciphertext(
    payload: bytes, tags: Sequence[int], at: int
) -> None:
    with pytest.raises(Refusal) as refused:
        opened(payload, tags)
    assert (refused.value.code, refused.value.proof) == ("tag", at.to_bytes(4, "big"))


def test_nothing_is_decrypted_before_its_tag_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupKey, "decrypt", lambda *_: pytest.fail("decrypted"))
    with pytest.raises(Refusal):
        opened(swapped(1))
    assert np.array_equal(verify_sum(TAG, PAYLOAD, TAGS), summed(PAYLOAD, 2))


@pytest.mark.parametrize("at", [0, 1])
def test_a_wrong_mask_under_a_right_tag_is_seen_at_its_canary(at: int) -> None:
    uploads = {}
    for name in NAMES:
        slots = np.zeros((2, ring.SLOTS), dtype=np.uint64)
        slots[:, -1] = TAG.canaries(2, name, GAM.t)
        if name == "m01":
            slots[at, -1] ^= np.uint64(1)
        payload, chunks = GROUP.encrypt(slots, GAM.t_bits, OsEntropy())
        uploads[name] = (payload, TAG.tags(chunks, name))
    with pytest.raises(Refusal) as refused:
        opened(*added(*uploads.values()))
    assert refused.value.code == "canary"


def test_more_members_than_a_modulus_allows_open_nothing() -> None:
    payload = bytes(SUM_BYTES)
    many = AttemptTags(SEED, CONTEXT, tuple(f"m{i:02}" for i in range(27)))
    pads = [sum(many._pads(0)) % ring.Q]
    with pytest.raises(ArgumentError, match="27 members"):
        open_sum(GROUP, many, payload, pads, 1, Packing(55))


@pytest.mark.parametrize("half", [0, 1])
def test_a_shift_of_either_polynomial_is_refused(half: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second one, by Δ: it would move what opens by the secret key. Control: a tag over the first alone opens it."""
    chunks = summed(PAYLOAD, 2).copy()
    chunks[0, half * ring.N] = (int(chunks[0, half * ring.N]) + (ring.Q >> 46)) % ring.Q
    payload = chunks.astype("<u8").tobytes()
    with pytest.raises(Refusal) as refused:
        opened(payload)
    assert refused.value.code == "tag"
    whole = AttemptTags._product
    monkeypatch.setattr(
        AttemptTags,
        "_product",
        lambda self, at, chunk: whole(
            self, at, np.where(np.arange(chunk.size) < ring.N, chunk, np.uint64(0))
        ),
    )
    sealed = [seal(MANY, keys(name), SeededEntropy(name.encode())) for name in NAMES]
    payload, tags = added(*sealed)
    chunks = summed(payload, 2).copy()
    chunks[0, half * ring.N] = (int(chunks[0, half * ring.N]) + (ring.Q >> 46)) % ring.Q
    monkeypatch.setattr(AttemptTags, "canary_sums", lambda *_: GROUP.decrypt(chunks, 46)[:, -1])
    if half:
        assert not np.array_equal(opened(chunks.astype("<u8").tobytes(), tags), 2 * MANY)
        return
    with pytest.raises(Refusal):
        opened(chunks.astype("<u8").tobytes(), tags)


def test_encryption_draws_from_the_members_entropy() -> None:
    """Control of every test that seals twice: with one seed it is the same upload."""
    same = [seal(MANY, keys("m00"), SeededEntropy(b"s"))[0] for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != SEALED["m00"][0]
    assert len(same[0]) == 2 * UPLOAD_BYTES
