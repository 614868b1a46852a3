"""Poisoning: what one false member of ten costs the others, and that they see what costs much."""

import re

import numpy as np
import pytest

from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.attacks import poisoning
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions
from fedrepay.simulations.attacks.poisoning import run as poison


@pytest.fixture(scope="module")
def finding() -> AttackFinding:
    return poison(AttackOptions(quick=True), SeededEntropy(b"poisoning"))


def figures_of(finding: AttackFinding, attack: str) -> tuple[int, float, float]:
    """Members that see harm, AUC lost, log-loss."""
    (row,) = [each for each in finding.rows if each.what == attack]
    seen = re.fullmatch(r"(\d) of 9 honest members see harm", row.on)
    worth = re.fullmatch(r"AUC 0\.\d+ \(([+-]\d\.\d+)\), log-loss (\d+\.\d+)", row.off)
    assert seen, row.on
    assert worth, row.off
    return int(seen[1]), -float(worth[1]), float(worth[2])


def test_harm_is_seen_and_harm_is_possible(finding: AttackFinding) -> None:
    assert finding.held
    assert finding.bites
    assert (finding.attack, finding.threat) == ("poisoning", "B5")


def test_what_is_missing_is_said(finding: AttackFinding) -> None:
    assert "no defence on the sum" in finding.defence
    for words in ("nobody is named", "gate: not run", "few see it"):
        assert words in finding.note


def test_without_an_attack_nobody_sees_harm(finding: AttackFinding) -> None:
    seen, lost, loss = figures_of(finding, "no attack")
    assert seen <= 1
    assert lost == 0
    assert loss < 0.46


def test_a_flipped_sign_alone_costs_next_to_nothing(finding: AttackFinding) -> None:
    seen, lost, _ = figures_of(finding, "sign flipped")
    assert abs(lost) < poisoning.HARM
    assert seen <= 1


@pytest.mark.parametrize(("attack", "least"), [("×100", 0.03), ("sign flipped, ×100", 0.3)])
def test_a_hundredfold_update_spoils_the_release_and_all_see_it(
    finding: AttackFinding, attack: str, least: float
) -> None:
    seen, lost, loss = figures_of(finding, attack)
    assert lost > least
    assert loss > 1
    assert seen >= poisoning.LEAST_SEEN


def test_a_member_sees_a_mean_above_zero_and_not_a_mean_at_zero() -> None:
    drawn = np.random.default_rng(1).normal(size=600)
    level = drawn - drawn.mean()
    assert poisoning.worse(level + 0.2, 1)
    assert not poisoning.worse(level, 1)
    assert not poisoning.worse(level - 0.2, 1)
