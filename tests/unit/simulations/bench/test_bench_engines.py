"""The engines' table: the middle run with its interval, and ratios within one run."""

from fedrepay.simulations.bench import engines
from fedrepay.simulations.bench.engines import Whole


def test_rows_are_the_middle_run_with_its_interval_and_ratios_are_within_a_run() -> None:
    slow = [Whole(10.0, 9.0, 30.0), Whole(12.0, 11.0, 60.0), Whole(11.0, 10.0, 40.0)]
    fast = [Whole(1.0, 0.9, 1.0), Whole(1.2, 1.1, 1.5), Whole(1.1, 1.0, 4.0)]
    found = {
        ("faithful", 20): slow,
        ("faithful", 200): slow[:2],
        ("batched", 20): fast,
        ("batched", 200): fast,
    }
    text = engines.body({**found, ("batched", 10_000): fast})
    assert "| 20 | faithful | 11.0 | 10.0 | 40.000 | 30.000 … 60.000 | 1.00 |" in text
    assert "| 20 | batched | 1.1 | 1.0 | 1.500 | 1.000 … 4.000 | 30 times less (10 … 40) |" in text
    assert "| 200 | faithful | 11.0 | 10.0 | 45.000 | 30.000 … 60.000 | 1.00 |" in text
    assert "| 35 times less (30 … 40) |" in text
    assert "| 10000 | batched | 1.1 | 1.0 | 1.500 | 1.000 … 4.000 |  |" in text
