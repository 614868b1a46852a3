"""Membership inference: under the bound with noise, certain without; on a release its losses say nothing."""

import re
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.learning import contribution, make_learner
from fedrepay.client.learning.contribution import from_table
from fedrepay.client.scoring.release_file import RELEASE
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions
from fedrepay.simulations.attacks.membership import Game, Result, by_loss, most_auc, most_hits
from fedrepay.simulations.attacks.membership import run as infer
from fedrepay.simulations.attacks.tools.release_folder import read_release
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.arguments import Arguments, facts_of
from fedrepay.simulations.run.folder import Folder
from support.adversary import roster_of
from support.small_run import ROWS, SmallRun


@pytest.fixture(scope="module")
def finding() -> AttackFinding:
    return infer(AttackOptions(quick=True), SeededEntropy(b"membership"))


def figures_of(text: str) -> tuple[float, float]:
    found = re.match(r"AUC (\d\.\d+), (\d+\.\d)% found at 1 % false positives", text)
    assert found, text
    return float(found[1]), float(found[2])


def test_the_defence_holds_and_the_attack_bites(finding: AttackFinding) -> None:
    assert finding.held
    assert finding.bites
    assert (finding.attack, finding.threat) == ("membership", "B4")


def test_with_noise_the_best_test_stays_at_its_bound(finding: AttackFinding) -> None:
    shipped, worst, bound, losses = (figures_of(each.on) for each in finding.rows)
    assert bound == (0.575, 2.0)
    assert 0.51 < shipped[0] < worst[0] < 0.59
    assert shipped[1] <= 2.4
    assert worst[1] <= 2.7  # e^ε·1 % + δ
    assert 0.48 < losses[0] < 0.52


def test_without_noise_it_is_certain(finding: AttackFinding) -> None:
    assert figures_of(finding.rows[0].off) == (1.0, 100.0)


def test_losses_betray_the_rows_of_a_model_that_overfits(finding: AttackFinding) -> None:
    assert figures_of(finding.rows[3].off)[0] > 0.58


def test_a_target_is_weighed_by_its_own_contribution() -> None:
    """⟨left, v⟩ and ‖v‖² are those of the integers a member would send for that record."""
    given = prepare(Arguments(members=5, seed=4))
    game = Game(given, np.random.default_rng(4))
    own = given.parties[0].train
    first = own.take(np.random.default_rng(4).permutation(len(own.codes))[:1])
    record, learner = from_table(given.book, first), make_learner("dp-newton", given.book, 5)
    weights = np.random.default_rng(5).normal(size=(1, given.book.dimension))
    for index, sent in ((0, contribution.gram(record)), (1, contribution.gradient(record, weights))):
        assert len(sent) == learner.segments()[index][0].size
        left = np.random.default_rng(6).normal(size=len(sent))
        along, square = game.against(index, left, weights[0])
        assert along[0] == pytest.approx(float(left @ sent))
        assert square[0] == float(sent @ sent)


def test_bounds_and_their_breach() -> None:
    assert most_auc(0.0) == 0.5
    assert most_hits(0.0) == pytest.approx(0.01)
    assert Result(0.575, 0.02, 10_000, 10_000).within(0.268)
    assert not Result(0.65, 0.02, 10_000, 10_000).within(0.268)
    assert not Result(0.575, 0.04, 10_000, 10_000).within(0.268)


def test_a_release_is_attacked_with_the_rows_of_its_own_run(tmp_path: Path) -> None:
    world, mapping = SmallRun(tmp_path), tmp_path / "mine.toml"
    mapping.write_text('sql = "SELECT who, late, a FROM data"')
    folder = Folder(world.out)
    arguments = Arguments(data=str(world.data), schema=str(world.schema), mapping=str(mapping), members=4)
    folder.make(facts_of(arguments))
    book = codebook.load(world.schema)
    weights = np.zeros((1, book.dimension))
    entries = [Identity.create(name).entry() for name in ("a", "b", "c")]
    roster = roster_of(entries, bytes(32))
    made = ReleaseContent(1, weights, (), book.schema_bytes, book.codebook_bytes, roster, {}, {})
    write_atomically(folder.release / RELEASE, made.encode())

    release, given = read_release(folder.release)
    assert len(given.train.codes) + len(given.test.codes) == ROWS
    assert not set(given.train.customers) & set(given.test.customers)
    found = by_loss(given.book, release.weights[0], given.train, given.test)
    assert (found.auc, found.members) == (
        0.5,
        len(given.train.codes),
    )  # a model without weights: all losses alike
    card = {"local": {"model": "m", "model_hash": "00", "layout": [["w", [book.dimension + 1]]]}}
    of_torch = ReleaseContent(
        1, np.zeros((1, book.dimension + 1)), (), book.schema_bytes, book.codebook_bytes, roster, card, {}
    )
    write_atomically(folder.release / RELEASE, of_torch.encode())
    with pytest.raises(ArgumentError, match="of a torch module"):
        read_release(folder.release)
    write_atomically(folder.release / RELEASE, made.encode())
    world.write_rows("i % 2 == 0")
    with pytest.raises(ArgumentError, match="have changed"):
        read_release(folder.release)


def test_a_folder_without_a_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds no release"):
        read_release(tmp_path)
