"""`fedrepay simulate --sweep FILE`: what is refused, what goes on, what the tables and the picture say."""

import csv
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedrepay.shared.errors import ArgumentError, SweepError
from fedrepay.simulations import commands
from fedrepay.simulations.sweep import carry, plan, table
from fedrepay.simulations.sweep.picture import axis, lines_of
from fedrepay.simulations.sweep.table import Ran
from support.command import Result, fedrepay
from support.small_run import SmallRun, check_error

GOOD = "seeds = [1, 2]\n[fixed]\nmembers = 4\n[grid]\nepsilon = [1, 2.5]\nmode = ['none', 'distributed']\n"
ROOT = Path(__file__).parents[4]


def written(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def test_a_sweep_knows_every_option_of_simulate() -> None:
    of_command = set(inspect.signature(commands.simulate).parameters)
    assert set(plan.TYPES) == of_command - {
        *("context", "out", "seed", "sweep", "jobs", "as_json"),
        *("year", "months"),  # a year is another command in all but name
    }


def test_points_are_all_combinations_with_folders_of_their_own(tmp_path: Path) -> None:
    sweep = plan.load(written(tmp_path, GOOD))
    points = sweep.points()
    assert [(p.varied["epsilon"], p.varied["mode"]) for p in points] == [
        (1.0, "none"),
        (1.0, "distributed"),
        (2.5, "none"),
        (2.5, "distributed"),
    ]
    assert len({p.name for p in points}) == 4
    made = points[3].arguments(7)
    assert (made.members, made.epsilon, made.mode, made.seed) == (4, 2.5, "distributed", 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds = [1]\nseeds = [2]", "is not TOML"),
        ("[gird]\nepsilon = [1]", "gird is unknown"),
        ("seeds = [1]", r"\[grid\] is empty"),
        ("[grid]\nepsilom = [1]", "grid.epsilom is not an option"),
        ("[grid]\nepsilon = []", "grid.epsilon must be a list of 1 … 100 values"),
        ("[grid]\nepsilon = 1", "grid.epsilon must be a list"),
        ("[grid]\nepsilon = [1, 'two']", r"grid.epsilon\[1\] is 'two', not a number"),
        ("[grid]\nepsilon = [true]", r"grid.epsilon\[0\] is True, not a number"),
        ("[grid]\nmembers = [4.5]", r"grid.members\[0\] is 4.5, not a whole number"),
        ("[grid]\nepsilon = [1, 1.0]", "names a value twice"),
        ("[fixed]\nepsilon = 1\n[grid]\nepsilon = [1]", r"stands in \[fixed\] and in \[grid\]"),
        ("[fixed]\nbaselines = 'yes'\n[grid]\nepsilon = [1]", "fixed.baselines is 'yes', not true or false"),
        ("[fixed]\ndrop = [3]\n[grid]\nepsilon = [1]", "fixed.drop is .* not a list of texts"),
        ("[fixed]\nseed = 3\n[grid]\nepsilon = [1]", "fixed.seed is not set here"),
        ("fixed = 3\n[grid]\nepsilon = [1]", "fixed is not a table"),
        ("seeds = []\n[grid]\nepsilon = [1]", "seeds must be a list of 1 … 100"),
        ("seeds = [1, -1]\n[grid]\nepsilon = [1]", r"seeds\[1\] is -1"),
        ("seeds = [1, 1]\n[grid]\nepsilon = [1]", r"seeds\[1\] is 1, not another"),
        (
            f"seeds = {list(range(100))}\n[grid]\nepsilon = {list(range(1, 22))}",
            "asks for 2100 runs; 2000 is the most",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_key_and_bound(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        plan.load(written(tmp_path, text))


def test_the_shipped_sweeps_are_good() -> None:
    files = sorted((ROOT / "simulations/sweeps").glob("*.toml"))
    assert files
    for file in files:
        for point in plan.load(file).points():
            point.arguments(1)


def test_mean_and_interval_over_seeds() -> None:
    found = table.spread([1.0, 2.0, 3.0])
    assert (found.mean, found.count) == (2.0, 3)
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5)
    assert table.spread([1.0]).low is None


def test_lines_join_points_along_the_first_numeric_option(tmp_path: Path) -> None:
    points = plan.load(written(tmp_path, GOOD)).points()
    runs = [Ran(p, 1, {"auc": p.varied["epsilon"] / 10}) for p in points[::-1]]
    assert axis(runs) == "epsilon"
    lines = lines_of(runs, "epsilon", "auc")
    assert {label: [x for x, _ in line] for label, line in lines.items()} == {
        "mode none": [1.0, 2.5],
        "mode distributed": [1.0, 2.5],
    }


class Small(SmallRun):
    """A sweep over a small table on the batched engine."""

    def sweep(self, grid: str, *options: object) -> Result:
        mapping = self.folder / "mine.toml"
        mapping.write_text('sql = "SELECT who, late, a, branch FROM data"\nextra = ["branch"]')
        fixed = f"data = '{self.data.name}'\nschema = '{self.schema.name}'\nmapping = 'mine.toml'\nrounds = 2"
        text = f"seeds = [1, 2]\n[fixed]\n{fixed}\nengine = 'batched'\n[grid]\n{grid}"
        return fedrepay("simulate", "--sweep", written(self.folder, text), "--out", self.out, *options)


def read(out: Path) -> list[dict[str, Any]]:
    with (out / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_goes_on_where_it_was_stopped_and_a_bad_point_loses_nothing(tmp_path: Path) -> None:
    small = Small(tmp_path)
    grid = "members = [2, 4]\nepsilon = [4, 8]"
    first = small.sweep(grid)
    assert first.code == SweepError.exit_code, first.err
    assert "4 of 8 runs failed" in first.err
    assert "consortium of 2 members is outside 3" in first.err
    rows = read(small.out)
    assert len(rows) == 4 * (2 + 3)
    good = [row for row in rows if row["members"] == "4" and row["seed"] in ("1", "2")]
    assert all(0 <= float(row["auc"]) <= 1 and not row["error"] for row in good)
    (mean,) = (r for r in rows if r["members"] == "4" and r["epsilon"] == "4.0" and r["seed"] == "mean")
    of = [float(row["auc"]) for row in good if row["epsilon"] == "4.0"]
    assert float(mean["auc"]) == pytest.approx(sum(of) / 2)
    page = (small.out / "sweep.html").read_text()
    assert "<svg" in page
    assert ">auc</text>" in page
    assert re.search(r"<circle[^>]*style=\"fill:#", page)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "4 of 8 runs failed" in page

    finished = sorted(small.out.glob("points/*/seed-*/metrics.json"))
    assert len(finished) == 4
    stamps = {path: path.stat().st_mtime_ns for path in finished[1:]}
    lost = json.loads(finished[0].read_text())["auc"]["federated"]
    finished[0].unlink()  # as if killed just before it was written
    (small.out / "sweep.csv").unlink()
    again = small.sweep(grid)
    assert again.code == SweepError.exit_code
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "what was finished is not run again"
    assert json.loads(finished[0].read_text())["auc"]["federated"] is not None
    assert lost is not None
    assert len(read(small.out)) == 20

    changed = small.sweep("members = [2, 4]\nepsilon = [4, 8, 9]")
    check_error(changed, ArgumentError.exit_code, r"another FILE \(grid.epsilon differ\)")


def test_processes_give_the_same_table(tmp_path: Path) -> None:
    small = Small(tmp_path)
    done = small.sweep("mode = ['none']\nmembers = [4]", "--jobs", 2)
    assert done.code == 0, done.err
    assert [row["seed"] for row in read(small.out)] == ["1", "2", "mean", "low", "high"]


KILLED = """
import os, signal, time
from fedrepay.simulations.sweep import carry

with carry.workers(1) as pool:
    pool.submit(print, "at work", flush=True).result()
    pool.submit(time.sleep, 3600)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_a_sweep_that_is_killed() -> None:
    """Else they would go on behind the same command given again, and hold its folders."""
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.wait(60) == -9
        reader = subprocess.run(
            [sys.executable, "-c", "import sys; print(sys.stdin.read())"],
            stdin=killed.stdout,
            capture_output=True,
            text=True,
            timeout=60,  # the end comes when the last process that could write has ended
            check=True,
        )
    assert reader.stdout.strip() == "at work"


def test_a_process_that_the_system_ends_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "one", os._exit)
    asked: Any = [(9,)]
    with pytest.raises(SweepError, match="ended one of the sweep's processes"):
        list(carry._all(asked, 2))


def test_a_file_is_the_same_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, GOOD.replace("members = 4", "members = 4\ndata = 'mine.csv'"))
    monkeypatch.chdir(tmp_path)
    assert plan.load(Path(file.name)) == plan.load(file)
    assert plan.load(file).fixed["data"] == str(tmp_path.resolve() / "mine.csv")


def test_options_beside_a_sweep_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    out = ("--out", tmp_path / "out")
    check_error(fedrepay("simulate", "--sweep", file, *out, "--epsilon", 1), 2, "--epsilon does not go with")
    check_error(fedrepay("simulate", *out, "--jobs", 2), 2, "--jobs goes with --sweep")
    check_error(fedrepay("simulate", "--sweep", file, *out, "--jobs", 0), 2, "--jobs 0 is outside 1 … 64")
    assert not (tmp_path / "out").exists()
