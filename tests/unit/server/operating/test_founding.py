"""A coordinator's folder: whole or not at all."""

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedrepay.server.admission import certificates
from fedrepay.server.operating import founding
from fedrepay.server.operating import settings as places
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust import agreement
from support.founded import book, founded, settings


def test_a_folder_holds_what_the_coordinator_needs(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    made = founded(folder)
    terms, hashed = founding.terms_in(folder)
    assert terms == made.terms
    assert hashed == agreement.hashed((folder / "terms.toml").read_bytes())
    assert places.load(folder) == made.settings
    assert made.authority == certificates.authority_digest(folder)
    ((known, path),) = founding.books_in(folder).items()
    assert codebook.load(path) == book()
    assert terms.schemas == (known,) == (book().schema_hash.hex(),)
    assert {"nginx.conf", "haproxy.cfg"} <= set(made.files)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = [each for each in folder.rglob("*") if each.suffix in (".key", ".secret")]
    assert {each.name for each in secret} == {"coordinator.key", "ca.key", "server.key", "superexec.secret"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in secret} == {0o600}
    assert str(tmp_path / ".c.") not in "".join(
        each.read_text("utf-8", "replace") for each in folder.rglob("*") if each.is_file()
    ), "no file names the place where it was made"


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="holds something"):
        founded(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]
    empty = tmp_path / "empty"
    empty.mkdir()
    founded(empty)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_half_made_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | type[BaseException]
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(codebook, "save", stop)
    with pytest.raises((KeyboardInterrupt, StorageError)):
        founded(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    founded(tmp_path / "c")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"address": "nowhere"}, "address"),
        ({"minimum_cohort": 2}, "minimum_cohort"),
        ({"modes": ("open",)}, "modes"),
        ({"epsilon_per_release": -1.0}, "epsilon_per_release"),
    ],
)
def test_terms_out_of_bounds_make_nothing(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        founded(tmp_path / "c", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_unit_runs_serve_and_quotes_its_folder(tmp_path: Path) -> None:
    made = founding.unit(Path('/srv/a b"$%c'))
    (line,) = [each for each in made.splitlines() if each.startswith("ExecStart=")]
    assert line.endswith('coordinator serve --folder "/srv/a b\\"$$%%c"')
    assert "KillMode=mixed" in made
    chosen, one = settings(), book()
    terms = founding.terms_of({"name": "x", "address": "a.example:443"}, [one])
    founding.found(tmp_path / "c", terms, chosen, [one], [], systemd=True)
    assert str(tmp_path / "c") in (tmp_path / "c" / founding.UNIT).read_text()


def test_openssl_finds_the_address_in_the_certificate(tmp_path: Path) -> None:
    founded(tmp_path / "c", address="consortium.example:443")
    text = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "c" / "server.pem", "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:consortium.example" in text
