"""The guard's decision on a completed sum, alone: each check, and what is just allowed."""

from dataclasses import replace
from typing import Any

import pytest

from fedrepay.client.protocol import guard
from fedrepay.client.protocol.guard import Submitted, View
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import RoundConfig
from support.guard_view import (
    ALL,
    CONFIG,
    FOUR,
    HISTORY,
    ID,
    MADE,
    MINE,
    OTHER,
    PEOPLE,
    SUM,
    TAGS,
    VIEW,
    changed,
    header,
    listed,
    refusal,
    signed,
)


def summed(view: View = VIEW, chunks: int = 2, now: RoundConfig = CONFIG, **fields: object) -> str:
    return refusal(lambda: guard.check_sum(view, now, changed(SUM, **fields), chunks))


def headed(at: int, **fields: object) -> dict[str, object]:
    """The sum's headers with one changed and signed again by its member."""
    made = header(FOUR[at], **fields)
    return {"headers": (*SUM.headers[:at], made, *SUM.headers[at + 1 :])}


def remade(**fields: object) -> dict[str, object]:
    """The sum of members who were all told another configuration."""
    config = signed(changed(MADE, **fields))
    heads = tuple(header(name, config=config.digest()) for name in FOUR)
    return {"config": config, "headers": heads}


def test_the_honest_sum_passes_and_gives_its_configuration() -> None:
    assert guard.check_sum(VIEW, CONFIG, SUM, 2) == MADE


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"config": Signed.make(PEOPLE["m1"].signing, MADE)}, "signature"),
        ({"attempt": 3}, "not the one the run's list names"),
        ({"attempt": 0}, "not the one the run's list names"),
        ({"attempt": 1}, "not the one the run's list names"),
        ({"round": 0}, "not the one the run's list names"),
        (remade(cohort=ALL), "not the one the run's list names"),
        (remade(run=6), "another attempt's"),
        (remade(epoch=OTHER), "another attempt's"),
        (remade(round=2), "another attempt's"),
        (remade(attempt=1), "another attempt's"),
        (remade(history=HISTORY[:1]), "another history"),
        (remade(history=listed(1, cohort=FOUR)[:2]), "another history"),
        (remade(epsilon=2.0), "other terms"),
        ({"headers": SUM.headers[:-1]}, "not exactly those of the cohort"),
        ({"headers": (*SUM.headers, SUM.headers[0])}, "not exactly those of the cohort"),
        ({"tags": SUM.tags[:1]}, "not exactly those of the cohort"),
        ({"tags": (*SUM.tags, 0)}, "not exactly those of the cohort"),
        ({"headers": (SUM.headers[1], *SUM.headers[1:])}, "signature"),
        (headed(1, signer="m2"), "signature"),
        (headed(1, run=6), "header of m1 belongs to another attempt"),
        (headed(1, epoch=OTHER), "header of m1 belongs to another attempt"),
        (headed(1, round=2), "header of m1 belongs to another attempt"),
        (headed(1, attempt=1), "header of m1 belongs to another attempt"),
        (headed(1, name="m2"), "header of m1 belongs to another attempt"),
        (headed(1, config=OTHER), "header of m1 names another configuration"),
        (headed(1, opened=OTHER), "m1 has opened other sums"),
        (headed(1, tags=(1,)), "header of m1 has the wrong number of tags"),
        (headed(1, tags=(1, 2, 3)), "header of m1 has the wrong number of tags"),
        (headed(1, chunks=(ID,)), "header of m1 has the wrong number of tags"),
        (headed(1, chunks=(ID, ID, ID)), "header of m1 has the wrong number of tags"),
        (headed(0, ledger=OTHER), "not the one it sent"),
        (headed(1, ledger=OTHER), ""),  # another member's ledger is its own matter
        (headed(1, tags=(TAGS["m1"][0] - 1, TAGS["m1"][1])), "summed tags"),
        ({"tags": (SUM.tags[0], SUM.tags[1] + 1)}, "summed tags"),
    ],
)
def test_a_sum_is_the_listed_attempts_with_every_members_own_header(
    fields: dict[str, Any], cause: str
) -> None:
    found = summed(**fields)
    assert cause in found
    assert bool(found) == bool(cause)


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_sum_has_as_many_chunks_as_the_round(chunks: int) -> None:
    assert "not exactly those of the cohort" in summed(chunks=chunks)


def test_a_sum_that_the_list_calls_lost_is_not_opened() -> None:
    assert "not the one the run's list names" in summed(
        now=changed(CONFIG, history=listed(2, completed=False))
    )


def test_a_sum_past_the_list_is_refused() -> None:
    """Attempt 2 when the list has two: the very next number."""
    assert "not the one the run's list names" in summed(now=changed(CONFIG, history=HISTORY[:2]))
    assert "not the one the run's list names" in summed(now=changed(CONFIG, history=()))


@pytest.mark.parametrize(
    ("submitted", "cause"),
    [
        (
            {2: Submitted(1, ID, MINE.digest()), 3: Submitted(1, ID, ID)},
            "monotone: This member submitted to a later attempt",
        ),
        ({2: Submitted(1, ID, MINE.digest()), 3: Submitted(2, ID, ID)}, ""),
        ({1: Submitted(1, ID, ID), 2: Submitted(1, ID, MINE.digest())}, ""),
        ({1: Submitted(1, ID, ID)}, "headers: The header that bears this member's name"),
        ({2: Submitted(1, MINE.digest(), ID)}, "headers: The header that bears this member's name"),
    ],
)
def test_what_this_member_sent_itself_decides_what_it_opens(
    submitted: dict[int, Submitted], cause: str
) -> None:
    found = summed(replace(VIEW, submitted=submitted))
    assert found.startswith(cause)
    assert bool(found) == bool(cause)


def test_a_member_outside_the_cohort_opens_its_sum_too() -> None:
    assert not summed(replace(VIEW, name="m4", submitted={}))
