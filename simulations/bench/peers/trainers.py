"""How one member trains for one epoch: Opacus as its tutorials have it, Opacus with what can be kept kept, and closed form."""

from collections.abc import Callable

import torch
from opacus import GradSampleModule, PrivacyEngine
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fedrepay.simulations.bench.peers.workload import BATCH, CLIP, NOISE, RATE, ROWS, SEED, SIZES, module
from fedrepay.simulations.engines import batched_sgd

Trainer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(weights, features, outcomes) → weights after one epoch."""
STEPS = -(-ROWS // BATCH)
loss = nn.BCEWithLogitsLoss()


def made(weights: Tensor, features: Tensor, outcomes: Tensor) -> Tensor:
    """PrivacyEngine, optimizer and DataLoader made anew for the member, as Flower's and Opacus' tutorials do."""
    network = module()
    nn.utils.vector_to_parameters(weights.clone(), network.parameters())
    private, optimizer, loader = PrivacyEngine().make_private(
        module=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=RATE),
        data_loader=DataLoader(TensorDataset(features, outcomes), batch_size=BATCH, shuffle=True),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        poisson_sampling=False,
    )
    for part, truth in loader:
        optimizer.zero_grad()
        loss(private(part).squeeze(1), truth).backward()
        optimizer.step()
    return nn.utils.parameters_to_vector(network.parameters()).detach()


class Reused:
    """Opacus' module and optimizer made once and used for every member; batches by slicing a shuffle."""

    def __init__(self) -> None:
        self.network = module()
        self.private = GradSampleModule(self.network)
        self.optimizer = DPOptimizer(
            torch.optim.SGD(self.network.parameters(), lr=RATE),
            noise_multiplier=NOISE,
            max_grad_norm=CLIP,
            expected_batch_size=ROWS // STEPS,
        )

    def __call__(self, weights: Tensor, features: Tensor, outcomes: Tensor) -> Tensor:
        """Train one member."""
        with torch.no_grad():
            nn.utils.vector_to_parameters(weights.clone(), self.network.parameters())
        for places in torch.randperm(len(features)).split(BATCH):
            self.optimizer.zero_grad()
            loss(self.private(features[places]).squeeze(1), outcomes[places]).backward()
            self.optimizer.step()
        return nn.utils.parameters_to_vector(self.network.parameters()).detach()


class ClosedForm:
    """Our trainer, one member at a time."""

    def __init__(self, add_noise: batched_sgd.AddNoise | None = None) -> None:
        self.generator = torch.Generator().manual_seed(SEED)
        self.add_noise = add_noise or batched_sgd.gaussian(CLIP, NOISE, self.generator)
        self.settings = batched_sgd.SgdSettings(clip=CLIP, rate=RATE, batch=BATCH)

    def __call__(self, weights: Tensor, features: Tensor, outcomes: Tensor) -> Tensor:
        """Train one member."""
        change = batched_sgd.train(
            weights, SIZES, features[None], outcomes[None], self.settings, self.add_noise, self.generator
        )
        return weights + change[0]


def make(name: str) -> Trainer:
    """A trainer by name."""
    makers: dict[str, Callable[[], Trainer]] = {"made": lambda: made, "reused": Reused, "closed": ClosedForm}
    return makers[name]()
