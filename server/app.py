"""The Flower ServerApp: carries the coordinator's asks to members and their answers back.

A Flower run is only a vehicle: the fedrepay run lives in the coordinator's database, so a new
Flower run carries an interrupted one on. Run configuration: ``coordinator-folder``, and ``members``, how many
nodes must be there (0: whoever is).
"""

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.superlink.grid import http_grid

from fedrepay.server.coordinator import Coordinator
from fedrepay.server.state import Ask, Event
from fedrepay.server.store import CoordinatorStore, load_key
from fedrepay.shared.errors import CohortError, ProtocolError, StorageError
from fedrepay.shared.trust.wire import Reply

Answer = tuple[str, Reply | None, str]
"""(target, its answer or None, the reason there is none)."""
Exchange = Callable[[Coordinator, Ask, float], Iterator[Answer]]
"""Sends an ask and gives each answer as it comes, within so many seconds."""
RECORD = "fedrepay"
POLL_FIRST, POLL_LAST = 0.2, 1.0  # seconds between polls
ALONE = 90.0  # seconds to wait for another ServerApp to end; Flower gives one that died up after 60
log = logging.getLogger(__name__)
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry the newest run of the coordinator's store to its end."""
    folder = Path(str(context.run_config["coordinator-folder"]))
    members = context.run_config.get("members", 0)
    _pull_soon()
    with alone(folder, ALONE):
        durable = bool(context.run_config.get("coordinator-durable", True))
        serve(grid, folder, members if isinstance(members, int) else 0, durable=durable)


def _pull_soon() -> None:
    """Where a reply's bytes are still on their way, look again after a tenth of a second instead of one (internal to Flower)."""
    http_grid.pull_objects = partial(http_grid.pull_objects, initial_backoff=0.1)  # type: ignore[attr-defined]


@contextmanager
def alone(folder: Path, seconds: float) -> Iterator[None]:
    """Carry a coordinator's runs in one process only; the lock ends with the process, however that ends.

    Raises:
        ProtocolError: another one is still at it after ``seconds``.
        StorageError: the folder cannot be written.
    """
    try:
        file = (folder / ".carrying").open("w")
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror}.", "Check rights and disk."
        ) from error
    deadline = time.monotonic() + seconds
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ProtocolError(
                        f"Another ServerApp carries the runs of {folder}.", "Stop its Flower run first."
                    ) from error
                time.sleep(POLL_FIRST)
        yield


def serve(grid: Grid, folder: Path, members: int = 0, *, durable: bool = True) -> None:
    """Carry the newest run in ``folder`` over Flower; errors as in :func:`carry`.

    Args:
        grid: the wire.
        folder: the coordinator's.
        members: how many nodes an epoch begins with; 0 takes whoever is there.
        durable: False in simulations, as in :class:`CoordinatorStore`.
    """
    store = CoordinatorStore(f"sqlite:///{folder / 'coordinator.sqlite'}", durable=durable)
    plan = store.plan()
    begun = plan is not None and any(event.kind == "attempt" for event in store.events(plan.run))
    nodes = _nodes(grid, 0 if begun else members, 0.0 if plan is None else plan.timeout)
    carry(store, load_key(folder), nodes, partial(_exchange, grid))


def _nodes(grid: Grid, members: int, timeout: float) -> tuple[str, ...]:
    """The nodes that are there, waited for until they are ``members``."""
    deadline, pause = time.monotonic() + timeout, POLL_FIRST
    while True:
        nodes = tuple(str(node) for node in sorted(grid.get_node_ids()))
        if not members or len(nodes) == members:
            return nodes
        if len(nodes) > members or time.monotonic() >= deadline:
            raise CohortError(
                f"{len(nodes)} nodes are online where {members} members were expected.",
                "Start the missing members' nodes, or stop those that are no members; the same command goes on.",
            )
        time.sleep(pause)
        pause = min(POLL_LAST, pause * 1.5)


def carry(
    store: CoordinatorStore, key: Ed25519PrivateKey, nodes: tuple[str, ...], exchange: Exchange
) -> None:
    """Restore the run from its events and go on until it is done.

    Raises:
        ProtocolError: there is no run to carry, or a member ended the epoch.
        CohortError: too few members are left.
    """
    plan = store.plan()
    if plan is None:
        raise ProtocolError("The coordinator's store holds no run.", "Start one first.")
    coordinator = Coordinator(plan, key, nodes)
    for event in store.events(plan.run):
        coordinator.state.apply(event)

    def take(events: list[Event]) -> None:
        store.append(plan.run, events)
        for event in events:
            log.info("%s %s", event.kind, event.name)
            coordinator.state.apply(event)

    while (ask := coordinator.ask()) is not None:
        waiting = set(ask.parts)
        for name, reply, reason in exchange(coordinator, ask, plan.timeout):
            if name in waiting:  # one answer each: a second upload would be added twice, and end the epoch
                waiting.remove(name)
                take(coordinator.receive(ask, name, reply, reason))
        take(coordinator.finish(ask))


def _exchange(grid: Grid, coordinator: Coordinator, ask: Ask, timeout: float) -> Iterator[Answer]:
    """Send an ask and give each answer as it comes: (name, reply or None, reason)."""
    messages = [
        Message(
            RecordDict({RECORD: ConfigRecord({"kind": ask.kind, "shared": shared, "own": own})}),
            dst_node_id=int(coordinator.node(name)),
            message_type="query",
            ttl=timeout,
        )
        for name, (shared, own) in ask.parts.items()
    ]
    waiting = dict(zip(grid.push_messages(messages), ask.parts, strict=True))
    del messages
    deadline, pause = time.monotonic() + timeout, POLL_FIRST
    while waiting and time.monotonic() < deadline:
        replies = list(grid.pull_messages(list(waiting)))
        for reply in replies:
            name = waiting.pop(reply.metadata.reply_to_message_id)
            yield name, *_parse(reply)
        pause = POLL_FIRST if replies else min(POLL_LAST, pause * 1.5)
        if waiting and not replies:
            time.sleep(pause)
    for name in waiting.values():
        yield name, None, f"no answer within {timeout:.0f} s"


def _parse(message: Message) -> tuple[Reply | None, str]:
    if message.has_error():
        return None, str(message.error.reason or f"Flower error {message.error.code}")
    record = message.content.config_records.get(RECORD)
    body = None if record is None else record.get("body")
    if not isinstance(body, bytes):
        return None, "an answer without a body"
    try:
        return Reply.decode(body), ""
    except ProtocolError as error:
        return None, error.cause
