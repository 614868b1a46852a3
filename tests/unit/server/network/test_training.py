"""The coordinator over a network: it polls by itself, one process at a time, one Flower run after the other."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from fedrepay.server.network import app, training
from fedrepay.server.network.runs import RunWishes, next_run
from fedrepay.server.network.superlink import RunSeen
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.server.store import ROSTERS, STOPS, CoordinatorStore
from fedrepay.shared.errors import (
    ArgumentError,
    CohortError,
    FedrepayError,
    NetworkError,
    ProtocolError,
    TermsError,
    WordsError,
)
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.sums import run_chunks
from fedrepay.shared.trust.wire import Kind, Reply, asked
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA
from fedrepay.simulations.run.grid import InProcessGrid
from support.company import Company
from support.schemas import column, schema


class Clock:
    """Stands in for ``time``: remembers every pause and moves on by it."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, []  # type: float, list[float]

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 3))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(app, "time", made)
    return made


REPLY = Signed.make(
    Ed25519PrivateKey.generate(), Reply(kind="ok", name="a", asked=asked("votes", b"", b""))
).encode()


class SlowGrid(InProcessGrid):
    """Answers of two nodes, each after so many looks."""

    def __init__(self, looks: dict[int, int]) -> None:
        super().__init__(lambda *_: None, ["a", "b"], ["local:a", "local:b"], lambda _exchange: None)  # type: ignore[arg-type]
        self.looks, self.sent, self.pulls = looks, {}, 0  # type: dict[int, int], dict[str, Message], int

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = list(super().push_messages(messages))
        self.sent = dict(self._waiting)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.pulls += 1
        replies = []
        for identity in message_ids:
            asked = self.sent[identity]
            if self.looks[asked.metadata.dst_node_id] <= self.pulls:
                record = ConfigRecord({"body": REPLY})
                replies.append(Message(RecordDict({"fedrepay": record}), reply_to=asked))
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        raise AssertionError("Flower's own loop sleeps 3 s between two looks")


def asking(grid: SlowGrid, timeout: float = 600.0, **options: float) -> list[tuple[str, Signed | None, str]]:
    class Coordinator:
        def node(self, name: str) -> str:
            return name

    ask = Ask(Kind.VOTES, {"2": (b"", b""), "3": (b"", b"")})
    return list(app._exchange(grid, Coordinator(), ask, timeout, **options))  # type: ignore[arg-type]


def test_the_coordinator_looks_after_a_fifth_of_a_second_and_at_most_every_second(clock: Clock) -> None:
    answers = asking(SlowGrid({2: 1, 3: 10}))
    assert [name for name, reply, _ in answers if reply is not None] == ["2", "3"]
    assert clock.pauses == [0.3, 0.45, 0.675, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_an_answer_makes_it_look_again_at_once(clock: Clock) -> None:
    asking(SlowGrid({2: 6, 3: 7}))
    assert clock.pauses == [0.3, 0.45, 0.675, 1.0, 1.0], "none after the first answer: the second was there"


def test_nobody_is_waited_for_longer_than_the_time_out(clock: Clock) -> None:
    answers = asking(SlowGrid({2: 1, 3: 10**9}), timeout=5.0)
    assert [(name, reason) for name, reply, reason in answers if reply is None] == [
        ("3", "no answer within 5 s")
    ]
    assert max(clock.pauses) <= 1.0
    assert clock.now <= 6.0


class Losing(SlowGrid):
    """Its first messages to node 3 are lost on the way, as with a process that carries them and is killed."""

    def __init__(self, lost: int, broken: int = 0) -> None:
        super().__init__({2: 1, 3: 1})
        self.lost, self.broken, self.copies = lost, broken, []  # type: int, int, list[Message]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        pushed = list(messages)
        before = self.sent
        ids = super().push_messages(pushed)
        self.sent = before | self.sent
        self.copies += [
            self.sent[identity] for identity in ids if self.sent[identity].metadata.dst_node_id == 3
        ]
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        lost = {copy.metadata.message_id for copy in self.copies[: self.lost]}
        broken = {copy.metadata.message_id for copy in self.copies[: self.broken]}
        asked = list(message_ids)
        replies = super().pull_messages([each for each in asked if each not in lost])
        return replies + [
            Message(Error(1, "gone"), reply_to=self.sent[each])
            for each in asked
            if each in broken and len(self.copies) > self.broken
        ]


def test_who_does_not_answer_is_asked_once_more_each_time_after_twice_as_long(clock: Clock) -> None:
    grid = Losing(2)
    assert [name for name, reply, _ in asking(grid, lost=30.0) if reply is not None] == ["2", "3"]
    assert len(grid.copies) == 3
    assert 90.0 <= clock.now < 93.0, "30 s, and 60 s after that"
    first, *again = [copy.metadata.ttl for copy in grid.copies]
    assert (first, *map(round, again)) == (600.0, 570, 510), "none lives longer than the ask"


def test_without_that_one_lost_message_takes_the_whole_time_out(clock: Clock) -> None:
    grid = Losing(1)
    assert [name for name, reply, _ in asking(grid) if reply is not None] == ["2"]
    assert len(grid.copies) == 1
    assert clock.now >= 600.0


def test_several_answers_of_one_member_are_one_and_one_that_failed_waits_for_the_other(clock: Clock) -> None:
    twice = Losing(1)
    twice.looks[3] = 40
    twice.lost = 0
    assert [name for name, reply, _ in asking(twice, lost=5.0) if reply is not None] == ["2", "3"]
    assert len(twice.copies) > 2, "all of them answered at one look"
    failed = Losing(1, broken=1)
    failed.looks = {2: 1, 3: 40}
    assert [name for name, reply, _ in asking(failed, lost=5.0) if reply is not None] == ["2", "3"]


class Refusing(SlowGrid):
    """Takes so many pushes and no more: the nodes were taken out of the SuperLink since."""

    def __init__(self, taken: int, *, silent: bool) -> None:
        super().__init__({2: 10**9, 3: 10**9})
        self.taken, self.pushes, self.silent = taken, 0, silent

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        pushed, self.pushes = list(messages), self.pushes + 1
        before = self.sent
        ids = super().push_messages(pushed)
        self.sent = before | self.sent
        gone = self.pushes > self.taken
        if gone and self.silent:
            return []  # as Flower's grid where the SuperLink's HTTP refuses the whole push
        return ["" if gone else each for each in ids]


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("taken", [0, 1])
def test_who_the_superlink_takes_no_message_for_is_told_of_too(
    clock: Clock, taken: int, *, silent: bool
) -> None:
    """The number of a message that was not taken is none: one for all of them."""
    answers = asking(Refusing(taken, silent=silent), timeout=60.0, lost=30.0)
    assert [(name, reason) for name, _, reason in answers] == [
        (name, "no answer within 60 s") for name in ("2", "3")
    ]
    assert 60.0 <= clock.now < 62.0, "as of anybody: it may be taken when it is sent again"


def grid_of(*counts: int) -> Any:
    """At each look so many nodes, the newest first; the last number stays."""

    left = list(counts)

    class Grid:
        def get_nodes(self) -> list[NodeInfo]:
            here = left.pop(0) if len(left) > 1 else left[0]
            return [NodeInfo(node_id=n, name=f"m{n}") for n in reversed(range(here))]

    return Grid()


def test_nodes_are_waited_for(clock: Clock) -> None:
    found = app._nodes(grid_of(1, 1, 2, 3), 3, 60.0)
    assert found == tuple(Node(str(n), f"m{n}") for n in range(3))
    assert clock.pauses == [0.2, 0.3, 0.45]


def test_a_run_goes_on_with_those_who_are_there_and_with_nobody_waited_for_at_once(clock: Clock) -> None:
    """A quorum is enough, and absence no revocation: who is too few is the coordinator's to say."""
    assert len(app._nodes(grid_of(2), 3, 60.0)) == 2
    assert 60.0 <= clock.now <= 61.0, "no longer than the run's time-out"
    assert len(app._nodes(grid_of(4), 3, 60.0)) == 4, "one more than is waited for is no stranger yet"
    before = clock.now
    assert app._nodes(grid_of(0), 0, 60.0) == ()
    assert clock.now == before


def test_a_nodes_key_is_known_as_its_members_entry_has_it() -> None:
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert app._der(pem) == public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert app._der(b"") == b"", "a simulated node has none"


@pytest.mark.parametrize("body", [b"", b"garbage", Reply(kind="ok", name="a", asked=bytes(32)).encode()])
def test_an_answer_that_is_not_signed_is_none(body: bytes) -> None:
    asked_ = Message(RecordDict(), dst_node_id=2, message_type="query")
    asked_.metadata.__dict__["_message_id"] = "1"
    record = RecordDict({"fedrepay": ConfigRecord({"body": body})})
    signed, reason = app._parse(Message(record, reply_to=asked_))
    assert signed is None
    assert reason
    record = RecordDict({"fedrepay": ConfigRecord({"body": REPLY})})
    assert app._parse(Message(record, reply_to=asked_)) == (Signed.decode(REPLY), ""), "control"


HOLD = """
import pathlib, sys, time
from fedrepay.server.store import CoordinatorStore
with CoordinatorStore.in_folder(pathlib.Path(sys.argv[1])).alone(0.0):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_server_apps_never_carry_one_folder_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        store = CoordinatorStore.in_folder(tmp_path)
        with (
            pytest.raises(ProtocolError, match=f"Another ServerApp .* process {first.pid} on "),
            store.alone(0.3),
        ):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
    with store.alone(10.0):
        pass


class Link:
    """A SuperLink whose ServerApp does what ``works`` says at each look."""

    def __init__(self, works: list[Callable[[], RunSeen]], before: dict[int, RunSeen] | None = None) -> None:
        self.works, self.seen = works, dict(before or {})
        self.started: list[tuple[bytes, dict[str, str | int]]] = []
        self.stopped: list[int] = []

    def start(self, bundle: bytes, config: dict[str, str | int]) -> int:
        assert not [run for run, seen in self.seen.items() if seen.status != "finished"], (
            "the old one must be stopped"
        )
        self.started.append((bundle, config))
        return 77

    def runs(self, run_id: int | None = None) -> dict[int, RunSeen]:
        if run_id is None:
            return dict(self.seen)
        return {run_id: self.works.pop(0)()}

    def stop(self, run_id: int) -> None:
        self.stopped.append(run_id)
        self.seen[run_id] = RunSeen("finished", "stopped", "", 0, 0)


RUNNING = RunSeen("running", "", "", 0, 0)


@pytest.fixture
def planned(tmp_path: Path) -> CoordinatorStore:
    book = codebook.build(schema(column("a"), n_max=1000).encode())
    terms, resumed = next_run(tmp_path, book, 3, RunWishes())
    assert (terms.run, terms.colluders, terms.delta, resumed) == (1, 1, 1 / (10 * 256 * 1000), False)
    assert next_run(tmp_path, book, 9, RunWishes(2.0, mode="none")) == (terms, True)
    return CoordinatorStore.in_folder(tmp_path)


def test_train_stops_what_carried_the_run_before_and_shows_what_happens(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    planned.append(1, [Event("away", "old", b"")])

    def first() -> RunSeen:
        planned.append(1, [Event("away", "new", b"")])
        return RUNNING

    def last() -> RunSeen:
        planned.append(1, [Event("done", "", b"")])
        return RunSeen("finished", "completed", "", 5, 6)

    link = Link([first, last], {11: RUNNING, 12: RunSeen("finished", "failed", "", 0, 0)})
    shown: list[str] = []
    seen = training.train(
        link, tmp_path, 3, lambda event: shown.append(event.name or event.kind), lambda _: None
    )
    assert link.stopped == [11]
    assert seen.bytes_sent == 5
    assert shown == ["new", "done"]
    ((bundle, config),) = link.started
    assert config == {"coordinator-folder": str(tmp_path.resolve()), "members": 3}
    assert b".py" not in bundle


def test_options_go_into_the_flower_runs_configuration(planned: CoordinatorStore, tmp_path: Path) -> None:
    def last() -> RunSeen:
        planned.append(1, [Event("done", "", b"")])
        return RunSeen("finished", "completed", "", 0, 0)

    link = Link([last])
    training.train(link, tmp_path, 3, sleep=lambda _: None, options={"without": "m1 m2", "new-roster": True})
    ((_, config),) = link.started
    assert config == {
        "coordinator-folder": str(tmp_path.resolve()),
        "members": 3,
        "without": "m1 m2",
        "new-roster": True,
    }


def says_why(store: CoordinatorStore, words: str, kind: type[FedrepayError] = ProtocolError) -> RunSeen:
    """A ServerApp that stops says why."""
    store.append(STOPS, [Event("stopped", kind.__name__, words.encode())])
    return RunSeen("finished", "failed", words, 0, 0)


def ended(tmp_path: Path) -> Exception:
    link = Link([lambda: says_why(CoordinatorStore.in_folder(tmp_path), "its own words")])
    with pytest.raises(FedrepayError, match="its own words") as stopped:
        training.train(link, tmp_path, 3, sleep=lambda _: None)
    return stopped.value


def test_a_no_to_the_terms_has_its_own_exit_code(planned: CoordinatorStore, tmp_path: Path) -> None:
    planned.append(1, [Event("declined", "m1", b"limits: too much")])
    error = ended(tmp_path)
    assert type(error) is TermsError
    assert "Nothing was spent" in str(error)


def test_words_that_wait_for_people_have_theirs(planned: CoordinatorStore, tmp_path: Path) -> None:
    """Told from the events of the roster alone: everybody has revealed, and the words are not approved."""
    company = Company(tmp_path / "members")
    machine = company.enrolment()
    events: list[Event] = []
    apply = machine.state.apply

    def noted(event: Event) -> None:
        events.append(event)
        apply(event)

    machine.state.apply = noted  # type: ignore[method-assign]
    company.until(machine, "reveal")
    planned.append(ROSTERS, list(events))
    assert type(ended(tmp_path)) is ProtocolError, "control: not all have revealed"
    before = len(events)
    company.until(machine, "approve")
    planned.append(ROSTERS, events[before:])
    error = ended(tmp_path)
    assert type(error) is WordsError
    assert "telephone" in str(error)


def test_a_flower_run_that_ends_before_the_run_is_done_is_an_error_in_its_own_words(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    link = Link([lambda: says_why(planned, "only 1 of 3")])
    with pytest.raises(ProtocolError, match="only 1 of 3"):
        training.train(link, tmp_path, 3, sleep=lambda _: None)


def test_a_run_that_nobody_takes_is_an_error_not_a_silence(planned: CoordinatorStore, tmp_path: Path) -> None:
    assert planned.terms() is not None
    waiting = RunSeen("pending", "", "", 0, 0)
    link = Link([lambda: waiting] * (training.LOOKS + 1))
    with pytest.raises(NetworkError, match="No ServerApp has started"):
        training.train(link, tmp_path, 3, sleep=lambda _: None)
    assert link.stopped == [77]


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no run"):
        training.train(Link([]), tmp_path, 3)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (RunWishes(delta=0.01), r"--delta 0.01 is outside 0 … 1/\(10·members_max·n_max\)"),
        (RunWishes(colluders=2), "colluders = 2"),
        (RunWishes(mode="open"), "mode"),
        (RunWishes(mode="local"), "--mode local needs --terms"),
        (RunWishes(-1.0), "epsilon"),
    ],
)
def test_options_out_of_bounds_plan_nothing(tmp_path: Path, wishes: RunWishes, words: str) -> None:
    book = codebook.build(schema(column("a"), n_max=1000).encode())
    with pytest.raises(ArgumentError, match=words):
        next_run(tmp_path, book, 3, wishes)
    assert CoordinatorStore.in_folder(tmp_path).terms() is None


def test_an_operators_run_puts_two_numbers_of_the_matrix_in_a_slot(tmp_path: Path) -> None:
    """As ``simulate`` does; a schema without room for it says none."""
    shipped = codebook.load(SHIPPED_SCHEMA)
    terms, _ = next_run(tmp_path, shipped, 20, RunWishes())
    assert terms.pairs is not None
    assert terms.pairs == gram_pairs(terms, shipped, 20)
    assert run_chunks(terms, 20) == (3, 1, 1, 1, 1)
    (tmp_path / "wide").mkdir()
    wide, _ = next_run(tmp_path / "wide", shipped, 200, RunWishes())
    assert wide.pairs is None


# --- what dies on the way ---


def done(store: CoordinatorStore) -> RunSeen:
    store.append(1, [Event("done", "", b"")])
    return RunSeen("finished", "completed", "", 0, 0)


def test_a_flower_run_that_failed_without_a_word_died_and_another_goes_on(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    dead = RunSeen("finished", "failed", "No heartbeat received from the task", 0, 0)
    link = Link([lambda: RUNNING, lambda: dead, lambda: RUNNING, lambda: done(planned)])
    told: list[str] = []
    seen = training.train(link, tmp_path, 3, sleep=lambda _: None, say=told.append)
    assert (seen.outcome, len(link.started)) == ("completed", 2)
    assert [line for line in told if "has died; another goes on" in line] == told


def test_one_that_dies_again_and_again_is_an_error(planned: CoordinatorStore, tmp_path: Path) -> None:
    assert planned.terms() is not None
    dead = RunSeen("finished", "failed", "killed", 0, 0)
    link = Link([lambda: dead] * (training.LIVES + 1))
    with pytest.raises(NetworkError, match=r"again and again\. Flower says: killed"):
        training.train(link, tmp_path, 3, sleep=lambda _: None)
    assert len(link.started) == training.BARREN


def test_where_each_life_does_something_more_lives_are_allowed(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    def dying() -> RunSeen:
        planned.append(1, [Event("away", "m0", b"no answer")])
        return RunSeen("finished", "failed", "killed", 0, 0)

    link = Link([dying] * (training.LIVES + 1))
    with pytest.raises(NetworkError, match="again and again"):
        training.train(link, tmp_path, 3, sleep=lambda _: None)
    assert len(link.started) == training.LIVES


@pytest.fixture
def carrying(planned: CoordinatorStore, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the coordinator's lock until it is killed."""
    assert planned.terms() is not None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_server_app_that_let_go_of_the_lock_is_given_up_and_another_goes_on(
    planned: CoordinatorStore, tmp_path: Path, carrying: subprocess.Popen[str]
) -> None:
    """Flower would call it running for a minute more."""
    pauses, asked = 0, 3

    def sleep(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == asked * training.SELDOM:
            assert len(link.works) == training.GONE + 2, "while it is carried, its SuperLink is asked seldom"
            carrying.kill()
            carrying.wait()

    link = Link([lambda: RUNNING] * (asked + training.GONE + 1) + [lambda: done(planned)])
    seen = training.train(link, tmp_path, 3, sleep=sleep)
    assert (link.stopped, len(link.started), seen.outcome) == ([77], 2, "completed")


def ends(looks: int) -> Callable[[float], None]:
    """Instead of a sleep: no more than so many looks."""
    left = [looks]

    def sleep(_seconds: float) -> None:
        left[0] -= 1
        assert left[0], "it would look for ever"

    return sleep


@pytest.mark.usefixtures("carrying")
def test_a_run_that_ends_under_a_lock_that_stays_is_noticed(tmp_path: Path) -> None:
    """Its ServerApp hangs and Flower calls it failed; or one of an older Flower run keeps it out."""
    dead = RunSeen("finished", "failed", "Another ServerApp carries the runs", 0, 0)
    link = Link([lambda: RUNNING, *[lambda: dead] * training.BARREN])
    with pytest.raises(NetworkError, match=r"again and again\. Flower says: Another ServerApp"):
        training.train(link, tmp_path, 3, sleep=ends((training.BARREN + 2) * training.SELDOM))
    assert len(link.started) == training.BARREN
    stopped = Link([lambda: RunSeen("finished", "stopped", "by hand", 0, 0)])
    with pytest.raises(ProtocolError, match=r"ended \(stopped\): by hand"):
        training.train(stopped, tmp_path, 3, sleep=ends(2 * training.SELDOM))


@pytest.mark.usefixtures("carrying")
def test_a_super_link_that_stays_away_under_a_lock_is_told_of(tmp_path: Path) -> None:
    """Its ServerApp tries again for ever, and keeps the lock."""

    def away() -> RunSeen:
        raise NetworkError("No SuperLink answers.", "Start it.")

    told: list[str] = []
    gone = Link([away] * (training.COMES_BACK + 1))
    with pytest.raises(NetworkError, match="No SuperLink answers"):
        training.train(
            gone, tmp_path, 3, sleep=ends(2 * training.SELDOM + training.COMES_BACK), say=told.append
        )
    assert told == ["No SuperLink answers. It is waited for."]


@pytest.mark.usefixtures("carrying")
def test_a_run_that_nobody_takes_under_another_s_lock_is_an_error(tmp_path: Path) -> None:
    waiting = RunSeen("pending", "", "", 0, 0)
    link = Link([lambda: waiting] * (training.LOOKS + 1))
    with pytest.raises(NetworkError, match="No ServerApp has started"):
        training.train(link, tmp_path, 3, sleep=ends(training.LOOKS + 2))
    assert link.stopped == [77]


def test_control_a_run_that_nobody_carried_yet_is_waited_for(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    link = Link([lambda: RUNNING] * (3 * training.GONE) + [lambda: done(planned)])
    training.train(link, tmp_path, 3, sleep=lambda _: None)
    assert len(link.started) == 1


def test_a_super_link_that_is_away_is_waited_for_and_told_of_once(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    def away() -> RunSeen:
        raise NetworkError("No SuperLink answers.", "Start it.")

    told: list[str] = []
    link = Link([lambda: RUNNING, away, away, away, lambda: done(planned)])
    training.train(link, tmp_path, 3, sleep=lambda _: None, say=told.append)
    assert told == ["No SuperLink answers. It is waited for."]
    gone = Link([away] * (training.COMES_BACK + 2))
    with pytest.raises(NetworkError, match="No SuperLink answers"):
        training.train(gone, tmp_path, 3, sleep=lambda _: None)


@pytest.mark.parametrize("tries", [1, training.TRIES])
def test_where_too_few_members_are_there_it_is_tried_again(
    planned: CoordinatorStore, tmp_path: Path, tries: int
) -> None:
    """A member of three whose process died is back in a moment; nothing is spent while it is away."""
    few = [lambda: says_why(planned, "2 are left", CohortError)] * tries
    told: list[str] = []
    link = Link([*few, lambda: done(planned)])
    training.train(link, tmp_path, 3, sleep=lambda _: None, say=told.append)
    assert len(link.started) == tries + 1
    assert told == ["2 are left No command is needed now: this one tries again in 9 s."] * tries


def test_and_not_for_ever(planned: CoordinatorStore, tmp_path: Path) -> None:
    link = Link([lambda: says_why(planned, "2 are left", CohortError)] * (training.TRIES + 1))
    with pytest.raises(ProtocolError, match="2 are left"):
        training.train(link, tmp_path, 3, sleep=lambda _: None)
