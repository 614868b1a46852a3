"""The doctor's page: what is wrong is marked, and no secret of the folder is on it."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrepay.server.admission.registry import Registry
from fedrepay.server.keyring import FOLLOWING, KEY, key_of
from fedrepay.server.operating import admitting, founding, health
from fedrepay.shared import keys
from fedrepay.shared.trust import agreement
from support.command import fedrepay
from support.consortium import Consortium, unencrypted
from support.newcomers import Newcomer
from support.operated import operated, released

SECRET = ("coordinator.key", "ca.key", "server.key", "superexec.secret")


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


@pytest.fixture
def home(tmp_path: Path) -> Consortium:
    made = operated(tmp_path)
    released(made)
    return made


def lines(home: Consortium) -> dict[str, health.HealthLine]:
    return {each.what: each for each in health.examine(home.operator)}


def test_a_page_of_a_coordinator_that_is_down(home: Consortium) -> None:
    found = lines(home)
    wrong = {what for what, each in found.items() if not each.ok}
    assert wrong == {"superlink", "front", "service", "metrics"}
    assert re.search(r"ends \d{4}-\d\d-\d\d, in 36\d days", found["server's certificate"].said)
    assert found["coordinator.sqlite"].said.endswith("MiB, ok")
    assert found["run"].said == "1: done: the release is out"
    text = health.page(list(found.values()))
    assert "! front: port" in text
    assert "  disk: " in text


def test_where_the_signing_key_stands(home: Consortium) -> None:
    assert lines(home)["signing key"] == health.HealthLine("signing key", "in force")
    founding.rotate_key(home.operator, home.database)
    assert lines(home)["signing key"] == health.HealthLine("signing key", "rotates with the next roster")
    (home.operator / FOLLOWING).chmod(0o644)
    assert FOLLOWING in lines(home)["rights"].said
    for name in (KEY, FOLLOWING):
        (home.operator / name).unlink()
    done = fedrepay("coordinator", "rotate-key", "--folder", home.operator, "--yes")
    assert (done.code, "--lost" in done.err) == (5, True)
    done = fedrepay("coordinator", "rotate-key", "--lost", "--folder", home.operator, "--yes", "--json")
    assert json.loads(done.out)["signing"] == keys.public_bytes(key_of(home.operator)).hex()
    found = lines(home)["signing key"]
    assert (found.ok, "members take nothing of it" in found.said) == (False, True)


def test_no_secret_is_on_the_page(home: Consortium) -> None:
    registry = Registry(home.operator)
    invitation = registry.invite("bank-z", "a.example:443", bytes(32))
    agreed = agreement.hashed((home.operator / "terms.toml").read_bytes())
    registry.join(Newcomer("bank-z").asks(invitation, agreed=agreed))
    admitting.admit(home.operator, registry, "bank-z")
    for option in ((), ("--json",)):
        shown = fedrepay("coordinator", "doctor", "--folder", home.operator, *option).out
        assert "bank-z" in shown, "control: it looks at the members"
        for name in SECRET:
            secret = (home.operator / name).read_bytes()
            for part in (secret, secret[:32]):
                assert part.hex() not in shown
                assert part.decode("latin-1") not in shown
        assert invitation.token()[12:40] not in shown
        assert invitation.secret.hex() not in shown
        assert str(home.operator) not in shown, "nor where it lies"
        assert registry.members()[0].words not in shown


def test_what_is_wrong_is_marked(home: Consortium) -> None:
    (home.operator / "ca.key").chmod(0o644)
    (home.operator / "server.pem").write_text("nothing")
    (home.operator / "superexec.secret").unlink()
    database = bytearray((home.operator / "coordinator.sqlite").read_bytes())
    database[4096:8192] = bytes(4096)
    (home.operator / "coordinator.sqlite").write_bytes(bytes(database))
    found = lines(home)
    assert found["rights"].said == "ca.key is open to others, superexec.secret is not there"
    assert not found["server's certificate"].ok
    assert not found["coordinator.sqlite"].ok
    assert not found["consortium"].ok
    as_json = json.loads(fedrepay("coordinator", "doctor", "--folder", home.operator, "--json").out)
    assert {each["what"] for each in as_json if not each["ok"]} >= {"rights", "consortium"}


def test_a_port_that_listens_is_told(home: Consortium) -> None:
    import socket

    from fedrepay.server.operating import settings

    port = settings.load(home.operator).metrics
    with socket.socket() as up:
        up.bind(("127.0.0.1", port))
        up.listen()
        assert lines(home)["metrics"].said == f"port {port}: listens"


def test_an_end_that_comes_soon_is_marked(home: Consortium) -> None:
    import time

    later = time.time() + 340 * 86400
    found = {each.what: each for each in health.examine(home.operator, lambda: later)}
    assert not found["server's certificate"].ok
    assert found["authority"].ok
