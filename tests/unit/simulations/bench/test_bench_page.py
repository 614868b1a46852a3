"""The page of figures: sections are replaced, state how they were measured, and a failed one leaves what was there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedrepay.simulations.bench import __main__ as bench
from fedrepay.simulations.bench import one_section, page, reference
from fedrepay.simulations.bench.one_section import Prefixed
from fedrepay.simulations.bench.page import Peers, Section, SectionRun

DOCS = Path(__file__).parents[4] / "docs/benchmarks.md"
ONE = Section("First things", "1, 2", "95 % bootstrap")


def gave(body: str, seconds: float = 60, after: float = 5.0) -> SectionRun:
    return SectionRun(body, seconds, 5.0, after)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "benchmarks.md"
    monkeypatch.setattr(page, "PAGE", path)
    return path


def test_a_section_replaces_its_own_and_no_other(written: Path) -> None:
    page.write("one", ONE, gave("old figure"))
    page.write("two", Section("Second things", "3", "none"), gave("kept"))
    page.write("one", ONE, gave("new figure"))
    text = written.read_text()
    assert "old figure" not in text
    assert text.index("# Benchmarks") < text.index("new figure") < text.index("kept")
    assert text.count("## ") == 2


def test_facts_name_all_that_a_reader_needs(tmp_path: Path) -> None:
    told = page.facts("one", ONE, gave("", 90))
    for fact in (
        r"`make bench NAME=one`",
        r"20\d\d-\d\d-\d\d, took 1\.5 min",
        r"commit [0-9a-f]{7}",
        r"\d+ cores, \d+ GiB · .+, Linux \d",
        r"ChaCha20 5\.00 GB/s of CPU time before, 5\.00 after · ",
        r"Python 3\.\d+\.\d+, fedrepay \d.*numpy \d.*torch 2.*flwr 1",
        r"seeds: 1, 2 · intervals: 95 % bootstrap",
    ):
        assert re.search(fact, told), fact
    assert "peers:" not in told
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "bin/python").chmod(0o700)
    two = (Peers(tmp_path, ("flwr", "torch")), Peers(tmp_path, ("numpy",)))
    told = page.facts("one", Section("", "", "", peers=two), gave(""))
    assert re.search(r"peers: flwr 1\S*, torch 2\S* · peers: numpy 2", told)


def test_a_reference_loop_that_moved_marks_its_section() -> None:
    assert "measure again" not in page.facts("one", ONE, gave("", after=5.9))
    assert "moved by +22 %: measure again" in page.facts("one", ONE, gave("", after=6.1))
    assert "moved by -22 %: measure again" in page.facts("one", ONE, gave("", after=3.9))


def test_every_section_is_measured_between_two_reference_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    rates = iter((4.0, 6.0))

    class Module:
        @staticmethod
        def run() -> str:
            happened.append("section")
            return "figures"

    def loop() -> float:
        happened.append("loop")
        return next(rates)

    monkeypatch.setattr(one_section, "chacha20", loop)
    monkeypatch.setattr(one_section, "import_module", lambda _: Module)
    found = one_section.measure("one")
    assert happened == ["loop", "section", "loop"]
    assert (found.body, found.before, found.after) == ("figures", 4.0, 6.0)


def test_the_reference_loop_counts_bytes_by_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(reference, "process_time", lambda: next(ticks) / 100)  # 10 ms a loop
    assert reference.chacha20() == pytest.approx(64 * 2**20 / 1e9 / 0.01)


def test_minutes_are_told_before_a_run_and_marked_when_all_take_too_long(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "SECTIONS", {"one": ONE, "two": ONE, "new": ONE})
    page.write("one", ONE, gave("", 90))
    page.write("two", ONE, gave("", 3000))
    assert page.minutes() == {"one": 1.5, "two": 50.0}
    all_of_them = bench.estimate(["one", "two", "new"])
    assert all_of_them.startswith("about 51.5 min one after the other, as ")
    assert all_of_them.endswith(":\n  one: 1.5 min\n  two: 50.0 min\n  new: not measured yet")
    assert bench.estimate(["one"]).startswith("about 1.5 min")
    assert "over the 90" not in all_of_them
    page.write("two", ONE, gave("", 6000))
    assert "over the 90" in bench.estimate(["one", "two"])
    assert written.exists()


def test_minutes_are_said_first(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page.write("one", ONE, gave("", 90))
    assert written.exists()
    monkeypatch.setattr(bench, "SECTIONS", {"one": ONE})
    monkeypatch.setattr(bench, "measure", lambda _: gave("figures"))
    monkeypatch.setattr(sys, "argv", ["bench", "one"])
    bench.main()
    said = capsys.readouterr().out
    assert said.index("about 1.5 min") < said.index("one: 1.5 min") < said.index("one: begins")
    assert "ChaCha20 5.00 GB/s" in said


def test_the_pages_own_sections_all_have_their_minutes() -> None:
    assert set(page.minutes()) == set(bench.SECTIONS)


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
    page.write("one", ONE, gave("what was there"))

    def measure(name: str) -> SectionRun:
        if name == "one":
            raise ValueError("broken on purpose")
        return gave(f"figures of {name}")

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
    monkeypatch.setattr(bench, "measure", lambda name: gave(f"figures of {name}"))  # the control
    bench.main()
    assert "what was there" not in written.read_text()


def test_progress_lines_carry_their_section(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Prefixed("one", sys.stdout)
    print("a", "b", sep=" | ", file=stream)
    print("c\nd", file=stream)
    assert capsys.readouterr().out == "one: a | b\none: c\none: d\n"


OTHERS = {"kills": "make network-faults"}
"""Sections that another command writes."""


def unexplained(text: str) -> list[str]:
    """Sections of a page that no command writes, or that do not say how they were measured."""
    commands = {name: f"make bench NAME={name}" for name in bench.SECTIONS} | OTHERS
    wrong = []
    for part in re.split(r"\n(?=## )", text)[1:]:
        name = re.search(r"<!-- (\w+) -->", part)
        facts = re.search(r"<sub>(.+)</sub>", part)
        asked = (r"20\d\d-\d\d-\d\d", r"seeds: \S", r"intervals: \S")
        if (
            name is None
            or facts is None
            or f"`{commands.get(name[1])}`" not in facts[1]
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


def test_a_section_whose_facts_cannot_be_written_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a line of facts names is looked for first: a quarter of an hour was once measured and then lost for want of a library."""
    monkeypatch.setattr(bench, "SECTIONS", {"one": ONE})
    monkeypatch.setattr(bench, "measure", lambda _name: pytest.fail("it was begun"))
    monkeypatch.setattr(sys, "argv", ["make bench", "one"])
    monkeypatch.setattr(page, "_PACKAGES", ("numpy", "nobody-made-this"))
    with pytest.raises(SystemExit):
        bench.main()
    said = capsys.readouterr().err
    assert "nobody-made-this" in said
    assert "make bench NAME=one" in said
    absent = Section("With peers", "1", "none", peers=(Peers(Path("nowhere/bin/python"), ("numpy",)),))
    monkeypatch.setattr(page, "_PACKAGES", ("numpy",))
    assert page.lacking(ONE) is None
    assert "nowhere/bin/python" in str(page.lacking(absent))
