"""One customer moves a step's sum by at most Δ grid units, whatever the module; and updates fit their packing."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedrepay.client.learning import dp_sgd
from fedrepay.client.learning.contribution import Rows, prepare
from fedrepay.client.learning.torch_models import checks, clipping, registry
from fedrepay.client.learning.torch_models.clipping import DiscreteOptimizer, Steps
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.subsampled import SENSITIVITY
from fedrepay.shared.schema import codebook
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.packing import GAM, update_limit, update_packing
from fedrepay.shared.trust import sums
from fedrepay.shared.trust.terms import RunTerms
from support.local_world import model, terms
from support.world import SCHEMA

MODULES = ("logistic", "mlp", "support.torch_modules:Steep", "support.torch_modules:Bent")
BOOK = codebook.build(SCHEMA.replace(b"one_row_per_customer = true\n", b""))
CLIP = 0.7


def data(seed: int, customers: int = 12, most: int = 4) -> Rows:
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(customers), rng.integers(1, most + 1, customers))
    codes = np.column_stack([rng.integers(0, len(block.matrix), len(owners)) for block in BOOK.blocks[:-1]])
    outcomes = rng.integers(0, 2, (len(owners), 1)).astype(np.int8)
    return prepare(BOOK, codes.astype(np.uint16), outcomes, owners.astype(str).astype(object), None)


def without(rows: Rows, customer: int) -> Rows:
    kept = rows.owners != customer
    others = np.unique(rows.owners[kept], return_inverse=True)[1]
    return Rows(BOOK, rows.codes[kept], rows.outcomes[kept], rows.weights[kept], rows.customers - 1, others)


def steps(parameters: int, clip: float = CLIP) -> Steps:
    grid = dp_sgd.grid(clip, parameters, BOOK.schema.public.n_max)
    return Steps(1.0, 1, clip, 1e12, grid, 10.0, 1.0, -1.0)


def step_sum(name: str, rows: Rows, weights: np.ndarray, optimizer: type[DiscreteOptimizer]) -> np.ndarray:
    """The integers of one step before their noise, by the road the member takes."""
    held = model(name, BOOK.dimension)
    module = held.make()
    registry.fill(module, weights)
    wrapped = checks.wrap(module, held.norms)
    public = steps(held.parameters)
    made = optimizer(torch.optim.SGD(module.parameters(), lr=1.0), public, SeededEntropy(b""))
    everybody = clipping.sample(rows, 1.0, SeededEntropy(b""))
    clipping.accumulate(wrapped, made, rows, everybody, public.prior)
    return made.integers()


def moved(name: str, seed: int, optimizer: type[DiscreteOptimizer] = DiscreteOptimizer) -> float:
    """How far the sum moves when a customer with several rows goes, at weights where gradients are long."""
    rows = data(seed)
    customer = int(np.argmax(np.bincount(rows.owners)))
    weights = np.random.default_rng(seed).normal(0, 5, model(name, BOOK.dimension).parameters)
    both = [step_sum(name, each, weights, optimizer) for each in (rows, without(rows, customer))]
    return float(np.linalg.norm((both[0] - both[1]).astype(np.float64)))


class Unclipped(DiscreteOptimizer):
    """The defence off: rows keep their weight and their length."""

    def factors(self, lengths: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return weights + 0 * lengths


class PerRow(DiscreteOptimizer):
    """The defence off: every row of a customer counts whole."""

    def factors(self, lengths: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return super().factors(lengths, torch.ones_like(weights))


@pytest.mark.parametrize("name", MODULES)
def test_a_customer_moves_a_steps_sum_by_delta_at_most(name: str) -> None:
    assert all(moved(name, seed) <= SENSITIVITY for seed in range(6))


def test_without_clipping_or_without_weights_the_bound_breaks() -> None:
    steep = "support.torch_modules:Steep"
    assert moved(steep, 1, Unclipped) > SENSITIVITY
    assert max(moved(steep, seed, PerRow) for seed in range(6)) > SENSITIVITY


def test_the_bound_is_nearly_reached() -> None:
    assert max(moved("support.torch_modules:Steep", seed) for seed in range(6)) > 0.5 * SENSITIVITY


@pytest.mark.parametrize("name", [MODULES[1], MODULES[3]])
def test_a_steps_sum_is_that_of_single_rows_clipped_by_hand(name: str) -> None:
    rows, held = data(3), model(name, BOOK.dimension)
    weights = np.random.default_rng(3).normal(0, 1, held.parameters)
    module = held.make()
    registry.fill(module, weights)
    total = np.zeros(held.parameters)
    for i in range(len(rows.outcomes)):
        module.zero_grad()
        x = torch.from_numpy(BOOK.rows(rows.codes[i : i + 1]) / BOOK.scale)
        truth = torch.from_numpy(rows.outcomes[i].astype(np.float64))
        torch.nn.functional.binary_cross_entropy_with_logits(module(x) - 1.0, truth).backward()
        gradient = np.concatenate(
            [each.grad.numpy().ravel() for each in module.parameters() if each.grad is not None]
        )
        weight = rows.weights[i] / (1 << BOOK.weight_bits)
        total += weight * gradient * min(1.0, CLIP / np.linalg.norm(gradient))
    found = step_sum(name, rows, weights, DiscreteOptimizer) / steps(held.parameters).grid
    assert np.abs(found - total).max() < 1e-5


def test_gradients_of_a_large_module_are_held_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, name = data(4), "support.torch_modules:Bent"
    held = model(name, BOOK.dimension)
    weights = np.random.default_rng(4).normal(0, 1, held.parameters)
    whole = step_sum(name, rows, weights, DiscreteOptimizer)
    sizes: list[int] = []
    lengths = checks.gradient_lengths

    def watched(wrapped: Any) -> torch.Tensor:
        found = lengths(wrapped)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(checks, "gradient_lengths", watched)
    monkeypatch.setattr(clipping, "NUMBERS", 3 * held.parameters)
    few = step_sum(name, rows, weights, DiscreteOptimizer)
    assert max(sizes) == 3
    assert sum(sizes) == len(rows.outcomes)
    assert np.abs(few - whole).max() <= 1


def test_rows_without_a_finite_gradient_leave_the_others_theirs() -> None:
    rows, held = data(5), model("support.torch_modules:Fragile", BOOK.dimension)
    weights = np.random.default_rng(5).normal(0, 1, held.parameters)
    uses = BOOK.rows(rows.codes)[:, 0] != 0
    assert 0 < uses.sum() < len(uses)
    good = Rows(BOOK, rows.codes[~uses], rows.outcomes[~uses], rows.weights[~uses], 12, rows.owners[~uses])
    found = [step_sum(held.name, each, weights, DiscreteOptimizer) for each in (rows, good)]
    assert np.abs(found[0] - found[1]).max() <= 1
    assert np.abs(found[0]).max() > 1000


@given(
    arrays.arrays(np.float64, 40, elements=st.floats(-1e4, 1e4)),
    arrays.arrays(np.float64, 40, elements=st.floats(-1, 1)),
)
def test_rounding_a_sum_costs_at_most_the_root_of_its_length(total: np.ndarray, change: np.ndarray) -> None:
    difference = np.rint(total + change) - np.rint(total)
    assert np.linalg.norm(difference) <= np.linalg.norm(change) + math.sqrt(40) + 1e-9


@given(st.integers(1, 1 << 24), st.integers(1, 1_000_000), st.floats(1e-6, 1e6))
@example(321, 10_000, 1.0)
@example(321, 1_000_000, 1.0)
def test_the_grid_leaves_room_for_rounding_or_is_refused(parameters: int, n_max: int, clip: float) -> None:
    try:
        units = dp_sgd.grid(clip, parameters, n_max) * clip
    except ArgumentError:
        assert math.sqrt(parameters) + n_max / 16 + (n_max / 2**13) ** 2 > SENSITIVITY / 10
        return
    rows = 64 * n_max  # that weigh n_max together
    adding = 2 * SENSITIVITY * rows * n_max * 2.0**-53
    other_bits = SENSITIVITY * rows * 2.0**-30
    assert units + math.sqrt(parameters) + adding + other_bits <= SENSITIVITY
    assert units >= 0.8 * SENSITIVITY


def test_a_row_without_a_finite_gradient_adds_nothing() -> None:
    rows, name = data(5), "logistic"
    weights = np.zeros(model(name, BOOK.dimension).parameters)
    poisoned = weights.copy()
    poisoned[0] = np.nan  # every row that uses column 0 has no gradient
    uses = BOOK.rows(rows.codes)[:, 0] != 0
    assert uses.sum() > 0
    assert (step_sum(name, rows, poisoned, DiscreteOptimizer) == 0).all()  # 0·NaN is NaN: no row is left


@pytest.mark.parametrize("members", [1, 2, 3, 50, 255, 256, 257, 1500])
def test_updates_of_all_members_add_up_exactly(members: int) -> None:
    packing = update_packing(members)
    packing.check_cohort(members)
    assert packing.fields == (2 if members <= 256 else 1)
    limit = update_limit(packing)
    assert limit >= (1 << 14) - 1
    assert members * limit < packing.t // 2
    values = np.array([limit, -limit, 0, 1, -1, limit, -limit], np.int64)
    slots = packing.pack(values).astype(object) * members % packing.t
    assert packing.unpack(slots.astype(np.uint64), members, 7).tolist() == (members * values).tolist()


def test_one_bit_more_would_run_over() -> None:
    for members in (3, 50, 256):
        packing = update_packing(members)
        wider = replace(packing, offset=2 * packing.offset, most=2 * packing.most + 1)
        with pytest.raises(ArgumentError):
            wider.check_cohort(members)


def test_the_count_lies_alone_in_its_slot() -> None:
    local, gam = (RunTerms.model_construct(learner=name, pairs=None) for name in ("dp-sgd", "dp-newton"))
    assert sums.packing(local, 0, 8) == GAM == sums.packing(gam, 3, 8)
    assert sums.packing(local, 1, 8).fields == 2
    assert ring.chunk_count(8190, 2) == 1


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 50, 256, 300]))
@settings(max_examples=30)
def test_an_update_is_kept_in_range_and_off_by_half_a_unit_inside_it(seed: int, members: int) -> None:
    held = model("logistic", BOOK.dimension)
    public: Any = terms(held, noise_multiplier=10.0)
    learner = dp_sgd.DPSGD(BOOK, 3, public, 1.0, 1e-5, members, held, SeededEntropy(b""))
    state = learner.step(0, learner.start(), *opened_count(members, 400.0))
    update = np.random.default_rng(seed).normal(0, 1, held.parameters) * 10.0 ** (seed % 9 - 4)
    whole = learner.quantised(state, update)
    limit = update_limit(update_packing(members))
    unit = learner.quantised(state, np.full(1, 1e9))[0]
    assert (unit, np.abs(whole).max() <= limit) == (limit, True)
    moved_on = learner.step(1, state, members * whole, learner_charge(learner, members))
    applied = (moved_on.weights - state.weights)[0]
    inside = np.abs(whole) < limit
    worth = float(np.abs(applied[~inside]).max() / limit) if (~inside).any() else None
    assert worth is None or np.abs(applied[inside] - update[inside]).max(initial=0) <= 0.51 * worth


def opened_count(members: int, each: float) -> tuple[np.ndarray, tuple[Any, ...]]:
    from fedrepay.shared.privacy.subsampled import COUNT_UNIT, count_mechanism

    return np.array([int(COUNT_UNIT * each * members)], np.int64), (count_mechanism(1.0, 1e-5, members),)


def learner_charge(learner: dp_sgd.DPSGD, members: int) -> tuple[Any, ...]:
    from fedrepay.shared.privacy.subsampled import steps_mechanism

    public = learner.terms
    return (
        steps_mechanism(
            public.noise_multiplier, public.sampling_rate, public.local_steps, members, public.parameters
        ),
    )
