"""A round over a real Flower network beside a plain FedAvg round of the same bytes, on the same SuperLink and keys.

Ours runs first, with the members' own nodes. Then the same nodes run Flower's FedAvg: only their bundle check is
other, since it takes no apps but ours. Last, Flower's own SuperNodes with the same keys run it as it comes.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fedrepay.client.crypto import node_key
from fedrepay.server.network import superlink
from fedrepay.server.network.bundle import build
from fedrepay.server.protocol.state import Event
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES
from fedrepay.shared.trust.sums import run_chunks
from fedrepay.simulations.bench import network_sizes
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.network.driver import Network, NetworkConsortium
from fedrepay.simulations.network.members import MemberSite
from fedrepay.simulations.network.processes import free_ports
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms

MEMBERS, ROUNDS = 3, 8
LATE = 900.0  # seconds
TARGET = 1.5  # our round to FedAvg's, on the same nodes
_APPS = "fedrepay.simulations.bench.network_fedavg"
_STAGE = re.compile(r"INFO (.+): ([0-9.]+) s$", re.MULTILINE)
_OPEN_NODE = f"""
import pathlib, sys
from fedrepay.client.node.supernode import MemberNode
folder, address, authority, port = sys.argv[1:]
socket = pathlib.Path(folder) / "member.sock"
where = (pathlib.Path(folder), address, pathlib.Path(authority), socket, int(port))
MemberNode(*where, check=lambda content: None, app="{_APPS}:client").run()
"""


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    arguments = Arguments(members=MEMBERS, rounds=ROUNDS + 1)
    prepared = prepare(arguments)
    terms = make_terms(arguments, prepared.book, MEMBERS)
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        folder = Folder(Path(place) / "run")
        folder.make({})
        sums: list[float] = []

        def watch(event: Event) -> None:
            if event.kind == "sum":
                sums.append(time.monotonic())

        consortium = NetworkConsortium(folder, prepared.book, prepared.parties, terms, watch=watch)
        with consortium.started() as network:
            consortium.train(network)
            ours = list(np.diff(sums))
            print("ours:", *(f"{each:.1f}" for each in ours), flush=True)
            size = UPLOAD_BYTES * run_chunks(terms, MEMBERS)[-1]
            stages = _stages(network.sites.values(), folder)
            timed = {"ours": ours} | _fedavg(network, size, Path(place))
    return f"{_page(timed, stages, size)}\n\n{network_sizes.page()}"


def _fedavg(network: Network, size: int, place: Path) -> dict[str, list[float]]:
    """Seconds of each round of plain FedAvg: on our nodes with either way to poll, then on Flower's own."""
    timed = {}
    for kind, ways in (("our nodes", (0, 1)), ("Flower's nodes", (0,))):
        _replace_nodes(network, stock=kind != "our nodes")
        for own in ways:
            target = place / f"{kind[:3]}-{own}.json"
            config: dict[str, str | int] = {
                "bytes": size,
                "rounds": ROUNDS,
                "own-poll": own,
                "members": MEMBERS,
                "place": str(target),
            }
            run_id = network.control.start(build(_project(config)), {})
            network.processes.until("FedAvg is done", lambda: _done(network, run_id, target), LATE)  # noqa: B023
            name = f"FedAvg, {kind}, {'our polling' if own else 'its own polling'}"
            timed[name] = json.loads(target.read_text())
            print(f"{name}:", *(f"{each:.1f}" for each in timed[name]), flush=True)
    return timed


def _done(network: Network, run_id: int, target: Path) -> bool:
    seen = network.control.runs(run_id)[run_id]
    if seen.status == "finished" and seen.outcome != "completed":
        raise RuntimeError(seen.details)
    return seen.status == "finished" and target.exists()


def _project(config: Mapping[str, str | int]) -> dict[str, object]:
    components = {"serverapp": f"{_APPS}:server", "clientapp": f"{_APPS}:client"}
    app = {"publisher": "fedrepay", "components": components, "config": dict(config)}
    return {"project": {"name": "fedavg", "version": "1.0.0"}, "tool": {"flwr": {"app": app}}}


def _replace_nodes(network: Network, *, stock: bool) -> None:
    """End the nodes that are there and start others with the same keys."""
    for each in network.processes.running:
        if each.name.startswith("node"):
            each.end()
            network.processes.forget(each)
    network.processes.until("the nodes are offline", lambda: not network.control.online())
    for site in network.sites.values():
        operator, port = network.operator, str(free_ports(1)[0])
        where = [operator.address, operator.authority]
        if stock:
            key = site.folder / node_key.PRIVATE
            command = [
                Path(sys.executable).with_name("flower-supernode"),
                *("--superlink", where[0], "--root-certificates", where[1], "--port", port),
                *("--host", "127.0.0.1", "--auth-supernode-private-key", key),
            ]
        else:
            command = [sys.executable, "-c", _OPEN_NODE, site.folder, *where, port]
        environment = superlink.environment(site.folder.resolve() / "stock") if stock else None
        network.processes.start(f"node-{site.name}-{'stock' if stock else 'open'}", command, environment)
    network.processes.until("the nodes are online", lambda: len(network.control.online()) == MEMBERS)


def _stages(sites: Iterable[MemberSite], folder: Folder) -> dict[str, float]:
    """Milliseconds a member spends in each stage of a round, from the members' own logs."""
    total: dict[str, float] = {}
    for site in sites:
        for stage, seconds in _STAGE.findall((folder.path / "logs" / f"serve-{site.name}.log").read_text()):
            total[stage] = total.get(stage, 0.0) + float(seconds)
    return {stage: 1000 * seconds / MEMBERS / (ROUNDS + 1) for stage, seconds in total.items()}


def _page(timed: Mapping[str, Sequence[float]], stages: Mapping[str, float], size: int) -> str:
    base = float(np.mean(timed["FedAvg, our nodes, its own polling"]))
    rows = [
        (name, f"{np.mean(each):.2f}", f"{min(each):.2f} – {max(each):.2f}", f"{np.mean(each) / base:.2f}")
        for name, each in timed.items()
    ]
    ratio = float(np.mean(timed["ours"])) / base
    spent = [(stage, f"{each:.1f}") for stage, each in stages.items()]
    verdict = "met" if ratio <= TARGET else "**missed**"
    return (
        f"{table(('Round', 'mean, s', 'range, s', 'ratio'), rows)}\n\n"
        f"{MEMBERS} members, SuperLink (TLS, node keys, SQLite) and front on this machine; {ROUNDS} rounds each, the first "
        f"of ours (the Gram matrix) left out. {size:,} bytes of ciphertexts or arrays go up and down a round and member. "
        f"Target ≤ {TARGET}: {verdict} at {ratio:.2f}. Ours is looked at every 0.3 s, so its single rounds are that "
        "coarse; it is two messages a member, to prepare and to send (docs/adr/0032-prepared-before-the-cohort.md), where FedAvg's is one. Of a "
        "round, a member's own work is:\n\n"
        f"{table(('Stage', 'ms a member and round'), spent)}\n\n"
        "The rest is Flower's: waiting for the SuperNode's next look, its object store, and a process a message. Our "
        "nodes look ten times as often while messages come, and fork a warm process (`client/node/supernode.py`); a message of ours is 3 "
        "objects of that store where FedAvg's is 6, each a request at every hop."
    )
