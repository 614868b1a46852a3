"""The coordinator over a network: it polls by itself, one process at a time, one Flower run after the other."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedrepay.server import app, training
from fedrepay.server.network.superlink import RunSeen
from fedrepay.server.planning import Wishes, next_run
from fedrepay.server.state import Ask, Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError, CohortError, NetworkError, ProtocolError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.grid import InProcessGrid
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


class SlowGrid(InProcessGrid):
    """Answers of two nodes, each after so many looks."""

    def __init__(self, looks: dict[int, int]) -> None:
        super().__init__(lambda *_: None, ["local:a", "local:b"], lambda _exchange: None)  # type: ignore[arg-type]
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
                record = ConfigRecord({"body": Reply(kind="ok").encode()})
                replies.append(Message(RecordDict({"fedrepay": record}), reply_to=asked))
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        raise AssertionError("Flower's own loop sleeps 3 s between two looks")


def asking(grid: SlowGrid, timeout: float = 600.0) -> list[tuple[str, Reply | None, str]]:
    class Coordinator:
        def node(self, name: str) -> str:
            return name

    ask = Ask("ping", {"2": (b"", b""), "3": (b"", b"")})
    return list(app._exchange(grid, Coordinator(), ask, timeout))  # type: ignore[arg-type]


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


def test_nodes_are_waited_for_and_strangers_stop_the_run(clock: Clock) -> None:
    counts = iter([1, 1, 2, 3])

    class Grid:
        def get_node_ids(self) -> list[int]:
            return list(range(next(counts)))

    grid: Any = Grid()
    assert app._nodes(grid, 3, 60.0) == ("0", "1", "2")
    assert clock.pauses == [0.2, 0.3, 0.45]
    counts = iter([4])
    with pytest.raises(CohortError, match="4 nodes are online where 3"):
        app._nodes(grid, 3, 60.0)
    counts = iter([2] * 1000)
    with pytest.raises(CohortError, match="2 nodes are online where 3"):
        app._nodes(grid, 3, 60.0)
    counts = iter([0])
    assert app._nodes(grid, 0, 60.0) == ()


HOLD = """
import pathlib, sys, time
from fedrepay.server.app import alone
with alone(pathlib.Path(sys.argv[1]), 0.0):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_server_apps_never_carry_one_folder_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ProtocolError, match="Another ServerApp"), app.alone(tmp_path, 0.3):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
    with app.alone(tmp_path, 10.0):
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
    plan, resumed = next_run(tmp_path, book, 3, Wishes())
    assert (plan.run, plan.colluders, plan.delta, resumed) == (1, 1, 1 / (10 * 256 * 1000), False)
    assert next_run(tmp_path, book, 9, Wishes(2.0, mode="none")) == (plan, True)
    return CoordinatorStore(f"sqlite:///{tmp_path / 'coordinator.sqlite'}")


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


def test_a_flower_run_that_ends_before_the_run_is_done_is_an_error_in_its_own_words(
    planned: CoordinatorStore, tmp_path: Path
) -> None:
    link = Link([lambda: RunSeen("finished", "failed", "only 1 of 3", 0, 0)])
    with pytest.raises(ProtocolError, match="only 1 of 3"):
        training.train(link, tmp_path, 3, sleep=lambda _: None)


def test_a_run_that_nobody_takes_is_an_error_not_a_silence(planned: CoordinatorStore, tmp_path: Path) -> None:
    assert planned.plan() is not None
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
        (Wishes(delta=0.01), r"--delta 0.01 is outside 0 … 1/\(10·members_max·n_max\)"),
        (Wishes(colluders=2), "colluders = 2"),
        (Wishes(mode="open"), "mode"),
        (Wishes(mode="local"), "--mode local needs --terms"),
        (Wishes(-1.0), "epsilon"),
    ],
)
def test_options_out_of_bounds_plan_nothing(tmp_path: Path, wishes: Wishes, words: str) -> None:
    book = codebook.build(schema(column("a"), n_max=1000).encode())
    with pytest.raises(ArgumentError, match=words):
        next_run(tmp_path, book, 3, wishes)
    assert CoordinatorStore(f"sqlite:///{tmp_path / 'coordinator.sqlite'}").plan() is None
