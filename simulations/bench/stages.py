"""A protected run against the same run in ``none`` mode, stage by stage, and what a member feels.

``none`` is noise 0 on the same path: masks, encryption, tags and ceremony run in both.
"""

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from fedrepay.simulations.bench.page import table
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import Screen
from fedrepay.simulations.simulate import run as simulate

MEMBERS = 20
STAGES = (
    "contribution",
    "noise",
    "mask, encrypt, tag",
    "verify headers and tag",
    "open",
    "step",
    "consortium",
)


def shipped(mode: str, members: int) -> Arguments:
    """The default simulation on the shipped data."""
    return Arguments(members=members, mode=mode)


def measured(mode: str) -> dict[str, Any]:
    """metrics.json of one run."""
    with tempfile.TemporaryDirectory() as folder, Screen(Console(stderr=True)) as screen:
        return simulate(shipped(mode, MEMBERS), Folder(Path(folder) / mode), screen)


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    measured("none")  # warm: imports, tables of the sampler are built in the protected run alone
    plain, protected = measured("none"), measured("distributed")
    rows = []
    for stage in STAGES:
        a, b = protected["seconds"].get(stage, 0.0), plain["seconds"].get(stage, 0.0)
        ratio = f"{a / b:.2f}" if b >= 0.001 else "only with privacy"
        label = "whole run, ceremony to release" if stage == "consortium" else stage
        rows.append((label, f"{1000 * a / MEMBERS:.1f}", f"{1000 * b / MEMBERS:.1f}", ratio))
        print(*rows[-1], sep=" | ", flush=True)
    chunks = protected["ciphertexts_per_release"]
    felt = (
        f"A member sends {protected['bytes_up_per_member'] / 1e6:.3f} MB of uploads for one release of the default "
        f"model ({chunks} ciphertexts, d = {protected['parameters']}) and "
        f"{protected['bytes_ceremony_per_member'] / 1e3:.1f} kB in the ceremony; it receives "
        f"{protected['bytes_down_per_member'] / 1e6:.2f} MB. {MEMBERS} members and the coordinator together took "
        f"{protected['seconds']['consortium']:.1f} s in one process."
    )
    heads = ("Stage, ms a member and release", "distributed", "none", "ratio")
    return f"{table(heads, rows)}\n\n{felt}"
