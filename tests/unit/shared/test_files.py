"""One reader for what people write, one way to write whole files, one lock."""

import errno
import os
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedrepay.client.data.mappings.mapping import load_mapping
from fedrepay.client.plans.deciding.settings import load_settings
from fedrepay.client.veto import limits
from fedrepay.server.keyring import load_key
from fedrepay.shared import files
from fedrepay.shared.errors import (
    ArgumentError,
    CatalogueError,
    FedrepayError,
    MappingError,
    RuleError,
    SchemaError,
    StorageError,
)
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.pack import load_pack
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.columns import Public
from fedrepay.shared.schema.model import load_schema
from fedrepay.shared.trust import local_run
from fedrepay.simulations.sweep import plan

PUBLIC = Public(n_max=1000, prior=0.5)
LOADERS: dict[str, tuple[Callable[[Path], object], type[FedrepayError], str]] = {
    "settings": (load_settings, CatalogueError, "exploration"),
    "limits": (lambda path: limits.load(path, PUBLIC), ArgumentError, "max_attempts"),
    "mapping": (load_mapping, MappingError, "sql"),
    "schema": (load_schema, SchemaError, "version"),
    "code book": (codebook.load, SchemaError, "version"),
    "catalogue": (load_catalogue, CatalogueError, "rounding"),
    "pack": (load_pack, RuleError, "version"),
    "terms": (local_run.read, ArgumentError, "rounds"),
    "sweep": (plan.load, ArgumentError, "fixed"),
}
HASHES = f'schema_hash = "{"0" * 64}"\nmodel_hash = "{"0" * 64}"\n'
"""Terms are asked for these first of all."""


def refusal(name: str, path: Path) -> str:
    load, kind, _ = LOADERS[name]
    with pytest.raises(kind) as caught:
        load(path)
    assert type(caught.value) is kind
    assert str(path) in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"title = 'Kr\xfcger'", "is not TOML: byte 11 is not UTF-8"),
        (b"a = ", "is not TOML"),
        (b"a = " + b"[" * 5000, "is nested deeper than 32"),
        (b"a = " + b"{a = " * 5000, "is nested deeper than 32"),
        (b".".join([b"a"] * 5000) + b" = 1", "a is nested deeper than 32"),
        (b"[" + b".".join([b"a"] * 5000) + b"]", "a is nested deeper than 32"),
        (b"a = 1" + b"0" * 5000, "holds a number of more than 4300 digits"),
        (b"[a]\nb = [0, 0x" + b"f" * 5000 + b"]", "a.b.1: a whole number must be within"),
        (b"a = 9223372036854775808\nb = -9223372036854775809", "a: a whole .*; b: a whole number must be"),
    ],
    ids=["UTF-8", "TOML", "lists", "tables", "dotted", "header", "digits", "hexadecimal", "two numbers"],
)
def test_no_bytes_end_in_an_untyped_error(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(data)
    cause = refusal(name, path)
    assert re.search(words, cause), cause


@pytest.mark.parametrize("name", LOADERS)
def test_an_unknown_field_and_a_wrong_type_are_named(name: str, tmp_path: Path) -> None:
    path, field = tmp_path / "mine.toml", LOADERS[name][2]
    wrong = {"sql": "sql = 5", "fixed": "fixed = 5"}.get(field, f'{field} = "many"')
    begin = HASHES if name == "terms" else ""
    path.write_text(begin + wrong)
    assert field in refusal(name, path)
    path.write_text(f"{begin}unheard = 1\n{wrong}")
    cause = refusal(name, path)
    assert "unheard" in cause
    assert name == "sweep" or field in cause, "all that is wrong at once"


@pytest.mark.parametrize("name", LOADERS)
def test_a_file_that_is_not_there_or_a_folder_is_named(name: str, tmp_path: Path) -> None:
    assert "mine.toml cannot be read: No such file" in refusal(name, tmp_path / "mine.toml")
    assert "cannot be read: Is a directory" in refusal(name, tmp_path)


def test_what_is_within_the_bounds_is_read() -> None:
    text = f"a = {2**63 - 1}\nb = {-(2**63)}\nc = " + "[" * 31 + "]" * 31
    assert files.content_of(text.encode(), "x", ArgumentError, "")["b"] == -(2**63)


# --- writing ---


@pytest.mark.parametrize("over", [True, False])
def test_a_file_is_written_whole_or_not_at_all(
    *, over: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "there" / "key"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="key cannot be written: No space left on device"):
            files.write_atomically(path, b"new", "Buy a disk.", over=over)
    assert not [*path.parent.iterdir()]
    path.with_name("key.partial").write_bytes(b"of a process that was killed")
    files.write_atomically(path, b"new", over=over)
    assert [(each.name, each.read_bytes()) for each in path.parent.iterdir()] == [("key", b"new")]


def full(_file: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_key_is_its_owners_alone_and_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        files.write_atomically(path, b"old", mode=0o600, over=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(
        StorageError, match=r"key cannot be written: File exists\. It is never written over: name a new"
    ):
        files.write_atomically(path, b"new", mode=0o600, over=False)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new", "the control"


def test_a_file_and_its_name_are_put_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def told(file: int) -> None:
        said.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        if said[-1] == "folder":
            raise OSError(errno.EINVAL, "this file system puts no folder on the disk")

    monkeypatch.setattr(os, "fsync", told)
    files.write_atomically(tmp_path / "a", b"")
    assert said == ["file", "folder"]
    files.write_atomically(tmp_path / "b", b"", durable=False)
    assert len(said) == 2


# --- one process ---

TAKEN = ArgumentError("Taken.", "Wait.")


def _try(path: Path) -> None:
    with files.held(path, TAKEN, ""):
        pass


def test_one_process_at_a_time_and_whoever_waits_is_let_in(tmp_path: Path) -> None:
    path, asked = tmp_path / "lock", iter([True, True, False])
    with files.held(path, TAKEN, ""):
        with pytest.raises(ArgumentError, match="Taken"):
            _try(path)
        with pytest.raises(ArgumentError, match="Taken"), files.held(path, TAKEN, "", lambda: next(asked)):
            pass
        assert next(asked, None) is None
    _try(path)
    with pytest.raises(OSError, match="of the work"), files.held(path, TAKEN, ""):
        raise OSError("of the work")
    with pytest.raises(StorageError, match="cannot be written: No such file"):
        _try(tmp_path / "nowhere" / "lock")


def test_whoever_waits_gets_in_when_the_other_is_done(tmp_path: Path) -> None:
    first = files.held(tmp_path / "lock", TAKEN, "")
    first.__enter__()

    def again() -> bool:
        first.__exit__(None, None, None)
        return True

    with files.held(tmp_path / "lock", TAKEN, "", again):
        pass


# --- what others left there ---


def test_rights_never_become_wider(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o600)
    files.write_atomically(path, b"new", "r")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


@pytest.mark.parametrize("path", [Path(), Path("/"), Path("a\0b")])
def test_a_path_that_is_no_file_is_a_typed_error(path: Path) -> None:
    with pytest.raises(StorageError):
        files.write_atomically(path, b"", "r")
    with pytest.raises(ArgumentError):
        files.read_bytes(path, ArgumentError)


def test_a_lock_empties_nothing_that_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "thesis")
    with pytest.raises(StorageError), files.held(tmp_path / "lock", StorageError("taken", "r"), "r"):
        pass
    assert (tmp_path / "thesis").read_text() == "mine"


def test_a_key_that_many_make_at_once_is_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: load_key(tmp_path / "c").private_bytes_raw(), range(8)))
    assert set(made) == {(tmp_path / "c" / "coordinator.key").read_bytes()}


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@proxy:3128", "postgresql://me:hun@ter2@db/x", "x://:hunter2@y"]
)
def test_a_wrong_value_that_is_a_url_is_told_without_its_password(url: str) -> None:
    class Model(files.Part):
        number: int

    with pytest.raises(ArgumentError) as caught:
        files.parse_toml(f'number = "{url}"'.encode(), "x.toml", Model, ArgumentError, "Mend it.")
    assert "ter2" not in str(caught.value)
    assert url.rpartition("@")[2] in str(caught.value), "control: the rest of it is told"
