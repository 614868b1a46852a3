"""Who is asked before an attempt, and what that may not do: to those who are in it, to those who are not, and to the run's terms."""

import shutil
from pathlib import Path

import pytest

from fedrepay.client.protocol import accepted
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import CohortError
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply, Upload
from support.adversary import contribute, due, say
from support.world import Tamper, World


def statuses(world: World) -> list[tuple[str, int]]:
    return [(each.status, len(each.config.cohort)) for each in world.coordinator.state.attempts]


def without(*names: str) -> Tamper:
    """They are silent from the first prepare on."""

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        return None if kind in ("prepare", "round") and name in names else (shared, own)

    return tamper


# --- no attempt that its members must refuse ---


def of_five(world: World) -> None:
    """All have accepted that no attempt has fewer than five members; a quorum of six is four."""
    agreed(world, consortium(world, minimum_cohort=5))


def consortium(world: World, **changed: object) -> bytes:
    facts: dict[str, object] = {
        "name": "x",
        "address": "a.example:443",
        "minimum_cohort": 3,
        "epsilon_per_release": 4.0,
        "epsilon_per_year": 9.0,
        "modes": ("none", "distributed"),
        "schemas": (world.book.schema_hash.hex(),),
    }
    return agreement.write(ConsortiumTerms.model_validate(facts | changed))


def agreed(world: World, terms_file: bytes, *, begin: bool = True) -> None:
    """Everybody's people accept this file, and the next run is under it."""
    for name in world.names:
        store = world.store(name)
        (store.folder / agreement.FILE).write_bytes(terms_file)
        store.remember(agreed=agreement.hashed(terms_file))
    if begin:
        planned = world.terms(1).model_copy(update={"agreed": agreement.hashed(terms_file)})
        world.terms = lambda _run=1: planned  # type: ignore[method-assign,assignment]
        world.coordinator = world.new_coordinator()


def test_an_attempt_that_is_too_small_for_its_members_is_never_begun(tmp_path: Path) -> None:
    world = World(tmp_path, size=6, mode="none")
    of_five(world)
    error = world.expect_stop(CohortError, without("m4", "m5"))
    assert "m0 takes part among 5 or more" in error.cause
    assert statuses(world) == []
    assert world.coordinator.state.losses == {}
    world.restart_coordinator()
    world.run(without("m5"))
    assert statuses(world) == [("completed", 5)] * 3, "once one of them is back"


def test_control_without_their_word_such_an_attempt_is_begun_and_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepted, "least_cohort", lambda *_: 0)
    world = World(tmp_path, size=6, mode="none")
    of_five(world)
    world.expect_stop(CohortError, without("m4", "m5"))
    assert statuses(world) == [("void", 4)]
    assert world.coordinator.state.losses == dict.fromkeys(("m0", "m1", "m2", "m3"), 1)


def test_one_that_wants_more_is_left_out_and_costs_the_others_nothing(tmp_path: Path) -> None:
    """By its own limits: five others are a quorum."""
    world = World(tmp_path, size=6, mode="none")
    member = world.member
    wide, strict = world.limits or Limits(minimum_cohort=3, epsilon_per_release=4, epsilon_per_year=9), 6

    def choosy(name: str) -> object:
        limits = wide.model_copy(
            update={"minimum_cohort": strict if name == "m1" else 3, "allow_unprotected": True}
        )
        world.limits = limits
        return member(name)

    world.members = {name: choosy(name) for name in world.names}  # type: ignore[misc]
    world.run(without("m5"))
    assert statuses(world) == [("completed", 4)] * 3
    assert all("m1" not in each.config.cohort for each in world.coordinator.state.attempts)
    assert world.store("m1").ledger() == ()


# --- who is in it was asked for it ---


def test_who_prepared_the_open_attempt_again_is_asked_for_the_next_as_all_are(tmp_path: Path) -> None:
    world = World(tmp_path, mode="none")
    world.until("round")
    world.members["m2"] = world.member("m2")  # it is asked to prepare the open attempt once more
    gone = False

    def tamper(_kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        return None if gone and name == "m2" else (shared, own)

    for _ in world.steps(tamper):
        gone = gone or len(world.coordinator.state.sums) == 1
    assert statuses(world) == [("completed", 4), ("completed", 3), ("completed", 3)]


# --- a run is under the terms that hold now ---


@pytest.mark.parametrize("at", ["hello", "prepare"])
def test_a_run_under_terms_that_were_replaced_since_is_refused(tmp_path: Path, at: str) -> None:
    world = World(tmp_path, mode="none")
    agreed(world, consortium(world))
    stricter = consortium(world, modes=("distributed",))

    def accepting(kind: str, _name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        if kind == at:
            agreed(world, stricter, begin=False)
        return shared, own

    world.replies.clear()
    world.expect_stop(CohortError, accepting)
    assert {code for _, code in world.refusals()} == {"terms"}
    assert statuses(world) == []
    assert all(world.store(name).ledger() == () for name in world.names)


def test_control_under_the_terms_that_still_hold_it_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, mode="none")
    agreed(world, consortium(world))
    world.run()
    assert world.coordinator.state.done


def test_a_store_that_forgot_what_was_accepted_takes_part_in_nothing(tmp_path: Path) -> None:
    """The file lies there, the fact is gone: it opens nothing."""
    world = World(tmp_path, mode="none")
    agreed(world, consortium(world), begin=False)
    for name in world.names:
        world.store(name).remember(agreed=b"")
    ask = world.coordinator.ask()
    assert ask is not None
    reply = Reply.decode(Signed.decode(world.members["m0"].handle("terms", *ask.parts["m0"])).body)
    assert (reply.kind, reply.code) == ("refused", "terms")
    (world.store("m0").folder / agreement.FILE).unlink()
    reply = Reply.decode(Signed.decode(world.members["m0"].handle("terms", *ask.parts["m0"])).body)
    assert reply.kind == "ok", "control: where nobody ever agreed on any"


# --- what it leaves behind ---


def test_a_rollback_found_before_an_attempt_notes_nobody_s_part_in_it(tmp_path: Path) -> None:
    """Whoever loses its ledger is told what others have noted: an attempt with everybody in it never was."""
    world = World(tmp_path / "world")
    shared, own = world.until("prepare", 1).parts["m0"]
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    sent = contribute(world, "m0", shared, own, "m0", "m1", "m2")
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")
    header = Upload.decode(sent.body).header.encode()
    assert say(world, "m0", "prepare", shared, header).code == "rollback"
    noted = [(each.round, each.attempt, len(each.cohort)) for each in world.store("m0").noted(1)]
    assert noted == [(0, 0, 4)]
    charged = {(e.round, e.attempt) for e in world.store("m0").ledger() if e.status == "rolled-back"}
    assert charged == {(1, 1)}, "its own is charged all the same"


def test_what_was_prepared_for_a_run_is_not_kept_beyond_the_yes_to_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, mode="none")
    shared, own = world.until("prepare").parts["m0"]
    assert say(world, "m0", "prepare", shared, own).kind == "ok"
    contributions = world.members["m0"]._rounds._contributions
    assert contributions.prepared == 0, "control"
    world.coordinator = world.new_coordinator(run=2)
    assert say(world, "m0", "terms", *due(world, "m0")).kind == "ok"
    assert contributions.prepared is None
