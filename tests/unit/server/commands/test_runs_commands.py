"""`status`, `releases`, `report`, `verify`, `abandon`, `train` as a person types them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrepay.server.operating.narration import Narrator, ending
from support.command import fedrepay
from support.consortium import Consortium, unencrypted
from support.operated import operated, released


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


@pytest.fixture
def home(tmp_path: Path) -> Consortium:
    return operated(tmp_path)


def test_a_coordinator_before_and_after_its_first_run(home: Consortium) -> None:
    at = ("--folder", home.operator)
    assert "No run yet." in fedrepay("coordinator", "status", *at).out
    assert "No release yet." in fedrepay("coordinator", "releases", *at).out
    none = fedrepay("coordinator", "report", *at)
    assert (none.code, "no run" in none.err) == (2, True)
    released(home)
    said: list[str] = []
    for event in home.database.events(1):
        Narrator(2, said.append).tell(event)
    assert said[:5] == [f"m{number} says yes to the run." for number in range(5)]
    assert said[-1].endswith("has signed the release.")
    number, digest, lines = ending(home.database, home.operator)
    assert f"release 1 is out, SHA-256 {digest}" in lines[0]
    assert f"fedrepay coordinator releases --folder {home.operator}" in lines[1]
    assert (number, "fedrepay member use 1" in lines[2]) == (1, True)
    assert "Run 1 (distributed, ε = 4): done" in fedrepay("coordinator", "status", *at).out
    seen = json.loads(fedrepay("coordinator", "status", *at, "--json").out)
    assert (seen["roster"], seen["run"]["over"], seen["run"]["sums"]) == (1, True, 2)
    assert "signed by m0, m1, m2, m3, m4" in fedrepay("coordinator", "releases", *at).out
    (listed,) = json.loads(fedrepay("coordinator", "releases", *at, "--json").out)
    assert listed["release"] == digest
    assert digest in fedrepay("coordinator", "report", 1, *at).out
    assert json.loads(fedrepay("coordinator", "report", *at, "--json").out)["release"] == listed["release"]
    done = fedrepay("coordinator", "verify", *at)
    assert (done.code, done.out.endswith("signatures verify, 0 do not.\n")) == (0, True)
    over = fedrepay("coordinator", "abandon", *at, "--yes")
    assert (over.code, "no unfinished run" in over.err) == (2, True)


def test_what_does_not_verify_has_an_exit_code(home: Consortium) -> None:
    released(home)
    (home.operator / "coordinator.key").write_bytes(bytes(range(32)))
    done = fedrepay("coordinator", "verify", "--folder", home.operator)
    assert done.code == 6
    assert "roster: the coordinator's key: The newest roster is of another" in done.out
    said = json.loads(fedrepay("coordinator", "verify", "--folder", home.operator, "--json").out)
    assert len(said["wrong"]) == 1


def test_a_lost_key_is_not_made_anew(home: Consortium) -> None:
    (home.operator / "coordinator.key").unlink()
    for command in ("status", "verify"):
        done = fedrepay("coordinator", command, "--folder", home.operator)
        assert (done.code, "coordinator.key is not there" in done.err) == (5, True)
    assert not (home.operator / "coordinator.key").exists()


def test_train_beyond_the_terms_is_refused_before_anything_is_asked(home: Consortium) -> None:
    released(home)
    for words in ((), ("--dry-run",)):
        done = fedrepay(
            *("coordinator", "train", "--folder", home.operator, "--epsilon", 9, "--new-run", *words)
        )
        assert done.code == 2
        assert "epsilon_per_release = 4" in done.err
    assert home.database.terms().run == 1  # type: ignore[union-attr]


def test_train_without_a_superlink_says_what_must_run(home: Consortium) -> None:
    released(home)
    done = fedrepay("coordinator", "train", "--folder", home.operator, "--epsilon", 1, "--new-run")
    assert done.code == 10
    assert "coordinator serve" in done.err
    again = fedrepay("coordinator", "train", "--folder", home.operator, "--epsilon", 2)
    assert "Run 2 goes on: mode distributed, ε = 1" in again.err, "its plan is kept"
    assert "these change nothing: --epsilon" in " ".join(again.err.split())
