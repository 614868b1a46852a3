"""The year before a run: what each member counts in its own ledger, and what the statement makes of it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.budget import as_event
from fedrepay.client.veto.year import YEAR, of_year, year_before
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.privacy.accounting import Charged, Mechanism, SampledSteps
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.statement import HEADLINE, Charge, YearBefore, headline, statement

NOW, DELTA, YEARLY = 2e9, 1e-7, 3e-8
QUIET = Mechanism(sensitivity=10, variance=4e4, cohort=7, colluders=2, size=9)
STEPS = SampledSteps(sensitivity=10, variance=4e4, sampling_rate=0.2, steps=5, cohort=7, size=9)


def entry(
    run: int = 1, attempt: int = 0, status: str = "reserved", *charges: Charged, at: float = NOW - 86400
) -> LedgerEntry:
    return LedgerEntry(at, run, 0, attempt, status, as_event(charges or (QUIET,)))


def said(completed: list[bool], year: tuple[YearBefore, ...] = (), **terms: object) -> dict[str, object]:
    charges = [Charge(0, each, (QUIET,)) for each in completed]
    given_ = {"mode": "distributed", "epsilon": 1.0, "delta": DELTA, "colluders": 2, "cohort": 7, **terms}
    return statement(charges, **given_, year=year)  # type: ignore[arg-type]


# --- the member's own figure ---

LEDGER = (
    entry(1, 0),
    entry(1, 0, "committed"),
    entry(1, 1),  # void
    entry(2, 0, "reserved", STEPS),  # of a run that was abandoned: nothing was committed
    entry(3, 0, "rolled-back"),
    entry(4, 0, at=NOW - YEAR),  # a year old
)


def test_a_year_counts_every_attempt_that_took_budget_once() -> None:
    found = year_before("m0", LEDGER, YEARLY, NOW)
    assert (found.name, found.delta, found.runs, found.attempts) == ("m0", YEARLY, 3, 4)
    exact = composed_epsilon((QUIET, QUIET, STEPS, QUIET), YEARLY)
    assert found.epsilon is not None
    assert exact <= found.epsilon * (1 + 1e-11)
    assert found.epsilon <= exact * (1 + 1e-5), "rounded up to six digits"
    assert of_year(LEDGER, NOW) == (QUIET, QUIET, STEPS, QUIET)


@pytest.mark.parametrize("left_out", [1, 2, 3, 4], ids=["committed", "void", "abandoned", "rolled back"])
def test_without_a_void_abandoned_or_rolled_back_attempt_the_figure_would_be_smaller(left_out: int) -> None:
    fewer = [each for i, each in enumerate(LEDGER) if i != left_out]
    whole, less = year_before("m0", LEDGER, YEARLY, NOW), year_before("m0", fewer, YEARLY, NOW)
    assert whole.epsilon is not None
    assert less.epsilon is not None
    if left_out == 1:
        assert less == whole, "control: what follows a reserve costs nothing more"
    else:
        assert less.epsilon < whole.epsilon
        assert less.attempts == 3


def test_the_runs_own_attempts_are_left_to_the_statement_and_an_empty_year_is_nothing() -> None:
    assert year_before("m0", LEDGER, YEARLY, NOW, run=3).attempts == 3
    assert year_before("m0", LEDGER[4:], YEARLY, NOW, run=3) == YearBefore("m0", 0.0, YEARLY, 0, 0)
    assert year_before("m0", LEDGER[-1:], YEARLY, NOW + 1).attempts == 0
    assert year_before("m0", LEDGER[-1:], YEARLY, NOW - 1).attempts == 1


def test_after_an_attempt_without_noise_no_figure_holds() -> None:
    bare = replace(entry(5, 0, "unprotected"), event=())
    found = year_before("m0", (*LEDGER, bare), YEARLY, NOW)
    assert (found.epsilon, found.runs, found.attempts) == (None, 4, 5)
    assert year_before("m0", (*LEDGER, replace(bare, at=NOW - YEAR)), YEARLY, NOW).epsilon is not None


# --- the statement ---


def test_nobody_asked_for_a_year_has_none() -> None:
    assert said([True])["year"] is None


def test_the_year_is_of_the_member_that_spent_most_and_sums_are_rounded_up() -> None:
    members = (
        YearBefore("a", 0.1, 2e-8, 1, 9),
        YearBefore("b", 0.7, 1e-8, 2, 6),
        YearBefore("c", 0.0, 3e-8, 0, 0),
    )
    made = said([True, True], members)
    year = made["year"]
    assert isinstance(year, dict)
    assert (year["epsilon_before"], year["delta_before"]) == (0.7, 3e-8)
    assert (year["members"], year["runs"], year["attempts"]) == (3, 2, 9)
    spent = composed_epsilon([QUIET, QUIET], DELTA)
    assert 0.7 + spent <= year["epsilon_with_this_run"] <= (0.7 + spent) * (1 + 2e-5)
    assert 1.3e-7 <= year["delta_with_this_run"] <= 1.3e-7 * (1 + 1e-5)
    assert made == said([True, True], members[::-1]), "the order of members changes nothing"
    for word in ("abandoned", "void", "rolled back"):
        assert word in year["counts"]
    assert "ledger" in year["exact"]
    assert "basic composition" in year["composition"]


def test_a_year_without_a_figure_and_a_run_that_claims_nothing_sum_up_to_none() -> None:
    unknown = (YearBefore("a", 0.5, 1e-8, 1, 1), YearBefore("b", None, 1e-8, 1, 1))
    year = said([True], unknown)["year"]
    assert isinstance(year, dict)
    assert (year["epsilon_before"], year["epsilon_with_this_run"], year["delta_with_this_run"]) == (None,) * 3
    for terms in ({"mode": "none"}, {"seeded": True}):
        year = said([True], unknown[:1], **terms)["year"]
        assert isinstance(year, dict)
        assert (year["epsilon_before"], year["epsilon_with_this_run"]) == (0.5, None)


@settings(max_examples=8, deadline=None)
@given(
    before=st.lists(st.booleans(), max_size=4),  # earlier attempts, abandoned or not: all were charged
    run=st.lists(st.booleans(), min_size=1, max_size=3),  # this run's attempts, completed or void
    yearly=st.sampled_from([1e-9, 1e-7, 1e-5]),
)
def test_the_bound_holds_for_year_and_run_composed_exactly(
    before: list[bool], run: list[bool], yearly: float
) -> None:
    ledger = [entry(1 + i, i, "reserved" if each else "rolled-back") for i, each in enumerate(before)]
    stated = year_before("m0", ledger, yearly, NOW)
    year = said(run, (stated,))["year"]
    assert isinstance(year, dict)
    exact = composed_epsilon([QUIET] * (len(before) + len(run)), year["delta_with_this_run"])
    assert exact <= year["epsilon_with_this_run"]
    more = said([*run, False], (stated,))["year"]
    assert isinstance(more, dict)
    assert more["epsilon_with_this_run"] > year["epsilon_with_this_run"], "a void attempt more costs more"
    again = year_before("m0", [*ledger, entry(99, 0)], yearly, NOW)
    assert again.attempts == stated.attempts + 1
    assert again.epsilon is not None
    assert stated.epsilon is not None
    assert again.epsilon > stated.epsilon


def test_control_a_year_without_its_abandoned_attempts_is_below_what_was_spent() -> None:
    abandoned = [entry(1 + i, i) for i in range(12)]
    figures = []
    for ledger in (abandoned, []):
        year = said([True], (year_before("m0", ledger, YEARLY, NOW),))["year"]
        assert isinstance(year, dict)
        figures.append((year["epsilon_with_this_run"], year["delta_with_this_run"]))
    exact = [composed_epsilon([QUIET] * 13, delta) for _, delta in figures]
    assert figures[0][0] >= exact[0]
    assert figures[1][0] < exact[1], "left out, the same sentence would be false"


# --- a person at several members, beside the headline ---


def test_a_person_at_m_members_has_m_times_the_mu_where_noise_is_shared() -> None:
    made = said([True])
    found = made["epsilon_by_memberships"]
    assert isinstance(found, dict)
    for number in (2, 3, 5):
        wider = replace(QUIET, sensitivity=number * QUIET.sensitivity)
        assert found[str(number)] == pytest.approx(composed_epsilon([wider], DELTA), rel=1e-5)
    assert found["1"] < found["2"] < found["3"] < found["5"]


def test_the_headline_has_one_two_and_three_members_beside_each_other() -> None:
    made = said([True, True])
    found = made["epsilon_by_memberships"]
    assert isinstance(found, dict)
    line = headline(made)
    assert line.startswith("ε = 1 of a customer at one member, ")
    for number in HEADLINE:
        shown = float(line.split(f" of a person at {number}")[0].split()[-1])
        assert found[str(number)] <= shown <= found[str(number)] * 1.01, "rounded up to three digits"
    assert line.endswith("; δ = 1e-07")
    assert headline(said([True], mode="none")) == "none"
    assert headline(said([True], epsilon=1.0, seeded=True)) == "none"
    assert headline({"not_private": "x"}) == "none"
    wide = made | {"epsilon_by_memberships": {"2": None}}
    assert "none of a person at 2, none of a person at 3" in headline(wide)


@pytest.mark.parametrize(
    ("epsilon", "delta", "runs", "attempts"),
    [
        *((bad, 1e-8, 1, 1) for bad in (math.nan, math.inf, -0.1)),
        *((0.5, bad, 1, 1) for bad in (0.0, 1.0, math.nan)),
        *((0.5, 1e-8, -1, 1), (0.5, 1e-8, 2, 1)),
    ],
)
def test_a_year_that_no_ledger_gives_is_refused(
    epsilon: float, delta: float, runs: int, attempts: int
) -> None:
    with pytest.raises(ProtocolError, match="What m3 stated of its year"):
        YearBefore("m3", epsilon, delta, runs, attempts)
    assert YearBefore("m3", 0.0, 0.5, 1, 1).attempts == YearBefore("m3", None, 1e-8, 1, 1).attempts == 1


def test_an_infinite_figure_is_stated_as_none() -> None:
    assert YearBefore.of("a", math.inf, 1e-8, runs=1, attempts=1).epsilon is None
    assert YearBefore.of("a", 0.123456_1, 1e-8, runs=1, attempts=1).epsilon == 0.123457
