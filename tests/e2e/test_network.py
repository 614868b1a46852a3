"""The same apps on Flower's own SuperLink, front and SuperNodes: TLS, node keys, a bundle without code.

One network carries all of it, so this is one test; its parts stand below it.
"""

import os
import signal
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import tomli_w

from fedrepay.client.crypto import node_key
from fedrepay.client.learning import local_terms
from fedrepay.client.learning.torch_models import registry
from fedrepay.client.node import setup
from fedrepay.server.admission import certificates
from fedrepay.server.front import nodes
from fedrepay.server.network import superlink, training
from fedrepay.server.network.bundle import build
from fedrepay.server.network.runs import RunWishes, next_run
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import NetworkError, WordsError
from fedrepay.shared.trust import local_run
from fedrepay.shared.trust.bundle import PROJECT
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.simulations.network.driver import Network, NetworkConsortium
from fedrepay.simulations.network.operator import FEDREPAY
from fedrepay.simulations.network.processes import Running, free_ports
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.consortium import Consortium, compare
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms
from support import shop as shops

ROUNDS = 2
LATE = 300.0  # seconds, for a machine that is busy with other things


@dataclass
class Up:
    """A running network, its consortium, and the same consortium in one process."""

    consortium: NetworkConsortium
    network: Network
    alone: Consortium

    @property
    def folder(self) -> Path:
        return self.consortium.folder.coordinator

    def events(self) -> list[Event]:
        store = CoordinatorStore.in_folder(self.folder)
        return store.events(self.consortium.terms.run)

    def until(self, what: str, ready: Callable[[], bool]) -> None:
        self.network.processes.until(what, ready, LATE)


@pytest.mark.timeout(900)
def test_the_same_apps_on_flowers_own_engine(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("net")  # a short path, for the sockets
    shop = shops.make(base)
    arguments = shop.arguments(mode="none", rounds=ROUNDS)
    prepared = prepare(arguments)
    parties = prepared.parties[:3]
    terms = make_terms(arguments, prepared.book, len(parties))
    folders = [Folder(base / name) for name in ("flower", "alone")]
    for folder in folders:
        folder.make({})
    held = registry.load("logistic", prepared.book.dimension)
    over_network = NetworkConsortium(folders[0], prepared.book, parties, terms, model=held)
    assert over_network.limits().minimum_cohort == 3, "set explicitly: the default is 5"
    with over_network.started() as network:
        up = Up(over_network, network, Consortium(folders[1], prepared.book, parties, terms))
        only_the_fleet_is_behind_the_front(up)
        strangers = start_strangers(up, base)
        try:
            the_run_survives_its_server_app(up)
            the_opened_sums_are_the_same_bit_for_bit(up)
            a_torch_module_is_trained_by_the_terms_that_a_member_states(up)
            strangers_are_refused(strangers)
        finally:
            for each in strangers.values():
                each.kill()
                each.communicate()
        a_bundle_with_code_is_refused(up, base)
        processes = network.processes.running
    assert len(processes) == 3 + 2 * len(parties)
    assert all(each.process.returncode is not None for each in processes), "all ended, by their own ids"
    deadline = time.monotonic() + LATE
    while left_of(base) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_of(base) == [], "nor did they leave children behind"


def the_run_survives_its_server_app(up: Up) -> None:
    control = up.network.control
    with pytest.raises(WordsError, match="have not approved the roster's words"):
        training.train(control, up.folder, 3)
    compare({name: up.consortium.store(name) for name in up.network.sites})
    first = control.start(build(), {"coordinator-folder": str(up.folder.resolve()), "members": 3})
    up.until("the first sum is complete", lambda: any(event.kind == "sum" for event in up.events()))
    (pid,) = server_apps(up.folder)
    os.kill(pid, signal.SIGKILL)
    up.until("the ServerApp is gone", lambda: not server_apps(up.folder))
    before = up.events()
    assert not any(event.kind == "done" for event in before)
    assert control.runs(first)[first].status == "running", (
        "Flower takes a minute to notice; we do not wait for it"
    )

    seen = training.train(control, up.folder, 3)
    assert seen.outcome == "completed"
    after = up.events()
    assert after[: len(before)] == before, "carried on, not begun again"
    assert after[-1].kind == "done"
    assert sum(event.kind == "answer:hello" for event in after) == 3
    assert [event.kind for event in after].count("sum") == ROUNDS
    old = control.runs(first)[first]
    assert (old.status, old.outcome) == ("finished", "stopped"), "it cannot go on"
    up.until("the second ServerApp has ended", lambda: not server_apps(up.folder))


def server_apps(folder: Path) -> list[int]:
    """Process ids of the ServerApps that Flower started for this coordinator."""
    home, found = f"FLWR_HOME={folder.resolve() / superlink.HOME}\0".encode(), []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and b"flwr-serverapp" in (each / "cmdline").read_bytes():
                found += [int(each.name)] if home in (each / "environ").read_bytes() else []
        except OSError:
            continue  # it ended meanwhile
    return found


def left_of(base: Path) -> list[str]:
    """Command lines of processes that still name the test's folder."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and f"{base}/".encode() in (each / "cmdline").read_bytes():
                found.append((each / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended meanwhile
    return found


def the_opened_sums_are_the_same_bit_for_bit(up: Up) -> None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        up.alone.run()
    run = up.consortium.terms.run
    for party in up.consortium.parties:
        here, there = (each.store(party.name) for each in (up.consortium, up.alone))
        assert len(here.openings(run)) == ROUNDS
        for one, other in zip(here.openings(run), there.openings(run), strict=True):
            assert one.values is not None
            assert one.values == other.values
            assert one.sum != other.sum, "the same integers, under other keys"
        assert here.release() is not None
    codes = {each.roster_code for each in (up.consortium, up.alone)}
    assert len(codes) == 2, "two rosters, with and without node keys"


def a_torch_module_is_trained_by_the_terms_that_a_member_states(up: Up) -> None:
    consortium, book = up.consortium, up.consortium.book
    assert consortium.model is not None
    stated = local_terms.local_run(
        book, consortium.model, local_terms.LocalWishes(local_steps=1), consortium.terms.epsilon, None, ROUNDS
    )
    path = consortium.folder.path / "terms.toml"
    local_run.write(stated, path)
    wishes = RunWishes(mode="local", terms=local_run.read(path), again=True)
    terms, resumed = next_run(up.folder, book, 3, wishes)
    assert (terms.run, terms.local, resumed) == (2, stated.local, False)
    assert training.train(up.network.control, up.folder, 3).outcome == "completed"
    for party in consortium.parties:
        store = consortium.store(party.name)
        number, body, _ = store.release() or (0, b"", b"")
        assert (number, ReleaseContent.decode(body).statement["mode"]) == (2, "local")
        spent = [each for each in store.ledger() if each.run == 2 and each.status == "reserved"]
        assert len(spent) == ROUNDS


def only_the_fleet_is_behind_the_front(up: Up) -> None:
    operator = up.network.operator
    trusted = ssl.create_default_context(cafile=str(operator.authority))
    asked = ["/v1/control/list-runs", "/v1/runtime/acquire-task", "/v1/fleet/register-node", "/docs"]
    kind = {"content-type": "application/protobuf"}
    with httpx.Client(base_url=f"https://{operator.address}", verify=trusted, timeout=60) as front:
        assert [front.post(path, content=b"", headers=kind).status_code for path in asked] == [404] * 4
        assert [front.get(path).status_code for path in (*asked, "/v1/fleet/get-run")] == [404] * 5
        assert front.post("/v1/fleet/pull-messages", content=b"", headers=kind).status_code == 401, (
            "no node's key"
        )
    with httpx.Client(base_url=f"https://{operator.superlink_address}", verify=trusted, timeout=60) as direct:
        assert direct.get("/docs").status_code == 200, (
            "the control: behind the front, whoever asks is answered"
        )
        assert direct.post("/v1/control/list-runs", content=b"", headers=kind).status_code == 200


# --- who is not let in ---


def start_strangers(up: Up, base: Path) -> dict[str, "subprocess.Popen[str]"]:
    """A node that nobody registered, and one that trusts another authority."""
    certificates.create(base, [])
    authorities = {"stranger": up.network.operator.authority, "careful": base / certificates.AUTHORITY}
    started = {}
    for name, authority in authorities.items():
        setup.create(name, base / name)
        options = [
            "--folder",
            base / name,
            "--superlink",
            up.network.operator.address,
            "--certificates",
            authority,
        ]
        started[name] = subprocess.Popen(
            [*FEDREPAY, "member", "node", *map(str, options), "--port", str(free_ports(1)[0])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return started


def strangers_are_refused(strangers: dict[str, "subprocess.Popen[str]"]) -> None:
    said = {name: process.communicate(timeout=LATE)[0] for name, process in strangers.items()}
    for name, process in strangers.items():
        assert process.returncode == NetworkError.exit_code, said[name]
        assert "The member's SuperNode ended by itself" in " ".join(said[name].split())
        assert "Failed to initialize the connection to the SuperLink" in said[name]
    assert "[code: 2004] Failed to activate SuperNode" in said["stranger"]
    assert "The front knows no such key" in said["stranger"]
    assert "CERTIFICATE_VERIFY_FAILED" in said["careful"]


# --- a bundle that holds code ---

SERVER = """
import json, pathlib, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
@app.main()
def main(grid, context):
    asked = [
        Message(RecordDict({"fedrepay": ConfigRecord({"kind": "held", "shared": b"", "own": b""})}), node, "query", ttl=600)
        for node in grid.get_node_ids()
    ]
    waiting = {identity: str(each.metadata.dst_node_id) for identity, each in zip(grid.push_messages(asked), asked)}
    said = {}
    while waiting:
        for reply in grid.pull_messages(list(waiting)):
            node = waiting.pop(reply.metadata.reply_to_message_id)
            said[node] = reply.error.reason if reply.has_error() else reply.content["fedrepay"]["body"].decode()
        time.sleep(0.2)
    path = pathlib.Path(PLACE) / "said.json"
    path.with_suffix(".partial").write_text(json.dumps(said))
    path.with_suffix(".partial").rename(path)
"""
CLIENT = """
import pathlib
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
(pathlib.Path(PLACE) / "ran").open("a").write("x")
app = ClientApp()
@app.query()
def answer(message, context):
    return Message(RecordDict({"fedrepay": ConfigRecord({"body": b"the coordinator's code"})}), reply_to=message)
"""


def a_bundle_with_code_is_refused(up: Up, base: Path) -> None:
    """``fedrepay/client/node/app.py`` beside a project file that names it, to our three nodes and a stock SuperNode."""
    import json

    place, control = base / "code", up.network.control
    place.mkdir()
    mine = set(control.online())
    stock = stock_supernode(up, place)
    up.until("the stock node is online", lambda: len(control.online()) == 4)
    (theirs,) = {str(node) for node in control.online()} - {str(node) for node in mine}
    run = control.start(with_code(place), {})
    up.until("all have answered", lambda: (place / "said.json").exists() or ended(up, run))
    said = json.loads((place / "said.json").read_text())
    assert said.pop(theirs) == "the coordinator's code", "the control: without our check it runs"
    assert (place / "ran").read_text() == "x", "once, at the stock node"
    assert set(said) == {str(node) for node in mine}
    assert (place / "flower" / "apps").is_dir(), "at the stock node it was"
    for reason in said.values():
        assert "Bundle refused: it holds 6 files" in reason
        assert "fedrepay/client/node/app.py" in reason
    for site in up.network.sites.values():
        assert not (site.folder / "flower" / "apps").exists(), "no bundle is ever unpacked, not even ours"
    stock.end()
    up.network.processes.forget(stock)


def ended(up: Up, run: int) -> bool:
    seen = up.network.control.runs(run)[run]
    assert seen.status != "finished" or seen.outcome == "completed", seen
    return False


def with_code(place: Path) -> bytes:
    project = {**PROJECT, "tool": {"flwr": {"app": dict(PROJECT["tool"]["flwr"]["app"])}}}
    project["tool"]["flwr"]["app"]["components"] = {
        "serverapp": "attack_server:app",
        "clientapp": "fedrepay.client.node.app:app",
    }
    header = f"PLACE = {str(place)!r}\n"
    out = BytesIO(build())
    inside = zipfile.ZipFile(out).namelist()
    files = {
        "attack_server.py": header + SERVER,
        "fedrepay/__init__.py": "",
        "fedrepay/client/__init__.py": "",
        "fedrepay/client/node/app.py": header + CLIENT,
    }
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        text = tomli_w.dumps(project).encode()
        archive.writestr(inside[0], text)
        archive.writestr(inside[1], manifest(text))
        for name, code in files.items():
            archive.writestr(name, code)
    return made.getvalue()


def manifest(project: bytes) -> str:
    """It names the project file alone: Flower installs the others all the same."""
    import hashlib

    return f"pyproject.toml,{hashlib.sha256(project).hexdigest()},{8 * len(project)}"


def stock_supernode(up: Up, place: Path) -> Running:
    """Flower's own SuperNode as it comes, with a registered key."""
    node_key.create(place)
    operator = up.network.operator
    nodes.register(operator.folder, up.network.control, (place / node_key.PUBLIC).read_bytes(), "stock")
    command = [
        Path(sys.executable).with_name("flower-supernode"),
        *("--superlink", operator.address, "--root-certificates", operator.authority),
        *("--auth-supernode-private-key", place / node_key.PRIVATE),
        *("--host", "127.0.0.1", "--port", str(free_ports(1)[0]), "--node-config", 'member="unix:none"'),
    ]
    environment = superlink.environment(place.resolve())
    return up.network.processes.start("stock", command, environment)
