"""A year that counts as spent, for its own loss alone: what others lose later, or lie, makes it no longer."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto import year
from support.lost import NOW, Lost, played
from support.world import World

DAY = 86400.0


@pytest.fixture
def lost(tmp_path: Path) -> Lost:
    return played(tmp_path / "world")


@dataclass
class Years:
    """A consortium whose clocks are set by hand."""

    lost: Lost
    now: float = NOW

    def roster(self, day: int, *losing: str) -> None:
        """On that day these lose their stores, and another roster is made."""
        self.now = NOW + day * DAY
        for name in losing:
            self.lost.lose(name)
        self.lost.complete(self.lost.machine())

    def spent_until(self, name: str) -> int | None:
        """The day until which its year counts as spent; None where it does not."""
        mark = year.loss(self.lost.ledger(name), self.now)
        return None if mark is None else round((mark.at + year.YEAR - NOW) / DAY)


@pytest.fixture
def years(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> Years:
    made = Years(lost)
    world, member = lost.world, World.member

    def store(own: World, name: str) -> MemberStore:
        return MemberStore(own.folder / name, lambda: made.now, durable=False)

    def dated(own: World, name: str) -> Member:
        found = member(own, name)
        found._clock = found._enrolment._clock = lambda: made.now
        return found

    monkeypatch.setattr(World, "store", store)
    monkeypatch.setattr(World, "member", dated)
    world.members = {name: world.member(name) for name in world.names}
    return made


def test_who_has_everything_back_is_not_marked_again_by_what_befalls_others(years: Years) -> None:
    years.roster(0, "m4")
    assert years.spent_until("m4") is None
    years.roster(100, "m2")
    assert years.spent_until("m4") is None
    assert years.spent_until("m2") == 365, "control: m4 cannot say what was before day 0"


def test_two_that_lost_theirs_at_once_do_not_renew_each_other_s_mark(years: Years) -> None:
    years.roster(0, "m3", "m4")
    for day in (0, 200, 300):
        years.roster(day)
        assert [years.spent_until(name) for name in ("m3", "m4")] == [365, 365]
    years.roster(366)
    assert [years.spent_until(name) for name in ("m3", "m4")] == [None, None]


@pytest.mark.parametrize("liar", [False, True], ids=["a loss", "a lie"])
def test_what_a_witness_loses_later_takes_nothing_away(years: Years, *, liar: bool) -> None:
    years.roster(0, "m3", "m4")
    if liar:
        years.now = NOW + 350 * DAY
        years.lost.world.store("m1").remember(since=str(int(years.now)).encode())
        years.roster(350)
    else:
        years.roster(350, "m2")
    assert years.spent_until("m4") == 365, "its own ledger lacks nothing of the time since"
