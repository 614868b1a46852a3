"""A consortium on Flower's own engine: every party a process of its own, on this machine, over TLS.

It plays the people only: makes keys, registers nodes, compares the roster's words, starts the processes, and ends
them. What runs are the members' and the operator's own commands.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from fedrepay.client.node import door
from fedrepay.client.store.member_store import MemberStore
from fedrepay.server.front import nodes
from fedrepay.server.keyring import load_key
from fedrepay.server.network.superlink import Control
from fedrepay.server.network.training import train
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError, WordsError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.sums import run_chunks
from fedrepay.shared.trust.wire import RoundConfig
from fedrepay.simulations.network.members import MemberSite
from fedrepay.simulations.network.operator import Operator
from fedrepay.simulations.network.processes import Processes
from fedrepay.simulations.run.consortium import Consortium, code_of, compare

LOGS = "logs"
REGISTERED = "registered"
MOST_MEMBERS = 32
"""Each member is five processes and some 300 MB."""


@dataclass
class Network:
    """A running network of a consortium."""

    operator: Operator
    control: Control
    sites: dict[str, MemberSite]
    processes: Processes


@dataclass
class NetworkConsortium(Consortium):
    """The same consortium, run over a Flower network; no transcript is kept, the wire is Flower's own.

    Args:
        watch: told of every event of the run.
    """

    engine: ClassVar[str] = "flower"
    watch: Callable[[Event], None] = field(default=lambda _event: None)
    _down: int = field(default=0, init=False)

    def run(self) -> None:
        """Start everything, carry the run to its end (or resume it), and end everything.

        Raises:
            FedrepayError: what stopped it; everything done so far is kept.
        """
        with self.started() as network:
            self.train(network)

    def train(self, network: Network) -> None:
        """Carry the run in a network that is up."""
        folder, members = self.folder.coordinator, len(self.parties)
        try:
            train(network.control, folder, members, self.watch)
        except WordsError:
            compare({name: self.store(name) for name in network.sites})
            train(network.control, folder, members, self.watch)
        self.roster_code = code_of(self.store(next(iter(network.sites))))
        self._down = sum(seen.bytes_sent for seen in network.control.runs().values())

    def traffic(self) -> dict[str, float]:
        """Bytes a member sent and received, from the coordinator's events and the SuperLink's own count."""
        up = ceremony = release = 0
        terms, members = self.terms, len(self.parties)
        chunks = run_chunks(terms, members)
        store = CoordinatorStore.in_folder(self.folder.coordinator)
        round_ = 0
        for event in store.events(terms.run):
            if event.kind == "attempt":
                round_ = RoundConfig.decode(Signed.decode(event.body).body).round
            elif event.kind == "header":
                up += len(event.body) + UPLOAD_BYTES * chunks[round_]
            elif event.kind.startswith("answer:"):
                ceremony += len(event.body)
            elif event.kind == "written":
                release = max(release, len(event.body))
        return {
            "bytes_up_per_member": up / members,
            "bytes_ceremony_per_member": ceremony / members,
            "bytes_release": release,
            "bytes_down_per_member": self._down / members,
        }

    @contextmanager
    def started(self) -> Iterator[Network]:
        """The network, up: all nodes online, every member's people having approved the roster's words.

        Raises:
            ArgumentError: more members than a machine carries, simulated failures, which this engine lacks, or a folder too deep.
            NetworkError: a process ended, or a state did not come.
        """
        if len(self.parties) > MOST_MEMBERS:
            raise ArgumentError(
                f"{len(self.parties)} members are too many for one machine on Flower's engine: {MOST_MEMBERS} are possible.",
                "Leave --engine out: the in-process engine runs the same apps.",
            )
        if self.drops:
            raise ArgumentError("--drop does not go with --engine flower.", "Leave one of the two out.")
        for party in self.parties:
            door.check_path(self.folder.members / party.name / door.SOCKET, "Name a shorter --out.")
        load_key(self.folder.coordinator)
        store = CoordinatorStore.in_folder(self.folder.coordinator)
        if store.terms() is None:
            store.begin(self.terms)
        with Processes(self.folder.path / LOGS) as processes:
            operator = Operator(self.folder.coordinator, processes)
            sites = {
                party.name: MemberSite(party.name, self.folder.members / party.name, processes)
                for party in self.parties
            }
            for party in self.parties:
                sites[party.name].prepare(self.book, party.train, self.limits())
            for site in sites.values():
                site.serve(None if self.model is None else self.model.name)
            with closing(operator.start()) as control:
                for site in sites.values():
                    nodes.add(operator.folder, site.public_key, site.name)
                    _register(control, site, self.store(site.name))
                    site.relay(operator)
                processes.until(
                    "every member serves", lambda: all(each.socket.exists() for each in sites.values())
                )
                processes.until("every node is online", lambda: len(control.online()) == len(sites))
                yield Network(operator, control, sites, processes)


def _register(control: Control, site: MemberSite, store: MemberStore) -> None:
    """Once in the life of a network's database."""
    if store.fact(REGISTERED) is None:
        node = control.register(site.public_key, site.name)
        store.remember(registered=str(node).encode())
