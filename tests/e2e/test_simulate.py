"""`fedrepay simulate` and `fedrepay member score` as a user runs them, on data of their own."""

import csv
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fedrepay.client.learning.contribution import gram
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.client.scoring.release_file import load
from fedrepay.client.scoring.score import probability
from fedrepay.shared.errors import StorageError
from fedrepay.shared.privacy.statement import headline
from fedrepay.simulations.rows.columns import labels
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run import transcript
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import Screen
from fedrepay.simulations.simulate import run
from support import shop as shops
from support.shop import Shop

COMMAND = (sys.executable, "-m", "fedrepay")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def finished(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one protected run, made by the command."""
    out = tmp_path_factory.mktemp("runs") / "one"
    done = fedrepay(*simulate(shop, out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "metrics.json").read_text())
    return out


def simulate(shop: Shop, out: Path) -> list[str]:
    files = ["--data", shop.data, "--schema", shop.schema, "--mapping", shop.mapping, "--out", out]
    return ["simulate", *map(str, files), "--split", "column:Shop", "--epsilon", "4", "--rounds", "3"]


def fedrepay(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_the_documented_figures_are_there(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    for path in (
        *(
            "one_by_one.mean_gain_interval",
            "auc.federated",
            "auc.alone_mean",
            "auc.pooled_no_privacy",
            "log_loss.federated",
            "calibration",
        ),
        *(f"privacy.{key}" for key in ("mode", "epsilon", "delta", "unit", "adjacency", "colluders")),
        *("privacy.epsilon_no_colluders", "privacy.epsilon_if_all_others_collude"),
        *("privacy.epsilon_by_memberships", "rounds", "attempts", "parameters", "values_summed"),
        *("bytes_up_per_member", "seconds.consortium", "peak_rss_mb", "versions.fedrepay"),
    ):
        found: Any = metrics
        for key in path.split("."):
            found = found[key]
        assert found is not None, path
    assert set(metrics["one_by_one"]["members"]) == set(shops.MEMBERS)
    for member in metrics["one_by_one"]["members"].values():
        assert {"rows", "federated", "alone", "own_part", "gain", "verdict", "reason"} <= set(member)
    assert 0.6 < metrics["auc"]["federated"] <= 1
    assert metrics["privacy"]["epsilon"] == 4
    assert metrics["privacy"]["epsilon_spent"] <= 4
    assert (metrics["rounds"], metrics["attempts"]) == (3, 3)
    assert {"one_by_one", "auc", "seconds", "peak_rss_mb"} <= set(metrics["outside_the_guarantee"])


def test_uploads_are_counted_in_bytes_that_left(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    ciphertexts = metrics["ciphertexts_per_release"] * 32_800
    assert ciphertexts < metrics["bytes_up_per_member"] < ciphertexts + 3 * 2000


def test_the_report_stands_alone_and_warns_of_a_small_cohort(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert not re.search(r"(src|href)=.(https?:)?//|@import|<script", page)
    assert page.count("<svg") > 5
    assert "4 members" in page
    assert 'class="banner"' in page


def test_members_folders_are_their_own(finished: Path) -> None:
    for path in (finished / "members", *(finished / "members").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (finished / "members").glob("*/*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_scoring_ranks_every_account_and_gives_reasons(shop: Shop, finished: Path, tmp_path: Path) -> None:
    bad = shop.data.read_text().splitlines()
    bad[3] = bad[3].replace(bad[3].split(";")[3], "unheard")
    accounts, out = tmp_path / "accounts.csv", tmp_path / "scores.csv"
    accounts.write_text("\n".join(bad[:101]) + "\n")
    files = [
        "--release",
        finished / "release",
        "--accounts",
        accounts,
        "--mapping",
        shop.mapping,
        "--out",
        out,
    ]
    done = fedrepay("member", "score", *map(str, files))
    assert done.returncode == 0, done.stderr
    rows = table(out)
    assert len(rows) == 99
    assert sorted(int(row["rank"]) for row in rows) == list(range(1, 100))
    best = min(rows, key=lambda row: int(row["rank"]))
    assert float(best["probability"]) == max(float(row["probability"]) for row in rows)
    assert all(row[f"reason_{i}"] for row in rows for i in range(1, 5))
    rejects = table(tmp_path / "scores.csv.rejects")
    assert [(row["row"], row["column"], row["value"]) for row in rejects] == [("3", "stage", "unheard")]
    code = json.loads((finished / "metrics.json").read_text())["roster_code"]
    assert code in " ".join(done.stderr.split())
    privacy = json.loads((finished / "metrics.json").read_text())["privacy"]
    assert headline(privacy) in " ".join(done.stderr.split()), "ε at one, two and three members"


def test_scores_are_the_release_s_own(shop: Shop, finished: Path) -> None:
    prepared = prepare(shop.arguments())
    checked = load(finished / "release", unprotected=False)
    likely = probability(checked.book, checked.release.weights[0], prepared.test.codes)
    metrics = json.loads((finished / "metrics.json").read_text())
    truth = labels(prepared.test)
    good = likely[truth == 1][:, None] - likely[truth == 0][None, :]
    assert ((good > 0).mean() + (good == 0).mean() / 2) == pytest.approx(metrics["auc"]["federated"])


def test_scoring_never_writes_over_what_it_reads(shop: Shop, finished: Path) -> None:
    before = shop.data.read_bytes()
    files = ["--release", finished / "release", "--accounts", shop.data, "--mapping", shop.mapping]
    done = fedrepay("member", "score", *map(str, files), "--out", str(shop.data))
    assert done.returncode == 2
    assert shop.data.read_bytes() == before


def test_a_changed_release_is_refused(shop: Shop, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    for path in (finished / "release").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = folder / "release.safetensors"
    changed = bytearray(whole.read_bytes())
    changed[-9] ^= 1
    whole.write_bytes(changed)
    files = ["--release", folder, "--accounts", shop.data, "--mapping", shop.mapping]
    done = fedrepay("member", "score", *map(str, files), "--out", str(tmp_path / "s.csv"))
    assert done.returncode == 9
    assert not (tmp_path / "s.csv").exists()


def test_a_finished_folder_is_not_run_again_and_takes_no_other_arguments(shop: Shop, finished: Path) -> None:
    before = (finished / "transcript" / "messages.jsonl").read_bytes()
    again = fedrepay(*simulate(shop, finished))
    assert again.returncode == 0
    assert "finished already" in " ".join(again.stderr.split())
    other = fedrepay(*simulate(shop, finished), "--seed", "2")
    assert other.returncode == 2
    assert "seed" in other.stderr
    assert (finished / "transcript" / "messages.jsonl").read_bytes() == before


def test_a_killed_run_resumes_in_its_epoch_and_repeats_no_completed_sum(shop: Shop, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    log = out / "transcript" / "messages.jsonl"
    process = subprocess.Popen([*COMMAND, *simulate(shop, out)], stderr=subprocess.DEVNULL)
    while process.poll() is None and (not log.exists() or log.read_text().count('"round"') < 6):
        time.sleep(0.01)  # until the first sum is complete and the second is under way
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    assert not (out / "metrics.json").exists()
    before = messages(log)
    done = fedrepay(*simulate(shop, out))
    assert done.returncode == 0, done.stderr
    after = messages(log)
    assert after[: len(before)] == before
    assert not [message for message in after[len(before) :] if message["kind"] in ("hello", "introduce")]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["resumed"]
    assert metrics["rounds"] == 3
    assert metrics["attempts"] <= 4, "at most the attempt that was interrupted is made again"
    assert metrics["privacy"]["epsilon_spent"] <= 4


def test_ctrl_c_says_how_to_go_on(shop: Shop, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs with `&`
    try:
        process = subprocess.Popen([*COMMAND, *simulate(shop, out)], stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    while process.poll() is None and not (out / "transcript" / "messages.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command resumes" in " ".join(said.split())


def test_two_processes_do_not_share_a_folder(shop: Shop, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "held")
    folder.make({})
    with folder.held():
        second = subprocess.run(
            [sys.executable, "-c", HOLD, str(folder.path)], capture_output=True, text=True, check=False
        )
    assert "Another process is at work" in second.stderr
    assert subprocess.run([sys.executable, "-c", HOLD, str(folder.path)], check=False).returncode == 0


HOLD = """
import sys, pathlib
from fedrepay.simulations.run.folder import Folder
with Folder(pathlib.Path(sys.argv[1])).held(): pass
"""


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(path.read_text())))


def messages(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


# --- in this process, where a test can look inside ---


def quiet() -> Screen:
    return Screen(Console(file=StringIO()))


def test_without_noise_the_release_holds_the_plain_sum_bit_for_bit(shop: Shop, tmp_path: Path) -> None:
    arguments = shop.arguments(mode="none")
    metrics = run(arguments, Folder(tmp_path / "none"), quiet())
    assert metrics["privacy"]["not_private"]
    assert metrics["privacy"]["epsilon"] is None
    prepared = prepare(arguments)
    plain = sum(gram(snapshot(prepared.book, party.train, b"")[0]) for party in prepared.parties)
    release = load(tmp_path / "none" / "release", unprotected=True).release
    assert np.array_equal(release.sums[0], plain)
    out = ["--accounts", str(shop.data), "--mapping", str(shop.mapping), "--out", str(tmp_path / "s.csv")]
    refused = fedrepay("member", "score", "--release", str(tmp_path / "none" / "release"), *out)
    assert refused.returncode == 9
    assert "NOT PRIVATE" in (tmp_path / "none" / "report.html").read_text().upper()


def test_a_member_that_fails_costs_an_attempt_and_is_named(shop: Shop, tmp_path: Path) -> None:
    arguments = shop.arguments(drop=("Ost@1",), colluders=1)
    metrics = run(arguments, Folder(tmp_path / "drop"), quiet())
    assert (metrics["rounds"], metrics["attempts"], metrics["attempts_void"]) == (3, 4, 1)
    assert metrics["privacy"]["retry_noise_factor"] > 1
    lost = [each for each in messages(tmp_path / "drop" / "transcript" / "messages.jsonl") if each["error"]]
    assert {each["member"] for each in lost} == {"Ost"}


@pytest.mark.skipif(os.geteuid() != 0 and not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_a_full_disk_is_a_typed_error_and_the_same_command_goes_on(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: transcript.Transcript, exchange: object) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            try:
                file.write(b"x")
            except OSError as error:
                raise transcript._failed(tmp_path, error) from error

    folder = Folder(tmp_path / "full")
    with monkeypatch.context() as patch:
        patch.setattr(transcript.Transcript, "record", full)
        with pytest.raises(StorageError, match="No space left"):
            run(shop.arguments(), folder, quiet())
    assert not folder.metrics.exists()
    assert run(shop.arguments(), folder, quiet())["rounds"] == 3
