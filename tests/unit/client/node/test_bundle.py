"""Which Flower bundles a member accepts: ours alone, whatever is done to it."""

import hashlib
import random
import struct
import sys
import zipfile
from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path

import pytest
import tomli_w

from fedrepay.client.node import bundle
from fedrepay.server.network.bundle import build
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.bundle import PROJECT, VERSION

CODE = b"print('here')\n"


@pytest.fixture(scope="module")
def ours() -> bytes:
    return build()


def archive(files: Mapping[str, bytes] | list[tuple[str, bytes]], project: bytes | None = None) -> bytes:
    """Our bundle with other files beside, or another project file; its manifest fits."""
    text = tomli_w.dumps(PROJECT).encode() if project is None else project
    line = f"pyproject.toml,{hashlib.sha256(text).hexdigest()},{8 * len(text)}".encode()
    pairs = [("pyproject.toml", text), (".info/CONTENT", line)]
    pairs += list(files.items()) if isinstance(files, Mapping) else files
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in pairs:
            file.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def changed(*path: str, value: object) -> bytes:
    import copy

    project = copy.deepcopy(PROJECT)
    at = project
    for part in path[:-1]:
        at = at.setdefault(part, {})
    at[path[-1]] = value
    return tomli_w.dumps(project).encode()


def test_ours_is_accepted_and_holds_no_code(ours: bytes) -> None:
    bundle.check(ours)
    assert sorted(zipfile.ZipFile(BytesIO(ours)).namelist()) == [".info/CONTENT", "pyproject.toml"]
    assert len(ours) < 1024
    bundle.check(archive({}))


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_flowers_own_builder_makes_the_same_files(ours: bytes) -> None:
    from flwr.cli.build import build_fab_from_files

    theirs, _ = build_fab_from_files({"pyproject.toml": tomli_w.dumps(PROJECT).encode()})
    bundle.check(theirs)
    one, other = (zipfile.ZipFile(BytesIO(each)) for each in (ours, theirs))
    assert {name: one.read(name) for name in one.namelist()} == {
        name: other.read(name) for name in other.namelist()
    }


@pytest.mark.parametrize(
    "name",
    [
        "fedrepay/client/node/app.py",
        "fedrepay/__init__.py",
        "sitecustomize.py",
        "flwr/clientapp/extra.py",
        "lib.so",
        "LICENSE",
        "../escaped.py",
        "/etc/cron.d/x",
        ".info/EXTRA",
        "fedrepay/",
        "pyproject.toml/x.py",
        "PYPROJECT.TOML",
        "pyproject.toml ",
        "./pyproject.toml",
    ],
)
def test_any_other_file_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ProtocolError, match="Bundle refused: it holds 3 files"):
        bundle.check(archive({name: CODE}))


def test_names_given_twice_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive([("pyproject.toml", CODE)])
    with pytest.raises(ProtocolError, match="holds 3 files"):
        bundle.check(twice)
    two = BytesIO()
    with zipfile.ZipFile(two, "w") as file:
        file.writestr("pyproject.toml", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("pyproject.toml", b"")
    with pytest.raises(ProtocolError, match="holds 2 files"):
        bundle.check(two.getvalue())


def test_a_name_that_hides_another_behind_a_zero_byte_is_refused(ours: bytes) -> None:
    hidden = archive({}).replace(b"pyproject.toml", b"pyproject.t\x00ml")
    with pytest.raises(ProtocolError, match="Bundle refused"):
        bundle.check(hidden)


def test_a_file_that_the_manifest_does_not_name_is_refused_too() -> None:
    """Flower itself installs it: what counts is the list of names."""
    content = archive({"fedrepay/client/node/app.py": CODE})
    assert b"fedrepay/client" not in zipfile.ZipFile(BytesIO(content)).read(".info/CONTENT")
    with pytest.raises(ProtocolError, match=r"fedrepay/client/node/app\.py"):
        bundle.check(content)


@pytest.mark.parametrize(
    "project",
    [
        changed("tool", "flwr", "app", "components", "clientapp", value="os:system"),
        changed("tool", "flwr", "app", "components", "serverapp", value="fedrepay.client.node.app:app"),
        changed("tool", "flwr", "app", "components", "extra", value="os:system"),
        changed("tool", "flwr", "app", "publisher", value="../../x"),
        changed("tool", "flwr", "app", "config", "more", value=1),
        changed("tool", "flwr", "app", "config", "members", value=False),
        changed("project", "dependencies", value=["evil"]),
        changed("project", "version", value="1.0.0"),
        changed("project", "name", value="other"),
        changed("build-system", "requires", value=["evil"]),
        b"",
        b"\xff\xfe",
        b"[project",
    ],
)
def test_a_project_file_other_than_ours_is_refused(project: bytes) -> None:
    with pytest.raises(ProtocolError, match="has a project file"):
        bundle.check(archive({}, project))


def test_a_manifest_that_does_not_fit_is_refused() -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("pyproject.toml", tomli_w.dumps(PROJECT))
        file.writestr(".info/CONTENT", "pyproject.toml," + "0" * 64 + ",8")
    with pytest.raises(ProtocolError, match="manifest"):
        bundle.check(out.getvalue())


def test_what_unpacks_to_much_is_refused_unread() -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("pyproject.toml", bytes(4 << 20))
        file.writestr(".info/CONTENT", b"x")
    assert len(out.getvalue()) < bundle.MAX_BUNDLE
    with pytest.raises(ProtocolError, match=r"pyproject\.toml of 4194304 bytes"):
        bundle.check(out.getvalue())
    lying = out.getvalue().replace(struct.pack("<I", 4 << 20), struct.pack("<I", 100))
    with pytest.raises(ProtocolError, match="Bundle refused"):
        bundle.check(lying)
    with pytest.raises(ProtocolError, match="bytes, more than"):
        bundle.check(bytes(bundle.MAX_BUNDLE + 1))


def test_no_mutant_is_accepted_with_other_contents_and_none_crashes(ours: bytes) -> None:
    """Bytes flipped, cut out, doubled, or taken from a bundle with code."""
    random_ = random.Random(5)
    code = archive({"fedrepay/client/node/app.py": CODE})
    accepted = 0
    for index in range(10_000):
        mutant = bytearray(ours if index % 3 else code)
        for _ in range(random_.randrange(1, 4)):
            at, kind = random_.randrange(len(mutant)), random_.randrange(4)
            if kind == 0:
                mutant[at] ^= 1 << random_.randrange(8)
            elif kind == 1:
                del mutant[at : at + random_.randrange(1, 40)]
            elif kind == 2:
                mutant[at:at] = mutant[at : at + random_.randrange(1, 60)]
            else:
                mutant[at : at + 30] = code[at : at + 30]
        try:
            bundle.check(bytes(mutant))
        except ProtocolError:
            continue
        accepted += 1
        kept = zipfile.ZipFile(BytesIO(bytes(mutant)))
        assert sorted(kept.namelist()) == [".info/CONTENT", "pyproject.toml"]
        assert kept.read("pyproject.toml") == zipfile.ZipFile(BytesIO(ours)).read("pyproject.toml")
    assert accepted < 10_000 // 3, "the control bundle is refused, mutated or not"


def test_a_folder_that_the_superlink_names_beside_our_bundle_is_not_loaded(
    ours: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's version may hold ``..``: with our own, sound bundle Flower loads an app from any folder of this machine."""
    from fedrepay.client.node import app
    from fedrepay.client.node.supernode import _Replaced

    for module, names in {
        "run_clientapp": ("install_from_fab", "get_load_client_app_fn", "pull_and_inflate_object_from_tree")
    }.items():
        theirs = import_module(f"flwr.supernode.runtime.{module}")
        for name in names:
            monkeypatch.setattr(theirs, name, getattr(theirs, name))  # put back at the end
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "home"))
    elsewhere = tmp_path / "shared"
    folder = elsewhere / "app.12345678"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_bytes(
        changed("tool", "flwr", "app", "components", "clientapp", value="strange_app:app")
    )
    (folder / "strange_app.py").write_text("from flwr.clientapp import ClientApp\napp = ClientApp()\n")
    version = f"{VERSION}.{hashlib.sha256(ours).hexdigest()[:8]}/../../../shared/app"
    named = ("fedrepay/fedrepay-bundle", version, "12345678")

    theirs.install_from_fab(ours, skip_prompt=True)
    load = theirs.get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
    try:
        assert load(*named) is import_module("strange_app").app, "the control: Flower alone runs it"
    finally:
        sys.modules.pop("strange_app", None)

    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "ours"))
    replaced = _Replaced(bundle.check, "fedrepay.client.node.app:app")
    replaced.app.install_from_fab(ours, skip_prompt=True)
    load = replaced.app.get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)
    assert load(*named) is app.app
    assert "strange_app" not in sys.modules
    assert not (tmp_path / "ours").exists(), "nothing is unpacked"
    with pytest.raises(ProtocolError, match="Bundle refused"):
        replaced.app.install_from_fab(archive({"fedrepay/client/node/app.py": CODE}), skip_prompt=True)
