"""What a command says to install, where a package is missing, has it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
sys.argv = ["fedrepay", *{words!r}]
from fedrepay.cli import main
main()
"""


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("torch", ["simulate", "--data", "uci", "--mode", "local", "--out"]),
        ("tenseal", ["attack", "ckks"]),
    ],
)
def test_what_an_error_says_to_install_has_what_is_missing(
    tmp_path: Path, missing: str, words: list[str]
) -> None:
    words = [*words, str(tmp_path / "out")] if words[-1] == "--out" else words
    code = WITHOUT.format(hidden={"torch", "opacus", "tenseal"}, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert missing in done.stderr
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for part in re.findall(r"\[([a-z,]+)\]", done.stderr) for name in part.split(",")} & set(
        extras
    )
    reached = list(named)
    for name in reached:  # extras of extras
        for other in re.findall(r"fedrepay\[([a-z,]+)\]", " ".join(extras[name])):
            reached += [each for each in other.split(",") if each not in reached]
    assert any(each.startswith(missing) for name in reached for each in extras[name]), done.stderr
