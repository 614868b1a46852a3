"""The link's turns against a real coordinator and a real door: what it carries, shows, pulls, renews, and says."""

import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fedrepay.client.consortium import overview, standing, tls
from fedrepay.client.consortium.link import Clocks, Link
from fedrepay.client.node import door, house, setup
from fedrepay.client.node.relay import Handler
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.asking import Answered, AskedOf, Handed, ReleaseListed, Standing
from support.coordinator_stub import Stub
from support.joining import ROSTER

DAY = 86400.0


class Home:
    """A member's own process at its door, and a link whose clock a test sets."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place = folder, place
        self.heard: list[tuple[str, bytes, bytes]] = []
        self.kept: list[bytes] = []
        self.no = ""
        self.ahead = self.ticks = 0.0
        self.pauses: list[float] = []
        self.headers: list[tuple[bytes, int]] = []
        self.older = False
        self.link = self.begun()

    def begun(self) -> Link:
        return Link(
            self.folder, self.place, Clocks(lambda: time.time() + self.ahead, lambda: self.ticks, self.pause)
        )

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return False

    def turn(self, seconds: float = 0.0) -> None:
        self.ticks += seconds
        self.link.turn()

    def handle(self, kind: str, shared: bytes, own: bytes) -> bytes:
        self.heard.append((kind, shared, own))
        return b"signed reply"

    def keep(self, body: bytes) -> bool:
        if self.no:
            raise ProtocolError(self.no, "As the test says.")
        self.kept.append(body)
        return True

    def sent(self, own: bytes, live: int) -> bool:
        self.headers.append((own, live))
        return self.older

    def handler(self) -> Handler:
        known = house.errands(lambda: setup.identity(self.folder), time.time, self.keep, self.keep, self.sent)
        return house.at_home(self.handle, known)

    def seen(self) -> standing.LinkState:
        state = standing.last(self.folder)
        assert state is not None
        return state


@pytest.fixture
def home(member: Path) -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="door") as short:
        made = Home(member, Path(short) / "s")
        with door.Door(made.place, made.handler()) as opened:
            thread = threading.Thread(target=opened.serve)
            thread.start()
            yield made
            opened.stop()
            thread.join(20)
        made.link.close()


def stands(stub: Stub, releases: tuple[int, ...] = (), **other: object) -> Standing:
    facts = {
        "agreed": agreement.hashed(stub.terms),
        "terms": stub.terms,
        "members": (("bank-a", "admitted"),),
        "run": 2,
        "state": "round 1",
        "waiting": ("bank-b",),
        "releases": tuple(ReleaseListed(number=each, sealed=bytes(32), at=1.0) for each in releases),
    }
    return Standing.model_validate(facts | other)


def test_an_ask_goes_to_the_door_and_its_answer_back(stub: Stub, home: Home) -> None:
    stub.standing = stands(stub)
    stub.asks = [AskedOf(ask=7, kind="propose", shared=b"call", own=b"mine")]
    home.turn()
    assert home.heard == [("propose", b"call", b"mine")]
    assert [Answered.decode(each) for each in stub.answers] == [Answered(ask=7, reply=b"signed reply")]
    assert home.seen().connected
    assert home.seen().read() == stub.standing
    home.turn()
    assert home.pauses == [5.0], "a long poll that came back at once is not asked again at once"
    assert [method for method, _ in stub.asked] == ["Stand", "Heads", "Wait", "Answer", "Wait"]
    home.turn(61)
    assert [method for method, _ in stub.asked][-2:] == ["Stand", "Wait"]


def test_a_coordinator_asks_nothing_of_the_house_through_the_link(stub: Stub, home: Home) -> None:
    stub.standing = stands(stub)
    stub.asks = [AskedOf(ask=1, kind=house.REQUEST, shared=b"", own=b"Renew")]
    with pytest.raises(ProtocolError, match="only the member's own"):
        home.turn()
    assert stub.answers == []
    assert house.signed(home.place, "Renew", b""), "the control: at the door it would have been signed"


def test_a_roster_that_is_proposed_no_more_waits_for_nobody_here(stub: Stub, home: Home) -> None:
    store = MemberStore(home.folder, time.time)

    def shown() -> tuple[bool, bool]:
        """On the screens of `roster` and of `status`."""
        return overview.rosters(home.folder)[1] is not None, bool(
            overview.seen(home.folder, time.time()).approve
        )

    stub.standing = stands(stub)
    home.turn()
    assert stub.asked[0][1].body == bytes(32), "it holds no roster, and says so"
    store.remember(pending=ROSTER.encode(), shown=ROSTER.code().encode())
    assert shown() == (True, True), "it came after the coordinator was asked"
    stub.standing = stands(stub, proposed=ROSTER.hash())
    home.turn(61)
    assert shown() == (True, True), "control: it is proposed"
    stub.standing = stands(stub)
    home.turn(61)
    assert shown() == (False, False)
    later = ROSTER.model_copy(update={"number": 4})
    store.remember(pending=later.encode(), shown=later.code().encode())
    assert shown() == (True, True), "another has come"
    store.remember(roster=ROSTER.encode())
    home.turn(61)
    assert [said.body for method, said in stub.asked if method == "Stand"][-1] == ROSTER.hash()


def test_the_newest_run_that_is_over_is_known_by_the_coordinators_word(stub: Stub, home: Home) -> None:
    assert standing.over(home.folder) == 0, "nothing was said yet"
    for state, over in (("sum 1 of 5", 1), ("abandoned", 2), ("done", 2), ("cannot go on", 1)):
        stub.standing = stands(stub, state=state)
        home.turn(61)
        assert standing.over(home.folder) == over, state


def test_new_terms_are_laid_beside_the_old_until_they_are_accepted(stub: Stub, home: Home) -> None:
    mine, path = stub.terms, home.folder / standing.NEW_TERMS
    stub.agree(epsilon_per_year=2.0)
    stub.standing = stands(stub)
    home.turn()
    assert path.read_bytes() == stub.terms
    assert (home.folder / agreement.FILE).read_bytes() == mine
    stub.standing = stands(stub, terms=mine)
    with pytest.raises(ProtocolError, match="not those it names"):
        home.turn(61)
    MemberStore(home.folder, time.time).remember(agreed=agreement.hashed(stub.terms))
    stub.standing = stands(stub)
    home.turn(61)
    assert not path.exists()


def test_releases_that_the_store_lacks_are_pulled_in_order(stub: Stub, home: Home) -> None:
    stub.standing = stands(stub, (1, 3, 2))
    stub.parts = {n: Handed(resealed=n == 1, body=bytes([n])).encode() for n in (1, 2, 3)}
    home.turn()
    assert home.kept == [], "it is in no roster yet"
    MemberStore(home.folder, time.time).remember(roster=ROSTER.encode())
    home.turn(61)
    assert home.kept == [b"\x01", b"\x02", b"\x03"]
    store = MemberStore(home.folder, time.time)
    store.store_release(2, b"release", b"votes", forget=())
    home.turn(61)
    assert home.kept[3:] == [b"\x03"]


def test_a_release_that_is_refused_is_said_once(
    stub: Stub, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    stub.standing, home.no = stands(stub, (1,)), "another roster's\x1b[2J"
    stub.parts = {1: Handed(resealed=False, body=b"").encode()}
    MemberStore(home.folder, time.time).remember(roster=ROSTER.encode())
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            home.turn(61)
    assert caplog.text.count("was not taken in: another roster's\\x1b") == 1
    assert home.seen().connected


def test_the_certificate_is_renewed_at_half_life_with_a_new_key(stub: Stub, home: Home) -> None:
    stub.standing = stands(stub)
    home.turn()
    before = tls.check(home.folder, time.time()), (home.folder / tls.KEY).read_bytes()
    home.ahead = 14.9 * DAY
    home.turn(61)
    assert tls.check(home.folder, time.time()) == before[0]
    home.ahead = 15.1 * DAY
    home.turn(61)
    after = tls.check(home.folder, time.time()), (home.folder / tls.KEY).read_bytes()
    assert after[0].fingerprint != before[0].fingerprint
    assert after[1] != before[1]
    assert not (home.folder / tls.NEXT_KEY).exists()
    assert home.seen().connected, "with the new one"


def test_the_member_s_own_newest_header_is_shown_to_it_at_the_start_and_around_each_run(
    stub: Stub, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    stub.standing = stands(stub)
    home.turn()
    home.turn(61)
    (header,) = [own for own, _ in home.headers]
    assert header
    assert home.headers == [(header, 2)], "once, while nothing changes"
    stub.standing = stands(stub, state="done")
    home.turn(61)
    assert home.headers[1:] == [(header, 0)]
    assert "older than what it has sent" not in caplog.text
    home.older = True
    stub.standing = stands(stub, run=3)
    home.turn(61)
    assert home.headers[2:] == [(header, 3)]
    assert "older than what it has sent" in caplog.text


def test_where_a_run_follows_at_once_the_header_of_the_one_before_is_shown_again(
    stub: Stub, home: Home
) -> None:
    """It proved nothing while its run was under way, and was never the newest again."""
    stub.standing = stands(stub)
    home.turn()
    first, stub.header = stub.header, b"of run 3"
    stub.standing = stands(stub, run=3)
    home.turn(61)
    stub.standing = stands(stub, run=3, state="done")
    home.turn(61)
    assert home.headers == [(first, 2), (first, 3), (b"of run 3", 3), (b"of run 3", 0)]


def test_an_error_is_said_once_and_tried_later_and_later(
    stub: Stub, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    stub.standing = stands(stub)
    stop, refused = threading.Event(), grpc.StatusCode.UNAUTHENTICATED
    seen: list[standing.LinkState] = []

    def pause(seconds: float) -> bool:
        home.pauses.append(seconds)
        seen.append(home.seen())
        if len(home.pauses) == 8:
            stub.refuse = None
        if len(home.pauses) == 9:
            stop.set()
        return stop.is_set()

    home.link.close()
    home.pause = pause  # type: ignore[method-assign]
    stub.refuse = refused
    home.link = home.begun()
    with caplog.at_level(logging.INFO):
        home.link.run(stop)
    assert home.pauses[:8] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert [each.connected for each in seen] == [False] * 8 + [True]
    assert "revoked" in seen[0].remedy
    assert [record.levelname for record in caplog.records if record.name == "fedrepay.link"] == [
        "WARNING",
        "INFO",
    ]


def test_a_member_that_does_not_serve_is_what_the_link_says(stub: Stub, home: Home, member: Path) -> None:
    home.place = home.place.with_name("none")
    home.link = home.begun()
    with pytest.raises(ProtocolError, match="No member's node answers"):
        home.turn()
