"""`coordinator serve` says that it is ready when its processes answer, and what comes next."""

import socket
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.operating import admitting, children
from fedrepay.server.operating import settings as places
from fedrepay.shared.trust import agreement
from support.founded import founded
from support.newcomers import Newcomer
from support.serving import served


def test_what_comes_next_follows_from_who_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    chosen = founded(folder).settings

    def said() -> str:
        return children.ready(folder, places.load(folder))

    assert said().startswith(f"Ready: members call 127.0.0.1:{chosen.port};")
    assert "invite institutions: fedrepay coordinator invite NAME" in said()
    registry = Registry(folder)
    (invitation,) = admitting.invite(folder, registry, "a.example:443", ["bank-a"])
    assert "when institutions have joined" in said()
    agreed = agreement.hashed((folder / "terms.toml").read_bytes())
    registry.join(Newcomer("bank-a").asks(invitation, agreed=agreed))
    assert f"bank-a wait: fedrepay coordinator admit --folder {folder}" in said()
    admitting.admit(folder, registry, "bank-a")
    assert f"fedrepay coordinator train --folder {folder}" in said()


def test_who_reads_its_certificate_once_is_started_again_before_that_ends_and_once(tmp_path: Path) -> None:
    certificates.create(tmp_path, [])
    path = tmp_path / certificates.CERTIFICATE
    now = ends = certificates.ends(path.read_bytes())
    stale = children.aged(path, lambda: now)
    now = ends - children.SOON + 1
    assert stale() == "", "there is no other yet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "_SERVER_DAYS", 400)
        assert certificates.refresh(tmp_path, now)
    now = ends - children.SOON - 1
    assert stale() == "", "its own is good for long"
    now = ends - children.SOON + 1
    assert "ends soon" in stale()
    assert stale() == "", "it has been started again"


def test_a_process_is_ready_when_it_answers_and_not_when_it_only_listens() -> None:
    async def health(_request: object) -> PlainTextResponse:
        return PlainTextResponse("ok")

    with served(Starlette(routes=[Route("/health", health)])) as port:
        assert children.healthy(f"http://127.0.0.1:{port}")
    with served(Starlette()) as port:
        assert not children.healthy(f"http://127.0.0.1:{port}"), "it answers something else"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert places.listens("127.0.0.1", port), "control: somebody listens"
        assert not children.healthy(f"http://127.0.0.1:{port}", seconds=0.2)
