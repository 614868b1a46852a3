"""Pickles, archives and safetensors headers that promise too much, in every field of bytes: nothing is run or built.

Nothing here unpickles; this shows it. Control: ``pickle.loads`` of the same bytes leaves its marker.
"""

import io
import pickle
import tracemalloc
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.protocol import closing
from fedrepay.client.scoring import release_file
from fedrepay.shared import keys
from fedrepay.shared.errors import FedrepayError, ProtocolError
from fedrepay.shared.secure_sum import ciphertext
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.wire import Reply, asked
from fedrepay.simulations.attacks.tools.adversary import answer
from support import fuzz
from support.adversary import fork
from support.stages import ENROLLING, PARTS, Stages, before_roster, machine, wire_kinds

PROMISED = 1 << 40  # bytes that a header says will follow
KINDS = ("pickle", "pickle 4", "npz", "torch", "zip", "safetensors", "safetensors header")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


def bombs(marker: Path) -> dict[str, bytes]:
    pickled = [pickle.dumps(Bomb(marker), protocol) for protocol in (0, 4)]
    npz, torch, zipped = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(npz, a=np.array([Bomb(marker)], dtype=object))
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("archive/data.pkl", pickled[0])
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(64 << 20))
    header = b'{"weights":{"dtype":"F64","shape":[%d],"data_offsets":[0,%d]}}' % (PROMISED // 8, PROMISED)
    tensors = len(header).to_bytes(8, "little") + header
    promised = PROMISED.to_bytes(8, "little") + b"{"
    return dict(
        zip(KINDS, [*pickled, *(f.getvalue() for f in (npz, torch, zipped)), tensors, promised], strict=True)
    )


def everywhere(run: Stages, planted: list[bytes], folder: Path) -> int:
    """One of them in each field of each message, both ways, in turn; how many messages were handled."""
    tried = 0
    for kind in PARTS:
        stage, ask = run.at[kind]
        world = (before_roster if kind in ENROLLING else fork)(stage, folder / kind)
        name = min(ask.parts)
        member = world.members[name]
        shared, own = ask.parts[name]
        bomb = planted[0]
        sent = [(each, own) for each in fuzz.with_bytes(shared, planted)] if shared else []
        sent += [(shared, each) for each in fuzz.with_bytes(own, planted)] if own else []
        for message in (*sent, (bomb, own), (shared, bomb)):
            assert answer(member.handle(kind, *message)).code != "internal"
            tried += 1
        for body in (bomb, *fuzz.with_bytes(run.answers[kind], planted)):
            said = Reply(kind="ok", name=name, asked=asked(kind, shared, own), body=body)
            signed = Signed.make(world.identities[name].signing, said)
            machine(world, kind).receive(ask, name, signed)
            with suppress(ProtocolError):
                machine(world, kind).receive(ask, name, Signed.decode(body))
            tried += 1
    return tried


@pytest.mark.parametrize("checked", [True, False], ids=["signatures", "as if all was signed"])
@pytest.mark.parametrize("first", KINDS[:2])
def test_no_bomb_in_any_field_goes_off(
    first: str, run: Stages, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, checked: bool
) -> None:
    """Unchecked, also what stands behind a signature: a member may be the one who plants it."""
    made = bombs(marker)
    planted = [made[first]] if first == "pickle" else list(made.values())
    if not checked:
        monkeypatch.setattr(keys, "verify", lambda *_: None)
    assert everywhere(run, planted, tmp_path) > 300
    assert not marker.exists()


@pytest.mark.usefixtures("tidy")
@pytest.mark.parametrize("kind", KINDS)
def test_no_bomb_behind_a_seal_goes_off(kind: str, run: Stages, marker: Path, tmp_path: Path) -> None:
    """What only members can open: releases, ciphertexts; and the files of a release."""
    bomb = bombs(marker)[kind]
    release = ReleaseContent.decode(run.release)
    world = run.at["close"][0]
    sealed = closing.seal(bomb, 1, world.coordinator.epoch, world.members["m0"]._entropy)
    assert closing.open_sealed(world.identities["m0"], sealed, world.coordinator.epoch) == bomb
    (tmp_path / release_file.RELEASE).write_bytes(bomb)
    (tmp_path / release_file.VOTES).write_bytes(run.votes)
    tracemalloc.start()
    readers: list[Any] = [
        partial(closing.check, release),
        ReleaseContent.decode,
        lambda data: ciphertext.uploaded(data, 1),
        lambda data: ciphertext.summed(data, 1),
        lambda _: release_file.load(tmp_path, unprotected=False),
        *(parse.decode for parse in wire_kinds()),
    ]
    for read in readers:
        with pytest.raises(FedrepayError):
            read(bomb)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20  # what is promised is not made room for
    tracemalloc.stop()
    assert not marker.exists()


def test_control_an_unpickler_makes_the_marker(marker: Path) -> None:
    for kind in ("pickle", "pickle 4"):
        pickle.loads(bombs(marker)[kind])  # noqa: S301 - what must never happen elsewhere
        assert marker.exists()
        marker.unlink()
    np.load(io.BytesIO(bombs(marker)["npz"]), allow_pickle=True)["a"]
    assert marker.exists()
