"""``fedrepay simulate --sweep FILE``: every point with every seed, each in a folder of its own, then table and picture."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from io import StringIO
from pathlib import Path

from rich.console import Console

from fedrepay.shared.errors import ArgumentError, FedrepayError, StorageError, SweepError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.processes import workers
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import Screen
from fedrepay.simulations.simulate import run as simulate
from fedrepay.simulations.sweep.picture import page
from fedrepay.simulations.sweep.plan import Point, Sweep
from fedrepay.simulations.sweep.table import Ran, as_csv, as_json, figures_of

MARKER = "sweep-settings.json"
MOST_JOBS = 64
Done = Callable[[Ran, int, int], None]
"""Told of each run that is over, how many are, and how many there are."""


def one(point: Point, seed: int, folder: Path) -> Ran:
    """Run, resume or read one point with one seed; what stops it is kept as its error, and the others go on."""
    try:
        with Screen(Console(file=StringIO(), force_terminal=False)) as screen:
            metrics = simulate(point.arguments(seed), Folder(folder), screen)
        return Ran(point, seed, figures_of(metrics))
    except FedrepayError as error:
        return Ran(point, seed, {}, f"{type(error).__name__}: {error.cause} {error.remedy}")
    except Exception as error:  # noqa: BLE001 - a fault in one point must not lose the others; it is listed
        return Ran(point, seed, {}, f"{type(error).__name__}: {error}")


def carry(sweep: Sweep, out: Path, source: str, jobs: int, done: Done) -> tuple[Ran, ...]:
    """Run what is not finished yet; whatever was is read again.

    Args:
        sweep: what to run.
        out: the sweep's folder: ``points/NAME/seed-N`` and the tables.
        source: the FILE's name, for the page.
        jobs: processes.
        done: told of each run.

    Raises:
        ArgumentError: ``out`` holds another sweep (and what changed), or something else; jobs out of range.
        StorageError: it cannot be written.
        SweepError: the system ended one of the processes.
    """
    if not 1 <= jobs <= MOST_JOBS:
        raise ArgumentError(f"--jobs {jobs} is outside 1 … {MOST_JOBS}.", "1 is the default.")
    _claim(out, sweep)
    asked = [
        (p, seed, out / "points" / p.name / f"seed-{seed}") for p in sweep.points() for seed in sweep.seeds
    ]
    found: dict[tuple[str, int], Ran] = {}
    for ran in _all(asked, jobs):
        found[ran.point.name, ran.seed] = ran
        done(ran, len(found), len(asked))
    runs = tuple(found[point.name, seed] for point, seed, _ in asked)
    facts = sweep.facts()
    write_atomically(out / "sweep.csv", as_csv(runs).encode())
    write_atomically(out / "sweep.json", json.dumps(as_json(runs, facts), indent=1).encode())
    write_atomically(out / "sweep.html", page(runs, facts, source).encode())
    return runs


def _all(asked: list[tuple[Point, int, Path]], jobs: int) -> Iterator[Ran]:
    if jobs == 1:
        yield from (one(*each) for each in asked)
        return
    pool = workers(jobs)
    try:
        for future in as_completed([pool.submit(one, *each) for each in asked]):
            yield future.result()
    except BrokenProcessPool as error:
        raise SweepError(
            "The system ended one of the sweep's processes, perhaps for want of memory.",
            "Nothing finished is lost: the same command goes on; a smaller --jobs needs less memory.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _claim(out: Path, sweep: Sweep) -> None:
    """Make the folder this sweep's, or find that it is."""
    marker, facts = out / MARKER, sweep.facts()
    try:
        if not marker.exists():
            if out.exists() and any(out.iterdir()):
                raise ArgumentError(f"{out} is not empty and not a sweep of ours.", "Choose another --out.")
            write_atomically(marker, json.dumps(facts, indent=1).encode())
            return
        before = json.loads(marker.read_text())
    except OSError as error:
        raise StorageError(f"{out} cannot be used: {error.strerror}.", "Choose another --out.") from error
    except ValueError as error:
        raise StorageError(f"{marker} is damaged.", "Choose another --out.") from error
    now = json.loads(json.dumps(facts))
    changed = sorted(key for key in now | before if now.get(key) != before.get(key))
    if changed:
        raise ArgumentError(
            f"{out} holds a sweep of another FILE ({', '.join(changed)} differ).",
            "Give the FILE as it was to go on, or another --out.",
        )
