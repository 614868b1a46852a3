"""`fedrepay attack`: the list, a finding on the screen and as JSON, exit codes, and arguments that are wrong."""

import json
from pathlib import Path

import pytest

from fedrepay.simulations.attacks import catalogue
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from support.command import fedrepay

NAMES = [
    "ckks",
    "oracle",
    "shift",
    "ghost",
    "differencing",
    "collude",
    "isolate",
    "fork",
    "subtract",
    "inversion",
    "membership",
    "canary",
    "poisoning",
]


def finding(*, held: bool, bites: bool) -> AttackFinding:
    row = Row("what it got [of 4]", "0", "4")
    return AttackFinding("shift", "B2", "Somebody wants it.", "the tag", (row,), held, bites, "No more.")


def play(monkeypatch: pytest.MonkeyPatch, found: AttackFinding) -> list[AttackOptions]:
    """Every attack gives this finding; what it was given is noted."""
    given: list[AttackOptions] = []

    def run(options: AttackOptions) -> AttackFinding:
        given.append(options)
        return found

    monkeypatch.setattr(catalogue, "load", lambda _name: run)
    return given


def test_the_list_has_one_line_an_attack() -> None:
    done = fedrepay("attack")
    lines = done.out.splitlines()
    assert (done.code, [line.split()[0] for line in lines[: len(NAMES)]]) == (0, NAMES)
    assert lines[-1].startswith("fedrepay attack NAME")
    assert max(map(len, lines)) <= 80
    assert list(json.loads(fedrepay("attack", "--json").out)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_of_the_list_is_there(name: str) -> None:
    assert callable(catalogue.load(name))


def test_every_attack_is_explained_and_stands_in_the_threat_model() -> None:
    docs = Path(__file__).parents[2] / "docs"
    explained = (docs / "attacks.md").read_text()
    rows = (docs / "threat-model.md").read_text()
    for name, entry in catalogue.ATTACKS.items():
        assert f"## {name}" in explained
        assert f"| {entry.threat} |" in rows


def test_a_defence_that_holds_is_exit_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = play(monkeypatch, finding(held=True, bites=True))
    done = fedrepay("attack", "shift", "--seed", 7, "--transcript", tmp_path)
    assert done.code == 0
    assert given == [AttackOptions(seed=7, transcript=tmp_path)]
    for word in ("Somebody wants it.", "what it got [of 4]", "held", "succeeds", "No more."):
        assert word in done.out


def test_json_holds_the_whole_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, finding(held=True, bites=True))
    said = json.loads(fedrepay("attack", "shift", "--json").out)
    assert said["rows"] == [{"what": "what it got [of 4]", "on": "0", "off": "4"}]
    assert (said["held"], said["bites"], said["threat"]) == (True, True, "B2")


@pytest.mark.parametrize(
    ("held", "bites", "words"),
    [(False, True, "got more than it may"), (True, False, "says nothing"), (False, False, "says nothing")],
)
def test_a_defence_that_fails_or_an_attack_that_does_is_exit_11(
    *, held: bool, bites: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, finding(held=held, bites=bites))
    done = fedrepay("attack", "shift")
    assert done.code == 11
    assert "AttackError" in done.err
    assert words in done.err
    assert "what it got" in done.out  # the figures come first


def test_an_attack_that_is_stopped_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_options: AttackOptions) -> AttackFinding:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "load", lambda _name: stopped)
    done = fedrepay("attack", "shift")
    assert (done.code, done.out) == (130, "")
    assert "no verdict" in done.err


def test_a_real_attack_from_the_command(tmp_path: Path) -> None:
    done = fedrepay("attack", "collude", "--json")
    assert done.code == 0
    assert [row["on"][:5] for row in json.loads(done.out)["rows"]][::3] == ["0 of "] * 3
    assert fedrepay("attack", "collude", "--transcript", tmp_path).code == 4


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("attack nothing", "There is no attack 'nothing'"),
        ("attack ckks --transcript .", "ckks does not read --transcript"),
        ("attack shift --release .", "shift does not read --release"),
        ("attack shift --transcript not-there", "not-there is not a folder"),
        ("attack --transcript .", "go with an attack"),
        ("attack ckks --seed -1", "--seed -1 is below 0"),
    ],
)
def test_wrong_arguments_are_named(words: str, cause: str) -> None:
    done = fedrepay(*words.split())
    assert done.code == 2
    assert cause in done.err
    assert len(done.err.strip().splitlines()) >= 2
