"""A release proves only that its own roster signed it: somebody outside the file must know that roster."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import fedrepay as package
from fedrepay.client.crypto.identity import Identity
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.trust import Trust
from fedrepay.shared import keys
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.wire import ReleaseVote, Votes
from fedrepay.simulations.run.world import World
from support.adversary import roster_of
from support.command import Result, fedrepay
from support.company import Company
from support.desk import CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts
from support.market_release import roster_words, write_release

NAMES = ("m0", "m1", "m2")
MARK = "SIMULATED"
NEITHER = "Nothing says whose release this is"


def signed(made: ReleaseContent, people: Sequence[Identity], folder: Path) -> Path:
    """A release folder as these people leave it."""
    data = made.encode()
    votes = [
        Signed.make(each.signing, ReleaseVote(run=made.number, name=each.name, release=keys.digest(data)))
        for each in people
    ]
    folder.mkdir(parents=True)
    (folder / release_file.RELEASE).write_bytes(data)
    (folder / release_file.VOTES).write_bytes(Votes(run=made.number, signed=tuple(votes)).encode())
    return folder


@dataclass
class Case:
    folder: Path
    world: World
    genuine: ReleaseContent

    @property
    def member(self) -> Path:
        """The state folder of a member of the genuine consortium."""
        return self.world.folder / "m0"

    @property
    def words(self) -> str:
        return self.genuine.roster.code()

    @property
    def own(self) -> Path:
        return self.folder / "genuine"

    def forged(self, name: str, *, simulated: bool = False) -> Path:
        """An outsider's: the members' names, its own keys, the weights turned round."""
        people = [Identity.create(each) for each in NAMES]
        roster = roster_of([each.entry() for each in people], keys.public_bytes(Ed25519PrivateKey.generate()))
        card = self.genuine.card | {"simulated": simulated}
        made = replace(self.genuine, weights=-self.genuine.weights, roster=roster, card=card)
        return signed(made, people, self.folder / name)

    def marked(self, name: str) -> Path:
        """The genuine consortium's release with the mark of a simulation."""
        people = list(self.world.identities.values())
        return signed(
            replace(self.genuine, card=self.genuine.card | {"simulated": True}), people, self.folder / name
        )


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("forged")
    world = World(folder / "world", size=3, rounds=2)
    world.run()
    stored = world.store("m0").release()
    assert stored is not None
    made = ReleaseContent.decode(stored[1])
    (folder / "genuine").mkdir()
    (folder / "genuine" / release_file.RELEASE).write_bytes(stored[1])
    (folder / "genuine" / release_file.VOTES).write_bytes(stored[2])
    return Case(folder, world, made)


def load(path: Path, **known: Any) -> release_file.CheckedRelease:
    return release_file.load(path, unprotected=False, trust=Trust(**known))


def score(folder: Path, release: Path, *options: object) -> Result:
    (folder / "accounts.csv").write_text("id,x,z\nk1,1,a\nk2,4,b\n")
    files = ("--accounts", folder / "accounts.csv", "--out", folder / "scores.csv")
    return fedrepay("member", "score", "--release", release, *files, *options)


@pytest.mark.parametrize("how", ["member", "words"])
def test_an_outsiders_release_is_refused_and_the_own_one_used(case: Case, how: str, tmp_path: Path) -> None:
    known: dict[str, Any] = {"member": case.member} if how == "member" else {"words": case.words}
    forged = case.forged(f"by {how}")
    with pytest.raises(ReleaseError, match="roster is not the one"):
        load(forged, **known)
    used = load(case.own, **known)
    assert used.origin == "consortium"
    option = ("--member", case.member) if how == "member" else ("--roster-code", case.words)
    refused = score(tmp_path, forged, *option)
    assert refused.code == 9
    assert not (tmp_path / "scores.csv").exists()
    assert score(tmp_path, case.own, *option).code == 0
    assert "consortium" in (tmp_path / "scores.csv").read_text()
    assert MARK not in (tmp_path / "scores.csv").read_text()


def test_control_by_its_signatures_alone_the_forgery_is_used(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trust, "check", lambda *_: None)
    found = load(case.forged("unchecked"), member=case.member, words=case.words)
    assert found.signatures == 3
    assert found.origin == "consortium"
    assert np.array_equal(found.release.weights, -case.genuine.weights)


@pytest.mark.parametrize("how", ["member", "roster_code"])
def test_from_python_it_is_the_same(case: Case, how: str, tmp_path: Path) -> None:
    known: dict[str, Any] = {"member": case.member} if how == "member" else {"roster_code": case.words}
    forged = case.forged(f"python {how}")
    with pytest.raises(ReleaseError, match="roster is not the one"):
        package.load_release(forged, **known)
    with pytest.raises(ReleaseError, match=NEITHER):
        package.load_release(case.own)
    catalogue = tmp_path / "mine.toml"
    catalogue.write_text(CATALOGUE)
    rows: dict[str, Sequence[object]] = {"id": ["k1", "k2"], "x": [1, 4], "z": ["a", "b"]}
    with pytest.raises(ReleaseError, match="roster is not the one"):
        package.recommend(forged, rows, catalogue, batch_id="b1", **known)
    with pytest.raises(ReleaseError, match=NEITHER):
        package.recommend(case.own, rows, catalogue, batch_id="b1")
    scores = package.load_release(case.own, **known).score(rows)
    assert score(tmp_path, case.own, "--roster-code", case.words).code == 0
    with (tmp_path / "scores.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [each["probability"] for each in written] == [str(each) for each in scores.columns["probability"]]
    assert set(scores.columns["origin"]) == {"consortium"}


def test_neither_folder_nor_words_is_no_release(case: Case, tmp_path: Path) -> None:
    refused = score(tmp_path, case.own)
    assert refused.code == 9
    assert NEITHER in refused.err
    assert "--member" in refused.err
    assert "--roster-code" in refused.err


def test_another_consortiums_genuine_release_is_refused(case: Case, tmp_path: Path) -> None:
    other = World(tmp_path / "world", size=3, rounds=2)
    other.run()
    stored = other.store("m1").release()
    assert stored is not None
    (tmp_path / release_file.RELEASE).write_bytes(stored[1])
    (tmp_path / release_file.VOTES).write_bytes(stored[2])
    for known in ({"member": case.member}, {"words": case.words}):
        with pytest.raises(ReleaseError, match="roster is not the one"):
            load(tmp_path, **known)
    assert load(tmp_path, member=tmp_path / "world" / "m1").signatures == 3


def test_folder_and_words_must_both_fit(case: Case) -> None:
    forged = case.forged("own words")
    theirs = roster_words(forged)
    assert load(forged, words=theirs).signatures == 3, "who types an outsider's words has been talked into it"
    with pytest.raises(ReleaseError, match="that the member in"):
        load(forged, member=case.member, words=theirs)
    assert load(case.own, member=case.member, words=f"  {case.words.upper()} ").signatures == 3


def test_a_folder_that_knows_no_roster_is_no_help(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no state folder"):
        load(case.own, member=tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing is made there"
    fresh = Company(tmp_path)
    fresh.proposal(fresh.call(1))
    with pytest.raises(ReleaseError, match="taken part in no run"):
        load(case.own, member=tmp_path / "m0")
    assert fresh.store("m0").fact("roster") is None


def test_misspelt_words_say_so(case: Case, tmp_path: Path) -> None:
    refused = score(tmp_path, case.own, "--roster-code", "zoo " * 11)
    assert refused.code == 2
    assert "twelve words" in refused.err


def test_a_simulated_release_is_marked_in_scores_and_on_the_screen(case: Case, tmp_path: Path) -> None:
    """Also a forgery that says it is simulated: it gains outputs that say so."""
    for place, release in enumerate((case.marked("marked"), case.forged("claims", simulated=True))):
        folder = tmp_path / str(place)
        folder.mkdir()
        done = score(folder, release)
        assert done.code == 0
        assert MARK in done.err
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT DISTINCT origin FROM '{folder / 'scores.csv'}'").fetchall()
        assert found == [(MARK,)]


def test_the_mark_opens_no_door_beside_a_member_or_words(case: Case) -> None:
    claims = case.forged("claims again", simulated=True)
    for known in ({"member": case.member}, {"words": case.words}):
        with pytest.raises(ReleaseError, match="roster is not the one"):
            load(claims, **known)
    assert load(case.marked("by its member"), member=case.member).origin == MARK


@pytest.mark.parametrize("card", ["yes", 1, None, [True]])
def test_only_true_is_the_mark(case: Case, card: object) -> None:
    people = list(case.world.identities.values())
    made = replace(case.genuine, card=case.genuine.card | {"simulated": card})
    with pytest.raises(ReleaseError, match=NEITHER):
        load(signed(made, people, case.folder / f"card {card!r}"))


@pytest.mark.parametrize("simulated", [True, False])
def test_plans_explanations_and_letters_of_a_simulated_model_say_so(
    *, simulated: bool, tmp_path: Path
) -> None:
    """The same market release with and without the mark: the unmarked one is the control."""
    write_release(tmp_path / "release", simulated=simulated)
    (tmp_path / "mine.toml").write_text(CATALOGUE)
    write_csv(tmp_path / "accounts.csv", random_accounts(40, seed=3))
    desk = Desk(tmp_path)
    known: dict[str, Any] = {"roster-code": None if simulated else roster_words(tmp_path / "release")}
    done = desk.recommend(**known)
    assert done.code == 0
    rows = desk.rows()
    assert {row["origin"] for row in rows} == {MARK if simulated else "consortium"}
    offered = next(row["account"] for row in rows if row["decision"] == "OFFER")
    shown = desk.recommend(None, "--explain", offered, **known)
    explained = json.loads(desk.recommend(None, "--explain", offered, "--json", **known).out)
    told = json.loads(desk.recommend("again.csv", "--json", **known).out)
    assert (explained["simulated"], explained["versions"]["origin"]) == (simulated, rows[0]["origin"])
    assert told["hashes"]["origin"] == rows[0]["origin"]
    letter = explained["letter"].strip().splitlines()
    for text in (done.err, shown.out.splitlines()[0], shown.err, letter[0], letter[-1]):
        assert (MARK in text) == simulated
