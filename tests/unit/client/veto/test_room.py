"""Two numbers of a Gram matrix in a slot: where they fit, who checks it, and that every sum comes back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.learning import make_learner
from fedrepay.client.protocol import terms as member_terms
from fedrepay.client.veto import room
from fedrepay.shared.errors import Refusal, TermsError
from fedrepay.shared.privacy.accounting import most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.packing import GAM, pairs
from fedrepay.shared.trust.fields import LearnerName
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.roster import default_colluders, quorum
from fedrepay.shared.trust.sums import packing, run_chunks
from fedrepay.shared.trust.terms import GramPairs, NumberedTerms, RunTerms
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA
from support.invariants import opened_sums, plain_sums
from support.world import World

UCI = codebook.load(SHIPPED_SCHEMA)


def terms_for(book: CodeBook, members: int, **fields: Any) -> RunTerms:
    made = RunTerms(
        schema_hash=bytes(32),
        mode="distributed",
        learner="dp-newton",
        dimension=book.dimension,
        heads=book.heads,
        epsilon=1.0,
        delta=3e-8,
        colluders=default_colluders(members),
        rounds=5,
    )
    return made.model_copy(update=fields)


@pytest.mark.parametrize(("members", "chunks"), [(3, 3), (5, 3), (20, 3), (50, 3), (97, 6), (256, 6)])
def test_the_shipped_schema_takes_half_the_ciphertexts_up_to_fifty_members(members: int, chunks: int) -> None:
    terms = terms_for(UCI, members)
    terms = terms.model_copy(update={"pairs": gram_pairs(terms, UCI, members)})
    room.check_pairs(terms, UCI, members)
    assert run_chunks(terms, members) == (chunks, 1, 1, 1, 1)
    assert packing(terms, 1, members) == GAM


@pytest.mark.parametrize("learner", ["dp-newton", "dp-surrogate"])
def test_bounds_are_the_schemas_and_the_noise_of_the_worst_attempt(learner: LearnerName) -> None:
    terms = terms_for(UCI, 20, learner=learner)
    made = gram_pairs(terms, UCI, 20)
    assert made is not None
    largest = max(int(block.matrix.max()) for block in UCI.blocks)
    assert made.most == 10_000 * largest**2 + 2 * made.offset
    sums = make_learner(learner, UCI, 5).segments()
    mu = target_mu(1.0, 3e-8, most_draws(sums, 20, 3))
    least = quorum(20, 2)
    (worst,) = plan_attempt(mu, sums, (0, 0, 0), 0, least, 2)
    assert least * made.offset >= 11 * worst.total_variance**0.5 > least * (made.offset - 1)
    paired = terms.model_copy(update={"pairs": made})
    assert room.fits(paired, UCI, worst)
    assert not room.fits(
        paired, UCI, replace(worst, variance=worst.variance * 1.1)
    )  # wider than was left room for
    assert room.fits(
        terms, UCI, replace(worst, variance=worst.variance * 1.1)
    )  # control: one number a slot takes it
    assert gram_pairs(terms.model_copy(update={"mode": "none"}), UCI, 20) == GramPairs(
        most=10_000 * largest**2, offset=0
    )


def test_what_has_no_pairs() -> None:
    assert gram_pairs(terms_for(UCI, 20, learner="dp-gd"), UCI, 20) is None
    assert gram_pairs(terms_for(UCI, 20, epsilon=1e-4), UCI, 20) is None  # noise past any field
    first, *others = UCI.blocks
    negative = replace(UCI, blocks=(replace(first, matrix=-first.matrix), *others))
    assert gram_pairs(terms_for(negative, 20), negative, 20) is None
    with pytest.raises(Refusal):
        room.check_pairs(terms_for(UCI, 20, pairs=gram_pairs(terms_for(UCI, 20), UCI, 20)), negative, 20)


def test_a_member_refuses_a_learner_whose_tables_it_cannot_invert() -> None:
    first, *others = UCI.blocks
    matrix = first.matrix.copy()
    matrix[1] = matrix[0]
    flat = replace(UCI, blocks=(replace(first, matrix=matrix), *others))
    with pytest.raises(Refusal) as refused:
        member_terms.learner(terms_for(flat, 20, learner="dp-surrogate"), flat, 20, None, SeededEntropy(b""))
    assert refused.value.code == "schema"
    assert member_terms.learner(terms_for(flat, 20), flat, 20, None, SeededEntropy(b"")).name == "dp-newton"


@pytest.mark.parametrize(
    "told",
    [
        {"most": -1, "offset": 0},
        {"most": 0, "offset": 1},
        {"most": 1 << 27, "offset": 0},
    ],
    ids=["a customer less", "room that the offset does not have", "past t"],
)
def test_pairs_that_a_members_matrix_could_pass_are_refused(told: dict[str, int]) -> None:
    made = gram_pairs(terms_for(UCI, 20), UCI, 20)
    assert made is not None
    lied = GramPairs(most=made.most + told["most"], offset=made.offset + told["offset"])
    with pytest.raises(Refusal) as refused:
        room.check_pairs(terms_for(UCI, 20, pairs=lied), UCI, 20)
    assert refused.value.code == "schema"
    room.check_pairs(terms_for(UCI, 20, pairs=made), UCI, 20)
    for other in ({"learner": "dp-gd"},):
        with pytest.raises(Refusal):
            room.check_pairs(terms_for(UCI, 20, pairs=made, **other), UCI, 20)


def test_the_widest_matrix_and_an_empty_one_come_back_under_the_noise() -> None:
    """Every member brings n_max customers of the largest entry, or none; noise at the edge of what room was left for."""
    members = 20
    made = gram_pairs(terms_for(UCI, members), UCI, members)
    assert made is not None
    packed, signal = pairs(members, made.most, made.offset), made.most - 2 * made.offset
    rng = np.random.default_rng(1)
    for full in (0, signal):
        noise = rng.integers(-made.offset, made.offset, (members, 2 * ring.VALUES), endpoint=True)
        noise[:, :2] = made.offset
        noise[:, 2:4] = -made.offset
        slots = sum((packed.pack(row + full) for row in noise), np.zeros((1, ring.SLOTS), np.uint64))
        opened = packed.unpack(slots % np.uint64(packed.t), members, 2 * ring.VALUES)
        assert np.array_equal(opened, members * full + noise.sum(axis=0))


def test_control_one_customer_more_than_n_max_runs_into_the_next_field() -> None:
    members = 20
    made = gram_pairs(terms_for(UCI, members), UCI, members)
    assert made is not None
    packed = pairs(members, made.most, made.offset)
    over = np.full(2 * ring.VALUES, made.most - made.offset + 1, np.int64)
    slots = packed.pack(over) * np.uint64(members) % np.uint64(packed.t)
    assert not np.array_equal(packed.unpack(slots, members, 2 * ring.VALUES), members * over)


@pytest.mark.parametrize("mode", ["none", "distributed"])
def test_a_run_in_pairs_opens_the_sums_of_what_its_members_brought(mode: str, tmp_path: Path) -> None:
    world = World(tmp_path, size=4, mode=mode, pairs=True)
    assert world.coordinator.terms.pairs is not None
    world.run()
    assert world.coordinator.state.done
    opened = opened_sums(world, "m0")
    plain = plain_sums(world, world.coordinator.state, opened)
    assert len(opened) == 3
    if mode == "none":
        assert all(np.array_equal(total, exact) for total, exact in zip(opened, plain, strict=True))
        return
    (gram,) = make_learner("dp-newton", world.book, world.rounds).segments()[0]
    assert 0 < np.abs(opened[0] - plain[0]).max() < 400 * gram.sensitivity


class Lying(World):
    """Its coordinator names a field that is one too narrow for what a member may bring."""

    def terms(self, run: int = 1) -> NumberedTerms:
        honest = super().terms(run)
        assert honest.pairs is not None
        lied = honest.pairs.model_copy(update={"most": honest.pairs.most - 1})
        return honest.model_copy(update={"pairs": lied})


def test_a_coordinator_that_lies_about_pairs_gets_no_run(tmp_path: Path) -> None:
    world = Lying(tmp_path, size=4, pairs=True)
    world.expect_stop(TermsError)
    assert {code for _, code in world.refusals()} >= {"schema"}
    assert not any(world.store(name).ledger() for name in world.names)
