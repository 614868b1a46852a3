"""A store restored from a backup: found out by the header it has forgotten, and out until a new epoch.

Control: where its own header is withheld, it would send an attempt a second time.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.year import loss
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Attempt, Closing, Header, Reply, Upload
from support.adversary import contribute, due, following, fork, opened, prepare_of, say, trace
from support.world import World


def sent(world: World, name: str) -> int:
    return len(world.store(name).uploads(world.coordinator.terms.run))


@pytest.fixture
def world(after_one_sum: World, tmp_path: Path) -> World:
    return fork(after_one_sum, tmp_path)


def set_back(world: World, tmp_path: Path) -> tuple[bytes, Reply]:
    """m0 answers attempt 1, then its folder is restored from a copy made before; give the message and answer."""
    shared, own = due(world, "m0")
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    answer = contribute(world, "m0", shared, own)
    assert answer.kind == "ok"
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")
    return shared, answer


def lost(world: World) -> LedgerEntry | None:
    """The entry by which m0's year counts as spent."""
    ledger = world.store("m0").ledger()
    return loss(ledger, max((each.at for each in ledger), default=0.0))


def header_of(answer: Reply) -> Signed:
    return Upload.decode(answer.body).header


def test_a_restored_store_is_shown_its_own_header_and_sends_nothing_more(
    world: World, tmp_path: Path
) -> None:
    shared, answer = set_back(world, tmp_path)
    assert contribute(world, "m0", shared, header_of(answer).encode()).code == "rollback"
    store = world.store("m0")
    assert sent(world, "m0") == 1  # of attempt 0, before the copy
    assert [(e.round, e.attempt) for e in store.ledger() if e.status == "rolled-back"] == [(1, 1)]
    paid = store.ledger()
    for own in (header_of(answer).encode(), b""):  # refused for good, also when the header is withheld
        world.members["m0"] = world.member("m0")
        assert contribute(world, "m0", shared, own).code == "rollback"
    assert opened(world, "m0") == []
    assert world.store("m0").ledger() == paid  # charged once


def test_a_ledger_cut_short_is_found_out_by_the_head_in_the_own_header(world: World) -> None:
    shared, _ = due(world, "m0")
    answer = contribute(world, "m0", shared, b"")
    own = header_of(answer).encode()
    world.members["m0"] = world.member("m0")
    asked = following(world, shared)
    assert say(world, "m0", "round", asked, own).body == answer.body  # control: a whole ledger passes
    with closing(sqlite3.connect(world.folder / "m0" / "member.sqlite")) as connection, connection:
        connection.execute("DELETE FROM ledger WHERE round = 1")
    world.members["m0"] = world.member("m0")
    assert contribute(world, "m0", shared, own).code == "rollback"


def test_control_without_its_own_header_a_restored_store_sends_the_attempt_a_second_time(
    world: World, tmp_path: Path
) -> None:
    """The same masks over other noise: whoever holds both reads the difference."""
    shared, answer = set_back(world, tmp_path)
    second = contribute(world, "m0", shared, b"")
    assert second.kind == "ok"
    assert header_of(second) != header_of(answer)


def test_the_honest_coordinator_sends_the_header_back_and_goes_on_without_the_restored_member(
    world: World, tmp_path: Path
) -> None:
    """Its epoch is over for the member alone: three of four are a quorum, and nobody else loses anything."""
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    world.until("prepare", 2)
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")
    world.replies.clear()
    world.run()
    assert world.refusals()[0] == ("m0", "rollback")
    assert {name for name, _ in world.refusals()} == {"m0"}
    assert world.coordinator.state.done
    assert sent(world, "m0") == 1
    lost = [(e.round, e.attempt) for e in world.store("m0").ledger() if e.status == "rolled-back"]
    assert lost == [(1, 1)]


def test_an_older_header_that_comes_first_hides_no_later_one(world: World, tmp_path: Path) -> None:
    """Found by `make faults`, seed 1667: it ended the epoch, and what the later one proves was never charged."""
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    world.until("prepare", 2)
    shared, first = due(world, "m0")
    second = header_of(contribute(world, "m0", shared, first)).encode()
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")

    def lost() -> list[tuple[int, int]]:
        return [(e.round, e.attempt) for e in world.store("m0").ledger() if e.status == "rolled-back"]

    assert contribute(world, "m0", shared, first).code == "rollback"
    assert lost() == [(1, 1)]
    for _ in range(2):
        assert contribute(world, "m0", shared, second).code == "rollback"
        assert lost() == [(1, 1), (2, 2)]
    assert sent(world, "m0") == 1
    assert opened(world, "m0") == []


def test_a_store_that_was_set_back_between_runs_counts_its_year_as_spent(
    world: World, tmp_path: Path
) -> None:
    """Nobody asks it for an attempt of the run that it has forgotten, and the next run has another epoch."""
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    world.until("prepare", 2)
    own = due(world, "m0")[1]  # of an attempt after the copy
    world.run()
    run, ledger = world.coordinator.terms.run, world.store("m0").ledger()
    assert not world.members["m0"].sent(own, 0), "control: a whole store passes"
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")
    assert len(world.store("m0").ledger()) < len(ledger)
    assert lost(world) is None, "control: the store alone is at ease"
    assert not world.members["m0"].sent(b"", 0), "control: as it is where the header is withheld"
    assert not world.members["m0"].sent(own, run), "the run under way looks for itself"
    assert world.members["m0"].sent(own, 0)
    marked = lost(world)
    assert marked is not None
    assert f"older than what was sent in run {run}" in marked.window.decode()
    assert world.store("m0").fact("since")
    paid = world.store("m0").ledger()
    assert not world.members["m0"].sent(own, 0), "once: what the others tell then counts"
    assert world.store("m0").ledger() == paid


def test_a_store_that_was_set_back_within_a_run_that_another_follows_is_found_by_the_header_shown_then(
    tmp_path: Path,
) -> None:
    """The newest header is of the new run by then, and proves nothing: so the link shows the one before again."""
    limits = Limits(minimum_cohort=3, epsilon_per_release=4, epsilon_per_year=20)
    world = World(tmp_path / "world", limits=limits)
    world.until("prepare", 1)
    _, answer = set_back(world, tmp_path)
    own = header_of(answer).encode()
    assert not world.members["m0"].sent(own, 1), "its run is under way, and looks for itself"
    world.events.clear()
    world.coordinator = world.new_coordinator(run=2)
    world.until("prepare", 1)
    newest = world.coordinator.state.own_header("m0")
    assert newest, "it takes part"
    assert not world.members["m0"].sent(newest, 2), "control: what it sent since is known"
    assert lost(world) is None
    assert world.members["m0"].sent(own, 2)
    assert lost(world) is not None


def test_another_s_header_marks_no_store(world: World) -> None:
    shared, own = due(world, "m1")
    other = header_of(contribute(world, "m1", shared, own)).encode()
    assert not world.members["m0"].sent(other, 0)
    assert lost(world) is None


def test_the_closing_message_finds_a_restored_store_too(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    world.until("write")
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")
    world.run()
    assert ("m0", "rollback") in world.refusals()
    lost = [(e.round, e.attempt) for e in world.store("m0").ledger() if e.status == "rolled-back"]
    assert lost == [(1, 1), (2, 2)]
    assert opened(world, "m0") == []


def test_a_false_end_of_the_run_charges_a_restored_store_for_the_attempts_it_names(world: World) -> None:
    """m0 had sent attempt 9; the coordinator now claims that the run ended after attempt 2."""
    shared, _ = due(world, "m0")
    completed = tuple(
        Attempt(round=i, attempt=i, cohort=tuple(world.names), completed=True) for i in range(3)
    )
    end = prepare_of(shared).model_copy(update={"round": 3, "history": completed}).config(tuple(world.names))
    last = Header.decode(Signed.decode(due(world, "m0")[1]).body).model_copy(update={"attempt": 9})
    own = Signed.make(world.identities["m0"].signing, last).encode()
    closing = Closing(config=Signed.make(world.key, end), sums=(), sealed=None)
    assert say(world, "m0", "close", closing.encode(), own).code == "rollback"
    lost = [(e.round, e.attempt) for e in world.store("m0").ledger() if e.status == "rolled-back"]
    assert lost == [(1, 1), (2, 2)]


def test_a_forged_own_header_neither_charges_nor_blocks(world: World) -> None:
    shared, _ = due(world, "m0")
    _, theirs = due(world, "m1")
    before = trace(world, "m0")
    assert contribute(world, "m0", shared, theirs).code == "message"
    assert trace(world, "m0") == before
    assert not world.store("m0").fact("blocked")


def test_a_new_epoch_lets_a_restored_member_take_part_again(tmp_path: Path) -> None:
    limits = Limits(minimum_cohort=3, epsilon_per_release=4, epsilon_per_year=20)
    world = World(tmp_path / "world", limits=limits)
    world.until("prepare", 1)
    shared, answer = set_back(world, tmp_path)
    assert contribute(world, "m0", shared, header_of(answer).encode()).code == "rollback"
    world.events.clear()
    world.replies.clear()
    world.coordinator = world.new_coordinator(run=2)
    world.run()
    assert world.refusals() == []
    assert world.openings() == 3 * world.size
