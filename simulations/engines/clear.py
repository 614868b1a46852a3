"""A run's sums in the clear: what the protocol would open, with no protocol run.

Sums of integers do not depend on who brings which row, so all members' rows are added at once; each member's share of
noise is drawn as it would draw it, K shares and not one of their total. Nothing is masked, encrypted or signed: nothing
is protected between members. Checked against the faithful engine in ``tests/unit/simulations/engines/test_batched.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning.base import Learner, Model
from fedrepay.client.learning.contribution import Rows
from fedrepay.shared.arrays import I64
from fedrepay.shared.privacy.accounting import Mechanism, most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian

Exact = Callable[[int, Model], I64]
"""The sum of all members' contributions to sum ``index`` at a state, without noise."""
Charged = Sequence[tuple[Mechanism, ...]]
Streams = Callable[[int, int], Entropy]
"""(member, sum) → where that member's noise in that sum comes from."""
DRAWS = 1 << 20  # of noise at a time


@dataclass(frozen=True)
class Opened:
    """What a run leaves: its sums, noise included, their mechanisms, and the model they give."""

    sums: tuple[I64, ...]
    mechanisms: tuple[tuple[Mechanism, ...], ...]
    state: Model


def pool(parts: Sequence[Rows]) -> Rows:
    """All members' rows, each weighed at its own member, one after the other."""
    starts = np.cumsum([0, *(each.customers for each in parts)])[:-1]
    return Rows(
        parts[0].book,
        np.concatenate([each.codes for each in parts]),
        np.concatenate([each.outcomes for each in parts]),
        np.concatenate([each.weights for each in parts]),
        sum(each.customers for each in parts),
        np.concatenate([each.owners + before for each, before in zip(parts, starts.tolist(), strict=True)]),
    )


def together(learner: Learner[Any], rows: Rows) -> Exact:
    """The sums over pooled rows, in parts that the schema's n_max keeps exact."""
    step = rows.book.schema.public.n_max

    def exact(index: int, state: Model) -> I64:
        total = np.zeros(sum(each.size for each in learner.segments()[index]), np.int64)
        for start in range(0, len(rows.codes), step):
            here = slice(start, start + step)
            part = replace(
                rows,
                codes=rows.codes[here],
                outcomes=rows.outcomes[here],
                weights=rows.weights[here],
                owners=rows.owners[here],
            )
            total += learner.contribution(index, state, part)
        return total

    return exact


def planned(
    learner: Learner[Any], *, epsilon: float, delta: float, members: int, colluders: int, max_attempts: int
) -> tuple[tuple[Mechanism, ...], ...]:
    """The mechanisms of a run in which nobody fails, one tuple a sum."""
    sums = learner.segments()
    mu = target_mu(epsilon, delta, most_draws(sums, members, max_attempts))
    return tuple(
        plan_attempt(mu, sums, range(index), index, members, colluders) for index in range(len(sums))
    )


def run(
    learner: Learner[Any],
    exact: Exact,
    mechanisms: Sequence[tuple[Mechanism, ...]],
    members: int,
    streams: Streams | None = None,
    *,
    noise: bool = True,
) -> Opened:
    """All sums of a run, one after the other.

    Args:
        learner: the run's learner.
        exact: of :func:`together`.
        mechanisms: of :func:`planned`, or an empty tuple a sum: mode none.
        members: K, each with its share of noise.
        streams: seeded ones for tests and benchmarks; else the operating system's generator.
        noise: False adds none and steps as if it had: what the noise itself costs.
    """
    state, sums = learner.start(), []
    for index, charged in enumerate(mechanisms):
        opened = exact(index, state)
        if noise and streams is None:
            opened = opened + shares(charged, members, OsEntropy())
        elif noise and streams is not None:
            for member in range(members):
                opened = add_noise(opened, charged, streams(member, index))
        sums.append(opened)
        state = learner.step(index, state, opened, charged)
    return Opened(tuple(sums), tuple(mechanisms), state)


def shares(charged: Sequence[Mechanism], members: int, entropy: Entropy) -> I64:
    """The sum of all members' shares of noise on one sum, drawn member by member from one stream; 0 in mode none."""
    total = [np.zeros(1, np.int64)] if not charged else []
    for mechanism in charged:
        sampler, size = DiscreteGaussian(mechanism.share_variance), mechanism.size
        noise = np.zeros(size, np.int64)
        at_once = max(1, DRAWS // size)
        for start in range(0, members, at_once):
            count = min(at_once, members - start)
            noise += sampler.sample(count * size, entropy).reshape(count, size).sum(axis=0)
        total.append(noise)
    return np.concatenate(total)
