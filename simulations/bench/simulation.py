"""Simulating many members beside Flower's engine, pfl-research and JAX: CPU time a member update, all in one run.

CPU time, not seconds: it does not depend on how many processes an engine starts. Every engine runs in processes of its
own, one thread each; its first round warms up and is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from fedrepay.simulations.bench.page import table
from fedrepay.simulations.bench.peers.start import measured
from fedrepay.simulations.bench.peers.workload import (
    BATCH,
    CLIP,
    FEATURES,
    HIDDEN,
    MEMBERS,
    NOISE,
    ROUNDS,
    ROWS,
)

REPEATS = 2
TOLERANCE = 0.005
"""How far an engine's loss may lie from the plain loop's, nats."""
Figures = dict[str, float]


@dataclass(frozen=True)
class EngineRow:
    """One row of the table."""

    label: str
    module: str  # of ``bench/peers``
    argument: str
    processes: int = 1  # of ``torchrun``
    ours: bool = False  # runs in our own environment


ENGINES = {
    "flower made": EngineRow("Flower simulation (Ray), Opacus made each round", "flower", "made"),
    "flower reused": EngineRow("Flower simulation (Ray), Opacus reused", "flower", "reused"),
    "flower closed": EngineRow("Flower simulation (Ray), **our trainer**", "flower", "closed"),
    "pfl made": EngineRow("pfl, Opacus made each round", "pfl_engine", "made"),
    "pfl reused": EngineRow("pfl, Opacus reused", "pfl_engine", "reused"),
    "pfl reused 2": EngineRow("pfl, Opacus reused, 2 processes", "pfl_engine", "reused", 2),
    "pfl closed": EngineRow("pfl, **our trainer**", "pfl_engine", "closed"),
    "plain made": EngineRow("plain loop, Opacus made each round", "plain", "made"),
    "plain reused": EngineRow("plain loop, Opacus reused", "plain", "reused"),
    "plain closed": EngineRow("plain loop, **our trainer**", "plain", "closed"),
    "jax closed": EngineRow("JAX, members batched, norms in closed form", "jax_batched", "closed"),
    "jax grad": EngineRow("JAX, `vmap(grad)`, a member at a time", "jax_batched", "grad"),
    "grid": EngineRow(
        "ours, a member at a time through the in-process Grid", "ours", "grid-float", ours=True
    ),
    "grid discrete": EngineRow("the same, our discrete noise", "ours", "grid-discrete", ours=True),
    "batched": EngineRow(
        "**ours, members batched**, float noise as the peers'", "ours", "batched-float", ours=True
    ),
    "batched discrete": EngineRow(
        "**ours, members batched**, our discrete noise, seeded", "ours", "batched-discrete", ours=True
    ),
    "batched os": EngineRow("the same, the operating system's entropy", "ours", "batched-os", ours=True),
    "batched poisson": EngineRow(
        "ours, members batched, float noise, Poisson batches", "ours", "batched-poisson", ours=True
    ),
    "limit": EngineRow("the limit: the matrix products alone", "ours", "limit", ours=True),
}
PEERS_BEST = {
    "flower": ("flower made", "flower reused"),
    "pfl": ("pfl made", "pfl reused", "pfl reused 2"),
    "JAX": ("jax closed", "jax grad"),
}
TARGETS = {"flower": 25, "pfl": 12, "JAX": 2.5}


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    found: dict[str, list[Figures]] = {name: [] for name in ENGINES}
    for _ in range(REPEATS):
        for name, engine in ENGINES.items():
            one = measured(engine.module, engine.argument, processes=engine.processes, ours=engine.ours)
            found[name].append(one)
            print(engine.label, f"{one['cpu_ms']:.2f} CPU-ms, loss {one['loss']:.4f}", sep=" | ", flush=True)
    check_losses(found)
    return body(found)


def check_losses(found: dict[str, list[Figures]]) -> None:
    """Raise if an engine ended elsewhere than the plain loop: its figures would be of other work."""
    base = mean(each["loss"] for each in found["plain made"])
    far = {
        name: each["loss"]
        for name, runs in found.items()
        for each in runs
        if name != "limit" and abs(each["loss"] - base) > TOLERANCE
    }
    if far:
        raise AssertionError(f"loss of the plain loop {base:.4f}, but {far}")


def cost(runs: Sequence[Figures]) -> float:
    """CPU-ms a member update, mean over runs."""
    return mean(each["cpu_ms"] for each in runs)


def body(found: dict[str, list[Figures]]) -> str:
    """The section's text."""
    costs = {name: cost(runs) for name, runs in found.items()}
    rows = []
    for name, engine in ENGINES.items():
        runs = found[name]
        rows.append(
            (
                engine.label,
                f"{costs[name]:.2f}",
                f"{min(r['cpu_ms'] for r in runs):.2f} … {max(r['cpu_ms'] for r in runs):.2f}",
                f"{costs[name] / costs['batched']:.2f}",
                f"{mean(r['seconds'] for r in runs):.2f}",
                f"{mean(r['first'] for r in runs):.1f}",
                "–" if name == "limit" else f"{mean(r['loss'] for r in runs):.4f}",
            )
        )
    heads = (
        "Engine",
        "CPU-ms a member update",
        "lowest … highest",
        "ratio to ours, batched",
        "s a round",
        "s the first round",
        "loss",
    )
    intro = (
        f"{MEMBERS} members × {ROWS:,} rows × {FEATURES} features, a network with {HIDDEN} hidden units, one local epoch, "
        f"batches of {BATCH}, clip {CLIP:g}, noise {NOISE:g}, {ROUNDS} rounds of which the first is not counted, {REPEATS} runs of "
        f"each engine in turn, one thread a process. All start from the same weights and end within {TOLERANCE:g} nats of the plain loop's "
        "loss on rows that nobody trained on (checked). Batches are shuffled, as the peers' own examples have it: this measures "
        "speed, and no ε is claimed; the Poisson row is what an accountant assumes. pfl passes over its users' rows in order. "
        "JAX is bound to one processor and takes PyTorch's shuffle, half the cost of its own. "
        "*Our trainer*: norms of per-sample gradients in closed form (`simulations/engines/batched_sgd.py`)."
    )
    return f"{intro}\n\n{table(heads, rows)}\n\n{verdict(costs)}\n\n{shares(costs)}"


def verdict(costs: dict[str, float]) -> str:
    """Whether the targets are reached, with both kinds of noise."""
    lines = []
    for peer, names in PEERS_BEST.items():
        best = min(names, key=costs.__getitem__)
        for noise in ("batched", "batched discrete"):
            ratio = costs[best] / costs[noise]
            reached = "reached" if ratio >= TARGETS[peer] else "**falls short**"
            lines.append(
                f"- ≥ {TARGETS[peer]:g} × {peer} ({ENGINES[best].label}), {'float' if noise == 'batched' else 'discrete'} noise: "
                f"{reached}, {ratio:.1f} ×"
            )
    return "\n".join(lines)


def shares(costs: dict[str, float]) -> str:
    """Which gain is the engine's and which the trainer's."""

    def times(slow: str, fast: str) -> str:
        return f"{costs[slow] / costs[fast]:.1f} ×"

    return (
        f"Whose gain it is. The trainer's: closed-form norms instead of Opacus' hooks, in the same engine, {times('pfl reused', 'pfl closed')} in pfl, "
        f"{times('flower reused', 'flower closed')} in Flower, {times('plain reused', 'plain closed')} in a plain loop. The engine's: with the same "
        f"trainer, members batched cost {times('flower closed', 'batched')} less than Flower, {times('pfl closed', 'batched')} less than pfl and "
        f"{times('plain closed', 'batched')} less than a plain loop; of Flower's cost over the plain loop, Ray and messages are "
        f"{costs['flower reused'] - costs['plain reused']:.1f} CPU-ms an update. Discrete noise costs {costs['batched discrete'] - costs['batched']:.2f} "
        f"CPU-ms more than float noise, with the operating system's entropy {costs['batched os'] - costs['batched']:.2f}. "
        f"The same closed form compiled by XLA costs {times('jax closed', 'batched')} ours, `vmap(grad)` {times('jax grad', 'batched')}; the matrix "
        f"products alone cost {times('jax closed', 'limit')} less than the first, which is the most that any engine could. "
        f"What remains above the matrix products, {times('batched', 'limit')}, is shuffling, ReLU, norms, noise and calls."
    )
