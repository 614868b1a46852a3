"""Who gets through the front: registered nodes alone, known before their bodies are read, in their own name."""

import select
import socket
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flwr.superlink.routers.fleet.node_auth as flower
import httpx
import pytest
from fastapi import HTTPException
from flwr.app import ConfigRecord, RecordDict
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.common import constant
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.node_pb2 import Node as FlowerNode
from flwr.supercore import constant as flower_names
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedrepay.server.admission import certificates, node_keys
from fedrepay.server.front import front, hurry, nodes
from fedrepay.server.front.nodes import Nodes
from fedrepay.shared.errors import ArgumentError
from support.nodes import Node
from support.serving import served

ADA, BOB, STRANGER = (Node(name) for name in ("ada", "bob", "stranger"))
PATH = "/v1/fleet/"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("callers")
    certificates.create(made, [])
    for node in (ADA, BOB):
        node.join(made)
    return made


@pytest.fixture(scope="module")
def superlink(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """A port and what was asked there."""
    seen: list[str] = []

    async def answer(request: Request) -> Response:
        await request.body()
        seen.append(request.url.path)
        return Response(b"", 418)

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    tls = {"ssl_certfile": folder / certificates.CERTIFICATE, "ssl_keyfile": folder / certificates.KEY}
    with served(app, **tls) as port:
        yield port, seen


@pytest.fixture
def seen(superlink: tuple[int, list[str]]) -> list[str]:
    superlink[1].clear()
    return superlink[1]


@contextmanager
def fronted(folder: Path, superlink: int, keys: Path | None = None, **limits: Any) -> Iterator[int]:
    app = front.application(
        f"https://127.0.0.1:{superlink}", folder / certificates.AUTHORITY, Nodes(keys or folder), **limits
    )
    with served(app, http=hurry.hurried()) as port:
        yield port


@pytest.fixture(scope="module")
def port(folder: Path, superlink: tuple[int, list[str]]) -> Iterator[int]:
    with fronted(folder, superlink[0]) as made:
        yield made


WRONG: dict[str, dict[str, Any]] = {
    "too old": {"age": nodes.OLDEST + nodes.SKEW + 30},
    "of the future": {"age": -nodes.SKEW - 30},
    "without a zone": {"said": "2026-01-01T00:00:00"},
    "no time": {"said": "now"},
    "not ASCII": {"said": "２０２６-01-01T00:00:00+00:00"},
}
RIGHT: dict[str, dict[str, Any]] = {
    "now": {},
    "old": {"age": nodes.OLDEST - 60},
    "a little ahead": {"age": -2},
}


def changed(**headers: str) -> dict[str, str]:
    return {**ADA.headers(), **{name.replace("_", "-"): value for name, value in headers.items()}}


def spoilt() -> dict[str, dict[str, str]]:
    """Headers that no node of ours sends."""
    other = BOB.headers()
    return {
        "none": {},
        "another's signature": changed(flwr_signature=other[nodes.SIGNATURE]),
        "another's key": changed(flwr_public_key=other[nodes.PUBLIC_KEY]),
        "another time": changed(flwr_timestamp=ADA.headers(age=1)[nodes.TIMESTAMP]),
        "no base 64": changed(flwr_signature="é".encode().decode("latin-1")),
        "no key": changed(flwr_public_key="AAAA"),
        "no signature": changed(flwr_signature=""),
        **{name: ADA.headers(**how) for name, how in WRONG.items() if name != "not ASCII"},
    }


def answered(
    port: int,
    headers: dict[str, str],
    call: str = "push-object",
    promised: int = 100,
    caller: socket.socket | None = None,
) -> socket.socket:
    """A connection (a new one, if none is given) on which a whole head was sent, but no byte of its body."""
    caller = caller or socket.create_connection(("127.0.0.1", port), timeout=20)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {PATH}{call} HTTP/1.1\r\nhost: a\r\ncontent-length: {promised}\r\n{lines}\r\n"
    caller.sendall(head.encode("latin-1"))
    return caller


@pytest.mark.parametrize("case", [*spoilt(), "unregistered"])
def test_who_is_no_registered_node_is_refused_before_a_byte_of_its_body(
    port: int, seen: list[str], case: str
) -> None:
    headers = STRANGER.headers() if case == "unregistered" else spoilt()[case]
    with answered(port, headers) as caller:
        assert caller.recv(1000).startswith(b"HTTP/1.1 401")
    assert seen == []


def test_a_node_that_begins_is_told_in_flower_s_own_words(port: int, seen: list[str]) -> None:
    with STRANGER.calling(f"http://127.0.0.1:{port}") as client:
        refused = client.post(f"{PATH}activate-node", content=b"")
    said = FlowerError.from_json(refused.text)
    assert said is not None
    assert (refused.status_code, said.code) == (412, ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)
    assert "ask the operator" in str(said.public_details)
    assert seen == []


def test_a_refused_body_is_let_come_for_a_moment(port: int, seen: list[str]) -> None:
    """Else its caller would never read the refusal."""
    with answered(port, STRANGER.headers()) as caller:
        assert caller.recv(1000).startswith(b"HTTP/1.1 401")
        caller.sendall(bytes(100))
        with answered(port, ADA.headers(), promised=0, caller=caller):
            assert caller.recv(1000).startswith(b"HTTP/1.1 418")
    with answered(port, STRANGER.headers(), promised=1 << 30) as caller:
        assert caller.recv(1000).startswith(b"HTTP/1.1 401")
        with pytest.raises(ConnectionError):
            caller.sendall(bytes(1 << 28))
    assert len(seen) == 1


@pytest.mark.parametrize("how", RIGHT.values(), ids=RIGHT)
def test_control_a_registered_node_s_body_is_waited_for(
    port: int, seen: list[str], how: dict[str, Any]
) -> None:
    with answered(port, ADA.headers(**how)) as caller:
        assert not select.select([caller], [], [], 0.3)[0]
        caller.sendall(bytes(100))
        assert caller.recv(100).startswith(b"HTTP/1.1 418")
    assert seen == [f"{PATH}push-object"]


@pytest.mark.parametrize("case", [*spoilt(), *WRONG, *RIGHT])
def test_the_front_judges_headers_as_flower_does(
    folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = spoilt()[case] if case in spoilt() else ADA.headers(**(WRONG | RIGHT)[case])
    asked = types.SimpleNamespace(node=FlowerNode(node_id=7))
    request: Any = types.SimpleNamespace(headers=headers, state=types.SimpleNamespace(protobuf_request=asked))
    state = types.SimpleNamespace(get_node_id_by_public_key=lambda _key: 7)
    monkeypatch.setattr(flower, "get_linkstate", lambda _request: state)
    try:
        flower.authenticate_node(request)
        taken = True
    except HTTPException:
        taken = False
    assert (Nodes(folder).caller(headers) is not None) == taken == (case in RIGHT)


def test_names_and_windows_are_flower_s() -> None:
    assert nodes.PUBLIC_KEY == flower_names.FLEET_HTTP_PUBLIC_KEY_HEADER
    assert nodes.SIGNATURE == flower_names.FLEET_HTTP_SIGNATURE_HEADER
    assert nodes.TIMESTAMP == constant.TIMESTAMP_HEADER
    assert (nodes.OLDEST, nodes.SKEW) == (constant.TIMESTAMP_TOLERANCE, constant.SYSTEM_TIME_TOLERANCE)


def test_a_node_is_let_in_and_shut_out_without_a_restart(
    folder: Path, superlink: tuple[int, list[str]], tmp_path: Path
) -> None:
    with (
        fronted(folder, superlink[0], keys=tmp_path) as port,
        BOB.calling(f"http://127.0.0.1:{port}") as client,
    ):

        def said() -> int:
            return client.post(f"{PATH}get-run", content=b"").status_code

        assert said() == 401
        ADA.join(tmp_path)
        assert said() == 401
        BOB.join(tmp_path)
        assert said() == 418
        (tmp_path / node_keys.FOLDER / "bob.pub").unlink()
        assert said() == 401


def test_what_is_no_key_in_the_folder_lets_nobody_in(tmp_path: Path) -> None:
    BOB.join(tmp_path)
    (tmp_path / node_keys.FOLDER / "ada.pub").write_bytes(b"rubbish")
    (tmp_path / node_keys.FOLDER / "eve.pub").mkdir()
    known = Nodes(tmp_path)
    assert known.caller(BOB.headers()) is not None
    assert known.caller(ADA.headers()) is None


def test_a_name_has_one_key(tmp_path: Path) -> None:
    nodes.add(tmp_path, ADA.public, "ada")
    nodes.add(tmp_path, ADA.public + b" ada@host\n", "ada")
    with pytest.raises(ArgumentError, match="another key"):
        nodes.add(tmp_path, BOB.public, "ada")
    for name in ("", "../ada", "a/b", ".ada", "a" * 64):
        with pytest.raises(ArgumentError, match="no name"):
            nodes.add(tmp_path, BOB.public, name)
    for key in (b"", b"rubbish", b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc", b"ssh-ed25519 AAAA"):
        with pytest.raises(ArgumentError, match="no public key") as refused:
            nodes.add(tmp_path, key, "eve")
        assert "abc" not in str(refused.value)
    assert [path.name for path in (tmp_path / node_keys.FOLDER).iterdir()] == ["ada.pub"]


# --- bodies ---


@pytest.mark.parametrize("call", front.CALLS)
def test_only_objects_may_be_large(port: int, seen: list[str], call: str) -> None:
    with answered(port, ADA.headers(), call, front.MAX_SMALL + 1) as caller:
        if call == front.OBJECT:
            caller.sendall(bytes(front.MAX_SMALL + 1))
        assert caller.recv(100).startswith(b"HTTP/1.1 418" if call == front.OBJECT else b"HTTP/1.1 413")
    assert len(seen) == (call == front.OBJECT)


def test_a_small_call_is_cut_off_where_it_grows(port: int, seen: list[str]) -> None:
    with ADA.calling(f"http://127.0.0.1:{port}") as client:
        parts = iter([bytes(front.MAX_SMALL), b"x"])
        assert client.post(f"{PATH}get-run", content=parts).status_code == 413
    assert seen == []


def replies(node: int, *named: int, size: int = 10) -> bytes:
    """What node ``node`` announces: replies in these nodes' names."""
    made = [
        make_message(
            metadata=Metadata(
                run_id=1,
                message_id="",
                src_node_id=source,
                dst_node_id=1,
                reply_to_message_id="0" * 64,
                group_id="",
                created_at=1.0,
                ttl=60.0,
                message_type="query",
            ),
            content=RecordDict({"fedrepay": ConfigRecord({"body": bytes(size)})}),
        )
        for source in named
    ]
    request = PushMessagesRequest(
        node=FlowerNode(node_id=node),
        messages_list=[message_to_proto(remove_content_from_message(each)) for each in made],
        message_object_trees=[get_object_tree(each) for each in made],
    )
    return bytes(request.SerializeToString())


def test_a_node_replies_in_its_own_name_alone(port: int, seen: list[str]) -> None:
    with ADA.calling(f"http://127.0.0.1:{port}") as client:

        def said(body: bytes) -> int:
            return client.post(f"{PATH}push-messages", content=body).status_code

        assert said(replies(7, 7)) == 418
        assert said(replies(7, 7, 7)) == 418
        seen.clear()
        assert said(replies(7, 8)) == 403
        assert said(replies(7, 7, 8)) == 403
        assert said(replies(0, 8)) == 403
        assert (
            said(replies(8, 8) + PullMessagesRequest(node=FlowerNode(node_id=7)).SerializeToString()) == 403
        )
        assert said(b"\xff\xff") == 403
        assert seen == []


def test_control_unread_another_s_name_would_reach_the_superlink(
    port: int, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "_own", lambda _body: True)
    with ADA.calling(f"http://127.0.0.1:{port}") as client:
        assert client.post(f"{PATH}push-messages", content=replies(7, 8)).status_code == 418
    assert seen == [f"{PATH}push-messages"]


def test_what_a_node_announces_is_small_however_much_it_sends() -> None:
    assert len(replies(2**63, 2**63, size=20 << 20)) < front.MAX_SMALL // 100


def test_a_node_has_so_many_connections(folder: Path, superlink: tuple[int, list[str]]) -> None:
    room = [True, False]
    with (
        fronted(folder, superlink[0], known=lambda _peer, _key: room.pop(0)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        assert client.post(f"{PATH}get-run", headers=STRANGER.headers()).status_code == 401
        assert client.post(f"{PATH}get-run", headers=ADA.headers()).status_code == 418
        assert client.post(f"{PATH}get-run", headers=ADA.headers()).status_code == 503
