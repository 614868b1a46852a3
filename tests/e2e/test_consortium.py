"""A consortium by its commands alone: enrol, train, pull; one is revoked, one joins; runs lose processes, pull, go back."""

import time
from pathlib import Path

import pytest

from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.schema import codebook
from support.killed import Kill, Network
from support.people import SCHEMA, Bank, Operator, People, all_end, enrolled, left_of, until

KILLS = (
    Kill("service", "terms"),
    Kill("link", "terms", "a"),
    Kill("front", "ceremony"),
    Kill("service", "ceremony"),
    Kill("serverapp", "prepare"),
    Kill("link", "round", "b"),
    Kill("link", "opening", "a"),
    Kill("service", "opening"),
    Kill("front", "second round"),
    Kill("link", "second round", "d"),
    Kill("front", "release"),
    Kill("service", "votes"),
)
"""In the last run: those that come again within seconds. `make network-faults` kills every process at every stage."""


@pytest.mark.timeout(1200)
def test_enrol_train_change_pull(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("c")  # a short path, for the sockets
    schema = base / "loans.toml"
    schema.write_text(SCHEMA)
    codebook.save(codebook.build(SCHEMA.encode()), schema)
    operator = Operator(base)
    banks = {name: Bank(base, name) for name in ("a", "b", "c", "d")}
    everybody: list[People] = [operator, *banks.values()]
    try:
        tokens = operator.founds(schema, "a", "b", "c")
        operator.starts("serve", "coordinator")
        until("it is ready", lambda: "Ready:" in operator.log(), everybody)
        enrolled(operator, [banks["a"], banks["b"], banks["c"]], tokens, everybody)
        operator.says("train")
        for name in "abc":
            assert held(banks[name]) == [1]
        counted(operator, banks["a"])
        nothing_is_repeated_by_accident(operator)

        banks["c"].types("use", "1", "--yes")
        operator.says("revoke", "c", "--reason", "it sold its book")
        enrolled(operator, [banks["d"]], {"d": operator.invites("d")}, everybody, [banks["a"], banks["b"]])
        until("who joined later has the release of before", lambda: number(banks["d"]) == 1, everybody)
        assert held(banks["d"]) == [1]
        network = Network(base, operator, [banks[name] for name in "abd"])
        network.suffers(KILLS)
        for name in "abd":
            assert held(banks[name]) == [1, 2]
        assert held(banks["c"]) == [1], "what it had it keeps, and no more comes"
        roster = banks["d"].asks("roster")["held"]
        assert roster["members"] == ["a", "b", "d"]
        goes_back(banks["d"])
        what_the_operator_can_show(operator)
    finally:
        all_end(everybody)
    assert left_of(base) == []


def number(bank: Bank) -> int:
    """Of its newest release, without a process for each look."""
    newest = MemberStore(bank.folder, time.time).release()
    return 0 if newest is None else newest[0]


def held(bank: Bank) -> list[int]:
    return [each["number"] for each in bank.asks("releases")["releases"]]


def counted(operator: Operator, bank: Bank) -> None:
    """Until the first release is there: each kind of command once, but for one that must be repeated here.

    Tests do not wait at a screen: ``join`` is typed again instead of waiting for the operator.
    """
    kinds = [command.split()[0] for command in bank.commands]
    assert kinds == ["join", "join", "run", "approve-roster"]
    kinds = sorted({command.split()[0] for command in operator.commands})
    assert kinds == ["admit", "init", "serve", "train"]
    assert not [path for path in bank.folder.iterdir() if path.suffix == ".csv"], (
        "no file was carried by hand"
    )


def nothing_is_repeated_by_accident(operator: Operator) -> None:
    told = operator.says("train", ok=False)
    assert "Run 1 is done" in " ".join(told.split())
    assert "--new-run" in told


def goes_back(bank: Bank) -> None:
    bank.types("use", "2", "--yes")
    bank.types("use", "1", "--yes")
    bank.types("rollback")
    used = {each["number"]: each["in_use"] for each in bank.asks("releases")["releases"]}
    assert [number for number, in_use in used.items() if in_use] == [2]
    scores = bank.base / "scores.csv"
    bank.types("score", "--accounts", bank.data, "--out", scores, where="--member")
    assert len(scores.read_text().splitlines()) == 61


def what_the_operator_can_show(operator: Operator) -> None:
    status = operator.asks("status", role="coordinator")
    assert status["run"]["run"] == 2
    members = {each["name"]: each["state"] for each in operator.asks("members", role="coordinator")}
    assert members == {"a": "admitted", "b": "admitted", "c": "revoked", "d": "admitted"}
    assert "0 do not" in operator.says("verify")
    report = operator.asks("report", "1", role="coordinator")
    text = str(report)
    assert all(name in text for name in "abc")
    assert "epsilon" in text
    page = operator.says("doctor")
    for key in ("ca.key", "server.key", "coordinator.key", "superexec.secret"):
        secret = (operator.folder / key).read_bytes()
        assert secret.hex() not in page
        assert Path(key).name  # the file is there, or reading it had failed
