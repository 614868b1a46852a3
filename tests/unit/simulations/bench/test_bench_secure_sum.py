"""The secure sum's ways open what was sent, or nothing is measured; what the section says follows its figures."""

import numpy as np
import pytest

from fedrepay.shared.errors import Refusal
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.packing import GAM, update_packing
from fedrepay.simulations.bench import secure_sum, secure_sum_ways
from fedrepay.simulations.bench.peers import summed
from fedrepay.simulations.bench.secure_sum import BASELINE, GRAM, PAIRS, Way
from fedrepay.simulations.bench.secure_sum_ways import OPEN, SEND, Ckks, Sealers


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    secure_sum_ways.gram_noise.cache_clear()
    monkeypatch.setattr(summed, "VALUES", 100)


def test_our_round_has_every_part_and_noise_only_where_asked() -> None:
    noisy, plain = Sealers(3, GAM, noise=True), Sealers(3, update_packing(3), noise=False)
    for each in (noisy, plain):
        each.play()
        each.play()
        assert set(each.spent.parts) == {*SEND, *OPEN, "add"}
        assert len(each.spent.rounds) == 2
        assert len(each.spent.parts["noise"]) == 6
    config = bytes(32)
    exact = summed.values(0).astype(np.int64)
    assert not np.array_equal(noisy._send(0, config)[1], exact)
    width = secure_sum_ways.gram_noise(3).share_variance ** 0.5
    assert np.abs(noisy._send(0, config)[1] - exact).max() < 10 * width
    assert plain._send(0, config)[1].max() < 1 << 20


def test_a_changed_upload_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = Sealers(3, GAM, noise=True)
    cohort.play()  # the control
    add = PublicSum.add
    monkeypatch.setattr(PublicSum, "add", lambda self, payload, tags: add(self, bytes(8) + payload[8:], tags))
    with pytest.raises(Refusal, match="not the sum"):
        cohort.play()


def test_ckks_opens_its_sum_both_ways() -> None:
    for wrapped in (True, False):
        ckks = Ckks(wrapped=wrapped)
        ckks.play()
        assert set(ckks.spent.parts) == {"send", "add", "open"}
        assert len(ckks.spent.rounds) == 1


def test_peers_are_checked_against_the_exact_sum() -> None:
    exact = np.zeros(summed.VALUES, np.int64)
    for member in range(summed.MEMBERS):
        exact += summed.values(member)
    assert np.abs(exact).max() < 1 << 30  # within the smallest ring and field
    summed.check(exact)
    exact[-1] += 1
    with pytest.raises(AssertionError, match="not the integer sum"):
        summed.check(exact)


def rows(gram: float, pairs: float, *, many: float = 1.5) -> dict[str, Way]:
    parts = dict.fromkeys((*SEND, *OPEN, "add"), 1.0)
    found = {name: Way(8.0, [10.0, 11.0, 12.0], dict(parts)) for name in secure_sum.LABELS}
    found[GRAM] = Way(8.05, [gram], dict(parts))
    found[PAIRS] = Way(8.0, [pairs], dict(parts))
    found["gram 500"] = Way(8.05, [20.0], dict.fromkeys(parts, many))
    found[BASELINE] = Way(57.4, [9.0, 10.0, 11.0], {"send": 1.0, "add": 8.0, "open": 1.0})
    return found


def test_targets_are_reached_or_fall_short_by_the_baseline() -> None:
    text = secure_sum.body(rows(4.0, 2.6))
    assert "≤ 0.40 × CKKS: reached, 0.400 ×" in text
    assert "bytes a value ≤ 8.1, CKKS 57.4: reached, 8.05" in text
    assert "≤ 0.25 × CKKS: **falls short**, 0.260 ×" in text
    assert "bytes a value ≤ 4.1, CKKS 57.4: **falls short**, 8.00" in text
    assert "grows ≤ 2 ×: reached, 1.50 ×" in text
    assert "≤ 0.15 × CKKS: reached, 0.125 ×" in text
    assert "grows ≤ 2 ×: **falls short**, 2.50 ×" in secure_sum.body(rows(4.0, 2.5, many=2.5))
    assert "10.00 … 12.00" in text
    assert all(label in text for label in secure_sum.LABELS.values())
