"""One contribution out and one sum in: noise, masks, encryption, tags and canaries, and the keys of an epoch."""

from collections.abc import Sequence

import numpy as np
import pytest
import tenseal as ts

from fedrepay.client.crypto.he import GroupContext, open_sum, verify_sum
from fedrepay.client.crypto.seal import AttemptKeys, add_noise, seal
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import ArgumentError, ProtocolError, Refusal
from fedrepay.shared.privacy.accounting import Mechanism, SampledSteps
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.secure_sum import ring, tag
from fedrepay.shared.secure_sum.ciphertext import CHUNK_BYTES, PublicSum, coefficients
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context, mask_context
from fedrepay.shared.secure_sum.packing import GAM, TORCH_PAIRS, Packing
from support.secure_cohort import SEED, Cohort, group

NAMES = ("m00", "m01")
CONTEXT = attempt_context(1, 0, 0, bytes(32))
MASKED = mask_context(1, 0, 0, bytes(32), SEED)
MANY = np.arange(-2048, 2048, dtype=np.int64)  # one more than a ciphertext holds: two
GROUP = group(46)


def keys(name: str, t_bits: int = 46) -> AttemptKeys:
    secrets = Cohort(2).pair_secrets(name)
    return AttemptKeys(group(t_bits), SEED, CONTEXT, MASKED, name, Cohort.key_hash(name), secrets)


def added(*uploads: tuple[bytes, Sequence[int]]) -> tuple[bytes, list[int]]:
    total = PublicSum(len(uploads[0][1]))
    for payload, tags in uploads:
        total.add(payload, tags)
    return total.payload(), total.tags


SEALED = {name: seal(MANY, keys(name)) for name in NAMES}
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


@pytest.mark.parametrize("packing", [GAM, TORCH_PAIRS])
def test_the_sum_of_what_is_sealed_opens_to_the_sum_of_the_values(packing: Packing) -> None:
    values = MANY if packing is GAM else np.arange(-4096, 4096, dtype=np.int64)
    payload, tags = added(*(seal(values, keys(name, packing.t_bits), packing) for name in NAMES))
    assert (len(payload), len(tags)) == (2 * CHUNK_BYTES, 2)
    opened = open_sum(group(packing.t_bits), SEED, CONTEXT, NAMES, payload, tags, values.size, packing)
    assert np.array_equal(opened, 2 * values)


def test_what_is_sealed_is_canary_and_values_under_the_masks_of_what_was_opened() -> None:
    payload, tags = SEALED["m00"]
    slots = GAM.pack(MANY)
    for chunk in range(2):
        slots[chunk, -1] = tag.canary(SEED, CONTEXT, chunk, "m00", GAM.t)
    mine = keys("m00")
    masked = apply_masks(slots, mine.key_hash, mine.pair_secrets, MASKED, GAM.t)
    chunks = coefficients(payload, 2)
    assert np.array_equal(GROUP.decrypt(chunks), masked)
    assert list(tags) == tag.tags(SEED, CONTEXT, chunks, "m00")


# --- in ---


def opened(payload: bytes = PAYLOAD, tags: Sequence[int] = TAGS) -> I64:
    return open_sum(GROUP, SEED, CONTEXT, NAMES, payload, tags, MANY.size)


def swapped(at: int) -> bytes:
    """One ciphertext of the sum in the place of its own member's."""
    part = SEALED["m00"][0]
    return (
        PAYLOAD[: at * CHUNK_BYTES]
        + part[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES]
        + PAYLOAD[(at + 1) * CHUNK_BYTES :]
    )


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
    monkeypatch.setattr(GroupContext, "decrypt", lambda *_: pytest.fail("decrypted"))
    with pytest.raises(Refusal):
        opened(swapped(1))
    assert np.array_equal(verify_sum(SEED, CONTEXT, NAMES, PAYLOAD, TAGS), coefficients(PAYLOAD, 2))


@pytest.mark.parametrize("at", [0, 1])
def test_a_wrong_mask_under_a_right_tag_is_seen_at_its_canary(at: int) -> None:
    uploads = {}
    for name in NAMES:
        slots = np.zeros((2, ring.SLOTS), dtype=np.uint64)
        for chunk in range(2):
            slots[chunk, -1] = tag.canary(SEED, CONTEXT, chunk, name, GAM.t)
        if name == "m01":
            slots[at, -1] ^= np.uint64(1)
        chunks = GROUP.encrypt(slots)
        uploads[name] = (chunks.astype("<u8").tobytes(), tag.tags(SEED, CONTEXT, chunks, name))
    with pytest.raises(Refusal) as refused:
        opened(*added(*uploads.values()))
    assert refused.value.code == "canary"


def test_more_members_than_a_modulus_allows_open_nothing() -> None:
    with pytest.raises(ArgumentError, match="33 members"):
        open_sum(group(48), SEED, CONTEXT, [f"m{i:02}" for i in range(33)], PAYLOAD, TAGS, 1, TORCH_PAIRS)


# --- keys ---


def context(degree: int = 4096, t: int = GAM.t, bits: Sequence[int] = (60, 20)) -> ts.Context:
    return ts.context(
        ts.SCHEME_TYPE.BFV, poly_modulus_degree=degree, plain_modulus=t, coeff_mod_bit_sizes=list(bits)
    )


@pytest.mark.parametrize(
    ("degree", "t", "bits"),
    [(8192, GAM.t, (60, 20)), (4096, 40961, (60, 20)), (4096, GAM.t, (59, 20)), (4096, GAM.t, (60, 21))],
    ids=["N", "t", "q", "special prime"],
)
def test_other_parameters_are_refused(degree: int, t: int, bits: tuple[int, int]) -> None:
    assert GroupContext(context()).t == GAM.t
    with pytest.raises(ProtocolError, match="An encryption context with"):
        GroupContext(context(degree, t, bits))


@pytest.mark.parametrize("t_bits", [46, 48])
def test_keys_come_back_from_their_bytes(t_bits: int) -> None:
    made = GroupContext.create(t_bits)
    public, whole = (
        GroupContext.from_public(made.public_bytes()),
        GroupContext.from_secret(made.secret_bytes()),
    )
    assert (made.t_bits, made.t) == (t_bits, ring.PLAIN_MODULI[t_bits])
    assert public.public_bytes() == whole.public_bytes() == made.public_bytes()
    assert (public.secret_bytes(), whole.secret_bytes()) == (b"", made.secret_bytes())
    assert GroupContext.from_secret(made.secret_bytes()) is whole, "members of one process share it"
    slots = np.array([[0, 1, made.t // 2, made.t // 2 + 1, made.t - 1] * 819 + [7]], dtype=np.uint64)
    assert np.array_equal(whole.decrypt(public.encrypt(slots)), slots)
    assert whole.decrypt(public.encrypt(slots)).dtype == np.uint64
    with pytest.raises(ProtocolError, match="no secret key"):
        public.decrypt(made.encrypt(slots))


def test_the_secret_half_is_where_it_belongs() -> None:
    made = GroupContext.create()
    with pytest.raises(ProtocolError, match="has no secret key"):
        GroupContext.from_secret(made.public_bytes())
    with pytest.raises(ProtocolError, match="has no secret key"):
        GroupContext.from_secret(made.public_bytes())  # a refusal is not remembered
    with pytest.raises(ProtocolError, match="holds a secret key"):
        GroupContext.from_public(made.secret_bytes())


def test_bytes_of_another_size_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def parse(data: bytes) -> None:
        parsed.append(len(data))
        raise ValueError(len(data))

    monkeypatch.setattr(ts, "context_from", parse)
    with pytest.raises(ProtocolError, match="cannot be read"):
        GroupContext.from_public(bytes(262_144))
    with pytest.raises(ProtocolError, match="passes the limit"):
        GroupContext.from_public(bytes(262_145))
    assert parsed == [262_144]


def test_another_form_of_tenseals_ciphertexts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent, and nothing decrypted, if a TenSEAL writes otherwise than the pinned one."""
    made = GroupContext.create()
    slots = np.zeros((1, ring.SLOTS), dtype=np.uint64)
    wire = made.encrypt(slots)[0].astype("<u8").tobytes()
    header = made._header
    for other in (
        header + b"x" + wire,
        header[:-1] + b"\x00" + wire if header[-1] else header[:-1] + b"\x01" + wire,
    ):
        with pytest.raises(ProtocolError, match="another form than its context"):
            made._stripped(other)
    assert np.array_equal(made._stripped(header + wire).astype("<u8"), np.frombuffer(wire, "<u8"))

    class Written:
        forms: list[bytes]

        def __init__(self, *_: object) -> None:
            pass

        def serialize(self) -> bytes:
            return self.forms.pop(0)

    monkeypatch.setattr(ts, "bfv_vector", Written)
    for forms in (
        [wire, wire],
        [header + wire, header + wire + b"x"],
        [header + wire, b"y" + header[1:] + wire],
    ):
        Written.forms = forms
        with pytest.raises(ProtocolError, match="writes ciphertexts in another form"):
            GroupContext.create()._header  # noqa: B018
