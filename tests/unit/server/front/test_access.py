"""The access log: a line for each call, whose text a caller cannot write, and that strangers cannot fill."""

import asyncio
from typing import Any

import pytest

from fedrepay.server.front.access import NODE, Access
from fedrepay.server.front.rates import Rate


def logged(calls: list[dict[str, Any]], rate: Rate | None = None) -> list[str]:
    """What is said of these calls: a body of 5 bytes comes, one of 3 goes."""
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["method"] == "FAIL":
            raise ValueError
        await send({"type": "http.response.start", "status": scope.get("status", 202)})
        await send({"type": "http.response.body", "body": b"abc"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"12345"}

    async def send(_message: Any) -> None:
        return

    async def play() -> None:
        access = Access(app, said.append, rate)
        for call in calls:
            await access({"type": "http", "method": "GET", "raw_path": b"/", **call}, receive, send)

    asyncio.run(play())
    return said


def node(name: str) -> dict[str, Any]:
    return {"state": {NODE: name}}


def test_a_call_is_one_line() -> None:
    assert logged([node("bank-a") | {"raw_path": b"/v1/x", "method": "POST"}, {}]) == [
        "POST /v1/x 202 in=5 out=3 bank-a",
        "GET / 202 in=5 out=3 -",
    ]


def test_a_node_that_only_asks_is_not_said_and_one_that_is_refused_is() -> None:
    idle, ok = {"raw_path": b"/v1/fleet/pull-messages"}, {"status": 200}
    assert logged([node("bank-a") | idle | ok]) == []
    assert len(logged([node("bank-a") | idle, idle | ok, node("bank-a") | ok])) == 3


def test_what_a_caller_writes_makes_no_line_and_commands_no_terminal() -> None:
    (line,) = logged([{"raw_path": b"/a\n\x1b[2J\xe2" + b"x" * 1000, "method": "M" * 1000}])
    assert line.isprintable()
    assert len(line) < 200
    assert line.count(" ") == 5


def test_a_call_that_fails_is_said_too() -> None:
    said: list[str] = []

    async def fail(*_: Any) -> Any:
        raise ValueError

    async def play() -> None:
        scope = {"type": "http", "method": "GET", "raw_path": b"/"}
        with pytest.raises(ValueError):
            await Access(fail, said.append)(scope, fail, fail)

    asyncio.run(play())
    assert said == ["GET / 500 in=0 out=0 -"]


def test_strangers_fill_no_log_and_nodes_are_always_said() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    said = logged([{}, node("bank-a")] * 1000 + [{}] * 200, Rate(60, clock))
    strangers = [line for line in said if not line.endswith("bank-a")]
    assert len(said) - len(strangers) == 1000
    assert 60 < len(strangers) < 80
    unsaid = sum(int(line.split("(")[1].split()[0]) for line in strangers if "unsaid" in line)
    assert 1200 - 110 < len(strangers) + unsaid <= 1200
