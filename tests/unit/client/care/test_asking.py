"""`member limits`: shown as they are read, and tried on a run by the veto's own code."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from fedrepay.client.care import asking, home
from fedrepay.client.care.asking import ThoughtOf
from fedrepay.client.protocol.terms import Consent
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import ArgumentError, Refusal, TermsError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Offer
from support import member_folder
from support.command import fedrepay
from support.member_folder import NOW
from support.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return member_folder.played(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    return shutil.copytree(world.folder / "m0", tmp_path / "member")


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("time.time", return_value=NOW):
        yield


def write(folder: Path, text: str) -> None:
    (folder / "limits.toml").write_text(text)
    (folder / "member.toml").write_text('schema = "schema.toml"\nlimits = "limits.toml"\n')


def tried(folder: Path, *options: object) -> tuple[int, str]:
    """Exit code, and the code and cause of a no."""
    done = fedrepay("member", "limits", "test", "--folder", folder, "--json", *options)
    if not done.out:
        return done.code, done.err
    said = json.loads(done.out)
    return done.code, "" if said["accepted"] else f"{said['code']}: {said['cause']}"


ROOMY = "minimum_cohort = 3\nepsilon_per_release = 4\nepsilon_per_year = 20\n"


def test_limits_are_shown_as_read_with_defaults_marked(folder: Path) -> None:
    write(folder, ROOMY)
    said = json.loads(fedrepay("member", "limits", "show", "--folder", folder, "--json").out)
    lines = said["limits"]
    assert set(lines) == set(Limits.model_fields)
    assert {name for name, each in lines.items() if not each["default"]} == {
        *("minimum_cohort", "epsilon_per_release", "epsilon_per_year")
    }
    assert lines["epsilon_per_year"]["value"] == 20.0
    assert lines["delta_per_year"]["value"] is None
    assert lines["delta_per_year"]["used"] == home.of(folder).delta
    shown = fedrepay("member", "limits", "show", "--folder", folder)
    assert shown.code == 0, shown.err
    assert shown.out.count("default") == len(Limits.model_fields) - 3
    (folder / "member.toml").unlink()
    assert "the strict ones" in fedrepay("member", "limits", "show", "--folder", folder).out


@pytest.mark.parametrize(
    ("limits", "options", "said"),
    [
        ("", ("--epsilon", 2), "limits: epsilon = 2 passes this member's limit of 1"),
        ("", ("--members", 4), "limits: A roster of 4 is below this member's minimum_cohort = 5"),
        ("", ("--delta", 0.01), "limits: delta = 0.01 passes this member's limit"),
        ("minimum_colluders = 3", (), "limits: colluders = 1 is below this member's 3"),
        ("", ("--mode", "none"), "limits: The run adds no noise"),
        ("", ("--epsilon", 0.9), "budget: This attempt would bring the year's ε to"),
        ("epsilon_per_year = 20", (), ""),
    ],
)
def test_the_limit_that_a_run_would_meet_is_named(
    folder: Path, limits: str, options: tuple[object, ...], said: str
) -> None:
    write(folder, limits)
    members = () if "--members" in options else ("--members", 6)
    code, found = tried(folder, *members, *options)
    assert found.startswith(said) if said else not found, found
    assert code == (TermsError.exit_code if said else 0)


@pytest.mark.parametrize("learner", [None, "dp-surrogate"])
def test_the_answer_is_the_one_that_the_operator_would_get(
    world: World, folder: Path, learner: str | None
) -> None:
    answers = []
    for text in (ROOMY, ROOMY.replace("20", "5"), ROOMY.replace("= 4", "= 1")):
        write(folder, text)
        here = home.of(folder)
        terms = asking.terms_of(ThoughtOf(members=3, epsilon=4.0, rounds=2, learner=learner), here.book)
        answer = asking.asked(here, terms, 3, None)
        offer = Offer(run=2, roster=world.roster.hash(), terms=terms)
        signed = Signed.make(world.key, offer).encode()
        consent = Consent(here.store, here.book, here.limits, None, world.members["m0"]._entropy)
        given: tuple[str, ...] | None = None
        try:
            consent.answer(signed, NOW)
        except Refusal as refused:
            given = (str(refused.code), refused.cause, refused.remedy)
        said = (answer.code, answer.cause, answer.remedy)
        assert (answer.accepted, said) == (given is None, given or (None, None, None))
        answers.append(answer.code)
    assert answers == [None, "budget", "limits"]


def test_nothing_is_charged_or_remembered(folder: Path) -> None:
    write(folder, ROOMY)
    before = (home.of(folder).store.ledger(), home.of(folder).store.fact("offer"))
    assert tried(folder, "--members", 3, "--epsilon", 4) == (0, "")
    assert (home.of(folder).store.ledger(), home.of(folder).store.fact("offer")) == before


@pytest.mark.parametrize(
    "options", [("--mode", "local"), ("--mode", "other"), ("--epsilon", -1), ("--colluders", 9)]
)
def test_a_run_that_no_operator_could_start_is_an_error(folder: Path, options: tuple[object, ...]) -> None:
    code, said = tried(folder, "--members", 5, *options)
    assert code == ArgumentError.exit_code
    assert "ArgumentError" in said
