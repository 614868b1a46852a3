"""Members in several processes: the coordinator asks, and whoever's turn it is answers, on as many processors.

A process plays every n-th member from the run's beginning to its end, so a member's memory stays where it is. They are
forked before the coordinator's database is opened, hold nothing that is not in their members' folders, and end with the
pipe to the coordinator's process: a run that is stopped resumes as one in a single process does.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from time import perf_counter
from typing import Any, Protocol

from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.processes import cores
from fedrepay.simulations.run.grid import Exchange, InProcessGrid

MANY_MEMBERS = 40
"""From here on several processes are worth their start."""


class Stages(Protocol):
    """Where members tell how long their stages take."""

    stages: dict[str, float]

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Collect."""
        ...


def processes_for(members: int) -> int:
    """One a processor that this process may use, where there are members enough."""
    return cores() if members >= MANY_MEMBERS else 1


class PlayersGrid(InProcessGrid):
    """Hands a message to the process that plays its node; replies come as they are ready."""

    def __init__(
        self,
        client_app: ClientApp,
        names: Sequence[str],
        addresses: Sequence[str],
        observe: Callable[[Exchange], None],
        told: Stages,
    ) -> None:
        super().__init__(client_app, names, addresses, observe)
        self._told = told
        self.pipes: list[Connection] = []
        self._queues: list[deque[Message]] = []
        self._under_way: list[deque[tuple[Message, int]]] = []
        self._ready: dict[str, Message] = {}

    def begin(self, pipes: list[Connection]) -> None:
        """Take the pipes to the processes, one each."""
        self.pipes = pipes
        self._queues = [deque() for _ in pipes]
        self._under_way = [deque() for _ in pipes]

    def play(self, pipe: Connection) -> None:
        """Answer what comes through a pipe until it ends; in a process of its own."""
        while True:
            try:
                wire = pipe.recv_bytes()
            except EOFError:
                return
            begun = perf_counter()
            self._told.stages = {}
            answer = self.answered(wire)
            pipe.send((answer, perf_counter() - begun, self._told.stages))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages, each at the process of its node."""
        ids = list(super().push_messages(messages))
        for identity in ids:
            message = self._waiting.pop(identity)
            self._queues[message.metadata.dst_node_id % len(self.pipes)].append(message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The next reply to one of these messages, waited for."""
        wanted = set(message_ids)
        while wanted:
            self._feed()
            found = wanted & set(self._ready)
            if found:
                return [self._ready.pop(found.pop())]
            busy = [pipe for pipe, sent in zip(self.pipes, self._under_way, strict=True) if sent]
            if not busy:
                return []
            for pipe in wait(busy):
                self._take(self.pipes.index(pipe))  # type: ignore[arg-type]
        return []

    def _feed(self) -> None:
        for pipe, queue, sent in zip(self.pipes, self._queues, self._under_way, strict=True):
            if queue and not sent:  # one at a time: with both pipes full, each end would wait for the other
                message = queue.popleft()
                wire = message_to_proto(message).SerializeToString()
                _told_of_its_end(pipe.send_bytes, wire)
                sent.append((message, len(wire)))

    def _take(self, number: int) -> None:
        answer, seconds, stages = _told_of_its_end(self.pipes[number].recv)
        message, sent = self._under_way[number].popleft()
        for stage, spent in stages.items():
            self._told.add_seconds(stage, spent)
        self._ready[str(message.metadata.message_id)] = self._seen(message, sent, answer, seconds)


def _told_of_its_end(do: Callable[..., Any], *given: Any) -> Any:
    try:
        return do(*given)
    except (EOFError, OSError) as error:
        raise ProtocolError(
            "A process that plays members has ended.",
            "Run the same command again: the run resumes. If it ends again, there may be too little memory.",
        ) from error


@contextmanager
def playing(
    processes: int,
    client_app: ClientApp,
    names: Sequence[str],
    addresses: Sequence[str],
    observe: Callable[[Exchange], None],
    told: Stages,
) -> Iterator[InProcessGrid]:
    """A grid whose members are played by so many processes; they end with the block.

    Args:
        processes: 2 or more.
        client_app: Flower's ClientApp object.
        names: under which the nodes are registered, in node order.
        addresses: the member address of each; registered in this process before.
        observe: told of every exchange, in this process.
        told: told of the members' stages.
    """
    grid = PlayersGrid(client_app, names, addresses, observe, told)
    fork = multiprocessing.get_context("fork")
    pipes: list[Connection] = []
    started = []
    for _ in range(processes):
        ours, theirs = fork.Pipe()
        player = fork.Process(target=_player, args=(grid, theirs, [*pipes, ours]), daemon=True)
        player.start()
        theirs.close()
        pipes.append(ours)
        started.append(player)
    grid.begin(pipes)
    try:
        yield grid
    finally:
        for pipe in pipes:
            pipe.close()
        for player in started:
            player.join(5)
            if player.is_alive():  # in the middle of an answer: as a kill, which every store survives
                player.kill()
                player.join()


def _player(grid: PlayersGrid, pipe: Connection, others: list[Connection]) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C ends the coordinator's process, and that ends this one
    for other in others:
        other.close()
    try:
        grid.play(pipe)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(1)  # nobody waits for the answer; it is in the member's store
    os._exit(0)  # without closing what was open before the fork
