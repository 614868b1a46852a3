"""The page of figures: sections are replaced, state how they were measured, and a failed one leaves what was there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedrepay.simulations.bench import __main__ as bench
from fedrepay.simulations.bench import page
from fedrepay.simulations.bench.one_section import Prefixed
from fedrepay.simulations.bench.page import Section

DOCS = Path(__file__).parents[4] / "docs/benchmarks.md"
ONE = Section("First things", "1, 2", "95 % bootstrap")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "benchmarks.md"
    monkeypatch.setattr(page, "PAGE", path)
    return path


def test_a_section_replaces_its_own_and_no_other(written: Path) -> None:
    page.write("one", ONE, "old figure", 60)
    page.write("two", Section("Second things", "3", "none"), "kept", 60)
    page.write("one", ONE, "new figure", 60)
    text = written.read_text()
    assert "old figure" not in text
    assert text.index("# Benchmarks") < text.index("new figure") < text.index("kept")
    assert text.count("## ") == 2


def test_facts_name_all_that_a_reader_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    told = page.facts("one", ONE, 90)
    for fact in (
        r"`make bench NAME=one`",
        r"20\d\d-\d\d-\d\d, took 1\.5 min",
        r"commit [0-9a-f]{7}",
        r"\d+ cores, \d+ GiB · .+, Linux \d",
        r"Python 3\.\d+\.\d+, fedrepay \d.*numpy \d.*torch 2.*flwr 1",
        r"seeds: 1, 2 · intervals: 95 % bootstrap",
    ):
        assert re.search(fact, told), fact
    assert "peers:" not in told
    monkeypatch.setattr(page, "PEERS_PYTHON", Path(sys.executable))
    monkeypatch.setattr(page, "_PEERS", ("flwr", "torch"))
    assert re.search(r"peers: flwr 1.*, torch 2", page.facts("one", Section("", "", "", peers=True), 90))


def test_the_commit_is_named_with_changes_unless_they_are_the_pages_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page and its pictures change while a long run writes them: that changes nothing of what is measured."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    named = ("docs/benchmarks.md", "docs/local.svg", "code.py")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for path in named:
        Path(path).write_text("first")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run([*git, *words], check=True)
    clean = page._commit()
    assert re.fullmatch("[0-9a-f]{7}", clean)
    for path in named[:2]:
        Path(path).write_text("second")
    assert page._commit() == clean
    Path("code.py").write_text("second")
    assert page._commit() == f"{clean} with changes"


def test_a_failed_section_keeps_what_the_page_had_and_the_others_go_on(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page.write("one", ONE, "what was there", 60)

    def measure(name: str) -> tuple[str, float]:
        if name == "one":
            raise ValueError("broken on purpose")
        return f"figures of {name}", 30.0

    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "SECTIONS", {"one": ONE, "two": Section("Second", "1", "none")})
    monkeypatch.setattr(sys, "argv", ["bench"])
    with pytest.raises(SystemExit, match="failed: one"):
        bench.main()
    text = written.read_text()
    assert "what was there" in text
    assert "figures of two" in text
    said = capsys.readouterr()
    assert "one: FAILED" in said.out
    assert "broken on purpose" in said.err
    monkeypatch.setattr(bench, "measure", lambda name: (f"figures of {name}", 30.0))  # the control
    bench.main()
    assert "what was there" not in written.read_text()


def test_progress_lines_carry_their_section(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Prefixed("one", sys.stdout)
    print("a", "b", sep=" | ", file=stream)
    print("c\nd", file=stream)
    assert capsys.readouterr().out == "one: a | b\none: c\none: d\n"


def unexplained(text: str) -> list[str]:
    """Sections of a page that ``make bench`` cannot write, or that do not say how they were measured."""
    wrong = []
    for part in re.split(r"\n(?=## )", text)[1:]:
        name = re.search(r"<!-- (\w+) -->", part)
        facts = re.search(r"<sub>(.+)</sub>", part)
        asked = (r"20\d\d-\d\d-\d\d", r"seeds: \S", r"intervals: \S")
        if (
            name is None
            or facts is None
            or name[1] not in bench.SECTIONS
            or f"`make bench NAME={name[1]}`" not in facts[1]
            or not all(re.search(each, facts[1]) for each in asked)
        ):
            wrong.append(part.splitlines()[0])
    return wrong


def test_every_section_of_the_page_is_one_that_can_be_run_again_and_says_how() -> None:
    text = DOCS.read_text()
    assert not unexplained(text)
    assert unexplained(text.replace("seeds:", "")) == unexplained(text.replace("<!-- ", "<!-- no_"))
    assert len(unexplained(text.replace("seeds:", ""))) >= 7  # the control: without them it is seen


def test_every_section_has_a_module_and_tells_its_seeds() -> None:
    folder = Path(bench.__file__).parent
    for name, section in bench.SECTIONS.items():
        assert "\ndef run() -> str:" in (folder / f"{name}.py").read_text()
        assert section.title
        assert section.seeds
        assert section.intervals
