"""What a coordinator says to anybody: authority, terms in force, schemas."""

from pathlib import Path

import pytest

from fedrepay.server.operating import newcomers
from fedrepay.shared.errors import StorageError
from fedrepay.shared.trust.joining import VERSION, About
from support.founded import book, founded


def test_about_holds_what_a_newcomer_needs_and_follows_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    founded(folder)
    said = About.decode(newcomers.about(folder))
    one = book()
    assert said.version == VERSION
    assert said.authority == (folder / "ca.pem").read_bytes()
    assert said.terms == (folder / "terms.toml").read_bytes()
    assert said.schemas == ((one.schema_hash, one.schema_bytes, one.codebook_bytes),)
    assert b"PRIVATE" not in newcomers.about(folder)
    changed = said.terms + b"# more\n"
    (folder / "terms.toml").write_bytes(changed)
    assert About.decode(newcomers.about(folder)).terms == changed


def test_a_schema_that_is_not_there_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    founded(folder)
    for path in (folder / "schemas").glob("*.toml"):
        path.unlink()
    with pytest.raises(StorageError, match="not in"):
        newcomers.about(folder)
