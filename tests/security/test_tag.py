"""A changed sum is never opened, and a refusal tells nothing. Controls: the same without the tag."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedrepay.client.crypto.opening import open_sum, verify_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import Refusal
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.simulations.attacks import oracle, shift
from fedrepay.simulations.attacks.shift import N_VALUES, added, chunks_of
from fedrepay.simulations.attacks.tools.cohort import Cohort, SealedUpload

COHORT = Cohort(4)
NOW, EARLIER = COHORT.attempt(0), COHORT.attempt(1)
Attack = Callable[[list[SealedUpload]], tuple[bytes, list[int]]]


def values_of(attempt: bytes) -> dict[str, I64]:
    rng = np.random.default_rng(int(attempt == NOW))
    return {name: rng.integers(-(1 << 30), 1 << 30, N_VALUES) for name in COHORT.names}


def uploads_of(attempt: bytes) -> list[SealedUpload]:
    return [COHORT.upload(name, values, attempt) for name, values in values_of(attempt).items()]


def another_round(_uploads: list[SealedUpload]) -> tuple[bytes, list[int]]:
    total = added(uploads_of(EARLIER))
    return total.payload(), total.tags


ATTACKS: list[Attack] = [*shift.CHANGES, another_round]


def opened(payload: bytes, tags: list[int]) -> I64:
    return open_sum(COHORT.group, COHORT.tags(NOW), payload, tags, N_VALUES)


@pytest.fixture(scope="module")
def uploads() -> list[SealedUpload]:
    return uploads_of(NOW)


def wrong_openings(uploads: list[SealedUpload], attacks: list[Attack]) -> set[str]:
    """Names of the attacks whose sum a member opens to something else than the truth."""
    truth = sum(values_of(NOW).values())
    wrong: set[str] = set()
    codes = set()
    for attack in attacks:
        try:
            values = opened(*attack(uploads))
        except Refusal as refusal:
            codes.add(refusal.code)
        else:
            assert not np.array_equal(values, truth)
            wrong.add(attack.__name__)
    assert codes <= {"tag"}
    return wrong


def test_the_honest_sum_opens(uploads: list[SealedUpload]) -> None:
    total = added(uploads)
    assert np.array_equal(opened(total.payload(), total.tags), sum(values_of(NOW).values()))


def test_no_changed_sum_is_decrypted(uploads: list[SealedUpload], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_self: GroupKey, _chunks: U64, _bits: int) -> U64:
        pytest.fail("a changed sum reached the secret key")

    monkeypatch.setattr(GroupKey, "decrypt", forbidden)
    assert wrong_openings(uploads, ATTACKS) == set()


def test_control_without_the_tag_a_shift_opens_unnoticed(
    uploads: list[SealedUpload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ciphertexts are malleable and the canaries are no defence against a shift of one slot."""
    monkeypatch.setattr(AttemptTags, "first_misfit", lambda *_: None)
    assert wrong_openings(uploads, [shift.shift]) == {"shift"}


def test_control_decrypted_directly_every_changed_sum_gives_wrong_values(uploads: list[SealedUpload]) -> None:
    truth = sum(values_of(NOW).values())
    for attack in ATTACKS:
        payload, _ = attack(uploads)
        slots = COHORT.group.decrypt(chunks_of(payload), GAM.t_bits)  # no error
        assert not np.array_equal(GAM.unpack(slots, COHORT.size, N_VALUES), truth), attack.__name__


def test_another_seed_cohort_or_attempt(uploads: list[SealedUpload]) -> None:
    total = added(uploads)
    sums = chunks_of(total.payload())
    honest = COHORT.tags(NOW)
    assert honest.first_misfit(sums, total.tags) is None
    for other in (
        replace(honest, seed=bytes(32)),
        replace(honest, members=honest.members[:-1]),
        COHORT.tags(EARLIER),
    ):
        assert other.first_misfit(sums, total.tags) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda payload, tags: (payload[:-1], tags),
        lambda payload, tags: (payload[: len(payload) // 2], tags),
        lambda payload, tags: (payload, tags[:1]),
        lambda payload, tags: (b"", []),
        lambda payload, tags: (payload, [tags[0] + Q, tags[1]]),
        lambda payload, tags: (payload, [-1, tags[1]]),
        lambda payload, tags: ((Q + 1).to_bytes(8, "little") + payload[8:], tags),  # not below q
    ],
)
def test_every_malformed_sum_gets_the_same_refusal(
    spoil: Callable[[bytes, list[int]], tuple[bytes, list[int]]], uploads: list[SealedUpload]
) -> None:
    total = added(uploads)
    with pytest.raises(Refusal) as refused:
        verify_sum(COHORT.tags(NOW), *spoil(total.payload(), total.tags))
    with pytest.raises(Refusal) as changed:
        verify_sum(COHORT.tags(NOW), *shift.shift(uploads))
    assert (refused.value.code, str(refused.value)) == (changed.value.code, str(changed.value))


# --- the decryption oracle: simulations/attacks/oracle.py has the questions ---

ASKED = range(0, 4096, 128)


@pytest.fixture(scope="module")
def asked() -> oracle.Oracle:
    return oracle.Oracle(seed=1)


def test_refusals_tell_nothing_about_the_secret_key(asked: oracle.Oracle) -> None:
    answers = {each for pair in asked.ask(ASKED).values() for each in pair}
    assert len(answers) == 1
    assert answers.pop().startswith("tag: ")


def test_control_without_the_tag_two_answers_are_one_secret_coefficient(
    asked: oracle.Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AttemptTags, "first_misfit", lambda *_: None)
    recovered = oracle.guessed(asked.ask(ASKED))
    key = oracle.secret_key(asked.cohort.group)
    assert recovered == {j: key[j] for j in ASKED}
    assert any(recovered.values())  # 32 zeros are one key in 10¹⁵
