"""What may be asked at home, by whom, and that none of it can be asked from outside."""

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.node import door, house, relay
from fedrepay.client.node.app import relay as relayed
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust import asking
from fedrepay.shared.trust.message import Signed

ME = Identity.create("bank-a")
NOW = 1.8e9
TAKES = (
    lambda body: body == b"pulled",
    lambda body: body == b"resealed",
    lambda body, live: (body, live) == (b"header", 7),
)


def outside(kind: str, shared: bytes, own: bytes) -> bytes:
    assert (kind, shared) == ("ping", b""), own
    return b"the member's own answer"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="door") as name:
        yield Path(name)


@contextmanager
def at_home(place: Path, guest: door.Guest | None = None) -> Iterator[Path]:
    handler = house.at_home(outside, house.errands(lambda: ME, lambda: NOW, *TAKES))
    with door.Door(place, handler, guest=guest) as opened:
        thread = Thread(target=opened.serve)
        thread.start()
        try:
            yield place
        finally:
            opened.stop()
            thread.join(20)


def test_a_request_is_signed_in_its_own_name_and_time(folder: Path) -> None:
    body = bytes(2 << 20)
    with at_home(folder / "s") as place:
        signed = house.signed(place, "Answer", body)
        assert relay.deliver(f"unix:{place}", "ping", b"", b"") == b"the member's own answer"
    said = asking.checked(signed, keys.public_bytes(ME.signing), "Answer", NOW)
    assert (said.name, said.at, said.body) == ("bank-a", NOW, body)


@pytest.mark.parametrize("method", ["Leave", "wait", "", "Approval", "x" * 400])
def test_nothing_but_calls_of_the_link_is_signed(folder: Path, method: str) -> None:
    with at_home(folder / "s") as place, pytest.raises(ProtocolError, match="no call that is signed here"):
        house.signed(place, method, b"")


def test_an_unknown_errand_is_told(folder: Path) -> None:
    with at_home(folder / "s") as place, pytest.raises(ProtocolError, match="Nothing is known"):
        house.asked_at(place, "local:keys", b"", b"")


@pytest.mark.parametrize(
    ("resealed", "body", "new"),
    [(False, b"pulled", 1), (True, b"resealed", 1), (True, b"pulled", 0), (False, b"", 0)],
)
def test_a_release_goes_to_who_can_open_it(folder: Path, *, resealed: bool, body: bytes, new: int) -> None:
    handed = asking.Handed(resealed=resealed, body=body).encode()
    with at_home(folder / "s") as place:
        assert house.asked_at(place, house.PULLED, handed, b"") == bytes([new])


def message(kind: str) -> SimpleNamespace:
    record = {"kind": kind, "shared": b"", "own": b"Wait"}
    content = SimpleNamespace(config_records={"fedrepay": record})
    return SimpleNamespace(content=content, metadata=SimpleNamespace(ttl=5.0))


def test_a_coordinator_asks_for_nothing_of_the_house(folder: Path) -> None:
    with at_home(folder / "s") as place:
        context = SimpleNamespace(node_config={"member": f"unix:{place}"})
        with pytest.raises(ProtocolError):
            relayed(message(house.REQUEST), context)  # type: ignore[arg-type]
        with pytest.raises(ProtocolError, match="not carried in"):
            relay.carry(f"unix:{place}", house.REQUEST, b"", b"Wait")
        control = house.HouseAnswer.decode(relay.deliver(f"unix:{place}", house.REQUEST, b"", b"Wait"))
        assert Signed.decode(control.body), "the control: the door itself would have signed it"


# --- users ---

KNOCK = """
import os, sys
place, uid, gid, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
from fedrepay.client.node import relay
os.setgroups([]); os.setgid(gid); os.setuid(uid)
try:
    sys.stdout.write(repr(relay.deliver("unix:" + place, kind, b"", b"Wait", 20)))
except Exception as error:
    sys.stdout.write("no: " + str(error))
"""
as_root = pytest.mark.skipif(os.getuid() != 0 or not hasattr(socket, "SO_PEERCRED"), reason="changes users")


def knock(place: Path, guest: door.Guest, kind: str = "ping", *, other: bool = False) -> str:
    """As another user; of the guest's group, with another number, where it is the third one."""
    uid = guest.uid - 1 if other else guest.uid
    command = [sys.executable, "-c", KNOCK, str(place), str(uid), str(guest.gid), kind]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@as_root
def test_the_node_s_user_may_knock_and_ask_for_nothing_of_the_house(folder: Path) -> None:
    guest = door.Guest(65534, 65534)
    folder.chmod(0o711)  # above the socket's own folder
    with at_home(folder / "own" / "s", guest) as place:
        assert "own answer" in knock(place, guest)
        assert "no: " in knock(place, guest, house.REQUEST)
        assert "no: " in knock(place, guest, other=True), "of its group, and another"
        assert house.signed(place, "Wait", b""), "our own user still may"


@as_root
def test_without_a_guest_no_other_user_may_whatever_the_rights(folder: Path) -> None:
    guest = door.Guest(65534, 65534)
    folder.chmod(0o700)
    with at_home(folder / "s") as place:
        assert "no: " in knock(place, guest)
        folder.chmod(0o711)
        place.chmod(0o666)
        assert "no: " in knock(place, guest), "the kernel says who knocks"


def test_the_socket_of_two_users_stands_alone(folder: Path) -> None:
    (folder / "identity.key").write_bytes(b"")
    guest = door.Guest(os.getuid(), os.getgid())
    with pytest.raises(ArgumentError, match="holds more than the socket"):
        door.Door(folder / "s", outside, guest=guest)
    with at_home(folder / "own" / "s", guest) as place:
        assert place.parent.stat().st_mode & 0o777 == 0o710
        assert place.stat().st_mode & 0o777 == 0o660


def test_a_user_is_found_by_name() -> None:
    mine = pwd.getpwuid(os.getuid())
    assert door.Guest.named(mine.pw_name) == door.Guest(mine.pw_uid, mine.pw_gid)
    with pytest.raises(ArgumentError, match="no user 'nobody-of-that-name'"):
        door.Guest.named("nobody-of-that-name")
