"""A member behind Debian's tinyproxy, with a password and without: everything that it calls goes through, and says what does not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrepay.client.consortium import joining, preflight
from fedrepay.client.consortium.channel import Channel
from fedrepay.client.consortium.joining import Brought
from fedrepay.client.consortium.requests import by_keys
from fedrepay.client.node import clock, setup
from fedrepay.server.admission import certificates
from fedrepay.server.front import nodes
from fedrepay.shared.errors import NetworkError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.asking import Standing
from support import shop as shops
from support.between import between
from support.coordinator_stub import Stub, coordinator
from support.fronts import free_port, machine_in
from support.processes import until
from support.tinyproxy import Tinyproxy, tinyproxy

STANDING = Standing(agreed=bytes(32), terms=b"", members=(), run=0, state="", waiting=(), releases=())


@pytest.fixture(params=[True, False], ids=["password", "open"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tinyproxy]:
    with tinyproxy(tmp_path / "proxy", password=request.param) as made:
        yield made


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with coordinator(tmp_path / "c", codebook.load(shops.make(tmp_path).schema)) as made:
        made.standing, made.state = STANDING, "admitted"
        yield made


def test_before_joining_joining_and_every_call_after_it(way: Tinyproxy, stub: Stub, tmp_path: Path) -> None:
    folder, through = tmp_path / "m", way.url()
    looks = preflight.look(preflight.Route(stub.address, None, through, free_port()))
    assert {each.state for each in looks if each.what not in ("disk", "port of the node")} == {preflight.OK}
    offered = joining.meet(stub.invitation(), through)
    signed = joining.prepare(folder, offered, Brought(proxy=through))
    assert joining.ask(folder, offered, signed, through).state == "admitted"
    before = len(way.passed())
    with Channel(stub.address, folder, by_keys(folder), through) as calls:
        assert calls.stand() == STANDING
    assert len(way.passed()) == before + 1, "gRPC too"
    assert clock.off(stub.address, folder / "ca.pem", through) is not None
    assert set(way.passed()) == {stub.address}
    assert len(way.passed()) == before + 2
    with Channel(stub.address, folder, by_keys(folder)) as calls:
        assert calls.stand() == STANDING
    assert len(way.passed()) == before + 2, "control: without `proxy` nothing goes that way"


def test_a_wrong_password_is_named_by_everything_that_calls(tmp_path: Path, stub: Stub) -> None:
    folder = tmp_path / "m"
    offered = joining.meet(stub.invitation(), None)
    joining.ask(folder, offered, joining.prepare(folder, offered, Brought()), None)
    with tinyproxy(tmp_path / "proxy", password=True) as way:
        wrong = way.url("secret")
        with pytest.raises(NetworkError, match=r"does not let us through: 40[17]") as told:
            joining.meet(stub.invitation(), wrong)
        with (
            Channel(stub.address, folder, by_keys(folder), wrong) as calls,
            pytest.raises(NetworkError, match=r"40[17]") as also,
        ):
            calls.stand()
        looks = {each.what: each for each in preflight.look(preflight.Route(stub.address, None, wrong))}
        assert looks["connection"].state == preflight.WRONG
        for remedy in (told.value.remedy, also.value.remedy, looks["connection"].remedy):
            assert "password" in remedy
        assert "secret" not in f"{told.value}{also.value}{looks['connection']}"
        assert way.asked()
        assert way.passed() == []


NODE = """
import sys
from pathlib import Path
from fedrepay.client.node.supernode import MemberNode
folder = Path(sys.argv[1])
MemberNode(folder, sys.argv[2], Path(sys.argv[3]), folder / "s", int(sys.argv[4]), sys.argv[5]).run()
"""


def test_flower_s_node_goes_through_it_and_through_no_other(tmp_path: Path) -> None:
    """Its first call reaches the SuperLink's place behind the front, where nobody knows Flower: it ends then."""
    (tmp_path / "c").mkdir()
    entry = setup.create("bank-b", tmp_path / "m")
    with (
        machine_in(tmp_path / "c", ["127.0.0.2"]) as machine,
        between(
            machine.front, "127.0.0.2"
        ) as line,  # no proxy is asked for 127.0.0.1, where the node's own API is
        tinyproxy(tmp_path / "proxy", password=True) as way,
    ):
        nodes.add(machine.folder, (tmp_path / "m" / "node.pub").read_bytes(), entry.name)
        authority = machine.folder / certificates.AUTHORITY
        arguments = [tmp_path / "m", line.address, authority, free_port(), way.url()]
        command = [sys.executable, "-c", NODE, *map(str, arguments)]
        others = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
        with subprocess.Popen(
            command, env=os.environ | others, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            try:
                until(lambda: bool(machine.at_superlink) or process.poll() is not None, 200)
            finally:
                os.killpg(process.pid, signal.SIGKILL)  # its SuperNode too, which would take its time
        assert machine.at_superlink[:1] == ["/v1/fleet/activate-node"]
        assert set(way.passed()) == {line.address}
