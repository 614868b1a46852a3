"""A member's SuperNode looks often while messages come, seldom else, and pushes a reply that waits."""

import threading
from functools import partial
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.superexec import run_superexec
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from fedrepay.client.node.looking import Bell, Pace, receive
from fedrepay.client.node.supernode import SETTINGS


class Clock:
    """Stands in for the process's own."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, []  # type: float, list[float]

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def paced(clock: Clock) -> tuple[Pace, Bell, Any]:
    return Pace(lambda: clock.now, clock.sleep), Bell(), type("State", (), {"msg_store": {}})()


def test_a_node_looks_ten_times_as_often_as_flower_while_messages_come_and_ever_less_after() -> None:
    clock = Clock()
    pace, bell, state = paced(clock)
    pace.sleep(3)
    clock.now += 20
    assert receive(lambda **_: None, pace, bell, state=state) is None
    pace.sleep(3)
    clock.now += 600
    pace.sleep(3)
    assert receive(lambda **_: 7, pace, bell, state=state) == 7
    assert receive(lambda **_: None, pace, bell, state=state) is None
    pace.sleep(3)
    assert clock.pauses == pytest.approx([0.3, 1.0, 3.0, 0.3])


def test_the_work_on_a_message_is_no_time_of_waiting() -> None:
    clock = Clock()
    pace, bell, state = paced(clock)
    for _ in range(2):
        receive(lambda **_: 7, pace, bell, state=state)
        clock.now += 600  # it works
    assert receive(lambda **_: None, pace, bell, state=state) is None
    pace.sleep(3)
    assert clock.pauses == pytest.approx([0.3])


def test_where_messages_come_far_apart_a_node_looks_less_often() -> None:
    """One of thirty waits for the others: that it looks at each moment is what they wait for."""
    clock = Clock()
    pace, bell, state = paced(clock)

    def after(seconds: float) -> None:
        clock.now += seconds
        receive(lambda **_: 7, pace, bell, state=state)
        receive(lambda **_: None, pace, bell, state=state)
        pace.sleep(3)

    for seconds in (20, 20, 20, 0.5, 3600, 0.5):
        after(seconds)
    assert clock.pauses == pytest.approx([0.3, 1.0, 1.0, 0.3, 0.3, 0.3])


def test_an_executor_looks_when_a_message_has_come_and_not_before() -> None:
    bell = Bell()
    pace = Pace(lambda: 0.0, lambda _seconds: None)
    state: Any = type("State", (), {"msg_store": {}})()
    executor = threading.Thread(target=bell.pause, args=(600,), daemon=True)
    executor.start()
    receive(lambda **_: None, pace, bell, state=state)
    assert executor.is_alive(), "control"
    receive(lambda **_: 7, pace, bell, state=state)
    executor.join(60)
    assert not executor.is_alive()
    for _ in range(1 << 17):  # more than a pipe holds: nobody waits for who rings
        bell.ring()
    bell.pause(600)


def test_one_that_is_not_woken_looks_all_the_same_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rings before it looks are one: the second task waits for the next look."""
    monkeypatch.setenv("FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "60")
    assert run_superexec._get_task_poll_interval() == 60, "control"
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    assert run_superexec._get_task_poll_interval() == 1


def test_a_reply_that_waits_is_pushed_without_another_message() -> None:
    """A stopped run's late reply went out in place of the new run's, which then waited for a message that waited for it."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # what messages are made from
    asked = Message(RecordDict(), dst_node_id=2, message_type="query")
    asked.metadata.__dict__["_message_id"] = "asked"
    state = InMemoryNodeState(InMemoryObjectStore())
    pace = Pace(lambda: 0.0, lambda _seconds: None)
    bell = Bell()
    nothing = partial(receive, lambda **_: None, pace, bell, state=state)
    state.store_message(asked)
    assert nothing() is None
    reply = Message(RecordDict(), reply_to=asked)
    reply.metadata.__dict__["_message_id"] = "reply"
    state.store_message(reply)
    assert nothing() == 0
    assert receive(lambda **_: 7, pace, bell, state=state) == 7
    assert [each.metadata.message_id for each in state.get_messages_legacy(is_reply=True)] == ["reply"]
    assert nothing() is None
