"""Members batched along a tensor axis: the same clipped sums as Opacus' per-sample gradients, the same training as one by one."""

import math
import warnings
from itertools import pairwise

import pytest
import torch
from opacus import GradSampleModule
from torch import Tensor, nn

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.engines import batched_sgd
from fedrepay.simulations.engines.batched_sgd import SgdSettings

NETWORKS = {
    "logistic": (6, 1),
    "one hidden layer": (20, 64, 1),
    "three": (9, 7, 5, 4, 1),
}


def network_of(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def draw(sizes: tuple[int, ...], members: int = 3, rows: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, features and outcomes."""
    generator = torch.Generator().manual_seed(1)
    count = sum((a + 1) * b for a, b in pairwise(sizes))
    flat = 0.5 * torch.randn(members, count, generator=generator)
    features = 2 * torch.randn(members, rows, sizes[0], generator=generator)
    return flat, features, (torch.rand(members, rows, generator=generator) < 0.5).float()


def opacus_sum(
    weights: Tensor, sizes: tuple[int, ...], features: Tensor, outcomes: Tensor, clip: float
) -> Tensor:
    """The sum of clipped per-sample gradients that Opacus' hooks give one member."""
    network = network_of(sizes)
    nn.utils.vector_to_parameters(weights, network.parameters())
    module = GradSampleModule(network, loss_reduction="sum")
    loss = nn.BCEWithLogitsLoss(reduction="sum")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hooks on inputs that need no gradient
        loss(module(features).squeeze(1), outcomes).backward()
    each = torch.cat([p.grad_sample.flatten(1) for p in module.parameters()], dim=1)
    scale: Tensor = clip / each.norm(dim=1)
    return (each * scale.clamp(max=1).unsqueeze(1)).sum(0)


@pytest.mark.parametrize("sizes", NETWORKS.values(), ids=NETWORKS)
def test_clipped_sums_are_those_of_opacus_per_sample_gradients(sizes: tuple[int, ...]) -> None:
    flat, features, outcomes = draw(sizes)
    for clip in (0.1, 1.0, 100.0):
        mine = batched_sgd.clipped_sums(flat, sizes, features, outcomes, clip)
        theirs = torch.stack(
            [opacus_sum(*each, clip) for each in zip(flat, [sizes] * 3, features, outcomes, strict=True)]
        )
        assert (mine - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))
    unclipped = batched_sgd.clipped_sums(flat, sizes, features, outcomes, 1e9)
    clipped = batched_sgd.clipped_sums(flat, sizes, features, outcomes, 0.1)
    assert (unclipped - clipped).abs().max() > 0.1  # the control: norms do matter here


def test_no_row_moves_a_sum_by_more_than_the_clip() -> None:
    sizes = NETWORKS["one hidden layer"]
    flat, features, outcomes = draw(sizes)
    features *= 50  # gradients far beyond the clip wherever the network is wrong

    def moved(clip: float) -> float:
        whole = batched_sgd.clipped_sums(flat, sizes, features, outcomes, clip)
        rows = []
        for row in range(10):
            kept = torch.arange(features.shape[1]) != row
            rows.append(
                whole - batched_sgd.clipped_sums(flat, sizes, features[:, kept], outcomes[:, kept], clip)
            )
        return max(float(each.norm(dim=1).max()) for each in rows)

    assert 0.99 < moved(1.0) < 1 + 1e-4
    assert moved(1e9) > 10  # the control: without clipping a row moves it as far as it likes


def one_by_one(
    sizes: tuple[int, ...], features: Tensor, outcomes: Tensor, start: Tensor, settings: SgdSettings
) -> Tensor:
    """One member's epoch with Opacus' sums on the batches that the same seed shuffles."""
    weights = start.clone()
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(5))
    steps = math.ceil(len(features) / settings.batch)
    for places in order.split(settings.batch):
        total = opacus_sum(weights.clone(), sizes, features[places], outcomes[places], settings.clip).detach()
        weights -= settings.rate * total / (len(features) // steps)
    return weights - start


def test_members_together_train_as_each_alone() -> None:
    sizes = NETWORKS["three"]
    flat, features, outcomes = draw(sizes, members=4, rows=50)
    settings = SgdSettings(batch=16, rate=0.5)
    together = batched_sgd.train(
        flat[0], sizes, features, outcomes, settings, None, torch.Generator().manual_seed(5)
    )
    alone = batched_sgd.train(
        flat[0],
        sizes,
        features,
        outcomes,
        SgdSettings(batch=16, rate=0.5, together=1),
        None,
        torch.Generator().manual_seed(5),
    )
    assert (together - alone).abs().max() < 1e-6
    assert together.abs().max() > 0.01
    assert (together[0] - one_by_one(sizes, features[0], outcomes[0], flat[0], settings)).abs().max() < 1e-5


def test_poisson_batches_take_each_row_with_one_probability_and_filling_rows_count_nothing() -> None:
    _, features, outcomes = draw((6, 1), members=5, rows=400)
    numbered = features.clone()
    numbered[:, :, 0] = torch.arange(400)
    generator = torch.Generator().manual_seed(2)
    taken = torch.zeros(5, 400)
    for _ in range(25):
        for part, _, weight in batched_sgd._poisson(numbered, outcomes, 100, generator):
            assert weight is not None
            for who in range(5):
                mine = part[who, :, 0][weight[who] > 0].long()
                assert len(mine.unique()) == len(mine)
                taken[who, mine] += 1
    shares = taken / 100  # 25 epochs of 4 steps
    assert abs(float(shares.mean()) - 0.25) < 0.01
    assert 0.05 < float(shares.min()) < float(shares.max()) < 0.5

    flat, features, outcomes = draw((6, 1))
    weight = (torch.arange(40) < 25).float().repeat(3, 1)
    filled = batched_sgd.clipped_sums(flat, (6, 1), features, outcomes, 1.0, weight)
    real = batched_sgd.clipped_sums(flat, (6, 1), features[:, :25], outcomes[:, :25], 1.0)
    assert (filled - real).abs().max() < 1e-5


def test_discrete_noise_stays_on_its_grid_and_covers_clip_and_rounding() -> None:
    clip, multiplier, parameters = 2.0, 1.5, 100
    add = batched_sgd.discrete(clip, multiplier, parameters, SeededEntropy(b"noise"))
    sums = torch.zeros(2_000, parameters)
    add(sums)
    step = clip / (batched_sgd.WIDEST / multiplier - math.sqrt(parameters))
    places = sums / step
    assert (places - places.round()).abs().max() < 1e-3
    width = float(sums.std())
    assert width == pytest.approx(multiplier * (clip + math.sqrt(parameters) * step), rel=0.01)
    assert width > multiplier * clip  # with noise for the clip alone, rounding would not be covered


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)),
        nn.Sequential(nn.Linear(3, 2), nn.ReLU()),
        nn.Sequential(nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(3, 1, bias=False)),
        nn.Sequential(),
    ],
    ids=["tanh", "ends with ReLU", "two outputs", "no bias", "empty"],
)
def test_other_modules_are_refused(module: nn.Module) -> None:
    with pytest.raises(ArgumentError, match="one member at a time"):
        batched_sgd.sizes_of(module)


def test_sizes_and_too_many_parameters_for_the_grid() -> None:
    assert batched_sgd.sizes_of(network_of((9, 7, 1))) == (9, 7, 1)
    with pytest.raises(ArgumentError, match="finer grid"):
        batched_sgd.discrete(1.0, 10.0, 20_000, SeededEntropy(b""))
