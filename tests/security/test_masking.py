"""Who can read one member's update: K − 2 colluders see uniform numbers, K − 1 always read it."""

import numpy as np
import pytest
from scipy.stats import chisquare

from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context, pair_mask
from fedrepay.shared.secure_sum.packing import GAM, Packing, pairs
from fedrepay.shared.secure_sum.ring import VALUES
from support.secure_cohort import Cohort

T = np.uint64(GAM.t)
N_VALUES = 4 * VALUES


def p_values(numbers: U64) -> list[float]:
    """Chi-square against uniform mod t: by the high bits, and by the low ones."""
    high = (numbers >> np.uint64(40)).astype(np.int64)  # 64 bins; t is 2⁴⁶ to 8 digits
    low = (numbers & np.uint64(63)).astype(np.int64)
    return [float(chisquare(np.bincount(bins.ravel(), minlength=64)).pvalue) for bins in (high, low)]


def updates(cohort: Cohort) -> dict[str, I64]:
    rng = np.random.default_rng(7)
    return {name: 64 * rng.integers(-1000, 1000, N_VALUES) for name in cohort.names}


def what_colluders_know(cohort: Cohort, victim: str, honest: set[str]) -> U64:
    """The victim's decrypted upload less every mask it shares with a colluder."""
    residual = cohort.masked(victim, updates(cohort)[victim])
    mine = cohort.key_hash(victim)
    honest_hashes = {cohort.key_hash(name) for name in honest}
    for peer, secret in cohort.pair_secrets(victim).items():
        if peer not in honest_hashes:
            mask = pair_mask(secret, (mine, peer), cohort.context, GAM.filled(N_VALUES), GAM.t)
            residual = (residual + (T - mask if mine < peer else mask)) % T
    return residual


@pytest.mark.parametrize("k", [3, 5, 8])
def test_k_minus_2_colluders_see_uniform_numbers(k: int) -> None:
    cohort = Cohort(k)
    victim, other = cohort.names[:2]
    residuals = [what_colluders_know(cohort, name, {victim, other}) for name in (victim, other)]
    for residual in residuals:
        assert min(p_values(residual[:, :-1])) > 1e-3
    # what they do learn is the honest members' sum, as stated
    both = (residuals[0] + residuals[1]) % T
    made = updates(cohort)
    assert np.array_equal(GAM.unpack(both, 2, N_VALUES), made[victim] + made[other])


@pytest.mark.parametrize("k", [3, 5, 8])
def test_k_minus_1_colluders_read_the_last_update(k: int) -> None:
    """Control: with one honest member the masks are all known, and the test above would notice."""
    cohort = Cohort(k)
    victim = cohort.names[0]
    residual = what_colluders_know(cohort, victim, {victim})
    assert np.array_equal(GAM.unpack(residual, 1, N_VALUES), updates(cohort)[victim])
    assert max(p_values(residual[:, :-1])) < 1e-9


def test_without_masks_one_member_with_all_traffic_reads_an_update() -> None:
    """Control: what peers do (one shared key, no masks) is plain to every key holder."""
    values = updates(Cohort(3))["m00"]
    assert np.array_equal(GAM.unpack(GAM.pack(values), 1, N_VALUES), values)
    assert p_values(GAM.pack(values)[:, :-1])[0] < 1e-9


def test_each_attempt_has_masks_of_its_own() -> None:
    """Else the difference of two uploads would be the difference of two updates."""
    first, second = Cohort(3, attempt=0), Cohort(3, attempt=1)
    values = updates(first)["m00"]
    difference = (first.masked("m00", values) + (T - second.masked("m00", values))) % T
    assert min(p_values(difference[:, :-1])) > 1e-3
    again = (first.masked("m00", values) + (T - first.masked("m00", values))) % T
    assert not again.any()  # control: the same attempt's masks do cancel


def test_every_part_of_the_context_changes_the_mask() -> None:
    contexts = {
        attempt_context(*numbers, cohort)
        for numbers in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1)]
        for cohort in (bytes(32), bytes(31) + b"\x01")
    }
    assert len(contexts) == 10
    firsts = {pair_mask(bytes(32), (b"a" * 32, b"b" * 32), context, 1, GAM.t)[0, 0] for context in contexts}
    assert len(firsts) == 10


@pytest.mark.parametrize("bad", [(-1, 0, 0), (1 << 64, 0, 0), (1, 1 << 32, 0), (1, 0, 1 << 32)])
def test_numbers_that_have_no_canonical_bytes_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ProtocolError):
        attempt_context(*bad, bytes(32))


def test_nothing_leaves_unmasked() -> None:
    slots, mine = GAM.pack(np.arange(3)), bytes(32)
    with pytest.raises(ProtocolError):
        attempt_context(1, 0, 0, b"short")
    with pytest.raises(ProtocolError):
        apply_masks(slots, 3, mine, {}, attempt_context(1, 0, 0, bytes(32)), GAM.t)
    with pytest.raises(ProtocolError):
        apply_masks(slots, 3, mine, {mine: bytes(32)}, attempt_context(1, 0, 0, bytes(32)), GAM.t)
    other = {b"o" * 32: bytes(32)}
    with pytest.raises(ProtocolError):  # a value beyond what is said to be filled
        apply_masks(slots, 2, mine, other, attempt_context(1, 0, 0, bytes(32)), GAM.t)
    masked = apply_masks(slots, 3, mine, other, attempt_context(1, 0, 0, bytes(32)), GAM.t)
    assert np.flatnonzero(masked).tolist() == [0, 1, 2, 4095]


@pytest.mark.parametrize("packing", [GAM, pairs(3, 1000, 10)])
@pytest.mark.parametrize(
    "size", [1, 3, VALUES - 1, VALUES, VALUES + 1, 2 * VALUES, 2 * VALUES + 1, 5 * VALUES]
)
def test_every_slot_that_holds_anything_is_masked(size: int, packing: Packing) -> None:
    """Whatever the packing puts into a slot lies below ``filled``, or is the last canary."""
    slots = packing.pack(np.full(size, 7))
    slots[:, -1] = 9
    held = np.flatnonzero(slots)
    assert held[-2] < packing.filled(size)
    masked = apply_masks(slots, packing.filled(size), bytes(32), {b"o" * 32: bytes(32)}, b"c" * 48, packing.t)
    assert np.all(masked.ravel()[held] != slots.ravel()[held])
    assert np.count_nonzero(masked) <= packing.filled(size) + 1
