"""A roster is made before any run, over the members' own calls: of who was admitted, and again when that changes."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedrepay.client.protocol import enrolment
from fedrepay.client.protocol.member import Member
from fedrepay.server.database.where import FILE
from fedrepay.server.keyring import FOLLOWING, KEY, key_of
from fedrepay.server.operating import founding, health, rosters, verifying
from fedrepay.server.operating import settings as places
from fedrepay.server.service import keeper as keepers
from fedrepay.server.service.keeper import Keeper
from fedrepay.server.service.standing import AWAY
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, CohortError, StorageError
from fedrepay.shared.trust.asking import Standing
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.succession import KeyChange, changes
from support.founded import settings
from support.newcomers import Newcomer
from support.outside import FIVE, Caller, Service, answering, service
from support.parties import PLAN


@dataclass
class Up:
    service: Service
    stack: ExitStack
    members: dict[str, Member] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)

    def joins(self, name: str) -> Newcomer:
        caller = self.service.caller(name)
        self.callers[name], self.members[name] = caller, self.service.member(caller.who)
        self.stack.enter_context(answering(caller, self.members[name]))
        return caller.who

    def look(self) -> None:
        self.service.settle()
        self.service.keeper.look()

    def roster(self, name: str) -> Roster | None:
        return enrolment.held(self.members[name]._store)

    def approve(self, *names: str) -> None:
        words = {self.members[name].shown_words() for name in names}
        assert len(words) == 1, "everybody is shown the same"
        for name in names:
            self.members[name].approve_roster(next(iter(words)))


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with service(tmp_path) as made, ExitStack() as stack:
        yield Up(made, stack)


def five(up: Up) -> None:
    for name in FIVE:
        up.joins(name)
    up.service.keeper.look()  # sees them for the first time
    up.look()
    up.approve(*FIVE)
    up.look()


def test_of_everybody_who_was_admitted_before_any_run(up: Up) -> None:
    for name in FIVE[:4]:
        up.joins(name)
    up.service.keeper.look()
    up.look()
    assert not any(up.members[name].shown_words() for name in FIVE[:4]), "the terms want five"
    up.joins(FIVE[4])
    up.service.keeper.look()
    assert not up.members[FIVE[4]].shown_words(), "an operator may admit more at once"
    up.look()
    up.approve(*FIVE[:4])
    up.look()
    assert up.roster(FIVE[0]) is None, "one has not compared the words yet"
    up.approve(FIVE[4])
    up.look()
    rosters = [up.roster(name) for name in FIVE]
    assert rosters[0] is not None
    assert rosters[0].names == FIVE
    assert all(each is not None and each.hash() == rosters[0].hash() for each in rosters)
    entry = up.service.desk.registry.member(FIVE[0])
    assert entry is not None
    assert rosters[0].entry(FIVE[0]) == entry.entry


def test_after_a_lost_database_the_roster_comes_back_and_nobody_compares_words_again(up: Up) -> None:
    five(up)
    made, desk = up.roster(FIVE[0]), up.service.desk
    assert made is not None
    with closing(sqlite3.connect(desk.folder / FILE)) as connection:
        connection.execute("delete from events")
        connection.commit()
    up.service.keeper = Keeper(
        desk.folder, up.service.store, desk.registry, up.service.waiting, up.service.clock
    )
    assert rosters.enrolled(up.service.store).roster is None, "control: it is lost"
    up.service.keeper.look()
    up.look()
    state = rosters.enrolled(up.service.store)
    assert (state.roster, state.called) == (made, 0), "given back, and no other is proposed"
    assert all(enrolment.waiting(member._store) is None for member in up.members.values())


def test_joins_and_revocations_make_the_next(up: Up) -> None:
    five(up)
    first = up.roster(FIVE[0])
    assert first is not None
    up.joins("bank-f")
    up.service.desk.registry.revoke(FIVE[4], "sold its book")
    up.service.keeper.look()
    up.look()
    now = (*FIVE[:4], "bank-f")
    up.approve(*now)
    up.look()
    second = up.roster("bank-f")
    assert second is not None
    assert second.names == now
    assert (second.predecessor, second.revoked[0].name, second.revoked[0].reason) == (
        first.hash(),
        FIVE[4],
        "sold its book",
    )
    assert up.roster(FIVE[0]) == second
    assert up.roster(FIVE[4]) == first


def test_it_waits_for_who_is_away_and_says_who(up: Up) -> None:
    five(up)
    up.service.desk.admitted("bank-f")  # and never calls
    up.service.keeper.look()
    for _ in range(12):
        up.service.desk.now += AWAY / 12 + 1
        for name in FIVE:
            up.service.desk.registry.saw(name)
    with pytest.raises(CohortError, match="waits for bank-f"):
        up.service.keeper.look()


@pytest.mark.parametrize("name", ["terms.toml", "coordinator.key", "nodes/bank-a.pub"])
def test_a_lost_file_is_told_and_the_keeper_goes_on_when_it_is_back(
    up: Up, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    five(up)
    keeper, path = up.service.keeper, up.service.desk.folder / name
    known: list[str] = []
    monkeypatch.setattr(keeper, "_control", lambda: Known(known))
    for each in FIVE:
        key = path.parent / "nodes" / f"{each}.pub" if "/" not in name else path.with_name(f"{each}.pub")
        key.parent.mkdir(exist_ok=True)
        key.write_bytes(b"a key")
    content = path.read_bytes()
    path.unlink()
    stop, looks = threading.Event(), 0
    look = keeper.look

    def looking() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            assert not path.exists(), "it is never made anew here"
            path.write_bytes(content)
        if looks == 3:
            stop.set()
        look()

    monkeypatch.setattr(keeper, "look", looking)
    monkeypatch.setattr(keepers, "PAUSE", 0.0)
    with caplog.at_level("INFO"):
        keeper.run(stop)
    assert looks == 3
    assert [each for each in caplog.messages if path.name in each], "said"
    assert set(known) == set(FIVE)


class Known:
    """A SuperLink that knows whoever is registered."""

    def __init__(self, known: list[str]) -> None:
        self._known = known

    def register(self, _public: bytes, name: str) -> int:
        self._known.append(name)
        return 1

    def close(self) -> None:
        pass


def test_where_everything_stands(up: Up) -> None:
    five(up)
    up.service.desk.invite("bank-g")
    standing = Standing.decode(up.callers[FIVE[0]].call("Stand"))
    assert dict(standing.members) == {**dict.fromkeys(FIVE, "admitted"), "bank-g": "invited"}
    assert (standing.run, standing.state, standing.releases) == (0, "no run yet", ())


def test_the_coordinator_s_key_rotates_and_the_old_one_is_gone_once_the_roster_is_complete(up: Up) -> None:
    five(up)
    folder, first = up.service.desk.folder, up.roster(FIVE[0])
    assert first is not None
    old = (folder / KEY).read_bytes()
    public = founding.rotate_key(folder, up.service.store)
    assert founding.rotate_key(folder, up.service.store) == public != first.coordinator, (
        "said twice, it is one"
    )
    up.service.keeper.look()
    up.look()
    up.approve(*FIVE[:4])
    up.look()
    assert up.roster(FIVE[0]) == first, "one has not compared the words yet"
    assert (folder / KEY).read_bytes() == old, "until everybody has signed"
    up.approve(FIVE[4])
    up.look()
    second = up.roster(FIVE[0])
    assert second is not None
    assert (second.coordinator, second.names, second.predecessor) == (public, FIVE, first.hash())
    assert changes(first, second).coordinator == KeyChange.ROTATED
    assert keys.public_bytes(key_of(folder)) == public
    assert not (folder / FOLLOWING).exists()
    assert old not in b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())
    up.look()
    assert rosters.enrolled(up.service.store).call is None, "nothing more is proposed"
    found = verifying.verify(up.service.store, up.service.desk.registry, public)
    assert [each for each in found if each.wrong] == [], (
        "what the old key signed verifies under the roster it was of"
    )


def test_a_process_that_dies_before_it_takes_the_key_takes_it_when_it_comes_up(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    five(up)
    folder = up.service.desk.folder
    public = founding.rotate_key(folder, up.service.store)
    with monkeypatch.context() as patch:
        patch.setattr(keepers, "settle", lambda *_: False)
        up.service.keeper.look()
        up.look()
        up.approve(*FIVE)
        up.look()
    made = up.roster(FIVE[0])
    assert made is not None
    assert made.coordinator == public != keys.public_bytes(key_of(folder)), "control: not yet"
    desk = up.service.desk
    up.service.keeper = Keeper(folder, up.service.store, desk.registry, up.service.waiting, up.service.clock)
    up.service.keeper.look()
    assert keys.public_bytes(key_of(folder)) == public
    assert founding.rotate_key(folder, up.service.store) != public, "the next one is another"


def test_a_lost_key_is_replaced_by_everybody_s_words(up: Up) -> None:
    five(up)
    folder, first = up.service.desk.folder, up.roster(FIVE[0])
    assert first is not None
    (folder / KEY).unlink()
    with pytest.raises(StorageError, match="is not there"):
        up.service.keeper.look()
    with pytest.raises(StorageError, match="is not there"):
        founding.rotate_key(folder, up.service.store)
    public = founding.replace_key(folder, up.service.store)
    (folder / places.FILE).write_bytes(places.write(settings()))
    assert not [line for line in health.examine(folder) if line.what == "signing key" and line.ok]
    up.service.keeper.look()
    up.look()
    up.approve(*FIVE[:4])
    up.look()
    assert up.roster(FIVE[0]) == first, "one has not compared the words yet"
    up.approve(FIVE[4])
    up.look()
    second = up.roster(FIVE[0])
    assert second is not None
    assert (second.coordinator, changes(first, second).coordinator) == (public, KeyChange.REPLACED)
    found = verifying.verify(up.service.store, up.service.desk.registry, public)
    assert [each for each in found if each.wrong] == []


def test_no_key_is_replaced_under_a_run_and_one_that_rotates_waits_for_its_end(up: Up) -> None:
    folder = up.service.desk.folder
    up.service.store.begin(PLAN)
    public = founding.rotate_key(folder, up.service.store)
    assert public != keys.public_bytes(key_of(folder))
    (folder / KEY).unlink()
    with pytest.raises(ArgumentError, match="is not over"):
        founding.replace_key(folder, up.service.store)
    assert not (folder / KEY).exists()
