"""``make network-faults``: kills of real processes and broken connections, one run after the other.

SEED=N chooses their order, KILLS=n, BREAKS=n and CHANGES=n how many. Each run loses up to three processes, or some connections, each at a
stage of its own, and nobody types anything: the run goes on to the same sums and a release. Prints each, how long the run stood still
and how it ended. Then the coordinator's key rotates while a process is killed, and a last run goes by the roster that came of it. With
as many kills as by default, docs/benchmarks.md is told. Exit code 1: something that must hold did not.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from fedrepay.simulations.bench import page
from fedrepay.simulations.bench.page import Section, SectionRun
from fedrepay.simulations.bench.reference import chacha20
from support.changing import all_changes, changes
from support.killed import STAGES, Break, Kill, Network, Violated, all_breaks, all_kills

KILLS, BREAKS, CHANGES = 60, 16, 6
TOGETHER = 3
"""Kills of one run, each at a later stage than the one before."""
Trouble = Kill | Break
TOLD = (
    "Three members, coordinator and front on this machine; runs of two sums, up to three kills (SIGKILL) a run, each once its stage "
    "has begun. Seconds until the coordinator's database says more than before. Then all members must hold the same release of the "
    "same sums, and each ledger every attempt that its member sent something of; nobody types anything meanwhile."
)


def main() -> int:
    """Kill, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--breaks", type=int, default=BREAKS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    asked = parser.parse_args()
    print(
        f"seed {asked.seed}, {asked.kills} kills, {asked.breaks} breaks, {asked.changes} kills while a roster changes",
        flush=True,
    )
    kills: list[Trouble] = [*all_kills(asked.seed)[: asked.kills]]
    breaks: list[Trouble] = [*all_breaks(asked.seed)[: asked.breaks]]
    runs = [*by_run(kills, TOGETHER), *by_run(breaks, 1)]
    changing = all_changes(asked.seed)[: asked.changes]
    failed = []
    started, before = time.monotonic(), chacha20()
    with tempfile.TemporaryDirectory(prefix="k") as place:  # a short path, for the sockets
        network = Network.of_three(Path(place))
        try:
            network.begins()
            for number, troubles in enumerate(runs, start=1):
                begun = time.monotonic()
                try:
                    told = network.suffers(troubles)
                except Violated as error:
                    failed.append(" and ".join(map(str, troubles)))
                    told = f"VIOLATED: {error}"
                    network.operator.types("abandon", "--yes", role="coordinator", ok=None)
                paused = " + ".join(f"{network.paused.get(str(each), 0.0):.1f}" for each in troubles)
                took = time.monotonic() - begun
                print(f"{number:3} {took:5.0f} s, went on after {paused} s  {told}", flush=True)
            for kill in changing:
                begun = time.monotonic()
                try:
                    told = changes(network, kill)
                except AssertionError as error:
                    failed.append(str(kill))
                    told = f"VIOLATED: {error}"
                print(f"    {time.monotonic() - begun:5.0f} s  {told}", flush=True)
            if changing:
                print(network.suffers([]), flush=True)
        finally:
            network.ends()
    seconds, took = by_victim([*kills, *breaks], network.paused), time.monotonic() - started
    held = (
        f"{len(runs) + len(changing) - len(failed)} of {len(runs) + len(changing)} held: {len(runs)} runs with {len(kills)} "
        f"kills and {len(breaks)} breaks, {len(changing)} rosters"
        + (f"; not: {'; '.join(failed)}" if failed else "")
    )
    print(seconds, held, sep="\n\n")
    if asked.kills >= KILLS:
        section = Section(
            "A network that loses processes and lines",
            str(asked.seed),
            "median and longest of the times given",
            command="make network-faults",
        )
        body = f"{seconds}\n\n{TOLD}\n\n{held}."
        page.write("kills", section, SectionRun(body, took, before, chacha20()))
    return 1 if failed else 0


def by_run(troubles: Sequence[Trouble], most: int) -> list[list[Trouble]]:
    """Troubles of different stages, at most so many together, in the order of their stages."""
    stages = list(STAGES)
    runs: list[list[Trouble]] = []
    for trouble in troubles:
        fits = (
            run for run in runs if len(run) < most and trouble.stage not in {other.stage for other in run}
        )
        run = next(fits, None)
        if run is None:
            runs.append([trouble])
        else:
            run.append(trouble)
    return [sorted(run, key=lambda trouble: stages.index(trouble.stage)) for run in runs]


def by_victim(troubles: Sequence[Trouble], paused: Mapping[str, float]) -> str:
    """How long a run stood still, for each kind of trouble (Markdown)."""
    seconds: dict[str, list[float]] = {}
    for each in troubles:
        if str(each) in paused:
            what = each.victim if isinstance(each, Kill) else f"a line, {each.kind}"
            seconds.setdefault(what, []).append(paused[str(each)])
    rows = [
        f"| {what} | {len(took)} | {median(took):.1f} | {max(took):.1f} |" for what, took in seconds.items()
    ]
    return "\n".join(["| Killed, broken | times | median s | longest s |", "|---|---:|---:|---:|", *rows])


if __name__ == "__main__":
    sys.exit(main())
