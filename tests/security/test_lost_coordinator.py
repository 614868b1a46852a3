"""A coordinator that lost its database, or its key: the consortium goes on by commands that are documented."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.protocol.enrolment import held
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.held import Held
from fedrepay.shared.errors import CohortError, FedrepayError
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.message import Signed
from support.adversary import say
from support.world import World

WIDE = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=30.0)


def carried(world: World, run: int) -> int:
    """As ``app.carry``: a run whose number is in use becomes one above; gives the number that was completed."""
    while True:
        world.events.clear()
        world.coordinator = world.new_coordinator(run)
        world.run()
        if world.coordinator.state.floor < run:
            assert world.coordinator.state.done
            return run
        run = world.coordinator.state.floor + 1


def test_a_lost_database_costs_a_run_number_and_nobody_compares_words(tmp_path: Path) -> None:
    world = World(tmp_path, limits=WIDE)
    code = world.roster.code()
    for run in (1, 2):
        assert carried(world, run) == run
    world.enrolment = world.new_enrolment()  # an empty database, the same key
    world.enrol()
    assert world.roster.code() == code
    assert carried(world, 1) == 3


def test_a_lost_key_is_another_coordinator_whose_words_people_compare(tmp_path: Path) -> None:
    world = World(tmp_path, limits=WIDE)
    code = world.roster.code()
    assert carried(world, 1) == 1
    world.key = Ed25519PrivateKey.generate()
    world.enrolment = world.new_enrolment()
    world.enrol()
    assert world.roster.code() != code
    assert carried(world, 1) == 2


@pytest.mark.parametrize("given", [True, False])
def test_a_member_set_back_before_the_roster_of_a_coordinator_that_is_gone_is_given_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    """m0 holds the first roster, the others the second, and the keys of both coordinators are lost."""
    world = World(tmp_path, limits=WIDE)
    shutil.copytree(world.folder / "m0", tmp_path / "backup")
    world.key = Ed25519PrivateKey.generate()
    world.enrolment = world.new_enrolment()
    world.enrol()
    shutil.rmtree(world.folder / "m0")
    shutil.copytree(tmp_path / "backup", world.folder / "m0")
    world.members["m0"] = world.member("m0")
    world.key = Ed25519PrivateKey.generate()
    world.enrolment = world.new_enrolment()
    if not given:
        monkeypatch.setattr(Held, "unknown_to", lambda _: {})
        with pytest.raises(CohortError, match="does not follow the roster"):
            world.enrol()
        return
    world.enrol()
    assert {world.roster.hash()} == {held(world.store(name)).hash() for name in world.names}  # type: ignore[union-attr]
    assert carried(world, 1) == 1


def lie(world: World, run: int) -> Coordinator:
    """m3 shows a call for a far run, signed with a key of its own; the others say yes to the terms."""
    coordinator = world.new_coordinator(run)
    ask = coordinator.ask()
    assert ask is not None
    stranger = Ed25519PrivateKey.generate()
    start = EpochStart(run=2**31 - 2, coordinator=bytes(32), colluders=1, roster=bytes(32), terms=bytes(32))
    world.store("m3").remember(last_start=Signed.make(stranger, start).encode())
    for name in world.names:
        assert say(world, name, "terms", *ask.parts[name]).kind == ("refused" if name == "m3" else "ok")
        signed = Signed.decode(world.members[name].handle("terms", *ask.parts[name]))
        for event in coordinator.receive(ask, name, signed):
            coordinator.state.apply(event)
    for event in coordinator.finish(ask):
        coordinator.state.apply(event)
    return coordinator


def test_one_member_cannot_name_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    assert lie(world, 1).state.floor == 0
    monkeypatch.setattr(Signed, "verified", lambda signed, _public, kind: kind.decode(signed.body))
    assert lie(world, 1).state.floor == 2**31 - 2, "control: without the coordinator's own signature it could"


def test_fewer_than_a_quorum_stop_a_run_before_it_costs(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.coordinator = Coordinator(world.terms(), world.key, world.roster, {"m0": "m0", "m1": "m1"})
    error = world.expect_stop(CohortError)
    assert isinstance(error, FedrepayError)
    assert all(world.store(name).ledger() == () for name in world.names)
