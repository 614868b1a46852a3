"""The member's Unix socket: frames, limits, the door and its lock."""

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedrepay.client.node import door, framing, relay
from fedrepay.client.protocol.guard import MAX_OWN, MAX_SHARED
from fedrepay.shared.errors import ArgumentError, ProtocolError

HEAVY = {"torch", "tenseal", "duckdb", "sqlalchemy", "dp_accounting", "scipy", "opacus"}


def echo(kind: str, shared: bytes, own: bytes) -> bytes:
    return b"|".join((kind.encode(), shared, own))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets allow no long ones."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="door") as name:
        Path(name).chmod(0o700)
        yield Path(name)


@contextmanager
def serving(path: Path, handler: relay.Handler = echo, seconds: float = 20.0) -> Iterator[door.Door]:
    with door.Door(path, handler, seconds) as opened:
        thread = threading.Thread(target=opened.serve)
        thread.start()
        try:
            yield opened
        finally:
            opened.stop()
            thread.join(20)
            assert not thread.is_alive()


def raw(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(str(path))
    return connection


def test_a_message_goes_there_and_back(folder: Path) -> None:
    with serving(folder / "s"):
        big = os.urandom(3 << 20)
        assert relay.deliver(f"unix:{folder / 's'}", "round", big, b"own") == b"round|" + big + b"|own"
        assert relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"") == b"ping||"


def test_only_the_members_own_user_can_knock(folder: Path) -> None:
    with serving(folder / "in" / "s"):
        assert stat.S_IMODE((folder / "in" / "s").stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "in").stat().st_mode) == 0o700
    assert not (folder / "in" / "s").exists()


def test_a_folder_others_may_enter_is_refused(folder: Path) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o750)
    with pytest.raises(ArgumentError, match="entered by other users"), door.Door(folder / "open" / "s", echo):
        pass


def test_nobody_at_home_is_a_typed_error(folder: Path) -> None:
    with pytest.raises(ProtocolError, match="No member's node answers"):
        relay.deliver(f"unix:{folder / 'none'}", "ping", b"", b"")


def test_what_the_coordinator_hears_of_a_missing_member_names_no_path(folder: Path) -> None:
    from types import SimpleNamespace

    from fedrepay.client.node.app import relay as relayed

    record = {"kind": "ping", "shared": b"", "own": b""}
    message = SimpleNamespace(
        content=SimpleNamespace(config_records={"fedrepay": record}), metadata=SimpleNamespace(ttl=5.0)
    )
    context = SimpleNamespace(node_config={"member": f"unix:{folder / 'none'}"})
    with pytest.raises(ProtocolError, match="does not answer") as caught:
        relayed(message, context)  # type: ignore[arg-type]
    assert str(folder) not in str(caught.value), "Flower sends the text"
    assert str(folder) in str(caught.value.__cause__), "the control: the node's log has it"


@pytest.mark.parametrize(
    ("kind", "shared", "own"),
    [("x" * 33, b"", b""), ("x", b"", bytes(MAX_OWN + 1))],
)
def test_what_is_too_large_is_not_sent(folder: Path, kind: str, shared: bytes, own: bytes) -> None:
    with serving(folder / "s"), pytest.raises(ProtocolError, match="passes the limit"):
        relay.deliver(f"unix:{folder / 's'}", kind, shared, own)


@pytest.mark.parametrize(
    "lengths",
    [(33, 0, 0), (1, MAX_SHARED + 1, 0), (1, 0, MAX_OWN + 1), (1, 2**64 - 1, 0)],
)
def test_a_promise_of_too_much_is_dropped_unread(folder: Path, lengths: tuple[int, int, int]) -> None:
    seen: list[str] = []

    def noting(kind: str, shared: bytes, own: bytes) -> bytes:
        seen.append(kind)
        return b""

    with serving(folder / "s", noting), raw(folder / "s") as caller:
        caller.sendall(framing._REQUEST.pack(b"fpq1", *lengths))
        assert caller.recv(1) == b""
    assert not seen


def test_the_limit_itself_is_taken(folder: Path) -> None:
    own = bytes(MAX_OWN)
    with serving(folder / "s"):
        assert relay.deliver(f"unix:{folder / 's'}", "k" * 32, b"", own) == b"k" * 32 + b"||" + own


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\nxxxxxxxx",
        b"fpq1\x00",
        framing._REQUEST.pack(b"fpq1", 4, 10, 0) + b"ping" + b"123",
        framing._REQUEST.pack(b"fpr1", 4, 0, 0) + b"ping",
        framing._REQUEST.pack(b"fpq1", 2, 0, 0) + "é".encode(),
    ],
)
def test_garbage_and_cut_off_requests_reach_nobody_and_the_door_stays_open(folder: Path, sent: bytes) -> None:
    seen: list[str] = []

    def handler(kind: str, shared: bytes, own: bytes) -> bytes:
        seen.append(kind)
        return echo(kind, shared, own)

    with serving(folder / "s", handler):
        with raw(folder / "s") as caller:
            caller.sendall(sent)
            caller.shutdown(socket.SHUT_WR)
            with pytest.raises(ProtocolError):
                framing.receive_reply(caller, 20)
        assert relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"") == b"ping||"
    assert seen == ["ping"]


def test_a_caller_that_says_nothing_is_given_up(folder: Path) -> None:
    with serving(folder / "s", seconds=0.2), raw(folder / "s"):
        assert relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"") == b"ping||"


def test_two_callers_are_answered_one_after_the_other(folder: Path) -> None:
    inside: list[int] = []
    most: list[int] = []
    entered, both, leave = threading.Event(), threading.Event(), threading.Event()

    def handler(kind: str, shared: bytes, own: bytes) -> bytes:
        inside.append(1)
        most.append(len(inside))
        (both if len(inside) > 1 else entered).set()
        leave.wait(20)
        inside.pop()
        return kind.encode()

    answers: dict[str, bytes] = {}

    def ask(kind: str) -> None:
        answers[kind] = relay.deliver(f"unix:{folder / 's'}", kind, b"", b"", 20)

    with serving(folder / "s", handler):
        callers = [threading.Thread(target=ask, args=(kind,)) for kind in ("one", "two")]
        for each in callers:
            each.start()
        assert entered.wait(20)
        assert not both.wait(0.5), "the other one is kept waiting at the door"
        leave.set()
        for each in callers:
            each.join(20)
    assert answers == {"one": b"one", "two": b"two"}
    assert most == [1, 1]


def test_a_caller_that_goes_away_loses_only_its_answer(folder: Path) -> None:
    done = threading.Event()

    def handler(kind: str, shared: bytes, own: bytes) -> bytes:
        done.set()
        return bytes(4 << 20)

    with serving(folder / "s", handler):
        with raw(folder / "s") as caller:
            caller.sendall(framing._REQUEST.pack(b"fpq1", 4, 0, 0) + b"ping")
        assert done.wait(20)
        assert len(relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"")) == 4 << 20


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the socket after 0 of 12"),
        (b"HTTP/1.1 400", "not a fedrepay member"),
        (framing._REPLY.pack(b"fpr1", framing.MAX_REPLY + 1), "passes the limit"),
        (framing._REPLY.pack(b"fpr1", 9) + b"1234", "closed the socket after 4 of 9"),
    ],
)
def test_a_strange_answer_is_a_typed_error(answer: bytes, words: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError, match=words):
            framing.receive_reply(ours, 20)


def test_a_late_answer_is_a_typed_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ProtocolError, match="took more than"):
        framing.receive_reply(ours, 0.05)


def test_a_folder_is_served_by_one_process(folder: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from fedrepay.client.node import door\n"
        "with door.held(pathlib.Path(sys.argv[1])): print('held')\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with door.held(folder):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Another process serves" in second.stderr
    assert "held" not in second.stdout
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held\n"


def test_a_socket_left_behind_is_replaced_and_anything_else_is_not(folder: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(folder / "s"))
    left.close()
    with serving(folder / "s"):
        assert relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"") == b"ping||"
    (folder / "file").write_text("rows")
    with pytest.raises(ArgumentError, match="is not a socket"), door.Door(folder / "file", echo):
        pass
    assert (folder / "file").read_text() == "rows"


def test_a_door_that_is_open_is_not_taken_from_its_member(folder: Path) -> None:
    with serving(folder / "s"):
        with pytest.raises(ArgumentError, match="Another process serves at"), door.Door(folder / "s", echo):
            pass
        assert relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"") == b"ping||"


def test_a_path_that_is_too_long_says_so(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="more than 100 bytes"), door.Door(folder / ("x" * 100), echo):
        pass


def test_a_short_way_to_a_long_path_is_no_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is told the whole path: a door that opens at a relative one would never be found."""
    deep = folder / ("x" * 90)
    deep.mkdir(mode=0o700)
    monkeypatch.chdir(deep)
    with pytest.raises(ArgumentError, match="more than 100 bytes"), door.Door(Path("member.sock"), echo):
        pass
    monkeypatch.chdir(folder)
    with serving(Path("s")):
        assert relay.deliver(f"unix:{folder / 's'}", "ping", b"", b"") == b"ping||", "control: a short one"


def loaded(program: str) -> set[str]:
    ending = f"\nprint(*sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + program + ending], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_client_app_needs_nothing_heavy() -> None:
    assert loaded("import fedrepay.client.node.app") == set()


def test_control_the_member_itself_does() -> None:
    assert loaded("import fedrepay.client.protocol.member") >= {"scipy"}
