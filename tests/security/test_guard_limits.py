"""A member's own limits and ledger, and its data, say no. Controls: the same run with wider limits goes on."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.protocol.member import Member
from fedrepay.client.protocol.terms import Consent
from fedrepay.client.veto import budget
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import CohortError, TermsError
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Closing, PrepareRequest
from support.adversary import contribute, prepare_of, say, trace, with_config
from support.world import World, rows

WIDE: dict[str, Any] = {
    "minimum_cohort": 3,
    "epsilon_per_release": 4.0,
    "epsilon_per_year": 20.0,
    "max_attempts": 3,
    "allow_unprotected": True,
}


def run(folder: Path, mode: str = "distributed", **narrow: object) -> World:
    """A whole run of members with these limits, or as far as it comes."""
    world = World(folder, mode=mode, limits=Limits.model_validate({**WIDE, **narrow}))
    world.replies.clear()
    try:
        world.run()
    except (CohortError, TermsError):
        assert not world.coordinator.state.done
    return world


def without_the_question(patch: pytest.MonkeyPatch) -> None:
    """Members say yes to any terms: the guard and the ledger stand alone, as against a coordinator that lies later."""

    def yes(consent: Consent, shared: bytes, _now: float) -> tuple[bytes, dict[str, bytes]]:
        return b"", {"offer": shared}

    patch.setattr(Consent, "answer", yes)


def uploads(world: World) -> int:
    return sum(len(world.store(name).uploads(1)) for name in world.names)


@pytest.mark.parametrize(
    ("mode", "narrow"),
    [
        ("distributed", {"epsilon_per_release": 3.9}),
        ("distributed", {"delta_per_release": 9e-6}),
        ("distributed", {"max_attempts": 2}),
        ("distributed", {"minimum_cohort": 5}),
        ("none", {"allow_unprotected": False}),
        ("none", {"minimum_cohort": 5}),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_run_past_a_members_limits_gets_nothing(
    mode: str, narrow: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, asked: bool
) -> None:
    """Refused when the terms are offered, before any key is made; and again by the guard, if they were not."""
    if not asked:
        without_the_question(monkeypatch)
    world = run(tmp_path, mode=mode, **narrow)
    assert set(world.refusals()) == {(name, "limits") for name in world.names}
    assert (uploads(world), world.openings()) == (0, 0)
    assert all(world.store(name).ledger() == () for name in world.names)
    assert bool(world.store("m0").fact("epoch")) is not asked


@pytest.mark.parametrize("mode", ["distributed", "none"])
def test_control_with_wider_limits_the_same_run_ends_with_a_release(mode: str, tmp_path: Path) -> None:
    world = run(tmp_path, mode)
    assert world.coordinator.state.done
    assert world.refusals() == []
    assert uploads(world) == 3 * world.size


def test_a_year_whose_budget_is_too_small_is_told_before_it_costs(tmp_path: Path) -> None:
    """One member's year is too small for the whole run: its no, with the limit, ends it; nothing is reserved anywhere."""
    world = World(tmp_path, limits=Limits.model_validate(WIDE))
    small = Limits.model_validate({**WIDE, "epsilon_per_year": 3.0})
    world.limits = small
    world.members["m1"] = world.member("m1")
    error = world.expect_stop(TermsError)
    assert "m1: budget: This attempt would bring the year's ε to" in error.cause
    assert all(world.store(name).ledger() == () for name in world.names)
    assert all(world.store(name).fact("epoch") is None for name in world.names)


def test_a_year_whose_budget_is_too_small_stops_before_it_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sums fit into the year; the one that would pass it is refused by everybody."""
    without_the_question(monkeypatch)
    world = run(tmp_path, epsilon_per_year=3.0)
    assert {code for _, code in world.refusals()} == {"budget"}
    assert world.size <= uploads(world) < 3 * world.size
    for name in world.names:
        paid = {(e.round, e.attempt) for e in world.store(name).ledger()}
        assert paid == {(round_, attempt) for round_, attempt, *_ in world.store(name).uploads(1)}


def test_a_spent_year_gives_the_next_run_nothing(tmp_path: Path) -> None:
    world = run(tmp_path, epsilon_per_year=4.001)
    assert world.coordinator.state.done
    before = {name: world.store(name).ledger() for name in world.names}
    world.events.clear()
    world.replies.clear()
    world.coordinator = world.new_coordinator(run=2)
    world.expect_stop(TermsError)
    assert set(world.refusals()) == {(name, "budget") for name in world.names}
    assert {name: world.store(name).ledger() for name in world.names} == before
    assert world.openings() == 0


def test_control_without_the_gate_a_spent_year_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = run(tmp_path, epsilon_per_year=4.001)
    monkeypatch.setattr(budget, "judge", lambda *_: None)
    world.events.clear()
    world.coordinator = world.new_coordinator(run=2)
    world.run()
    assert world.openings() == 3 * world.size


def test_a_cohort_shrunk_below_a_members_own_minimum_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, size=5, limits=Limits.model_validate({**WIDE, "minimum_cohort": 5}))
    shared, own = world.until("round").parts["m0"]
    before = trace(world, "m0")
    fewer = with_config(world, shared, cohort=("m0", "m1", "m2", "m3"))
    assert say(world, "m0", "round", fewer, own).code == "limits"
    assert trace(world, "m0") == before
    assert say(world, "m0", "round", shared, own).kind == "ok"


def test_data_that_changed_within_the_run_are_not_used(tmp_path: Path) -> None:
    world = World(tmp_path)
    shared, own = world.until("prepare", 1).parts["m0"]
    changed = Member(
        world.identities["m0"],
        world.store("m0"),
        world.book,
        lambda: (rows(world.book, 99), bytes([99]) * 32),
        Limits.model_validate(WIDE),
        lambda: 1.8e9,
    )
    honest, world.members["m0"] = world.members["m0"], changed
    sent, paid = len(world.store("m0").uploads(1)), world.store("m0").ledger()
    assert say(world, "m0", "prepare", shared, own).code == "snapshot"
    assert (len(world.store("m0").uploads(1)), world.store("m0").ledger()) == (sent, paid)
    world.members["m0"] = honest
    assert contribute(world, "m0", shared, own).kind == "ok"


@pytest.mark.parametrize("kind", ["write", "close"])
def test_a_run_that_is_not_over_cannot_be_closed(kind: str, tmp_path: Path) -> None:
    """Closing opens the last sums, so a false end would open a sum before its time."""
    world = World(tmp_path)
    shared, own = world.until("prepare", 1).parts["m0"]
    config = Signed.make(world.key, prepare_of(shared).config(tuple(world.names)))
    closing = Closing(config=config, sums=PrepareRequest.decode(shared).sums, sealed=None)
    before = trace(world, "m0")
    assert say(world, "m0", kind, closing.encode(), own).code == "monotone"
    assert trace(world, "m0") == before


@pytest.mark.parametrize(
    ("mode", "accepted", "code"),
    [
        ("none", {"minimum_cohort": 5}, "terms"),
        ("distributed", {"epsilon_per_year": 3.0}, "budget"),
        ("none", {}, ""),
    ],
    ids=["cohort", "year", "control"],
)
def test_what_people_accepted_holds_at_every_attempt_also_where_nobody_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, accepted: dict[str, Any], code: str
) -> None:
    without_the_question(monkeypatch)
    world = World(tmp_path, mode=mode, limits=Limits.model_validate(WIDE))
    facts = {"name": "x", "address": "a.example:443", "minimum_cohort": 4, "schemas": (bytes(32).hex(),)}
    data = agreement.write(ConsortiumTerms.model_validate(facts | {"epsilon_per_year": 20.0} | accepted))
    for name in world.names:
        world.store(name).remember(agreed=agreement.hashed(data))
        (world.store(name).folder / agreement.FILE).write_bytes(data)
    planned = world.terms(1).model_copy(update={"agreed": agreement.hashed(data)})
    monkeypatch.setattr(world, "terms", lambda _run=1: planned)
    world.coordinator = world.new_coordinator()
    world.replies.clear()
    with suppress(CohortError):
        world.run()
    assert {said for _, said in world.refusals()} == ({code} if code else set())
    assert (uploads(world) == 3 * world.size) is not bool(code)
