"""A member's SuperNode looks often while messages come, seldom else, and pushes a reply that waits."""

from functools import partial
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from fedrepay.client.node.looking import Pace, receive


class Clock:
    """Stands in for the process's own."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, []  # type: float, list[float]

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def test_a_node_looks_ten_times_as_often_as_flower_while_messages_come_and_ever_less_after() -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now, clock.sleep)
    state: Any = type("State", (), {"msg_store": {}})()
    pace.sleep(3)
    clock.now += 20
    assert receive(lambda **_: None, pace, state=state) is None
    pace.sleep(3)
    clock.now += 600
    pace.sleep(3)
    assert receive(lambda **_: 7, pace, state=state) == 7
    pace.sleep(3)
    assert clock.pauses == pytest.approx([0.3, 1.0, 3.0, 0.3])


def test_a_reply_that_waits_is_pushed_without_another_message() -> None:
    """A stopped run's late reply went out in place of the new run's, which then waited for a message that waited for it."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # what messages are made from
    asked = Message(RecordDict(), dst_node_id=2, message_type="query")
    asked.metadata.__dict__["_message_id"] = "asked"
    state = InMemoryNodeState(InMemoryObjectStore())
    pace = Pace(lambda: 0.0, lambda _seconds: None)
    nothing = partial(receive, lambda **_: None, pace, state=state)
    state.store_message(asked)
    assert nothing() is None
    reply = Message(RecordDict(), reply_to=asked)
    reply.metadata.__dict__["_message_id"] = "reply"
    state.store_message(reply)
    assert nothing() == 0
    assert receive(lambda **_: 7, pace, state=state) == 7
    assert [each.metadata.message_id for each in state.get_messages_legacy(is_reply=True)] == ["reply"]
    assert nothing() is None
