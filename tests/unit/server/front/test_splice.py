"""Bytes are carried unchanged both ways, as fast as the slower side, and a stranger is not taken for a member."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from fedrepay.server.front import splice as splicing
from fedrepay.server.front.splice import Splice


class Ends:
    """The outer ends of a splice, and what it said."""

    def __init__(self, stack: ExitStack, known: bool = True, **options: float) -> None:  # noqa: FBT001, FBT002
        self.caller, near = self._pair(stack)
        self.service, far = self._pair(stack)
        self.known: list[bool] = []

        def said() -> bool:
            self.known.append(known)
            return known

        self.splice = Splice(near, far, said, **options)
        self.inner = (near, far)

    @staticmethod
    def _pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        for each in pair:
            stack.enter_context(each).settimeout(0)
        return pair

    async def turn(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(source, b"x")
        assert await loop.sock_recv(sink, 10) == b"x"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def played(ends: Ends, talk: Callable[[Ends], Awaitable[None]]) -> None:
    async def play() -> None:
        carrying = asyncio.create_task(ends.splice.carry())
        await talk(ends)
        async with asyncio.timeout(20):
            await carrying

    asyncio.run(play())
    assert [each.fileno() for each in ends.inner] == [-1, -1]


def test_what_is_sent_arrives_both_ways_and_one_side_may_end_first(stack: ExitStack) -> None:
    sent = bytes(range(256)) * 40_000

    async def receive(at: socket.socket) -> bytes:
        loop, got = asyncio.get_running_loop(), bytearray()
        while block := await loop.sock_recv(at, 1 << 16):
            got += block
        return bytes(got)

    async def talk(ends: Ends) -> None:
        loop = asyncio.get_running_loop()
        up = asyncio.create_task(receive(ends.service))
        await loop.sock_sendall(ends.caller, sent)
        ends.caller.shutdown(socket.SHUT_WR)
        assert await up == sent
        down = asyncio.create_task(receive(ends.caller))
        await loop.sock_sendall(ends.service, sent[::-1])
        ends.service.shutdown(socket.SHUT_WR)
        assert await down == sent[::-1]

    played(Ends(stack), talk)


def test_what_one_side_does_not_take_the_other_cannot_send(stack: ExitStack) -> None:
    async def talk(ends: Ends) -> None:
        loop, went = asyncio.get_running_loop(), 0

        async def push() -> None:
            nonlocal went
            while True:
                await loop.sock_sendall(ends.caller, bytes(1 << 16))
                went += 1 << 16

        pushing = asyncio.create_task(push())
        await asyncio.sleep(0.5)
        stood = went
        await asyncio.sleep(0.5)
        assert went == stood < 8 << 20
        pushing.cancel()
        ends.splice.end()

    played(Ends(stack), talk)


def test_a_side_that_breaks_off_ends_the_other(stack: ExitStack) -> None:
    async def talk(ends: Ends) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ends.caller, b"x")
        ends.service.close()  # with a byte unread: a reset
        assert await loop.sock_recv(ends.caller, 10) == b""

    played(Ends(stack), talk)


@pytest.mark.parametrize("ended", [False, True])
def test_where_nothing_moves_both_are_closed(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    monkeypatch.setattr(splicing, "HALF", 0.2)

    async def talk(ends: Ends) -> None:
        await ends.turn(ends.caller, ends.service)
        if ended:
            ends.caller.shutdown(socket.SHUT_WR)

    played(Ends(stack, idle=60.0 if ended else 0.2), talk)


@pytest.mark.parametrize("turns", range(1, 6))
def test_who_hears_the_service_three_times_and_stays_is_known(stack: ExitStack, turns: int) -> None:
    async def talk(ends: Ends) -> None:
        for _ in range(turns):
            await ends.turn(ends.caller, ends.service)
            await ends.turn(ends.service, ends.caller)
            await ends.turn(ends.service, ends.caller)
        await asyncio.sleep(0.3)
        ends.splice.end()

    ends = Ends(stack, moment=0.05)
    played(ends, talk)
    assert ends.known == [True] * (turns >= splicing.TURNS)


def test_who_is_turned_away_at_the_third_is_not(stack: ExitStack) -> None:
    async def talk(ends: Ends) -> None:
        for _ in range(splicing.TURNS):
            await ends.turn(ends.caller, ends.service)
            await ends.turn(ends.service, ends.caller)
        ends.service.close()
        ends.caller.close()

    ends = Ends(stack, moment=0.2)
    played(ends, talk)
    assert ends.known == []


def test_one_connection_too_many_is_ended(stack: ExitStack) -> None:
    async def talk(ends: Ends) -> None:
        for _ in range(splicing.TURNS):
            await ends.turn(ends.caller, ends.service)
            await ends.turn(ends.service, ends.caller)
        assert await asyncio.get_running_loop().sock_recv(ends.caller, 10) == b""

    played(Ends(stack, known=False, moment=0.05), talk)
