"""The page of figures: one section a benchmark, each replaced by the run that measured it."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedrepay.shared.files import write_atomically
from fedrepay.shared.privacy.accounting import gdp_epsilon, gdp_mu
from fedrepay.shared.privacy.statement import HEADLINE
from fedrepay.simulations.bench import reference
from fedrepay.simulations.report.svg import circle, element, line, picture, points, scale, text, ticks

PAGE = Path("docs/benchmarks.md")
_HEAD = """# Benchmarks

Written by `make bench` (all) or `make bench NAME=…` (one section), which first tells the minutes it takes; peers run in
environments of their own (`.venv-peers`, extra `peers`; `.venv-spu`). Ratios are between two figures of the
same run on the same machine, so they travel; seconds and megabytes do not. What falls short stands here
with its reason. A reference loop (ChaCha20) runs before and after each section: one that moved by over 20 % is marked.
"""
_PACKAGES = (
    "fedrepay",
    "numpy",
    "torch",
    "opacus",
    "flwr",
    "tenseal",
    "dp-accounting",
    "scikit-learn",
    "lightgbm",
)
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#18222d}.muted{fill:#5a6675}.grid{stroke:#dde3e9}"
    ".level{stroke:#8b97a5;stroke-dasharray:5 4}.stroke{fill:none;stroke:#0b6b75;stroke-width:2}.dot{fill:#0b6b75}"
    ".stroke1{stroke:#b4512d}.dot1,.text1{fill:#b4512d}.stroke2{stroke:#0b6b75;stroke-dasharray:2 3}"
    ".text0,.text2{fill:#0b6b75}.stroke3{stroke:#b4512d;stroke-dasharray:2 3}.dot3,.text3{fill:#b4512d}"
)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; columns after the first are aligned right."""
    lines = [
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
    return "\n".join(lines)


def at_several(epsilon: float, delta: float) -> str:
    """ε of a person at two and three members where members share the noise, as it stands beside ε of one."""
    mu = gdp_mu(epsilon, delta)
    two, three = (gdp_epsilon(number * mu, delta) for number in HEADLINE)
    return f"ε = {epsilon:g} of a customer at one member is {two:.2f} of a person at two members, {three:.2f} at three"


@dataclass(frozen=True)
class Peers:
    """An environment of others' products; ``make`` builds it."""

    folder: Path
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"


PEERS = Peers(Path(".venv-peers"), ("flwr", "ray", "pfl", "torch", "opacus", "interpret-core", "jax", "mpyc"))
SPU = Peers(Path(".venv-spu"), ("spu", "numpy"))
"""Apart: SPU needs an older NumPy than we do, and an older JAX than the peers have."""


@dataclass(frozen=True)
class Section:
    """One benchmark, as the page and ``make bench`` know it."""

    title: str
    seeds: str
    intervals: str
    timed: bool = True  # measures time or memory, so nothing may run beside it
    peers: tuple[Peers, ...] = ()  # environments of others' products that it runs
    command: str = ""  # where it is another than `make bench NAME=…`


@dataclass(frozen=True)
class SectionRun:
    """What one section's run gave."""

    body: str
    seconds: float
    before: float  # the reference loop, GB a second
    after: float


def facts(name: str, section: Section, found: SectionRun) -> str:
    """What a reader needs to get the same figures: command, machine and its speed, versions, seeds, intervals."""
    told = (
        f"`{section.command or f'make bench NAME={name}'}`",
        f"{datetime.now(UTC):%Y-%m-%d}, took {found.seconds / 60:.1f} min",
        f"commit {_commit()}",
        machine(),
        reference.told(found.before, found.after),
        f"Python {platform.python_version()}, {_versions(_PACKAGES, Path(sys.executable))}",
        *(f"peers: {_versions(each.packages, each.python)}" for each in section.peers),
        f"seeds: {section.seeds}",
        f"intervals: {section.intervals}",
    )
    return " · ".join(told)


def machine() -> str:
    """Processor, cores, memory and operating system."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.machine()
    kilobytes = int(_field("/proc/meminfo", "MemTotal").split()[0] or 0)
    system = _field("/etc/os-release", "PRETTY_NAME", "=").strip('"') or platform.system()
    return (
        f"{cpu}, {os.cpu_count()} cores, {kilobytes / 2**20:.0f} GiB · {system}, Linux {platform.release()}"
    )


def write(name: str, section: Section, found: SectionRun) -> None:
    """Put a section into the page, in place of the one of that name.

    Raises:
        StorageError: the page cannot be written.
    """
    told = (
        f"## {section.title}\n<!-- {name} -->\n\n{found.body}\n\n<sub>{facts(name, section, found)}</sub>\n"
    )
    page = PAGE.read_text() if PAGE.exists() else _HEAD
    parts = re.split(r"\n(?=## )", page)
    places = [place for place, each in enumerate(parts) if f"<!-- {name} -->" in each]
    if places:
        parts[places[0]] = told
    else:
        parts.append(told)
    write_atomically(PAGE, ("\n".join(each.rstrip("\n") + "\n" for each in parts)).encode())


def minutes() -> dict[str, float]:
    """What each section of the page took when it was last measured, by name."""
    page = PAGE.read_text() if PAGE.exists() else ""
    found = re.findall(r"<sub>`make bench NAME=(\w+)` · [^·]*took ([\d.]+) min", page)
    return {name: float(took) for name, took in found}


def curve(
    name: str,
    title: str,
    lines: Mapping[str, Mapping[float, float]],
    levels: Mapping[str, float],
    along: str = "ε of one customer",
) -> str:
    """Draw AUC against ε (at equal distances) into ``docs``; returns the file's name.

    Args:
        name: of the file.
        title: for readers who do not see the picture.
        lines: AUC by ε, one line each, all at the same ε; a line without a name has no label.
        levels: dashed lines across.
        along: what the axis below is.
    """
    width, height, left, right, bottom = 640.0, 320.0, 56.0, 150.0, 44.0
    values = [value for each in lines.values() for value in each.values()]
    low, high = min(*values, *levels.values()) - 0.002, max(*values, *levels.values()) + 0.002
    places = list(next(iter(lines.values())))
    x, y = scale(0, len(places) - 1, left, width - right), scale(low, high, height - bottom, 16)
    parts = []
    for tick in ticks(low, high):
        parts += [
            line(left, y(tick), width - right, y(tick), "grid"),
            text(left - 8, y(tick) + 4, f"{tick:.3f}", "muted", "end"),
        ]
    parts += [line(left, y(level), width - right, y(level), "level") for level in levels.values()]
    for number, each in enumerate(lines.values()):
        track = [(x(place), y(value)) for place, value in enumerate(each.values())]
        parts.append(element("polyline", points=points(track), class_=f"stroke stroke{number}"))
        parts += [circle(px, py, 4, f"dot dot{number}") for px, py in track]
    ends = {label: y(list(each.values())[-1]) for label, each in lines.items() if label}
    for label, at in _apart({**{label: y(level) for label, level in levels.items()}, **ends}).items():
        number = list(lines).index(label) if label in ends else -1
        parts.append(text(width - right + 8, at + 4, label, f"text{number}" if label in ends else ""))
    for place, epsilon in enumerate(places):
        parts.append(text(x(place), height - bottom + 18, f"{epsilon:g}", "muted", "middle"))
    parts.append(text((left + width - right) / 2, height - 8, along, "muted", "middle"))
    parts.append(text(left, 10, "AUC", "muted"))
    drawn = str(picture(title, width, height, element("style", _STYLE), *parts))
    made = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    write_atomically(PAGE.parent / f"{name}.svg", made.encode())
    return f"{name}.svg"


def _apart(places: Mapping[str, float], least: float = 14.0) -> dict[str, float]:
    """Heights of labels, moved down where two would touch."""
    found: dict[str, float] = {}
    last = -least
    for label, at in sorted(places.items(), key=lambda item: item[1]):
        last = max(at, last + least)
        found[label] = last
    return found


def _field(path: str, name: str, separator: str = ":") -> str:
    """The first value of a field in one of the system's files; empty without."""
    if not Path(path).exists():
        return ""
    rows = (row.partition(separator) for row in Path(path).read_text().splitlines())
    return next((value.strip() for field, _, value in rows if field.strip() == name), "")


def _commit() -> str:
    """The commit that ran, and whether files were changed since: others than this page and its pictures."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def told(*words: str) -> str:
        return subprocess.run([git, *words], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603

    paths = (Path(row.split()[-1]) for row in told("status", "--porcelain").splitlines())
    changed = [path for path in paths if path != PAGE and (path.parent, path.suffix) != (PAGE.parent, ".svg")]
    return (told("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def lacking(section: Section) -> str | None:
    """What a section's line of facts could not be written with, or None; asked before anything is measured."""
    for packages, python in (
        (_PACKAGES, Path(sys.executable)),
        *((each.packages, each.python) for each in section.peers),
    ):
        try:
            _versions(packages, python)
        except OSError as error:
            return f"{python}: {error.strerror}"
        except subprocess.CalledProcessError as error:
            return f"{python}: {error.stderr.strip().splitlines()[-1]}"
    return None


def _versions(packages: Sequence[str], python: Path) -> str:
    """Installed versions in an environment."""
    ask = (
        "import sys; from importlib.metadata import version; "
        "print(', '.join(f'{each} {version(each)}' for each in sys.argv[1:]))"
    )
    done = subprocess.run([str(python), "-c", ask, *packages], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()
