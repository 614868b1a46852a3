"""A whole consortium of 100 and of 1,000 members through the real protocol, by the command that a researcher runs."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from fedrepay.simulations.bench.page import table

COUNTS = (100, 1000)
AIM = 120.0  # seconds


@dataclass(frozen=True)
class WholeRun:
    """What one run of the command took."""

    members: int
    seconds: float
    cpu: float
    largest: float  # MB of its largest process
    auc: float


def timed(members: int, scratch: Path) -> WholeRun:
    """Run it once."""
    out = scratch / str(members)
    command = [
        *(sys.executable, "-m", "fedrepay", "simulate", "--data", "uci"),
        *("--members", str(members), "--out", str(out)),
    ]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)  # noqa: S603
    seconds, after = perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    auc = json.loads((out / "metrics.json").read_text())["auc"]["federated"]
    return WholeRun(members, seconds, cpu, after.ru_maxrss / 1024, auc)


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    with tempfile.TemporaryDirectory() as scratch:
        found = [timed(members, Path(scratch)) for members in COUNTS]
    least = found[0]
    rows = []
    for each in found:
        rows.append(
            (
                f"{each.members:,}",
                f"{each.seconds:.0f}",
                f"{each.cpu:.0f}",
                f"{each.cpu / each.members / (least.cpu / least.members):.2f}",
                f"{each.largest:.0f}",
                f"{each.auc:.4f}",
                f"{AIM:.0f} s" if each.members == COUNTS[-1] else "",
            )
        )
        print(*rows[-1], sep=" | ", flush=True)
    heads = (
        "Members",
        "seconds",
        "CPU-s",
        f"CPU a member, ratio to {COUNTS[0]}",
        "largest process, MB",
        "AUC",
        "aim",
    )
    note = (
        "`fedrepay simulate --data uci --members …` whole, with data, baselines and report, two processes of members. What "
        "grows with every pair is the protocol's: of the CPU at 1,000 members about a quarter each are key agreements, masks "
        "with everybody and envelopes (docs/adr/0025), and masks cost what AES must. Fewer pairs would be faster and would "
        "give up the claim against all but two members: the aim is missed for that."
    )
    return f"{table(heads, rows)}\n\n{note}"
