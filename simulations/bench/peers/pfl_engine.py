"""The workload on pfl-research (PyTorch), in one process or, under ``torchrun``, in several."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.internal.ops import pytorch_ops
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from fedrepay.simulations.bench.peers import trainers, workload
from fedrepay.simulations.bench.peers.workload import (
    BATCH,
    CLIP,
    MEMBERS,
    NOISE,
    RATE,
    ROUNDS,
    ROWS,
    Measured,
    RoundClock,
)


class PflNetwork(nn.Module):
    """The workload's network with what pfl asks of a module."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def loss(self, features: Tensor, outcomes: Tensor) -> Tensor:
        """The mean logistic loss."""
        found: Tensor = trainers.loss(self.layers(features).squeeze(1), outcomes)
        return found

    def metrics(self, _features: Tensor, _outcomes: Tensor) -> dict[str, Any]:
        """None: evaluation is not part of the workload."""
        return {}


class ByTrainer(FederatedAveraging):  # type: ignore[misc]  # pfl has no types
    """Federated averaging whose users train by a function of flat weights."""

    def __init__(self, trainer: trainers.Trainer) -> None:
        super().__init__()
        self._trainer = trainer

    def train_one_user(
        self, initial_model_state: Any, model: Any, user_dataset: Any, central_context: Any
    ) -> Any:
        """Train one user."""
        del central_context
        parameters = list(model.pytorch_model.parameters())
        weights = nn.utils.parameters_to_vector(parameters).detach()
        trained = self._trainer(weights, *user_dataset.raw_data)
        with torch.no_grad():
            nn.utils.vector_to_parameters(trained, parameters)
        return model.get_model_difference(initial_model_state), Metrics()


class Timer(TrainingProcessCallback):  # type: ignore[misc]  # pfl has no types
    """Marks the end of every round."""

    def __init__(self) -> None:
        self.clock = RoundClock()

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
        """A round is done."""
        del aggregate_metrics, model, central_iteration
        self.clock.round_done()
        return False, Metrics()


def _users() -> Iterator[Any]:
    def dataset(user: int) -> Any:
        return Dataset(workload.member(user), user_id=str(user))

    return FederatedDataset(dataset, get_user_sampler("minimize_reuse", list(range(MEMBERS))))  # type: ignore[no-any-return]


def run(name: str) -> Measured | None:
    """Measure with a trainer; None in every process but the first.

    ``reused`` is pfl's own loop of steps over a module and an optimizer that Opacus wrapped once.
    """
    torch.set_num_threads(1)
    workload.rows()
    np.random.seed(workload.SEED)  # noqa: NPY002  # pfl draws from NumPy's global state
    torch.manual_seed(workload.SEED + 1 + pytorch_ops.distributed.global_rank)
    layers = workload.module()
    network = PflNetwork(GradSampleModule(layers) if name == "reused" else layers)

    def optimizer(parameters: Any, lr: float) -> Any:
        sgd = torch.optim.SGD(parameters, lr=lr)
        if name != "reused":
            return sgd
        return DPOptimizer(
            sgd, noise_multiplier=NOISE, max_grad_norm=CLIP, expected_batch_size=ROWS // trainers.STEPS
        )

    model = PyTorchModel(network, optimizer, torch.optim.SGD(network.parameters(), lr=1.0))
    algorithm = FederatedAveraging() if name == "reused" else ByTrainer(trainers.make(name))
    timer = Timer()
    algorithm.run(
        NNAlgorithmParams(
            central_num_iterations=ROUNDS,
            evaluation_frequency=ROUNDS + 1,
            train_cohort_size=MEMBERS,
            val_cohort_size=0,
        ),
        SimulatedBackend(_users(), None),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=RATE, local_batch_size=BATCH),
        callbacks=[timer],
        send_metrics_to_platform=False,
    )
    weights = nn.utils.parameters_to_vector(layers.parameters()).detach()
    return timer.clock.measured(weights) if pytorch_ops.distributed.global_rank == 0 else None
