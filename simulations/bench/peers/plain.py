"""The workload as a plain loop over members: no framework, Opacus' trainers or ours."""

import torch
from torch import Tensor

from fedrepay.simulations.bench.peers import trainers, workload
from fedrepay.simulations.bench.peers.workload import MEMBERS, Measured


def run(name: str) -> Measured:
    """Measure with a trainer."""
    torch.set_num_threads(1)
    trainer = trainers.make(name)

    def update(weights: Tensor) -> Tensor:
        return torch.stack([trainer(weights, *workload.member(place)) for place in range(MEMBERS)]).mean(0)

    return workload.play(update)
