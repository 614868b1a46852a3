"""Starts one engine in processes of its own and reads what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from fedrepay.shared.errors import ArgumentError
from fedrepay.simulations.bench.page import PEERS, Peers

MARK = "FEDREPAY_BENCH"
"""Environment variable by which all processes of one measurement are known (``workload.cpu_seconds``)."""


_SOURCE = Path(__file__).parents[4]
"""Where ``fedrepay`` is imported from: an environment with an older NumPy cannot install it."""


def measured(
    module: str, argument: str, *, processes: int = 1, ours: bool = False, peers: Peers = PEERS
) -> dict[str, Any]:
    """Run one engine in processes of its own and read what it printed.

    Raises:
        ArgumentError: the peers' environment is missing.
        RuntimeError: the engine failed; with the end of what it said.
    """
    python = Path(sys.executable) if ours else peers.python
    if not python.exists():
        raise ArgumentError(
            f"{python} is missing.", f"Make the peers' environment: make {peers.folder}/ready."
        )
    start = [str(python), "-W", "ignore"]
    if processes > 1:
        start = [str(python.with_name("torchrun")), f"--nproc-per-node={processes}"]
    environment = os.environ | {
        "PYTHONPATH": str(_SOURCE),
        MARK: uuid4().hex,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # else Ray starves its workers wherever anything else runs
    }
    command = [*start, "-m", "fedrepay.simulations.bench.peers", module, argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{module} {argument} exited {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
