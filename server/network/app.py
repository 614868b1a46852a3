"""The Flower ServerApp: carries the coordinator's asks to members and their answers back.

A Flower run is only a vehicle: the fedrepay run lives in the coordinator's database, so a new
Flower run carries an interrupted one on. Run configuration: ``coordinator-folder``; ``members``, how many nodes are
waited for (0: whoever is there); ``without``, names left out of the run's epoch; ``new-roster``; ``ask-only``, terms in
hexadecimal that members are asked about, of a run that is not begun.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.superlink.grid import http_grid

from fedrepay.server.keyring import load_key
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.server.store import ASKED, ROSTERS, STOPS, CoordinatorStore
from fedrepay.shared.errors import FedrepayError, ProtocolError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.terms import NumberedTerms

Answer = tuple[str, Signed | None, str]
"""(target, its signed answer or None, the reason there is none)."""


class Machine(Protocol):
    """What asks, and takes answers in: a roster's making, or a run."""

    def ask(self) -> Ask | None: ...  # noqa: D102
    def node(self, target: str) -> str: ...  # noqa: D102
    def receive(self, ask: Ask, name: str, signed: Signed | None, reason: str) -> list[Event]: ...  # noqa: D102
    def finish(self, ask: Ask, seconds: float, /) -> list[Event]: ...  # noqa: D102


Exchange = Callable[[Machine, Ask, float], Iterator[Answer]]
"""Sends an ask and gives each answer as it comes, within so many seconds."""
RECORD = "fedrepay"
POLL_FIRST, POLL_LAST = 0.2, 1.0  # seconds between polls
WAIT = 60.0  # seconds for members that are not there yet: a run needs a quorum of them only
ENROLMENT_SECONDS = 120.0  # for an answer while a roster is made
LOST = 30.0
"""Seconds after which who has not answered is asked once more, then after twice as many, and so on.

A process that is killed between SuperLink and member takes the message it carries with it, and nobody is told. A member
gives the same answer to the same message however often it comes.
"""
ALONE = 90.0  # seconds to wait for another ServerApp to end; Flower gives one that died up after 60
log = logging.getLogger(__name__)
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry the newest run of the coordinator's store to its end."""
    config = context.run_config
    folder = Path(str(config["coordinator-folder"]))
    members = config.get("members", 0)
    _pull_soon()
    serve(
        grid,
        folder,
        members if isinstance(members, int) else 0,
        durable=bool(config.get("coordinator-durable", True)),
        without=frozenset(str(config.get("without", "")).split()),
        again=bool(config.get("new-roster", False)),
        about=_terms(str(config.get("ask-only", ""))),
    )


def _terms(text: str) -> NumberedTerms | None:
    return NumberedTerms.decode(bytes.fromhex(text)) if text else None


def _pull_soon() -> None:
    """Where a reply's bytes are still on their way, look again after a tenth of a second instead of one (internal to Flower)."""
    http_grid.pull_objects = partial(http_grid.pull_objects, initial_backoff=0.1)  # type: ignore[attr-defined]


def serve(
    grid: Grid,
    folder: Path,
    members: int = 0,
    *,
    durable: bool = True,
    without: frozenset[str] = frozenset(),
    again: bool = False,
    about: NumberedTerms | None = None,
) -> None:
    """Carry the newest run in ``folder`` over Flower, in one process only; errors as in :func:`carry`.

    Args:
        grid: the wire.
        folder: the coordinator's.
        members: how many nodes are waited for; 0 takes whoever is there.
        durable: False in simulations, as in :class:`CoordinatorStore`.
        without: members left out of the run's epoch; absence is no revocation.
        again: make a new roster of the nodes that are there.
        about: ask about these terms alone.
    """
    store = CoordinatorStore.in_folder(folder, durable=durable)
    with store.alone(ALONE), _saying(store):
        terms = store.terms()
        begun = (
            about is None
            and terms is not None
            and any(event.kind == "attempt" for event in store.events(terms.run))
        )
        nodes = _nodes(grid, 0 if begun else members, 0.0 if terms is None else terms.timeout)
        lost = LOST if durable else math.inf
        key, exchange = load_key(folder), partial(_exchange, grid, lost=lost)
        carry(store, key, nodes, exchange, without=without, again=again, about=about)


@contextmanager
def _saying(store: CoordinatorStore) -> Iterator[None]:
    """Why this process stops, for whoever watches: of one that was killed there is no word."""
    try:
        yield
    except FedrepayError as error:
        store.append(STOPS, [Event("stopped", type(error).__name__, printable(str(error)).encode())])
        raise


def _nodes(grid: Grid, members: int, timeout: float) -> tuple[Node, ...]:
    """The nodes that are there; waited for until they are ``members``, or so long."""
    deadline, pause = time.monotonic() + min(timeout, WAIT), POLL_FIRST
    while True:
        nodes = tuple(Node(str(n.node_id), n.name, _der(n.public_key)) for n in grid.get_nodes())
        if len(nodes) >= members or time.monotonic() >= deadline:
            return tuple(sorted(nodes, key=lambda node: int(node.id)))
        time.sleep(pause)
        pause = min(POLL_LAST, pause * 1.5)


def _der(public: bytes) -> bytes:
    """A node's public key as a member's entry has it."""
    if not public:
        return b""
    return load_pem_public_key(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def carry(
    store: CoordinatorStore,
    key: Ed25519PrivateKey,
    nodes: Sequence[Node],
    exchange: Exchange,
    *,
    without: Collection[str] = (),
    again: bool = False,
    about: NumberedTerms | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Make a roster where there is none, then restore the newest run from its events and go on until it is done.

    Args:
        store: the coordinator's.
        key: its signing key.
        nodes: who is there.
        exchange: the wire.
        without: members left out of the run's epoch.
        again: make a new roster of these nodes, for people to approve.
        about: ask about these terms, store what members say under ``ASKED``, and do no more.
        clock: seconds.

    Raises:
        ProtocolError: there is no run to carry, or its epoch has ended.
        WordsError: people have not approved the roster's words yet.
        CohortError: too few members are there.
        TermsError: a member says no to the terms.
    """
    enrolment = Enrolment(key, nodes, wanted=again, released=store.released())
    for event in store.events(ROSTERS):
        enrolment.state.apply(event)
    go(store, ROSTERS, enrolment, enrolment.state.apply, exchange, ENROLMENT_SECONDS)
    rosters = enrolment.state
    assert rosters.roster is not None  # noqa: S101 - it goes on to the end or raises
    online = {node.id for node in nodes}
    seats = {n: node for n, node in enrolment.seats().items() if node in online and n not in without}
    if about is not None:
        asking = Coordinator(about, key, rosters.roster, seats)
        asked = asking.ask()
        assert asked is not None  # noqa: S101 - nothing has happened in it
        for name, answer, reason in exchange(asking, asked, about.timeout):
            store.append(ASKED, asking.receive(asked, name, answer, reason))
        return
    while True:
        terms = store.terms()
        if terms is None:
            raise ProtocolError("The coordinator's store holds no run.", "Start one first.")
        coordinator = Coordinator(terms, key, rosters.roster, seats)
        for event in store.events(terms.run):
            coordinator.state.apply(event)
        go(store, terms.run, coordinator, coordinator.state.apply, exchange, terms.timeout, clock)
        if coordinator.state.floor < terms.run:
            return
        store.begin(terms.model_copy(update={"run": coordinator.state.floor + 1}))


def go(
    store: CoordinatorStore,
    run: int,
    machine: Machine,
    apply: Callable[[Event], None],
    exchange: Exchange,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Ask, store what comes back before acting on it, until the machine has nothing more to ask."""

    def take(events: list[Event]) -> None:
        store.append(run, events)
        for event in events:
            log.info("%s %s", printable(event.kind), printable(event.name))
            apply(event)

    while (ask := machine.ask()) is not None:
        waiting = set(ask.parts)
        begun = clock()
        for name, answer, reason in exchange(machine, ask, min(timeout, ask.patience)):
            if name in waiting:  # one answer each: a second upload would be added twice, and end the epoch
                waiting.remove(name)
                take(machine.receive(ask, name, answer, reason))
        take(machine.finish(ask, clock() - begun))


def _exchange(
    grid: Grid, machine: Machine, ask: Ask, timeout: float, lost: float = math.inf
) -> Iterator[Answer]:
    """Send an ask and give each answer as it comes: (target, signed reply or None, reason).

    Args:
        grid: the wire.
        machine: knows each target's node.
        ask: what is sent.
        timeout: seconds for all answers.
        lost: as :data:`LOST`.
    """
    now = begun = time.monotonic()
    waiting = _push(grid, machine, ask, ask.parts, timeout)
    deadline, pause, again = begun + timeout, POLL_FIRST, begun + lost
    silent = dict.fromkeys(ask.parts)  # also those whose message the SuperLink has not taken
    while silent and now < deadline:
        replies = list(grid.pull_messages(list(waiting))) if waiting else []
        for reply in replies:
            name = waiting.pop(reply.metadata.reply_to_message_id, None)
            if name is None or (reply.has_error() and name in waiting.values()):
                continue  # answered already, or a copy is still under way
            waiting = {copy: target for copy, target in waiting.items() if target != name}
            del silent[name]
            yield name, *_parse(reply)
        now = time.monotonic()
        if again <= now < deadline:
            lost, again = 2 * lost, now + 2 * lost
            waiting |= _push(grid, machine, ask, silent, deadline - now)
        pause = POLL_FIRST if replies else min(POLL_LAST, pause * 1.5)
        if silent and not replies:
            time.sleep(pause)
            now = time.monotonic()
    for name in silent:
        yield name, None, f"no answer within {timeout:.0f} s"


def _push(grid: Grid, machine: Machine, ask: Ask, names: Collection[str], ttl: float) -> dict[str, str]:
    """Send these targets' parts: the target by its message's number, of those that the SuperLink has taken."""
    messages = [
        Message(
            RecordDict({RECORD: ConfigRecord({"kind": ask.kind.value, "shared": shared, "own": own})}),
            dst_node_id=int(machine.node(name)),
            message_type="query",
            ttl=ttl,
        )
        for name, (shared, own) in ask.parts.items()
        if name in names
    ]
    targets = [name for name in ask.parts if name in names]
    numbers = list(grid.push_messages(messages)) or [""] * len(targets)  # no number at all where it took none
    return {number: target for number, target in zip(numbers, targets, strict=True) if number}


def _parse(message: Message) -> tuple[Signed | None, str]:
    if message.has_error():
        return None, printable(message.error.reason or f"Flower error {message.error.code}")
    record = message.content.config_records.get(RECORD)
    body = None if record is None else record.get("body")
    if not isinstance(body, bytes):
        return None, "an answer without a body"
    try:
        return Signed.decode(body), ""
    except ProtocolError as error:
        return None, error.cause
