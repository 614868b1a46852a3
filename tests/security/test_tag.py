"""A changed sum is never opened, and a refusal tells nothing. Controls: the same without the tag."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from fedrepay.client.he import GroupContext, verify_sum
from fedrepay.shared.errors import Refusal
from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, SLOTS, VALUES, Q
from support.secure_cohort import SEED, Cohort, Upload, added

N_VALUES = VALUES + 1  # two chunks
COHORT = Cohort(4)
Chunks = npt.NDArray[np.uint64]
Attack = Callable[[list[Upload]], tuple[bytes, list[int]]]


def values_of(cohort: Cohort) -> dict[str, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(cohort.round)
    return {name: rng.integers(-(1 << 30), 1 << 30, N_VALUES) for name in cohort.names}


def chunks_of(payload: bytes) -> Chunks:
    return np.frombuffer(payload, dtype="<u8").reshape(-1, COEFFICIENTS).astype(np.uint64)


def shift(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    """Add one to one slot, with the public key alone."""
    total = added(uploads)
    public = GroupContext.from_public(COHORT.group.public_bytes())
    slots = np.zeros((2, SLOTS), dtype=np.uint64)
    slots[0, 17] = 1
    total.add(public.encrypt(slots).astype("<u8").tobytes(), [0, 0])
    return total.payload(), total.tags


def double(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    total = added(uploads + uploads)
    return total.payload(), total.tags


def double_ciphertexts_only(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    return added(uploads + uploads).payload(), added(uploads).tags


def omit(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    total = added(uploads[1:])
    return total.payload(), total.tags


def omit_but_keep_its_tags(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    return added(uploads[1:]).payload(), added(uploads).tags


def replay(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    """One member's upload twice, in another's place."""
    total = added([uploads[1], *uploads[1:]])
    return total.payload(), total.tags


def another_round(_uploads: list[Upload]) -> tuple[bytes, list[int]]:
    earlier = Cohort(COHORT.k, round=1)
    total = added(earlier.uploads(values_of(earlier)))
    return total.payload(), total.tags


def swap_chunks(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    total = added(uploads)
    return chunks_of(total.payload())[::-1].tobytes(), total.tags[::-1]


def one_upload_alone(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    return uploads[0].payload, list(uploads[0].tags)


def flip_a_bit(uploads: list[Upload]) -> tuple[bytes, list[int]]:
    total = added(uploads)
    payload = bytearray(total.payload())
    payload[40] ^= 1
    payload[46] ^= 8
    return bytes(payload), total.tags


ATTACKS: list[Attack] = [
    shift,
    double,
    double_ciphertexts_only,
    omit,
    omit_but_keep_its_tags,
    replay,
    another_round,
    swap_chunks,
    one_upload_alone,
    flip_a_bit,
]


@pytest.fixture(scope="module")
def uploads() -> list[Upload]:
    return COHORT.uploads(values_of(COHORT))


def wrong_openings(uploads: list[Upload], attacks: list[Attack]) -> set[str]:
    """Names of the attacks whose sum a member opens to something else than the truth."""
    truth = sum(values_of(COHORT).values())
    opened: set[str] = set()
    codes = set()
    for attack in attacks:
        try:
            values = COHORT.open(*attack(uploads), N_VALUES)
        except Refusal as refusal:
            codes.add(refusal.code)
        else:
            assert not np.array_equal(values, truth)
            opened.add(attack.__name__)
    assert codes <= {"tag"}
    return opened


def test_the_honest_sum_opens(uploads: list[Upload]) -> None:
    total = added(uploads)
    opened = COHORT.open(total.payload(), total.tags, N_VALUES)
    assert np.array_equal(opened, sum(values_of(COHORT).values()))


def test_no_changed_sum_is_decrypted(uploads: list[Upload], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_self: GroupContext, _chunks: Chunks) -> Chunks:
        pytest.fail("a changed sum reached the secret key")

    monkeypatch.setattr(GroupContext, "decrypt", forbidden)
    assert wrong_openings(uploads, ATTACKS) == set()


def test_control_without_the_tag_a_shift_opens_unnoticed(
    uploads: list[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """BFV is malleable and the canaries are no defence against a shift of one slot."""
    monkeypatch.setattr(tag, "verify", lambda *_: True)
    assert wrong_openings(uploads, [shift]) == {"shift"}


def test_control_decrypted_directly_every_changed_sum_gives_wrong_values(uploads: list[Upload]) -> None:
    truth = sum(values_of(COHORT).values())
    for attack in ATTACKS:
        payload, _ = attack(uploads)
        slots = COHORT.group.decrypt(chunks_of(payload))  # no error
        assert not np.array_equal(GAM.unpack(slots, COHORT.k, N_VALUES), truth), attack.__name__


def test_another_seed_cohort_or_order_of_members(uploads: list[Upload]) -> None:
    total = added(uploads)
    sums = chunks_of(total.payload())
    names = COHORT.names
    assert tag.verify(SEED, COHORT.context, names[::-1], sums, total.tags)  # addition has no order
    assert not tag.verify(bytes(32), COHORT.context, names, sums, total.tags)
    assert not tag.verify(SEED, COHORT.context, [*names[:-1], "ghost"], sums, total.tags)
    assert not tag.verify(SEED, Cohort(4, attempt=1).context, names, sums, total.tags)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda payload, tags: (payload[:-1], tags),
        lambda payload, tags: (payload[: len(payload) // 2], tags),
        lambda payload, tags: (payload, tags[:1]),
        lambda payload, tags: (b"", []),
        lambda payload, tags: (payload, [tags[0] + Q, tags[1]]),
        lambda payload, tags: (payload, [-1, tags[1]]),
        # the same number mod q in another form: the tag would hold, SEAL would refuse
        lambda payload, tags: (
            (int.from_bytes(payload[:8], "little") + Q).to_bytes(8, "little") + payload[8:],
            tags,
        ),
    ],
)
def test_every_malformed_sum_gets_the_same_refusal(
    spoil: Callable[[bytes, list[int]], tuple[bytes, list[int]]], uploads: list[Upload]
) -> None:
    total = added(uploads)
    with pytest.raises(Refusal) as refused:
        verify_sum(SEED, COHORT.context, COHORT.names, *spoil(total.payload(), total.tags))
    with pytest.raises(Refusal) as changed:
        verify_sum(SEED, COHORT.context, COHORT.names, *shift(uploads))
    assert (refused.value.code, str(refused.value)) == (changed.value.code, str(changed.value))


# --- the decryption oracle ---
# Adding M to c1 and x·X^j to c0 moves the noise of coefficient j by x + M·s_j, of the others by M·s_i.
# With M = 0.4 and x = ±0.8 of the noise budget, the sum still opens unless s_j has the sign of x: two
# answers, accepted or refused, are one coefficient of the members' secret key.

BUDGET = Q // (2 * GAM.t)
ASKED = range(0, SLOTS, 128)


def answer(total_payload: bytes, tags: list[int], j: int, sign: int) -> str:
    """What a member says to the sum moved at coefficient j."""
    chunks = chunks_of(total_payload)
    chunks[0, SLOTS] = (int(chunks[0, SLOTS]) + 4 * BUDGET // 10) % Q
    chunks[0, j] = (int(chunks[0, j]) + sign * 8 * BUDGET // 10) % Q
    try:
        COHORT.open(chunks.tobytes(), tags, N_VALUES)
    except Refusal as refusal:
        return f"{refusal.code}: {refusal}"
    return "accepted"


def ask(uploads: list[Upload]) -> dict[int, tuple[str, str]]:
    total = added(uploads)
    return {
        j: (
            answer(total.payload(), total.tags, j, 1),
            answer(total.payload(), total.tags, j, -1),
        )
        for j in ASKED
    }


def secret_coefficient(j: int) -> int:
    """s_j from the group's own keys: the mean over all slots of s·X^(−j), which is −s·X^(N−j)."""
    scale = Q // GAM.t
    only_s = np.zeros((1, COEFFICIENTS), dtype=np.uint64)
    only_s[0, SLOTS] = scale
    monomial = np.zeros((1, COEFFICIENTS), dtype=np.uint64)
    monomial[0, (SLOTS - j) % SLOTS] = scale if j == 0 else Q - scale
    s, x = (COHORT.group.decrypt(each)[0].tolist() for each in (only_s, monomial))
    total: int = sum(a * b for a, b in zip(s, x, strict=True)) * pow(SLOTS, -1, GAM.t) % GAM.t
    return total if total <= 1 else total - GAM.t


def test_refusals_tell_nothing_about_the_secret_key(uploads: list[Upload]) -> None:
    answers = {each for pair in ask(uploads).values() for each in pair}
    assert len(answers) == 1
    assert answers.pop().startswith("tag: ")


def test_control_without_the_tag_two_answers_are_one_secret_coefficient(
    uploads: list[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tag, "verify", lambda *_: True)
    recovered = {}
    for j, (up, down) in ask(uploads).items():
        recovered[j] = int(up != "accepted") - int(down != "accepted")
    assert recovered == {j: secret_coefficient(j) for j in ASKED}
    assert any(recovered.values())  # 32 zeros are one key in 10¹⁵
