"""`coordinator init` as a person types it; and on a machine where nobody can be asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedrepay.cli import app
from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.operating import founding
from fedrepay.server.operating import settings as places
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.joining import Invitation
from support.command import fedrepay
from support.founded import schema_file
from support.newcomers import Newcomer


def test_init_with_yes_takes_defaults(tmp_path: Path) -> None:
    folder, given = tmp_path / "c", schema_file(tmp_path)
    done = fedrepay(
        *("coordinator", "init", "--folder", folder, "--name", "Debt learners"),
        *("--address", "consortium.example:8443", "--schema", given, "--front", 9000, "--yes", "--systemd"),
    )
    assert (done.code, done.err) == (0, "")
    terms, _ = founding.terms_in(folder)
    assert (terms.minimum_cohort, terms.colluders, terms.modes) == (5, None, ("distributed",))
    assert "coordinator serve" not in done.out, "systemd runs it"
    assert "coordinator invite NAME" in done.out
    assert "ε at most 1 a release and 4 a year" in done.out


def test_every_answer_is_an_option(tmp_path: Path) -> None:
    folder, given = tmp_path / "c", schema_file(tmp_path)
    done = fedrepay(
        *("coordinator", "init", "--folder", folder, "--name", "x", "--address", "a.example:443"),
        *("--schema", given, "--schema", schema_file(tmp_path, "b"), "--minimum-cohort", 3, "--colluders", 2),
        *("--epsilon-per-release", 0.5, "--epsilon-per-year", 2, "--least-age-days", 10),
        *("--mode", "local", "--mode", "none", "--json"),
    )
    assert done.code == 0, done.err
    terms = json.loads(done.out)["terms"]
    assert (terms["minimum_cohort"], terms["colluders"], terms["least_age_days"]) == (3, 2, 10)
    assert (terms["epsilon_per_release"], terms["epsilon_per_year"]) == (0.5, 2.0)
    assert (terms["modes"], len(terms["schemas"])) == (["local", "none"], 2)


def test_nobody_at_the_keyboard_is_an_error_and_no_hang(tmp_path: Path) -> None:
    done = fedrepay("coordinator", "init", "--folder", tmp_path / "c", "--name", "x")
    assert done.code == 2
    assert "--address" in done.err
    assert "--minimum-cohort" in done.err
    done = fedrepay("coordinator", "init", "--folder", tmp_path / "c", "--name", "x", "--yes")
    assert done.code == 2
    assert "--address, --schema: there is no default" in done.err
    assert list(tmp_path.iterdir()) == []


def test_it_asks_what_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = schema_file(tmp_path)
    answers = [
        "Debt learners",
        "a.example:443",
        str(given),
        "3",
        "1",
        "2",
        "",
        "30",
        "distributed none",
        "bank-a bank-b",
    ]
    runner = CliRunner()
    monkeypatch.setattr("fedrepay.server.commands.setup.at_keyboard", lambda: True)
    done = runner.invoke(
        app, ["coordinator", "init", "--folder", str(tmp_path / "c")], "\n".join(answers) + "\n"
    )
    assert done.exit_code == 0, done.output
    terms, _ = founding.terms_in(tmp_path / "c")
    assert (terms.name, terms.minimum_cohort, terms.colluders) == ("Debt learners", 3, 1)
    assert (terms.epsilon_per_release, terms.epsilon_per_year) == (2.0, 4.0)
    assert terms.modes == ("distributed", "none")
    lines = dict(line.split(": ") for line in done.output.splitlines() if line.startswith("bank-"))
    assert {name: Invitation.read(line).name for name, line in lines.items()} == {
        "bank-a": "bank-a",
        "bank-b": "bank-b",
    }


def test_who_is_named_is_invited_at_once_and_may_join(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    words = (
        *("coordinator", "init", "--folder", folder, "--name", "x", "--address", "a.example:443"),
        *("--schema", schema_file(tmp_path), "--yes"),
    )
    refused = fedrepay(*words, "--invite", "bank-a", "--invite", "no name at all")
    assert (refused.code, "is no member's name" in refused.err) == (2, True)
    assert not folder.exists(), "nothing is left half-made"
    done = fedrepay(*words, "--invite", "bank-a", "--invite", "bank-b", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)["invitations"]
    assert list(said) == ["bank-a", "bank-b"]
    agreed = agreement.hashed((folder / "terms.toml").read_bytes())
    answer = Registry(folder).join(Newcomer("bank-a").asks(Invitation.read(said["bank-a"]), agreed=agreed))
    assert answer.state == "waiting"
    assert Invitation.read(said["bank-b"]).authority == certificates.authority_digest(folder)
    assert "coordinator invite" not in fedrepay(*words, "--folder", tmp_path / "d", "--invite", "a").out


def test_a_folder_in_use_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = fedrepay("coordinator", "init", "--folder", tmp_path)
    assert done.code == 2
    assert "holds something already" in done.err


def test_a_postgresql_database_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(name: str, *more: str) -> Any:
        facts = ("--name", "x", "--address", "a.example:443", "--schema", schema_file(tmp_path), "--yes")
        return fedrepay("coordinator", "init", "--folder", tmp_path / name, *facts, *more)

    assert init("a", "--database", "postgresql://fed@db/one").code == 0
    assert places.load(tmp_path / "a").database == "postgresql://fed@db/one"
    refused = init("b", "--database", "postgresql://fed:hunter2@db/one")
    assert refused.code == 2
    assert "holds a password" in refused.err
    assert "hunter2" not in refused.err
    monkeypatch.setenv("FEDREPAY_DATABASE_URL", "postgresql://fed:hunter2@db/one")
    assert init("b").code == 0
    assert places.load(tmp_path / "b").database == "postgresql://fed@db/one"
    assert not [
        path for path in (tmp_path / "b").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()
    ]
