"""`simulate --mode local` and `member score` on its release, as a person meets them."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedrepay.client.scoring.release_file import load
from fedrepay.shared.errors import ReleaseError
from support.command import fedrepay
from support.small_run import SmallRun, check_error

NET = """from torch import nn

class Net(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dimension, 3), nn.Tanh(), nn.Linear(3, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)
"""
MODEL = "fedrepay_e2e_net:Net"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """One run that trains an institution's own module, found in the folder it stands in."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "fedrepay_e2e_net.py").write_text(NET)
    small = SmallRun(folder)
    small.write_rows("i % 100 > 60", rows=400)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        options = ("--model", MODEL, "--rounds", 3, "--local-steps", 1, "--sampling-rate", 1, "--epsilon", 50)
        done = small.simulate("--mode", "local", "--members", 4, *options, "--json")
    assert done.code == 0, done.err
    return small


def test_a_run_in_local_mode_gives_figures_and_a_report(finished: SmallRun) -> None:
    metrics = json.loads((finished.out / "metrics.json").read_text())
    assert (metrics["privacy"]["mode"], metrics["privacy"]["not_private"]) == ("local", None)
    assert metrics["privacy"]["epsilon_if_all_others_collude"] == metrics["privacy"]["epsilon_spent"] <= 50
    assert metrics["arguments"]["model"] == MODEL
    assert metrics["arguments"]["local_steps"] == 1
    assert (
        metrics["parameters"]
        == load(finished.out / "release", unprotected=False, torch=True).release.weights.size
    )
    assert metrics["values_summed"] == 1 + 2 * metrics["parameters"]
    assert 0 <= metrics["auc"]["federated"] <= 1
    report = (finished.out / "report.html").read_text()
    assert f"The model is a torch module ({MODEL}" in report
    assert "whoever else shares what they know" in report
    assert "adds one effect a feature" not in report


def test_the_release_holds_the_modules_own_tensors(finished: SmallRun) -> None:
    tensors = load_file(finished.out / "release" / "release.safetensors")
    named = {name: each.shape for name, each in tensors.items() if name.startswith("module.")}
    d = named["module.layers.0.weight"][1]
    assert named == {
        "module.layers.0.weight": (3, d),
        "module.layers.0.bias": (3,),
        "module.layers.2.weight": (1, 3),
        "module.layers.2.bias": (1,),
    }


def test_accounts_are_scored_only_with_a_module_that_its_user_names(
    finished: SmallRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = ("--release", finished.out / "release", "--accounts", finished.data, "--mapping")
    asked = ("member", "score", *files, finished.folder / "mine.toml", "--out", tmp_path / "scores.csv")
    monkeypatch.chdir(finished.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "fedrepay_e2e_net", raising=False)
    check_error(fedrepay(*asked), 9, f"torch module {MODEL}; no code is imported.*--model {MODEL}")
    assert "fedrepay_e2e_net" not in sys.modules
    check_error(fedrepay(*asked, "--model", "logistic"), 9, "is not the one this release was trained with")
    done = fedrepay(*asked, "--model", MODEL)
    assert done.code == 0, done.err
    with (tmp_path / "scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    likely = np.array([float(row["probability"]) for row in scores])
    assert len(scores) == 400
    assert np.ptp(likely) > 0
    assert all(row["reason_1"] == "" for row in scores)
    assert min(int(row["rank"]) for row in scores if float(row["probability"]) == likely.max()) == 1


def test_plans_are_not_made_from_a_torch_module(finished: SmallRun) -> None:
    with pytest.raises(ReleaseError, match="plans need the additive model"):
        load(finished.out / "release", unprotected=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--model mlp", "--model goes with --mode local"),
        ("--sampling-rate 0.5", "--sampling-rate goes with --mode local"),
        ("--mode none --local-steps 2", "--local-steps goes with --mode local"),
        ("--mode local --sampling-rate 0", "--sampling-rate 0 is outside"),
        ("--mode local --sampling-rate 1.5", "--sampling-rate 1.5 is outside"),
        ("--mode local --sampling-rate nan", "--sampling-rate nan is outside"),
        ("--mode local --local-steps 0", "--local-steps 0 is outside"),
        ("--mode local --clip -1", "--clip -1 is outside"),
        ("--mode local --learning-rate 0", "--learning-rate 0 is outside"),
        ("--mode local --model resnet", "--model resnet is not a torch module.*logistic, mlp"),
        ("--mode local --model nowhere_at_all:Net", "nowhere_at_all cannot be imported"),
        ("--mode local --model support.torch_modules:Normed", "one customer at a time.*GroupNorm"),
    ],
)
def test_what_local_mode_cannot_do_is_said_before_anything_is_written(
    options: str, words: str, tmp_path: Path
) -> None:
    small = SmallRun(tmp_path)
    check_error(small.simulate("--members", 4, *options.split()), 2, words)
    assert small.left() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--mode local", "--mode local does not go with the market.*--data uci"),
        ("--model mlp", "--model goes with --data FILE"),
        ("--local-steps 2", "--local-steps goes with --data FILE"),
    ],
)
def test_the_market_has_no_local_mode(options: str, words: str, tmp_path: Path) -> None:
    check_error(fedrepay("simulate", "--out", tmp_path / "out", *options.split()), 2, words)
    assert not (tmp_path / "out").exists()


def test_a_release_of_an_additive_model_takes_no_module(tmp_path: Path) -> None:
    small = SmallRun(tmp_path)
    done = small.simulate("--members", 4, "--rounds", 2, "--epsilon", 8)
    assert done.code == 0, done.err
    files = (
        "--release",
        small.out / "release",
        "--accounts",
        small.data,
        "--mapping",
        tmp_path / "mine.toml",
    )
    asked = fedrepay("member", "score", *files, "--out", tmp_path / "scores.csv", "--model", "mlp")
    check_error(asked, 2, "--model mlp: this release is an additive model")
