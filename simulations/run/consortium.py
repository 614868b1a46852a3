"""A whole consortium in one process: plays the people, and lets the real apps do the rest.

The driver makes the members' keys, and has people compare the roster's words that each member shows, as the telephone
would. Nothing else passes between parties outside the Grid.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from flwr.app import Context, RecordDict

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.node import relay
from fedrepay.client.node.app import app as client_app
from fedrepay.client.protocol.member import Member
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.server.keyring import load_key
from fedrepay.server.network.app import app as server_app
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import WordsError
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Kind, Prepare, PrepareRequest, RoundConfig
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.grid import Exchange, InProcessGrid
from fedrepay.simulations.run.players import playing
from fedrepay.simulations.run.transcript import Transcript, wire_bytes

SIMULATED_YEAR_BUDGET = 1.0001  # one release at ε, with the rounding of its composition
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Party:
    """One simulated institution."""

    name: str
    train: Table


@dataclass
class Consortium:
    """Members, coordinator and the wire between them.

    Args:
        folder: where stores, transcript and release go.
        book: the code book all members hold.
        parties: the institutions and their training rows.
        terms: the run.
        drops: (name, round) pairs at which a member fails.
        observe: told of every exchange, for progress.
        entropy: a constructor argument for tests; such a run's release is marked ``not_private``.
        serve: runs the coordinator; a benchmark puts it into a process of its own.
        model: the torch module every member is configured with, in local mode.
        processes: how many processes play the members; the coordinator stays in this one.
    """

    engine: ClassVar[str] = "faithful"
    folder: Folder
    book: CodeBook
    parties: Sequence[Party]
    terms: NumberedTerms
    drops: frozenset[tuple[str, int]] = frozenset()
    observe: Callable[[str, Exchange], None] = lambda _name, _exchange: None
    entropy: Entropy | None = None
    serve: Callable[[InProcessGrid, Context], None] = server_app
    model: TorchModel | None = None
    processes: int = 1
    stages: dict[str, float] = field(default_factory=dict)
    roster_code: str = ""

    def run(self) -> None:
        """Enrol, confirm the roster, carry the run to its end (or resume it).

        Raises:
            FedrepayError: what stopped it; everything done so far is kept.
        """
        names = [party.name for party in self.parties]
        identities = {name: self._identity(name) for name in names}
        members = _Members(self, identities)
        transcript = Transcript(self.folder.transcript, dict(enumerate(names, start=2)))

        def observe(exchange: Exchange) -> None:
            transcript.record(exchange)
            self.observe(names[exchange.node - 2], exchange)

        addresses = [f"local:{name}" for name in names]
        for name, address in zip(names, addresses, strict=True):
            relay.register(address, members.door(name))
        try:
            with self._grid(names, addresses, observe) as grid:
                self._carry(grid, names)
        finally:
            for address in addresses:
                relay.unregister(address)
        self.roster_code = code_of(self.store(names[0]))

    @contextmanager
    def _grid(
        self, names: Sequence[str], addresses: Sequence[str], observe: Callable[[Exchange], None]
    ) -> Iterator[InProcessGrid]:
        if self.processes == 1 or self.entropy is not None:  # forked, one stream would be drawn from twice
            yield InProcessGrid(client_app, names, addresses, observe)
            return
        with playing(self.processes, client_app, names, addresses, observe, self) as grid:
            yield grid

    def _carry(self, grid: InProcessGrid, names: Sequence[str]) -> None:
        load_key(self.folder.coordinator)
        store = CoordinatorStore.in_folder(self.folder.coordinator)
        if store.terms() is None:
            store.begin(self.terms)
        context = Context(
            run_id=1,
            node_id=1,
            node_config={},
            state=RecordDict(),
            run_config={"coordinator-folder": str(self.folder.coordinator), "coordinator-durable": False},
        )
        try:
            self.serve(grid, context)
        except WordsError:
            compare({name: self.store(name) for name in names})
            self.serve(grid, context)

    def _identity(self, name: str) -> Identity:
        folder = self.folder.members / name
        if not (folder / "identity.key").exists():
            Identity.create(name).save(folder)
        return Identity.load(name, folder)

    def store(self, name: str) -> MemberStore:
        """A member's store; only the driver reads it, for figures."""
        return MemberStore(self.folder.members / name, time.time, durable=False)

    def limits(self) -> Limits:
        """What simulated members allow: this very run, once."""
        terms = self.terms
        return Limits(
            minimum_cohort=3,
            minimum_colluders=terms.colluders,
            epsilon_per_release=terms.epsilon,
            epsilon_per_year=terms.epsilon * SIMULATED_YEAR_BUDGET,
            delta_per_year=terms.delta,
            delta_per_release=terms.delta,
            max_attempts=terms.max_attempts,
            allow_unprotected=terms.mode == "none",
            allow_simulated=True,
        )

    def traffic(self) -> dict[str, float]:
        """Bytes a member sent and received."""
        return wire_bytes(self.folder.transcript, len(self.parties))

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Collect how long the members' stages took."""
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds


def compare(stores: Mapping[str, MemberStore]) -> None:
    """People at the members tell each other the words they are shown, and approve them if all are the same.

    Raises:
        WordsError: they differ, or somebody is shown none: the roster is not everybody's.
    """
    shown = {name: store.fact("shown") or b"" for name, store in stores.items()}
    if len({*shown.values()}) != 1 or b"" in shown.values():
        raise WordsError("The members are shown different words.", "Somebody else is in somebody's roster.")
    for name, store in stores.items():
        store.remember(approved_code=shown[name])


def code_of(store: MemberStore) -> str:
    """The twelve words of the roster that a member takes part in."""
    stored = store.fact("roster")
    return "" if stored is None else Roster.decode(stored).code()


class _Members:
    """Builds each member when its first message comes."""

    def __init__(self, consortium: Consortium, identities: dict[str, Identity]) -> None:
        self._consortium = consortium
        self._identities = identities
        self._parties = {party.name: party for party in consortium.parties}
        self._built: dict[str, Member] = {}
        self._lost: set[tuple[str, int | None]] = set()

    def get(self, name: str) -> Member:
        if name not in self._built:
            consortium = self._consortium
            self._built[name] = Member(
                self._identities[name],
                consortium.store(name),
                consortium.book,
                lambda: snapshot(consortium.book, self._parties[name].train, self._identities[name].local),
                consortium.limits(),
                time.time,
                consortium.entropy,
                consortium.add_seconds,
                consortium.model,
            )
        return self._built[name]

    def door(self, name: str) -> relay.Handler:
        def handle(kind: str, shared: bytes, own: bytes) -> bytes:
            round_ = _round_of(kind, shared)
            if kind == Kind.ROUND and (name, round_) in self._consortium.drops:
                self._lost.add((name, round_))  # at the worst moment: after it has prepared
            if (name, round_) in self._lost:
                raise ConnectionError(f"simulated failure of {name} in round {round_}")
            return self.get(name).handle(kind, shared, own)

        return handle


def _round_of(kind: str, shared: bytes) -> int | None:
    """The round a message belongs to, for simulated failures."""
    if kind == Kind.PREPARE:
        return Prepare.decode_once(PrepareRequest.decode_once(shared).asked.body).round
    if kind == Kind.ROUND:
        return RoundConfig.decode_once(Signed.decode_once(shared).body).round
    return None
