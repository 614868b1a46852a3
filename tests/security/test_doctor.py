"""`member doctor`: the page for support holds nothing that must stay at a member."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from fedrepay.client.care import doctor
from fedrepay.client.protocol.epoch import EpochState
from support import member_folder
from support.command import fedrepay
from support.member_folder import NOW, store_of
from support.world import World

CUSTOMER = "Kunde-00042"
FILE = f"{CUSTOMER}.csv"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """After one release and in the middle of a second run, with a file and settings that name a customer."""
    made = member_folder.played(tmp_path_factory.mktemp("secret-branch-name"))
    made.events, made.coordinator = [], made.new_coordinator(2)
    made.until("round", 1)
    made.until("close")
    folder = made.folder / "m0"
    (folder / FILE).write_text(f"who\n{CUSTOMER}\n")
    (folder / "member.toml").write_text(f'data = "{folder / FILE}"\nproxy = "http://user:pass-word@proxy"\n')
    store_of(folder).bar(b"B" * 32)
    return made


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("time.time", return_value=NOW):
        yield


def secrets(world: World) -> dict[str, bytes]:
    """Everything at m0 that must not be on the page."""
    folder, identity = world.folder / "m0", world.identities["m0"]
    store = store_of(folder)
    state = EpochState.decode(store.fact("epoch") or b"")
    opened = next(each.values for each in store.openings(2) if each.values is not None)
    return {
        "signing key": identity.signing.private_bytes_raw(),
        "sealing key": identity.sealing.private_bytes_raw(),
        "key of keyed hashes": identity.local,
        **{name: getattr(state, name) for name in ("envelope", "mask", "contribution", "seed", "nonce")},
        "opened sum": opened[:64],
        "snapshot": store.fact("snapshot:2") or b"",
        "mark of a barred customer": b"B" * 32,
        "customer": CUSTOMER.encode(),
        "path": str(world.folder.parent).encode(),
        "password of the proxy": b"pass-word",
    }


def found(text: str, secret: bytes) -> bool:
    """Whether a text holds the secret: as it stands, in hexadecimal, base64 or as Python shows bytes; 16 bytes of it will do."""
    piece = secret[:16] if len(secret) >= 16 else secret
    forms = [
        piece.hex(),
        piece.hex().upper(),
        base64.b64encode(piece).decode().rstrip("=")[:-1],
        repr(piece)[2:-1],
    ]
    return any(form in text for form in [*forms, piece.decode("latin-1")])


def pages(world: World) -> str:
    folder = world.folder / "m0"
    shown = [fedrepay("member", "doctor", "--folder", folder, *json) for json in ((), ("--json",))]
    assert all(each.code == 0 for each in shown), shown
    return "".join(each.out + each.err for each in shown)


def test_no_secret_is_on_the_page(world: World) -> None:
    text, known = pages(world), secrets(world)
    for kind, secret in known.items():
        assert len(secret) >= 9, kind
        assert not found(text, secret), kind
    held = b"".join(each.read_bytes() for each in (world.folder / "m0").iterdir() if each.is_file())
    for kind, secret in known.items():
        assert found(text + secret.hex(), secret), f"control: {kind} is found where it stands"
        if kind not in ("path", "opened sum"):
            assert found(held.decode("latin-1"), secret), f"control: {kind} is in the folder"


LEAKS: list[tuple[str, Callable[[Path], dict[str, object]]]] = [
    ("customer", lambda folder: {"files": sorted(each.name for each in folder.iterdir())}),
    ("path", lambda folder: {"name": str(folder)}),
    ("password of the proxy", lambda folder: {"settings": (folder / "member.toml").read_text()}),
    ("signing key", lambda folder: {"key": (folder / "identity.key").read_bytes().hex()}),
    ("seed", lambda folder: {"epoch": EpochState.decode(store_of(folder).fact("epoch") or b"").model_dump()}),
]


@pytest.mark.parametrize(("kind", "leak"), LEAKS, ids=[kind for kind, _ in LEAKS])
def test_control_a_page_that_tells_too_much_is_found(
    world: World, kind: str, leak: Callable[[Path], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_folder", leak)
    shown = fedrepay("member", "doctor", "--folder", world.folder / "m0").out
    assert found(shown, secrets(world)[kind])


@pytest.mark.parametrize("wrong", ["auto = 'Kunde-00042'", "Kunde-00042 = 1", "schema = 'Kunde-00042.toml'"])
def test_what_an_error_would_quote_is_not_on_the_page(world: World, wrong: str) -> None:
    path = world.folder / "m0" / "member.toml"
    before = path.read_text()
    path.write_text(wrong + "\n")
    try:
        text, direct = pages(world), fedrepay("member", "budget", "--folder", path.parent).err
    finally:
        path.write_text(before)
    assert "Error" in text
    assert not found(text, CUSTOMER.encode())
    assert not found(text, str(world.folder.parent).encode())
    assert found(direct, CUSTOMER.encode()), "control: the error itself quotes it"
