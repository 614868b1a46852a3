"""The workload on our engines: members one by one through the real in-process Grid, or batched along a tensor axis."""

from collections.abc import Iterator

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from fedrepay.shared.privacy.entropy import Entropy, OsEntropy, SeededEntropy
from fedrepay.simulations.bench.peers import trainers, workload
from fedrepay.simulations.bench.peers.workload import (
    BATCH,
    CLIP,
    FEATURES,
    HIDDEN,
    MEMBERS,
    NOISE,
    PARAMETERS,
    RATE,
    ROWS,
    SEED,
    SIZES,
    Measured,
)
from fedrepay.simulations.engines import batched_sgd
from fedrepay.simulations.run.grid import RECORD, InProcessGrid

TOGETHER = batched_sgd.SgdSettings().together


def run(name: str) -> Measured:
    """Measure one of ``batched`` and ``grid`` with a noise, such as ``batched-float``, or the ``limit``."""
    torch.set_num_threads(1)
    engine, _, noise = name.partition("-")
    return {"batched": batched, "grid": through_grid, "limit": limit}[engine](noise)


def noise_of(name: str, generator: torch.Generator) -> batched_sgd.AddNoise | None:
    """Float noise as the peers draw it, our discrete noise from a seed or from the operating system, or none."""
    if name == "none":
        return None
    if name in ("float", "poisson"):
        return batched_sgd.gaussian(CLIP, NOISE, generator)
    entropy: Entropy = OsEntropy() if name == "os" else SeededEntropy(b"bench")
    return batched_sgd.discrete(CLIP, NOISE, PARAMETERS, entropy)


def batched(noise: str) -> Measured:
    """Members together along one more axis."""
    generator = torch.Generator().manual_seed(SEED)
    add_noise = noise_of(noise, generator)
    settings = batched_sgd.SgdSettings(
        clip=CLIP, rate=RATE, batch=BATCH, sampling="poisson" if noise == "poisson" else "shuffled"
    )
    features, outcomes = (each[:MEMBERS] for each in workload.rows())

    def update(weights: Tensor) -> Tensor:
        changes = batched_sgd.train(weights, SIZES, features, outcomes, settings, add_noise, generator)
        return weights + changes.mean(0)

    return workload.play(update)


def through_grid(noise: str) -> Measured:
    """One message a member, serialised and parsed both ways, answered by a real ClientApp."""
    app = ClientApp()
    trainer = trainers.ClosedForm(noise_of(noise, torch.Generator().manual_seed(SEED)))

    @app.query()
    def train(message: Message, context: Context) -> Message:
        shared = message.content.config_records[RECORD]["shared"]
        weights = torch.from_numpy(np.frombuffer(bytes(shared), dtype="<f4").copy())  # type: ignore[arg-type]
        trained = trainer(weights, *workload.member(int(context.node_config["member"])))
        return Message(
            RecordDict({RECORD: ConfigRecord({"body": trained.numpy().tobytes()})}), reply_to=message
        )

    bodies: list[bytes] = []
    places = [str(place) for place in range(MEMBERS)]
    grid = InProcessGrid(app, places, places, lambda each: bodies.append(each.body))

    def update(weights: Tensor) -> Tensor:
        shared = weights.numpy().tobytes()
        bodies.clear()
        grid.send_and_receive(_messages(grid, shared))
        found = [np.frombuffer(each, dtype="<f4") for each in bodies]
        return torch.from_numpy(np.mean(found, axis=0))

    return workload.play(update)


def _messages(grid: InProcessGrid, shared: bytes) -> Iterator[Message]:
    for node in grid.get_node_ids():
        record = ConfigRecord({"kind": "train", "shared": shared, "own": b""})
        yield grid.create_message(RecordDict({RECORD: record}), "query", node, "1")


def limit(_noise: str) -> Measured:
    """The arithmetic alone: one epoch's matrix products, forwards and backwards, of the same shapes, and nothing else."""
    batch = ROWS // trainers.STEPS
    rows, outcome = torch.randn(TOGETHER, batch, FEATURES), torch.randn(TOGETHER, 1, batch)
    first, second = torch.randn(TOGETHER, FEATURES, HIDDEN), torch.randn(TOGETHER, HIDDEN, 1)
    hidden, logits = torch.empty(TOGETHER, batch, HIDDEN), torch.empty(TOGETHER, batch, 1)
    gradient, above = torch.empty(TOGETHER, HIDDEN, FEATURES), torch.empty(TOGETHER, 1, HIDDEN)

    def update(weights: Tensor) -> Tensor:
        for _ in range(trainers.STEPS * MEMBERS // TOGETHER):
            torch.bmm(rows, first, out=hidden)
            torch.bmm(hidden, second, out=logits)
            torch.bmm(hidden.mT, rows, out=gradient)
            torch.bmm(outcome, hidden, out=above)
        return weights

    return workload.play(update, rounds=30)
