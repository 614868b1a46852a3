"""The attacks on a live consortium and on what a run leaves behind, defence on and off."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.crypto.seal import add_noise
from fedrepay.shared.errors import ArgumentError, DataError
from fedrepay.simulations.attacks import collude, differencing, shift, subtract
from fedrepay.simulations.attacks.base import AttackOptions
from fedrepay.simulations.attacks.tools import opened_market, seen
from fedrepay.simulations.attacks.tools.switch import switched
from support.recorded import record
from support.small_run import SmallRun
from support.world import World

QUICK = AttackOptions(quick=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("finished"))[0]


# --- differencing ---


def test_a_false_drop_leaves_the_noise_of_both_attempts_and_kept_noise_does_not() -> None:
    finding = differencing.run(QUICK)
    assert (finding.held, finding.bites) == (True, True)
    assert json.loads(json.dumps(asdict(finding)))["bites"] is True
    figures = {row.what: (row.on, row.off) for row in finding.rows}
    assert figures["coordinator alone: sums that it can read"] == ("0", "0")
    assert figures["coordinator and one member: such pairs"] == (
        "2: at most one a false drop, as stated",
        "1",
    )


def test_a_false_drop_in_the_last_round_ends_the_run(tmp_path: Path) -> None:
    found = differencing.attack(World(tmp_path, rounds=2), "m2", 1)
    assert (found.pairs, found.readable, found.alone, found.charged) == (0, 1, 0, 1)


# --- transcripts ---


def test_a_transcript_tells_attempts_uploads_and_sums(finished: Path) -> None:
    told = seen.read(finished)
    assert sorted(told.sums) == [0, 1] == told.whole()
    assert [len(each) for each in told.uploads.values()] == [4, 4]
    assert seen.changed_sums(told) == seen.SumsCompared(sums=2, changed=0, noticed=2)


def test_control_an_upload_less_is_a_changed_sum(finished: Path) -> None:
    told = seen.read(finished)
    del told.uploads[1]["m2"]
    assert (seen.changed_sums(told).changed, told.whole()) == (1, [0])


def test_attacks_read_a_finished_runs_transcript(finished: Path) -> None:
    given = collude.recorded(finished)
    assert (given.uploads, given.stores, given.holding, given.left) == (
        8,
        4,
        (),
        None,
    )  # the epoch's keys are deleted
    assert given.ciphertext > 1e-6


def test_colluders_of_a_run_that_is_still_going_on_read_uniform_numbers(tmp_path: Path) -> None:
    transcript, world = record(tmp_path, stop_at="sign")
    given = collude.recorded(transcript)
    assert given.holding == tuple(world.names)
    assert given.left is not None
    assert given.left > 1e-6


def test_control_all_other_members_of_that_run_read_the_update(tmp_path: Path) -> None:
    from fedrepay.client.learning import contribution
    from fedrepay.client.protocol.epoch import EpochState
    from fedrepay.shared.secure_sum.packing import GAM
    from support.world import rows

    transcript, world = record(tmp_path, stop_at="sign")
    told = seen.read(transcript)
    others = {n: EpochState.decode(world.store(n).fact("epoch") or b"") for n in ("m1", "m2", "m3")}
    filled, bits = collude._residual(told, 0, "m0", others)
    own = contribution.gram(rows(world.book, 0))
    assert (bits, len(filled)) == (GAM.t_bits, len(own))
    slots = np.zeros((1, 4096), np.uint64)
    slots[0, : len(own)] = filled
    left = GAM.unpack(slots, 1, len(own))
    share = world.store("m0").ledger()[0].event[0]
    deviation = (share["variance"] / (share["cohort"] - share["colluders"])) ** 0.5
    assert (abs(left - own) < 8 * deviation).all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "messages.jsonl").unlink(), "is not a transcript"),
        (lambda folder: next((folder / "blobs").iterdir()).unlink(), "is not a transcript"),
        (lambda folder: (folder / "messages.jsonl").write_text("{}\n"), "line 1: not a message"),
        (lambda folder: (folder / "messages.jsonl").write_text(""), "holds no upload"),
    ],
)
def test_a_folder_that_is_no_transcript_is_named(spoil: object, words: str, tmp_path: Path) -> None:
    transcript, _ = record(tmp_path, stop_at="introduce")
    spoil(transcript)  # type: ignore[operator]
    with pytest.raises(DataError, match=words):
        seen.read(transcript)


# --- subtracting one's own book ---


def test_a_rival_reads_the_others_counts_under_the_stated_noise() -> None:
    finding = subtract.run(QUICK)
    assert (finding.held, finding.bites) == (True, True)
    assert {row.off for row in finding.rows} >= {"± 0: exact", "exact, 0.0%"}


def test_a_members_noise_of_half_the_width_is_told_from_the_opened_sum() -> None:
    def halved(values: Any, mechanisms: Any, entropy: Any) -> Any:
        return add_noise(values, [replace(each, variance=each.variance / 4) for each in mechanisms], entropy)

    with switched(opened_market, "add_noise", halved):
        finding = subtract.run(QUICK)
    assert (finding.held, finding.bites) == (False, True)


def test_a_runs_release_is_attacked_with_one_members_own_data(tmp_path: Path) -> None:
    run = SmallRun(tmp_path)
    assert run.simulate("--members", 3, "--epsilon", 4).code == 0
    finding = subtract.run(AttackOptions(quick=True, release=run.out / "release"))
    assert (finding.held, finding.bites) == (True, True)
    assert sum(row.what.startswith("your release, K = 3") for row in finding.rows) == 1
    run.write_rows("i % 5 == 0")
    with pytest.raises(ArgumentError, match="have changed"):
        subtract.run(AttackOptions(quick=True, release=run.out / "release"))
    (run.out / "run.json").write_text(json.dumps([]))
    with pytest.raises(ArgumentError, match="damaged"):
        subtract.run(AttackOptions(quick=True, release=run.out / "release"))
    with pytest.raises(ArgumentError, match="no release of a simulation"):
        subtract.run(AttackOptions(quick=True, release=tmp_path))


def test_the_transcript_is_checked_where_it_is_given(finished: Path) -> None:
    finding = shift.run(AttackOptions(quick=True, transcript=finished))
    assert (finding.held, finding.bites) == (True, True)
    assert finding.rows[-1].on == "0 of 2"
