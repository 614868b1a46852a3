"""`invite`, `members`, `admit`, `revoke` as a person types them, beside members that ask the registry."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from fedrepay.cli import app
from fedrepay.server.admission.registry import Registry
from fedrepay.server.database.where import FILE
from fedrepay.server.front import nodes
from fedrepay.server.operating import admitting, health
from fedrepay.shared.errors import ArgumentError, FedrepayError
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.joining import Invitation
from support.command import fedrepay
from support.founded import founded
from support.newcomers import Newcomer

PEM = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    founded(tmp_path / "c")
    return tmp_path / "c"


def invited(folder: Path, name: str) -> Invitation:
    done = fedrepay("coordinator", "invite", name, "--folder", folder)
    assert done.code == 0, done.err
    return Invitation.read(done.out)


def joins(folder: Path, name: str) -> Newcomer:
    who = Newcomer(name)
    agreed = agreement.hashed((folder / "terms.toml").read_bytes())
    answer = Registry(folder).join(who.asks(invited(folder, name), agreed=agreed))
    assert answer.state == "waiting", answer
    return who


def shown(folder: Path) -> dict[str, dict[str, object]]:
    done = fedrepay("coordinator", "members", "--folder", folder, "--json")
    return {each["name"]: each for each in json.loads(done.out)}


def test_an_invitation_is_one_line(folder: Path) -> None:
    made = invited(folder, "bank-a")
    terms = agreement.parse((folder / "terms.toml").read_bytes(), "terms.toml")
    assert made.address == terms.address
    done = fedrepay("coordinator", "invite", "bank-b", "bank-c", "--folder", folder)
    assert [line.partition(":")[0] for line in done.out.splitlines()] == ["bank-b", "bank-c"]
    again = fedrepay("coordinator", "invite", "bank-d", "--folder", folder, "--json")
    assert Invitation.read(json.loads(again.out)["bank-d"]).name == "bank-d"
    refused = fedrepay("coordinator", "invite", "coordinator", "--folder", folder)
    assert refused.code == 2


def test_a_member_from_invited_to_revoked(folder: Path) -> None:
    who = joins(folder, "bank-a")
    words = str(shown(folder)["bank-a"]["words"])
    table = fedrepay("coordinator", "members", "--folder", folder).out
    assert "waiting" in table
    assert words.split(maxsplit=1)[0] in table
    done = fedrepay("coordinator", "admit", "bank-a", "--folder", folder, "--yes")
    assert done.code == 0, done.err
    assert "bank-a is in" in done.out
    assert nodes.Nodes(folder)._now().keys() == {who.node.public_key().public_bytes(*PEM)}
    assert shown(folder)["bank-a"]["state"] == "admitted"
    revoked = fedrepay("coordinator", "revoke", "bank-a", "--reason", "sold", "--folder", folder)
    assert revoked.code == 0, revoked.err
    assert nodes.Nodes(folder)._now() == {}
    facts = shown(folder)["bank-a"]
    assert (facts["state"], facts["reason"], facts["certificates"]) == ("revoked", "sold", [])


def test_admit_shows_the_words_and_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joins(folder, "bank-a")
    words = str(shown(folder)["bank-a"]["words"])
    nobody = fedrepay("coordinator", "admit", "bank-a", "--folder", folder)
    assert nobody.code == 2
    assert "Compare them" in nobody.err
    monkeypatch.setattr("fedrepay.server.commands.members.at_keyboard", lambda: True)
    said = CliRunner().invoke(app, ["coordinator", "admit", "bank-a", "--folder", str(folder)], "n\n")
    assert words in said.output
    assert said.exit_code == 1
    assert shown(folder)["bank-a"]["state"] == "waiting"
    said = CliRunner().invoke(app, ["coordinator", "admit", "bank-a", "--folder", str(folder)], "y\n")
    assert said.exit_code == 0, said.output
    assert shown(folder)["bank-a"]["state"] == "admitted"


def test_without_a_name_whoever_waits_is_asked_about_and_never_let_in_by_yes_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nobody waits" in fedrepay("coordinator", "admit", "--folder", folder).err
    joins(folder, "bank-a")
    joins(folder, "bank-b")
    invited(folder, "bank-c")
    refused = fedrepay("coordinator", "admit", "--folder", folder, "--yes")
    assert (refused.code, "bank-a, bank-b wait" in refused.err) == (2, True)
    monkeypatch.setattr("fedrepay.server.commands.members.at_keyboard", lambda: True)
    said = CliRunner().invoke(app, ["coordinator", "admit", "--folder", str(folder)], "y\nn\n")
    assert said.exit_code == 1
    states = {name: each["state"] for name, each in shown(folder).items()}
    assert states == {"bank-a": "admitted", "bank-b": "waiting", "bank-c": "invited"}


def test_a_lost_database_is_told_by_the_keys_that_it_does_not_know(folder: Path) -> None:
    joins(folder, "bank-a")
    admitting.admit(folder, Registry(folder), "bank-a")
    said = fedrepay("coordinator", "members", "--folder", folder).out
    assert "it was lost" not in said, "control: it knows all of them"
    (folder / FILE).unlink()
    said = " ".join(fedrepay("coordinator", "members", "--folder", folder).out.split())
    assert "This folder was a coordinator of bank-a, whom its database does not know" in said
    (line,) = [each for each in health.examine(folder) if each.what.startswith("in the folder")]
    assert (line.said, line.ok) == ("bank-a", False)


def test_who_has_not_asked_is_not_admitted(folder: Path) -> None:
    invited(folder, "bank-a")
    done = fedrepay("coordinator", "admit", "bank-a", "--folder", folder, "--yes")
    assert done.code == 2
    assert "has not asked to join" in done.err
    assert fedrepay("coordinator", "admit", "nobody", "--folder", folder, "--yes").code == 2


def test_away_and_expired_have_names(folder: Path) -> None:
    joins(folder, "bank-a")
    invited(folder, "bank-b")
    registry = Registry(folder)
    admitting.admit(folder, registry, "bank-a")
    one, other = registry.members()
    assert admitting.standing(one, one.seen + 60) == "admitted"
    assert admitting.standing(one, one.seen + 180) == "away"
    assert admitting.standing(other, other.invited) == "invited"
    assert admitting.standing(other, other.expires) == "expired"


def test_an_incident_stands_in_the_table(folder: Path) -> None:
    invitation = invited(folder, "bank-a")
    agreed = agreement.hashed((folder / "terms.toml").read_bytes())
    for _ in range(2):
        Registry(folder).join(Newcomer("bank-a").asks(invitation, agreed=agreed))
    assert "re-keyed" in fedrepay("coordinator", "members", "--folder", folder).out


def test_a_folder_that_is_no_coordinators_is_told(tmp_path: Path) -> None:
    for words in (("members",), ("invite", "a"), ("serve",), ("front",)):
        done = fedrepay("coordinator", *words, "--folder", tmp_path)
        assert (done.code, "coordinator init" in done.err) == (2, True), words
    assert list(tmp_path.iterdir()) == []


def test_the_nodes_key_is_there_when_the_registry_says_admitted(
    folder: Path,
) -> None:
    """The keeper acts on the registry; a key that cannot be written admits nobody."""
    joins(folder, "bank-a")
    registry = Registry(folder)
    (folder / "nodes").write_text("no folder")
    with pytest.raises(FedrepayError):
        admitting.admit(folder, registry, "bank-a")
    assert shown(folder)["bank-a"]["state"] == "waiting"
    (folder / "nodes").unlink()
    admitting.admit(folder, registry, "bank-a")
    (folder / "nodes" / "bank-a.pub").unlink()
    admitting.admit(folder, registry, "bank-a")
    assert (folder / "nodes" / "bank-a.pub").exists(), "once more mends what is missing"


def test_a_private_key_in_a_public_ones_place_is_refused_without_a_word_of_it(folder: Path) -> None:
    who = Newcomer("bank-a")
    private = who.node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with pytest.raises(ArgumentError, match="no public key") as refused:
        nodes.add(folder, private, "bank-a")
    assert private.splitlines()[1].decode() not in str(refused.value)
    nodes.add(folder, admitting.openssh(who.entry()), "bank-a")
    with pytest.raises(ArgumentError, match="no public key"):
        admitting.openssh(who.entry(node=b"anything"))
