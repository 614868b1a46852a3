"""The Flower ServerApp: carries the coordinator's asks to members and their answers back.

A Flower run is only a vehicle: the fedrepay run lives in the coordinator's database, so a new
Flower run carries an interrupted one on. Run configuration: ``coordinator-folder``.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedrepay.server.coordinator import Coordinator
from fedrepay.server.state import Ask, Event
from fedrepay.server.store import CoordinatorStore, load_key
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.wire import Reply

Answer = tuple[str, Reply | None, str]
"""(target, its answer or None, the reason there is none)."""
Exchange = Callable[[Coordinator, Ask, float], Iterator[Answer]]
"""Sends an ask and gives each answer as it comes, within so many seconds."""
RECORD = "fedrepay"
POLL_FIRST, POLL_LAST = 0.2, 1.0  # seconds between polls
log = logging.getLogger(__name__)
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry the newest run of the coordinator's store to its end."""
    folder = Path(str(context.run_config["coordinator-folder"]))
    serve(grid, folder)


def serve(grid: Grid, folder: Path) -> None:
    """Carry the newest run in ``folder`` over Flower; errors as in :func:`carry`."""
    store = CoordinatorStore(f"sqlite:///{folder / 'coordinator.sqlite'}")
    nodes = tuple(str(node) for node in sorted(grid.get_node_ids()))
    carry(store, load_key(folder), nodes, partial(_exchange, grid))


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
        for name, reply, reason in exchange(coordinator, ask, plan.timeout):
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
