"""Noise only: said from ε, δ, n and d before a run, and of what came out after it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fedrepay.shared.privacy.accounting import gdp_epsilon
from fedrepay.simulations.rows import noise
from support.small_run import SmallRun


def test_the_share_follows_from_public_numbers() -> None:
    found = noise.share(1.0, 1e-7, 676, 203)
    mu = math.sqrt(203) / found / 676
    assert gdp_epsilon(mu, 1e-7) == pytest.approx(1.0, rel=1e-6)
    assert noise.share(1.0, 1e-7, 1352, 203) == pytest.approx(found / 2)
    assert noise.share(1.0, 1e-7, 676, 203, noisy=4) == pytest.approx(2 * found)
    assert noise.share(1.0, 4e-8, 676, 203) > noise.THIN > noise.share(1.0, 4e-8, 24_000, 203)


@pytest.mark.parametrize(("signal", "only"), [(0.0, True), (2.0, False)])
def test_what_cannot_be_told_from_a_constant_is_noise_only(signal: float, *, only: bool) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 170)
    scores = signal * y + rng.normal(size=170)
    told = noise.told(0.049, y, np.arange(170), scores)
    assert told["only"] is only
    assert told["thin"] is False
    assert noise.told(0.05, y, np.arange(170), scores)["thin"] is True
    without = noise.told(None, y, np.arange(170), scores)
    assert (without["only"], without["thin"]) == (False, False), "no noise, so it is not that"


@pytest.mark.parametrize(("mode", "said"), [("distributed", True), ("none", False)])
def test_a_run_says_before_it_begins_that_noise_will_be_long(
    tmp_path: Path, mode: str, *, said: bool
) -> None:
    small = SmallRun(tmp_path)
    done = small.simulate("--members", 4, "--engine", "batched", "--mode", mode)
    assert done.code == 0, done.err
    shown = " ".join((done.out + done.err).split())
    assert ("The noise of ε = 1 is" in shown) is said
    assert "Members on their own held-out" in shown
    told = json.loads((small.out / "metrics.json").read_text())["noise"]
    assert told["thin"] is said
    assert (told["share"] is not None) is said
