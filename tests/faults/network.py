"""``make network-faults``: kills of real processes and broken connections, one run after the other.

SEED=N chooses their order, KILLS=n and BREAKS=n how many. Each run loses one process, or some connections, at one stage, and
nobody types anything: the run goes on to the same sums and a release. Prints each, how long the run stood still and how it ended; exit code 1: something
that must hold did not.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from support.killed import Break, Kill, Network, Violated, all_breaks, all_kills

KILLS, BREAKS = 60, 16


def main() -> int:
    """Kill, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--breaks", type=int, default=BREAKS)
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.kills} kills, {asked.breaks} breaks", flush=True)
    troubles: list[Kill | Break] = [
        *all_kills(asked.seed)[: asked.kills],
        *all_breaks(asked.seed)[: asked.breaks],
    ]
    failed = []
    with tempfile.TemporaryDirectory(prefix="k") as place:  # a short path, for the sockets
        network = Network.of_three(Path(place))
        try:
            network.begins()
            for number, trouble in enumerate(troubles, start=1):
                begun = time.monotonic()
                try:
                    told = network.suffers([trouble])
                except Violated as error:
                    failed.append(str(trouble))
                    told = f"VIOLATED: {error}"
                    network.operator.types("abandon", "--yes", role="coordinator", ok=None)
                took, paused = time.monotonic() - begun, network.paused.get(str(trouble), 0.0)
                print(f"{number:3} {took:5.0f} s, went on after {paused:5.1f} s  {told}", flush=True)
        finally:
            network.ends()
    print(by_victim(troubles, network.paused))
    print(
        f"{len(troubles) - len(failed)} of {len(troubles)} held"
        + (f"; not: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def by_victim(troubles: Sequence[Kill | Break], paused: Mapping[str, float]) -> str:
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
