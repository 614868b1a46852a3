"""Gradient inversion reads a record exactly where it sees the update, and nothing where it may look."""

import re

import numpy as np
import pytest

from fedrepay.client.crypto import seal
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.attacks import inversion
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.inversion import COHORTS, unmasked
from fedrepay.simulations.attacks.inversion import run as invert
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.attacks.tools.switch import switched


@pytest.fixture(scope="module")
def finding() -> AttackFinding:
    return invert(AttackOptions(quick=True), SeededEntropy(b"inversion"))


def read(text: str) -> tuple[int, int, int]:
    """Fields read, what of it is beyond chance, and records read whole, in percent."""
    found = re.fullmatch(r"(\d+)% of fields \(([+-]\d+)% beside chance\), (\d+)% of records whole", text)
    assert found, text
    return int(found[1]), int(found[2]), int(found[3])


def row(finding: AttackFinding, words: str) -> Row:
    (found,) = [each for each in finding.rows if words in each.what]
    return found


def test_the_defence_holds_and_the_attack_bites(finding: AttackFinding) -> None:
    assert finding.held
    assert finding.bites
    assert (finding.attack, finding.threat) == ("inversion", "B1")


@pytest.mark.parametrize("words", ["what the coordinator holds", "K − 2 members"])
def test_nothing_leaves_a_member_but_numbers_at_random(finding: AttackFinding, words: str) -> None:
    on, off = read(row(finding, words).on), read(row(finding, words).off)
    assert on[0] < 25  # fields have 3 to 20 bins
    assert on[2] == 0
    assert off[0] == off[2] == 100


def test_a_build_without_masks_does_not_hold() -> None:
    """Masks are judged by themselves: under noise nobody would miss them."""

    def none(slots: np.ndarray, *_: object) -> np.ndarray:
        return slots

    with (
        switched(inversion, "COHORTS", (3,)),
        switched(seal, "apply_masks", none),
        switched(inversion, "apply_masks", none),
    ):
        finding = invert(AttackOptions(quick=True), SeededEntropy(b"no masks"))
    assert not finding.held
    assert read(row(finding, "K − 2 members").on)[2] == 100


@pytest.mark.parametrize("size", COHORTS)
def test_opened_sums_give_no_more_than_chance(finding: AttackFinding, size: int) -> None:
    for who in ("one rival", "all others"):
        on = read(row(finding, f"K = {size}: {who}").on)
        assert abs(on[1]) <= 5
        assert on[2] == 0
    assert read(row(finding, f"K = {size}: all others").off)[2] == 100


def test_without_noise_a_rival_of_three_reads_much_of_two_records_added(finding: AttackFinding) -> None:
    assert read(row(finding, "K = 3: one rival").off)[1] > 15


def test_all_others_take_every_mask_off_and_one_fewer_takes_none() -> None:
    """The control of the control: the decoding itself is right."""
    cohort, values = Cohort(4), np.array([5, -7, 123_456_789, 0])
    attempt = cohort.attempt(0)
    upload = cohort.upload("m00", values, attempt)
    everybody = unmasked(cohort, upload.payload, attempt, cohort.names[1:], 4)
    assert everybody.tolist() == values.tolist()
    fewer = unmasked(cohort, upload.payload, attempt, cohort.names[2:], 4)
    assert np.abs(fewer).min() > 1e6  # uniform up to 3.5e13: by chance once in 10 million runs
