"""The workload in JAX: the same trainer compiled by XLA, with our closed form or with ``vmap(grad)``.

One processor, as every other engine has one thread: XLA's pool of threads costs CPU time and wins nothing here. Each form
has the number of members in one call, the generator and the shuffle that served it best: PyTorch's shuffle costs half of
JAX's, which sorts.
"""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array

from fedrepay.simulations.bench.peers import workload
from fedrepay.simulations.bench.peers.workload import (
    BATCH,
    CLIP,
    FEATURES,
    HIDDEN,
    MEMBERS,
    NOISE,
    RATE,
    ROWS,
    SEED,
    Measured,
)

STEPS = -(-ROWS // BATCH)
TOGETHER = {"closed": 20, "grad": 1}


def run(form: str) -> Measured:
    """Measure with ``closed`` or ``grad``."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX counts processors
    torch.set_num_threads(1)
    together, one = TOGETHER[form], {"closed": closed_form, "grad": per_row_gradients}[form]
    features, outcomes = (jnp.asarray(each[:MEMBERS].numpy()) for each in workload.rows())
    parts = [slice(start, start + together) for start in range(0, MEMBERS, together)]
    epochs = jax.jit(jax.vmap(lambda *given: epoch(one, *given), in_axes=(None, 0, 0, 0, 0)))
    keys, generator = jax.random.key(SEED), torch.Generator().manual_seed(SEED)

    def update(weights: torch.Tensor) -> torch.Tensor:
        nonlocal keys
        start, trained = jnp.asarray(weights.numpy()), []
        for part in parts:
            keys, *drawn = jax.random.split(keys, together + 1)
            order = torch.stack([torch.randperm(ROWS, generator=generator) for _ in drawn])
            places = order.to(torch.int32).numpy()
            trained.append(epochs(start, features[part], outcomes[part], places, jnp.stack(drawn)))
        return torch.from_numpy(np.array(jnp.concatenate(trained).mean(0)))

    return workload.play(update)


def epoch(
    one: Callable[[Array, Array, Array], Array],
    weights: Array,
    features: Array,
    outcomes: Array,
    order: Array,
    key: Array,
) -> Array:
    """One member's weights after an epoch; ``one`` sums a batch's clipped gradients."""
    for step, drawn in enumerate(jax.random.split(key, STEPS)):
        places = order[step * BATCH : (step + 1) * BATCH]
        total = one(weights, features[places], outcomes[places])
        total += CLIP * NOISE * jax.random.normal(drawn, weights.shape)
        weights -= RATE / (ROWS // STEPS) * total
    return weights


def layers(weights: Array) -> tuple[Array, Array, Array, Array]:
    """Both layers' weights and biases inside the vector, in PyTorch's order."""
    first, bias, second, last = jnp.split(
        weights, [HIDDEN * FEATURES, HIDDEN * (FEATURES + 1), HIDDEN * (FEATURES + 2)]
    )
    return first.reshape(HIDDEN, FEATURES), bias, second, last[0]


def closed_form(weights: Array, features: Array, outcomes: Array) -> Array:
    """As ``simulations/engines/batched_sgd.py``: norms from what enters and leaves each layer."""
    first, bias, second, last = layers(weights)
    hidden = jax.nn.relu(features @ first.T + bias)
    residual = jax.nn.sigmoid(hidden @ second + last) - outcomes
    slope = jnp.where(hidden > 0, second, 0.0)
    squared = (hidden**2).sum(1) + 1 + (slope**2).sum(1) * ((features**2).sum(1) + 1)
    share = jnp.minimum(1.0, CLIP / (jnp.sqrt(squared) * jnp.abs(residual))) * residual
    scaled = slope * share[:, None]
    return jnp.concatenate([(scaled.T @ features).ravel(), scaled.sum(0), share @ hidden, share.sum()[None]])


def per_row_gradients(weights: Array, features: Array, outcomes: Array) -> Array:
    """Every row's gradient in memory, as JAX's own examples of DP-SGD have it."""

    def loss(weights: Array, row: Array, outcome: Array) -> Array:
        first, bias, second, last = layers(weights)
        logit = jax.nn.relu(first @ row + bias) @ second + last
        return jax.nn.softplus(logit) - outcome * logit

    gradients = jax.vmap(jax.grad(loss), (None, 0, 0))(weights, features, outcomes)
    share = jnp.minimum(1.0, CLIP / jnp.linalg.norm(gradients, axis=1))
    return share @ gradients
