"""One opening a round, one submission an attempt, one history of the run.

Controls: the same with the rule switched off.
"""

from pathlib import Path

import pytest

from fedrepay.client.protocol import guard, session
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.wire import Attempt, PrepareRequest, RoundConfig
from support.adversary import contribute, due, following, fork, opened, prepare_of, say, trace, with_prepare
from support.world import World

ALL = ("m0", "m1", "m2", "m3")
LOST = (Attempt(round=0, attempt=1, cohort=ALL, completed=False),)
SKIPPED = (Attempt(round=1, attempt=1, cohort=ALL, completed=False),)


class KilledError(BaseException):
    """The member's process dies here."""


def kill(*_args: object, **_more: object) -> None:
    raise KilledError


def sent(world: World, name: str) -> int:
    return len(world.store(name).uploads(world.coordinator.terms.run))


@pytest.fixture
def world(after_one_sum: World, tmp_path: Path) -> World:
    return fork(after_one_sum, tmp_path)


def again(world: World, shared: bytes) -> bytes:
    """Attempt 1 as a second attempt at round 0, whose first one is called lost."""
    lost = Attempt(round=0, attempt=0, cohort=ALL, completed=False)
    shared = PrepareRequest.decode(shared).model_copy(update={"sums": ()}).encode()
    return with_prepare(world, shared, round=0, history=(lost,))


# --- replays ---


def test_a_repeated_message_gets_the_stored_bytes_and_costs_nothing(world: World) -> None:
    shared, own = due(world, "m0")
    first = contribute(world, "m0", shared, own)
    before = trace(world, "m0")
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "round", following(world, shared), own) == first
    assert trace(world, "m0") == before


def test_an_old_configuration_is_refused_once_its_sum_is_opened(world: World) -> None:
    old = world.coordinator.state.attempts[0].signed
    shared, own = due(world, "m0")
    assert contribute(world, "m0", shared, own).kind == "ok"
    before = trace(world, "m0")
    world.members["m0"] = world.member("m0")  # durable: a restart forgets nothing
    reply = say(world, "m0", "round", old.encode(), own)
    assert reply.code == "history"  # it lacks attempt 1, which the ledger holds
    assert trace(world, "m0") == before


def test_the_same_attempt_number_is_never_answered_for_another_configuration(world: World) -> None:
    shared, own = due(world, "m0")
    assert contribute(world, "m0", shared, own).kind == "ok"
    before = trace(world, "m0")
    forked = following(world, shared, "m0", "m1", "m2")
    assert say(world, "m0", "round", forked, own).code == "monotone"
    assert say(world, "m0", "prepare", shared, own).code == "monotone"
    assert trace(world, "m0") == before


def test_control_without_the_counter_it_would_mask_and_pay_for_the_same_attempt_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, "m0")
    assert contribute(world, "m0", shared, own).kind == "ok"
    paid = len(world.store("m0").ledger())
    monkeypatch.setattr(guard, "check_monotone", lambda *_: None)
    contribute(world, "m0", shared, own, "m0", "m1", "m2")
    assert len(world.store("m0").ledger()) > paid


# --- one opening a round, split views ---


def test_who_opened_an_attempt_never_submits_to_the_next_one_of_that_round(world: World) -> None:
    shared, own = due(world, "m0")
    assert contribute(world, "m0", shared, own).kind == "ok"
    before = trace(world, "m0")
    first = Attempt(round=0, attempt=0, cohort=ALL, completed=False)
    later = with_prepare(world, shared, round=0, history=(first, *LOST))
    for lie in (again(world, shared), later):
        assert contribute(world, "m0", lie, own).code == "history"
    assert trace(world, "m0") == before


def test_who_opened_a_round_refuses_another_attempt_of_it_whatever_the_history_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second lock behind the history."""
    monkeypatch.setattr(guard, "_check_history", lambda *_: None)
    shared, own = due(world, "m0")
    assert contribute(world, "m0", shared, own).kind == "ok"
    lie = with_prepare(world, shared, round=0, history=(*prepare_of(again(world, shared)).history, *LOST))
    assert contribute(world, "m0", lie, own).code == "monotone"
    assert sent(world, "m0") == 2


def test_control_without_both_locks_an_opened_round_gets_another_upload(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_check_history", lambda *_: None)
    shared, own = due(world, "m0")
    assert contribute(world, "m0", shared, own).kind == "ok"
    monkeypatch.setattr(guard, "check_monotone", lambda *_: None)
    monkeypatch.setattr(session.Session, "open_sums", lambda *_: None)
    lie = with_prepare(world, shared, round=0, history=(*prepare_of(again(world, shared)).history, *LOST))
    contribute(world, "m0", lie, own)
    assert [each[:2] for each in world.store("m0").uploads(1)] == [(0, 0), (1, 1), (0, 2)]


def test_who_submitted_to_a_later_attempt_never_opens_the_earlier_one(world: World) -> None:
    shared, own = due(world, "m0")
    assert contribute(world, "m0", again(world, shared), own).kind == "ok"
    before = trace(world, "m0")
    assert contribute(world, "m0", shared, own).code == "history"
    told = (*prepare_of(shared).history, *SKIPPED)
    assert contribute(world, "m0", with_prepare(world, shared, history=told), own).code == "history"
    assert trace(world, "m0") == before
    assert opened(world, "m0") == []


def test_who_submitted_to_a_later_attempt_does_not_open_even_if_the_history_were_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_check_history", lambda *_: None)
    shared, own = due(world, "m0")
    assert contribute(world, "m0", again(world, shared), own).kind == "ok"
    skipped = with_prepare(world, shared, history=(*prepare_of(shared).history, *SKIPPED))
    assert contribute(world, "m0", skipped, own).code == "monotone"
    assert opened(world, "m0") == []


def test_control_without_the_rule_it_opens_the_attempt_it_had_been_told_was_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_check_history", lambda *_: None)
    shared, own = due(world, "m0")
    assert contribute(world, "m0", again(world, shared), own).kind == "ok"
    monkeypatch.setattr(guard, "check_sum", lambda *args: RoundConfig.decode(args[2].config.body))
    skipped = with_prepare(world, shared, history=(*prepare_of(shared).history, *SKIPPED))
    assert contribute(world, "m0", skipped, own).kind == "ok"
    assert len(opened(world, "m0")) == 1


def test_two_halves_of_the_consortium_cannot_be_led_apart(world: World) -> None:
    """Half is told that round 0 was summed, half that it was lost: nobody can finish, nothing more opens."""
    shared = {name: due(world, name) for name in ALL}
    for name in ALL[:2]:
        assert contribute(world, name, *shared[name]).kind == "ok"
    for name in ALL[2:]:
        assert contribute(world, name, again(world, shared[name][0]), shared[name][1]).kind == "ok"
    for name in ALL[:2]:  # each half is told the other's story
        assert contribute(world, name, again(world, shared[name][0]), shared[name][1]).code == "history"
    for name in ALL[2:]:
        assert contribute(world, name, *shared[name]).code == "history"
    assert [len(opened(world, name)) for name in ALL] == [1, 1, 0, 0]


def test_an_interrupted_opening_is_finished_with_the_same_sum_or_never(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, "m0")
    with monkeypatch.context() as patched:
        patched.setattr(MemberStore, "store_opened", kill)
        with pytest.raises(KilledError):
            contribute(world, "m0", shared, own)
    world.members["m0"] = world.member("m0")
    with monkeypatch.context() as patched:
        patched.setattr(AttemptTags, "first_misfit", lambda *_: None)
        completed = world.coordinator.state.sums[0]
        payload = bytes([completed.payload[0] ^ 1]) + completed.payload[1:]
        world.coordinator.state.sums[0] = completed.model_copy(update={"payload": payload})
        assert contribute(world, "m0", *due(world, "m0")).code == "monotone"
    assert opened(world, "m0") == []
    assert contribute(world, "m0", shared, own).kind == "ok"


def test_who_opened_a_sum_refuses_a_history_that_denies_it_even_before_it_has_paid_for_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """m0 was away for round 0, opens its sum, and dies before it reserves for round 1."""
    world = World(tmp_path)

    def away(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        lost = name == "m0" and kind in ("prepare", "round") and not world.coordinator.state.sums
        return None if lost else (shared, own)

    next(a for a in world.steps(away) if a.kind == "prepare" and world.coordinator.state.sums)
    shared, own = due(world, "m0")
    with monkeypatch.context() as patched:
        patched.setattr(MemberStore, "charge", kill)
        with pytest.raises(KilledError):
            contribute(world, "m0", shared, own)
    world.members["m0"] = world.member("m0")
    assert (len(opened(world, "m0")), world.store("m0").ledger()) == (1, ())
    told = tuple(each.model_copy(update={"completed": False}) for each in prepare_of(shared).history)
    assert contribute(world, "m0", with_prepare(world, shared, round=0, history=told), own).code == "history"
    assert contribute(world, "m0", shared, own).kind == "ok"


def test_an_attempt_a_member_died_in_is_charged_and_never_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, "m0")
    with monkeypatch.context() as patched:
        patched.setattr(MemberStore, "submit", kill)
        with pytest.raises(KilledError):
            contribute(world, "m0", shared, own)
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "round", following(world, shared), own).code == "lost-attempt"
    assert sent(world, "m0") == 1
    assert (1, 1) in {(e.round, e.attempt) for e in world.store("m0").ledger()}


# --- the list of lost attempts ---


def lost_attempts(world: World, shared: bytes, count: int) -> bytes:
    told = tuple(Attempt(round=0, attempt=i, cohort=ALL, completed=False) for i in range(count))
    return with_prepare(world, shared, history=told)


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    """Nothing is summed yet; round 0 is due."""
    world = World(tmp_path)
    world.until("prepare")
    return world


def test_more_lost_attempts_than_the_run_allows_are_refused(fresh: World) -> None:
    shared, own = due(fresh, "m0")
    most = prepare_of(shared).max_attempts
    before = trace(fresh, "m0")
    assert contribute(fresh, "m0", lost_attempts(fresh, shared, most + 1), own).code == "history"
    assert trace(fresh, "m0") == before
    assert contribute(fresh, "m0", lost_attempts(fresh, shared, most), own).kind == "ok"


def test_control_without_the_check_of_histories_they_are_not(
    fresh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_check_history", lambda *_: None)
    shared, own = due(fresh, "m0")
    many = lost_attempts(fresh, shared, prepare_of(shared).max_attempts + 1)
    assert contribute(fresh, "m0", many, own).kind == "ok"


def test_a_lost_attempt_cannot_be_taken_back(fresh: World) -> None:
    """Attempt 0 was answered and is charged; a run that starts again without it is refused."""
    shared, own = due(fresh, "m0")
    assert contribute(fresh, "m0", shared, own).kind == "ok"
    before = trace(fresh, "m0")
    other = Attempt(round=0, attempt=0, cohort=("m1", "m2", "m3"), completed=False)
    for told in ({"history": (other,), "attempt": 1}, {"epsilon": 3.0}, {"timeout": 1.0}):
        assert contribute(fresh, "m0", with_prepare(fresh, shared, **told), own).kind == "refused"
    assert trace(fresh, "m0") == before


# --- a changed ε between two attempts ---


def test_the_veto_over_a_release_cannot_be_passed_by_changing_the_run_between_attempts(fresh: World) -> None:
    shared, own = due(fresh, "m0")
    assert contribute(fresh, "m0", shared, own).kind == "ok"
    paid = fresh.store("m0").ledger()
    lost = (Attempt(round=0, attempt=0, cohort=ALL, completed=False),)
    for terms in ({"rounds": 1000}, {"epsilon": 0.5}, {"delta": 1e-6}, {"learner": "dp-gd"}):
        lie = with_prepare(fresh, shared, history=lost, **terms)
        assert contribute(fresh, "m0", lie, own).code == "epoch"
    assert fresh.store("m0").ledger() == paid


def test_control_with_changing_constants_both_attempts_are_answered(
    fresh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoundConfig, "terms_hash", lambda _config: fresh.coordinator.epoch.terms)
    shared, own = due(fresh, "m0")
    assert contribute(fresh, "m0", shared, own).kind == "ok"
    lost = (Attempt(round=0, attempt=0, cohort=ALL, completed=False),)
    lie = with_prepare(fresh, shared, history=lost, delta=1e-6)
    assert contribute(fresh, "m0", lie, own).kind == "ok"
