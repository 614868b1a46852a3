"""DP-SGD of many members at once: members of equal shape share one more tensor axis, per-sample norms are closed form.

A linear layer's gradient for one row is the outer product of the gradient at its output, δ, and its input, a, so
its squared norm is ‖δ‖²·(‖a‖² + 1), bias included (Goodfellow, 2015, arXiv:1510.01799), and the sum of clipped
gradients is one matrix product over the rows, each scaled by min(1, C/norm): no per-sample gradient is ever stored.
The modules are fully connected, with ReLU between their layers, one output and a logistic loss.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.privacy.noise import DiscreteGaussian

AddNoise = Callable[[Tensor], None]
"""Adds noise, in place, to sums of clipped gradients, shape (members, parameters)."""
WIDEST = 1024.0
"""Noise's width in grid units: the widest that one table of the sampler serves."""


@dataclass(frozen=True)
class SgdSettings:
    """How every member trains.

    ``batch`` rows a step, by a shuffle of the member's rows or, with ``poisson``, each row by itself with probability
    1/steps. Only ``poisson`` is what an accountant with amplification by sampling assumes.
    """

    clip: float = 1.0
    rate: float = 0.1
    batch: int = 256
    epochs: int = 1
    sampling: Literal["shuffled", "poisson"] = "shuffled"
    together: int = 20  # members in one tensor: as many as the processor's cache holds


def sizes_of(module: nn.Module) -> tuple[int, ...]:
    """Width of the inputs and of every layer's outputs.

    Raises:
        ArgumentError: the module is not linear layers with biases, ReLU between them and one output.
    """
    layers = list(module.children())
    linear = [each for each in layers[::2] if isinstance(each, nn.Linear) and each.bias is not None]
    between = [each for each in layers[1::2] if isinstance(each, nn.ReLU)]
    whole = len(linear) + len(between) == len(layers) and len(linear) == len(between) + 1
    if not whole or linear[-1].out_features != 1:
        raise ArgumentError(
            f"{type(module).__name__} is not linear layers with biases, ReLU between them and one output.",
            "Train it one member at a time (--mode local does).",
        )
    return (linear[0].in_features, *(each.out_features for each in linear))


def views(flat: Tensor, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Each layer's weights (members, out, in) and biases (members, out) inside ``flat`` (members, parameters)."""
    found, at = [], 0
    for inputs, outputs in pairwise(sizes):
        weights = flat[:, at : at + inputs * outputs].unflatten(1, (outputs, inputs))
        at += inputs * outputs
        found.append((weights, flat[:, at : at + outputs]))
        at += outputs
    return found


class Buffers:
    """Tensors that are used again: fresh memory each step would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        """A contiguous tensor of a shape, its values whatever they were."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.numel() < size:
            held = self._held[name] = torch.empty(size)
        return held[:size].view(shape)


def clipped_sums(
    flat: Tensor,
    sizes: Sequence[int],
    rows: Tensor,
    labels: Tensor,
    clip: float,
    weight: Tensor | None = None,
    buffers: Buffers | None = None,
) -> Tensor:
    """Each member's sum over its rows of clipped per-sample gradients.

    Args:
        flat: parameters in the order of ``module.parameters()``, shape (members, parameters).
        sizes: as ``sizes_of`` gives.
        rows: shape (members, rows, inputs).
        labels: 0 or 1, shape (members, rows).
        clip: bound on each row's gradient norm.
        weight: 0 for rows that only fill up, else 1, shape (members, rows); None for all.
        buffers: to use again.

    Returns:
        shape (members, parameters).
    """
    buffers = Buffers() if buffers is None else buffers
    members, count, _ = rows.shape
    layers = views(flat, sizes)
    entered = [rows]  # what enters each layer
    for place, (weights, biases) in enumerate(layers[:-1]):
        hidden = buffers.get(f"hidden {place}", members, count, sizes[place + 1])
        torch.baddbmm(biases.unsqueeze(1), entered[-1], weights.mT, out=hidden)
        entered.append(hidden.relu_())
    weights, biases = layers[-1]
    residual = torch.baddbmm(biases.unsqueeze(1), entered[-1], weights.mT).squeeze(2).sigmoid_().sub_(labels)

    # the gradient of the one logit, layer by layer downwards; the loss's is the residual times it
    squared = _squared(entered[-1]).add_(1)
    slopes: list[Tensor] = []
    for place in range(len(layers) - 2, -1, -1):
        above = layers[place + 1][0]
        back = torch.bmm(slopes[-1], above) if slopes else above.expand(members, count, sizes[place + 1])
        slope = buffers.get(f"slope {place}", *entered[place + 1].shape)
        torch.ops.aten.threshold_backward.grad_input(back, entered[place + 1], 0.0, grad_input=slope)
        squared.add_(_squared(slope).mul_(_squared(entered[place]).add_(1)))
        slopes.append(slope)
    share = (clip / squared.sqrt_().mul_(residual.abs())).clamp_(max=1.0).mul_(residual)
    if weight is not None:
        share.mul_(weight)

    total = torch.empty_like(flat)
    sums = views(total, sizes)
    row = share.unsqueeze(1)
    for place, (weights, biases) in enumerate(sums[:-1]):
        slope = slopes[len(slopes) - 1 - place]
        weights.copy_(torch.bmm(slope.mT, entered[place] * share.unsqueeze(2)))
        biases.copy_(torch.bmm(row, slope).squeeze(1))
    sums[-1][0].copy_(torch.bmm(row, entered[-1]))
    sums[-1][1].copy_(share.sum(1, keepdim=True))
    return total


def _squared(values: Tensor) -> Tensor:
    """Squared norms over the last axis."""
    norms: Tensor = torch.linalg.vector_norm(values, dim=2)
    return norms.square_()


def train(
    start: Tensor,
    sizes: Sequence[int],
    rows: Tensor,
    labels: Tensor,
    settings: SgdSettings,
    add_noise: AddNoise | None,
    generator: torch.Generator,
) -> Tensor:
    """Train every member from the same weights on its own rows.

    Args:
        start: shape (parameters,).
        sizes: as ``sizes_of`` gives.
        rows: shape (members, rows, inputs); all members have as many.
        labels: 0 or 1, shape (members, rows).
        settings: how.
        add_noise: what protects a step's sums; None for none.
        generator: draws the batches.

    Returns:
        each member's weights less ``start``, shape (members, parameters).
    """
    with torch.no_grad():
        parts = [
            _train(start, sizes, part, truth, settings, add_noise, generator)
            for part, truth in zip(
                rows.split(settings.together), labels.split(settings.together), strict=True
            )
        ]
    return torch.cat(parts)


def _train(
    start: Tensor,
    sizes: Sequence[int],
    rows: Tensor,
    labels: Tensor,
    settings: SgdSettings,
    add_noise: AddNoise | None,
    generator: torch.Generator,
) -> Tensor:
    flat = start.repeat(len(rows), 1)
    buffers = Buffers()
    steps = math.ceil(rows.shape[1] / settings.batch)
    # the divisor must be public, so it is not the batch's own size (as Opacus has it)
    expected = rows.shape[1] // steps
    draw = _poisson if settings.sampling == "poisson" else _shuffled
    for _ in range(settings.epochs):
        for part, truth, weight in draw(rows, labels, settings.batch, generator):
            total = clipped_sums(flat, sizes, part, truth, settings.clip, weight, buffers)
            if add_noise is not None:
                add_noise(total)
            flat.sub_(total, alpha=settings.rate / expected)
    return flat.sub_(start)


Batches = Iterator[tuple[Tensor, Tensor, Tensor | None]]


def _shuffled(rows: Tensor, labels: Tensor, batch: int, generator: torch.Generator) -> Batches:
    members, count, _ = rows.shape
    order = torch.stack([torch.randperm(count, generator=generator) for _ in range(members)])
    for places in order.split(batch, dim=1):
        yield _take(rows, places), labels.gather(1, places), None


def _poisson(rows: Tensor, labels: Tensor, batch: int, generator: torch.Generator) -> Batches:
    members, count, _ = rows.shape
    steps = math.ceil(count / batch)
    for _ in range(steps):
        drawn = torch.rand(members, count, generator=generator) < 1 / steps
        sizes = drawn.sum(1)
        weight = (torch.arange(max(int(sizes.max()), 1)) < sizes.unsqueeze(1)).to(rows.dtype)
        places = torch.zeros(weight.shape, dtype=torch.int64)
        places[weight > 0] = drawn.nonzero()[:, 1]
        yield _take(rows, places), labels.gather(1, places), weight


def _take(values: Tensor, places: Tensor) -> Tensor:
    """The rows at ``places`` (members, batch) of each member."""
    members, count, width = values.shape
    flat = (places + count * torch.arange(members).unsqueeze(1)).flatten()
    return values.reshape(-1, width).index_select(0, flat).view(members, -1, width)


def gaussian(clip: float, multiplier: float, generator: torch.Generator) -> AddNoise:
    """Floating-point Gaussian noise of width clip·multiplier, as the peers draw it: for comparison only."""
    width = clip * multiplier

    def add(sums: Tensor) -> None:
        sums.add_(torch.randn(sums.shape, generator=generator), alpha=width)

    return add


def discrete(clip: float, multiplier: float, parameters: int, entropy: Entropy) -> AddNoise:
    """The product's noise: sums are rounded to a grid, then discrete Gaussian noise of ``WIDEST`` grid units is added.

    Rounding two neighbouring sums moves them apart by at most √parameters grid units more than ``clip``, so the grid is
    chosen such that noise is ``multiplier`` times clip and that together; floats hold these integers exactly.

    Raises:
        ArgumentError: rounding would cost more than clipping leaves.
    """
    sensitivity = WIDEST / multiplier
    steps = sensitivity - math.sqrt(parameters)
    if steps <= 0:
        raise ArgumentError(
            f"{parameters} parameters need a finer grid than noise × {multiplier:g} leaves.",
            "Lower the multiplier.",
        )
    step = clip / steps
    sampler = DiscreteGaussian(WIDEST**2)

    def add(sums: Tensor) -> None:
        drawn = torch.from_numpy(sampler.sample(sums.numel(), entropy)).view(sums.shape)
        sums.div_(step).round_().add_(drawn).mul_(step)

    return add
