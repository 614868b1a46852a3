"""``make mutants``: does a test fail for every mutant of the code that guards, pays, masks and proves?

The tree is copied to a temporary folder; nothing is mutated in the checkout. This process loads
everything once; each mutant is a fork of it that loads the mutated module and its importers anew, and
runs the test files that reach the mutated lines, quickest first, until one test fails. A mutant that no test
notices must stand in ``explained.toml`` with a reason; a reason whose mutant is gone or noticed is stale.
"""

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path("tests/mutation")
FOLDERS = ("client", "server", "shared", "simulations", "src", "tests", "docs")
HEAVY = (
    *("scipy.stats", "dp_accounting.pld", "hypothesis", "pytest", "fedrepay.client.protocol.member"),
    *("fedrepay.client.veto.limits", "fedrepay.server.protocol.coordinator", "fedrepay.server.store"),
)
MEMORY = 8 << 30  # bytes a mutant may take
PLAIN = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
Lines = dict[str, set[int]]


@dataclass
class Suite:
    """Files that are mutated, and for each test file how long it takes and what lines it reaches."""

    name: str
    files: list[str]
    seconds: dict[str, float]
    reached: dict[str, Lines]


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from mutated source."""

    def __init__(self, file: str, source: str) -> None:
        self._name = self.name_of(file)
        self._path = str(Path("src/fedrepay", file).absolute())
        self._source = source

    @staticmethod
    def name_of(file: str) -> str:
        """``client/protocol/guard.py`` → ``fedrepay.client.protocol.guard``."""
        return "fedrepay." + file.removesuffix(".py").replace("/", ".")

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """For the mutated module alone."""
        found = fullname == self._name
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self) if found else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutated source."""
        exec(compile(self._source, self._path, "exec"), vars(module))  # noqa: S102 - our own source


def warm() -> None:
    """Load what takes long, and all of ours that the tests may need: once, before any fork."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # no threads at a fork
    for name in HEAVY:
        importlib.import_module(name)


def importers() -> dict[str, set[str]]:
    """Which of our loaded modules import each."""
    found: dict[str, set[str]] = {}
    for name, module in sys.modules.items():
        if name.startswith("fedrepay."):
            for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    for each in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                        found.setdefault(each, set()).add(name)
    return found


def forget(file: str, importers: dict[str, set[str]]) -> None:
    """Unload a module and all that import it, so that they are loaded anew, as it is mutated."""
    gone, todo = set[str](), [Mutated.name_of(file)]
    while todo:
        name = todo.pop()
        if name not in gone:
            gone.add(name)
            todo += importers.get(name, ())
    for name in gone & set(sys.modules):
        parent, _, last = name.rpartition(".")
        del sys.modules[name]
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(last, None)


def run_tests(tests: Sequence[str], scratch: Path) -> int:
    """Run pytest here; its exit code."""
    import pytest

    plugins = ("no:cacheprovider", "no:unraisableexception", "pytest_timeout", "_hypothesis_pytestplugin")
    options = ["-x", "-q", "--assert=plain", "--hypothesis-seed=0", f"--basetemp={scratch}", *PLAIN]
    options += [word for plugin in plugins for word in ("-p", plugin)]
    return int(pytest.main([*options, *(f"tests/{test}" for test in tests)]))


def forked(work: Any, log: Path) -> int:
    """Run ``work() -> int`` in a child with its output in ``log``; the child's id."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        out = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = work()
    except BaseException:  # noqa: BLE001 - the child's last words
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def measure(name: str, files: list[str], tests: list[str], scratch: Path, importers: Any) -> Suite:
    """Run each test file once, unmutated: its seconds, and the lines of ``files`` it reaches."""
    suite = Suite(name, files, {}, {})
    wanted = {str(Path("src/fedrepay", file).absolute()): file for file in files}
    wanted |= {str(Path(file).absolute()): file for file in files}
    for test in tests:
        lines: Lines = {file: set() for file in files}
        told = scratch / "lines.json"

        def traced() -> int:
            def at_call(frame: FrameType, _event: str, _arg: object) -> Any:
                code: CodeType = frame.f_code
                file = wanted.get(code.co_filename)
                if file is None:
                    return None
                seen = lines[file]  # noqa: B023 - used at once

                def at_line(frame: FrameType, _event: str, _arg: object) -> Any:
                    seen.add(frame.f_lineno)
                    return at_line

                seen.add(frame.f_lineno)
                return at_line

            for file in files:
                forget(file, importers)  # what a module does when it is loaded counts, too
            sys.settrace(at_call)
            result = run_tests([test], scratch / "base")  # noqa: B023
            sys.settrace(None)
            told.write_text(json.dumps({file: sorted(seen) for file, seen in lines.items()}))  # noqa: B023
            return result

        begun = time.monotonic()
        child = forked(traced, scratch / "base.log")
        if os.waitpid(child, 0)[1] != 0:
            sys.exit(f"{test} fails without a mutant:\n" + (scratch / "base.log").read_text()[-3000:])
        suite.seconds[test] = time.monotonic() - begun
        suite.reached[test] = {file: set(seen) for file, seen in json.loads(told.read_text()).items()}
    return suite


def tests_for(suite: Suite, mutant: Any) -> list[str]:
    """Test files that reach the mutant, quickest first (module level: all of them)."""
    by_time = sorted(suite.seconds, key=suite.seconds.__getitem__)
    if not mutant.where:
        return by_time
    return [test for test in by_time if suite.reached[test][mutant.file] & set(mutant.lines)]


def hunt(pending: list[tuple[Suite, Any]], jobs: int, scratch: Path, importers: Any) -> list[Any]:
    """Run all mutants, ``jobs`` at a time; those that no test notices."""
    running: dict[int, tuple[Any, float, Path]] = {}
    survivors: list[Any] = []
    total, begun = len(pending), time.monotonic()
    while pending or running:
        while pending and len(running) < jobs:
            suite, mutant = pending.pop(0)
            tests = tests_for(suite, mutant)
            if not tests:
                survivors.append(mutant)
                continue
            place = scratch / f"m{len(pending)}"
            place.mkdir()

            def mutated(mutant: Any = mutant, tests: list[str] = tests, place: Path = place) -> int:
                forget(mutant.file, importers)
                sys.meta_path.insert(0, Mutated(mutant.file, mutant.source))
                return run_tests(tests, place / "base")

            patience = 15 + 5 * sum(suite.seconds[test] for test in tests)
            running[forked(mutated, place / "log")] = (mutant, time.monotonic() + patience, place)
        time.sleep(0.02)
        for child, (mutant, deadline, place) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() > deadline:
                os.killpg(child, 9)
                done, status = os.waitpid(child, 0)
                print("NEVER ENDED", *mutant.key, sep=" | ", flush=True)
            if done:
                del running[child]
                if status == 0:
                    survivors.append(mutant)
                    print("SURVIVED", *mutant.key, sep=" | ", flush=True)
                shutil.rmtree(place, ignore_errors=True)
                if (total - len(pending)) % 50 == 0:
                    print(f"{total - len(pending)} of {total}, {time.monotonic() - begun:.0f} s", flush=True)
    return survivors


def main() -> int:
    """Copy, measure, hunt, compare with what is explained; 0 only if all agrees."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", default="", help="names of targets, by commas; slow ones must be named")
    arguments.add_argument(
        "--again", action="store_true", help="only the mutants that survived the last time"
    )
    arguments.add_argument("--jobs", type=int, default=2)
    asked = arguments.parse_args()
    last = ROOT / ".mutants.json"  # for --again
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "tree")
        for each in FOLDERS:
            shutil.copytree(
                ROOT / each, copy / each, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        for each in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / each, copy / each)
        os.chdir(copy)
        sys.path[:0] = [str(copy / "src"), str(copy / "tests")]
        warm()
        loaded = importers()
        gc.freeze()
        from mutation.mutators import mutants

        targets = tomllib.loads(Path(HERE, "targets.toml").read_text())
        explained = tomllib.loads(Path(HERE, "explained.toml").read_text()).get("mutant", [])
        reasons = {(each["file"], each["where"], each["change"]): each["reason"] for each in explained}
        before = {tuple(each) for each in json.loads(last.read_text())} if asked.again else set()
        pending: list[tuple[Suite, Any]] = []
        quick = [name for name, target in targets.items() if not target.get("slow")]
        for name in asked.only.split(",") if asked.only else quick:
            files, tests = targets[name]["files"], targets[name]["tests"]
            made = [m for file in files for m in mutants(file, Path(file).read_text())]
            made = [m for m in made if not asked.again or m.key in before]
            if made:
                suite = measure(name, files, tests, Path(folder), loaded)
                print(
                    name,
                    f"{len(made)} mutants",
                    {t: round(s, 1) for t, s in suite.seconds.items()},
                    flush=True,
                )
                pending += [(suite, mutant) for mutant in made]
        keys = {mutant.key for _, mutant in pending}
        total = len(pending)
        survivors = hunt(pending, asked.jobs, Path(folder), loaded)
    found = {mutant.key for mutant in survivors}
    files_tried = {key[0] for key in keys}
    last.write_text(json.dumps(sorted(found), ensure_ascii=False, indent=0))
    unexplained = sorted(found - set(reasons))
    stale = sorted(key for key in reasons if key[0] in files_tried and key not in found)
    if asked.again:
        stale = [key for key in stale if key in keys]
    print(
        f"{total} mutants, {total - len(found)} noticed by tests, {len(found) - len(unexplained)} explained"
    )
    for title, rows in (("NOT EXPLAINED", unexplained), ("STALE", stale)):
        for row in rows:
            print(title, *row, sep=" | ")
    return 1 if unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main())
