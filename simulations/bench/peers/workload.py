"""The one workload of ``make bench NAME=simulation``, and how CPU time is counted, for peers and ourselves alike.

Members' rows have a truth of their own that a small network can learn; every engine starts from the same weights.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import perf_counter, process_time

import torch
from torch import Tensor, nn

MEMBERS, ROWS, FEATURES, HIDDEN = 100, 2_000, 20, 64
BATCH, CLIP, NOISE, RATE = 256, 1.0, 1.0, 0.5
SIZES = (FEATURES, HIDDEN, 1)
PARAMETERS = HIDDEN * (FEATURES + 1) + HIDDEN + 1
ROUNDS, SEED = 6, 1
"""Rounds, of which the first warms up and is not counted."""
MARK = "FEDREPAY_BENCH"
"""Environment variable by which all processes of one measurement are known; ``start`` sets it."""


@dataclass(frozen=True)
class Measured:
    """One engine on the workload."""

    cpu_ms: float  # of all its processes, a member update, after the first round
    seconds: float  # a round, after the first
    first: float  # seconds of the first round
    loss: float  # of the mean model after all rounds, on rows that nobody trained on

    def record(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


@cache
def rows(seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Features (members + 10, rows, features) and outcomes (members + 10, rows); the last 10 are for testing."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(MEMBERS + 10, ROWS, FEATURES, generator=generator)
    teacher = [torch.randn(FEATURES, 8, generator=generator), torch.randn(8, generator=generator)]
    logits = torch.relu(features @ teacher[0]) @ teacher[1]
    logits = 2 * (logits - logits.mean()) / logits.std()
    return features, (torch.rand(logits.shape, generator=generator) < logits.sigmoid()).float()


def member(place: int) -> tuple[Tensor, Tensor]:
    """One member's rows."""
    features, outcomes = rows()
    return features[place], outcomes[place]


def module() -> nn.Sequential:
    """The network, with the weights that all engines start from."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))


def start() -> Tensor:
    """Those weights as one vector."""
    return nn.utils.parameters_to_vector(module().parameters()).detach()


def loss(weights: Tensor) -> float:
    """Mean logistic loss on the rows for testing."""
    features, outcomes = rows()
    network = module()
    nn.utils.vector_to_parameters(weights, network.parameters())
    with torch.no_grad():
        logits = network(features[MEMBERS:]).squeeze(2)
        return float(nn.functional.binary_cross_entropy_with_logits(logits, outcomes[MEMBERS:]))


def cpu_seconds() -> float:
    """CPU time of every living process that carries this measurement's mark, and of the children each has waited for.

    Not ``getrusage``: Ray's workers are nobody's waited-for children while they live.
    """
    mark = f"{MARK}={os.environ[MARK]}".encode()
    ticks = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended, or is another user's
        ticks += sum(map(int, fields[11:15]))
    used = os.times()
    return ticks / os.sysconf("SC_CLK_TCK") + process_time() + used.children_user + used.children_system


class RoundClock:
    """Seconds and CPU time at the end of every round."""

    def __init__(self) -> None:
        self._at = [(perf_counter(), cpu_seconds())]

    def round_done(self) -> None:
        """Call when a round's mean model is there."""
        self._at.append((perf_counter(), cpu_seconds()))

    def measured(self, weights: Tensor) -> Measured:
        """What the rounds took; ``weights`` is the last mean model."""
        (began, _), (warm, cpu_warm), (ended, cpu_ended) = self._at[0], self._at[1], self._at[-1]
        counted = len(self._at) - 2
        return Measured(
            cpu_ms=1000 * (cpu_ended - cpu_warm) / (counted * MEMBERS),
            seconds=(ended - warm) / counted,
            first=warm - began,
            loss=loss(weights),
        )


def play(update: Callable[[Tensor], Tensor], rounds: int = ROUNDS) -> Measured:
    """Run an engine whose whole round is one function of the mean model, and measure it."""
    weights = start()
    rows()
    clock = RoundClock()
    for _ in range(rounds):
        weights = update(weights)
        clock.round_done()
    return clock.measured(weights)
