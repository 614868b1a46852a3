"""The batched engine opens what the faithful one opens: the same sums, the same model, K shares of noise."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.learning import make_learner
from fedrepay.client.protocol.member import Member
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import OsEntropy, SeededEntropy
from fedrepay.shared.schema import codebook
from fedrepay.simulations.engines import clear
from fedrepay.simulations.engines.batched import NO_PROTOCOL, BatchedConsortium
from fedrepay.simulations.rows.members import alone_sample
from fedrepay.simulations.rows.prepare import Prepared, prepare
from fedrepay.simulations.rows.run_figures import export_release
from fedrepay.simulations.run import consortium as driver
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA, SHIPPED_SCHEMA_MANY, Arguments
from fedrepay.simulations.run.case_of import arguments_of
from fedrepay.simulations.run.consortium import Consortium
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms
from support import shop as shops
from support.shop import Shop

DRAWN = (1 + 4) * 32  # bytes a member draws for its joining and its hello, before any noise


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"), rows=300)


def entropy_of(name: str, spent: int = 0) -> SeededEntropy:
    stream = SeededEntropy(name.encode())
    stream.draw(spent)
    return stream


def both(
    shop: Shop, mode: str, folder: Path, patch: pytest.MonkeyPatch, learner: str
) -> tuple[Prepared, Any, Any]:
    """The release of each engine, every member of both drawing its noise from a stream of its own."""
    arguments = shop.arguments(mode=mode, learner=learner)
    prepared = prepare(arguments)
    terms = make_terms(arguments, prepared.book, len(prepared.parties))

    made: Any = Member

    def seeded(identity: Any, *others: Any) -> Any:
        *before, _entropy, observe, model = others
        return made(identity, *before, entropy_of(identity.name), observe, model)

    encrypt = GroupKey.encrypt
    patch.setattr(driver, "Member", seeded)
    patch.setattr(GroupKey, "encrypt", lambda key, slots, bits, _: encrypt(key, slots, bits, OsEntropy()))
    where = Folder(folder / "faithful")
    where.make({})
    faithful = Consortium(where, prepared.book, prepared.parties, terms)
    faithful.run()
    streams = [entropy_of(party.name, DRAWN) for party in prepared.parties]
    batched = BatchedConsortium(
        Folder(folder / "batched"),
        prepared.book,
        prepared.parties,
        terms,
        streams=lambda member, _index: streams[member],
    )
    batched.run()
    return prepared, export_release(faithful), export_release(batched)


@pytest.mark.parametrize("mode", ["none", "distributed"])
@pytest.mark.parametrize("learner", ["dp-newton", "dp-surrogate"])
def test_both_engines_open_the_same_sums_and_give_the_same_model(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, learner: str
) -> None:
    _, faithful, batched = both(shop, mode, tmp_path, monkeypatch, learner)
    assert faithful.card["learner"] == batched.card["learner"] == learner
    assert len(faithful.sums) == len(batched.sums) == 3
    for left, right in zip(faithful.sums, batched.sums, strict=True):
        assert np.array_equal(left, right)
    assert np.array_equal(faithful.weights, batched.weights)
    assert batched.statement["not_private"] == NO_PROTOCOL
    assert batched.statement["epsilon"] is None
    assert not (tmp_path / "batched").exists(), "nothing is written that could pass for a release"


def test_rows_are_added_exactly_in_parts_of_n_max(shop: Shop) -> None:
    prepared = prepare(shop.arguments())
    book = prepared.book
    learner = make_learner("dp-newton", book, 3)
    parts = [snapshot(book, party.train, b"")[0] for party in prepared.parties]
    pooled = clear.pool(parts)
    assert pooled.customers == len(np.unique(pooled.owners)) == sum(each.customers for each in parts)
    public = book.schema.public.model_copy(update={"n_max": 17})
    small = replace(book, schema=book.schema.model_copy(update={"public": public}))
    exact = clear.together(learner, replace(pooled, book=small))
    for index in (0, 1):
        each = [learner.contribution(index, learner.start(), rows) for rows in parts]
        assert np.array_equal(exact(index, learner.start()), np.sum(each, axis=0))


@pytest.mark.parametrize(("members", "fits"), [(50, True), (1, False)])
def test_noise_is_that_of_all_members_shares(members: int, *, fits: bool) -> None:
    mechanism = Mechanism(sensitivity=10, variance=40_000.0, cohort=50, colluders=5, size=20_000)
    drawn = clear.shares((mechanism,), members, SeededEntropy(b"noise"))
    found = float(np.var(drawn)) / mechanism.total_variance
    assert (abs(found - 1) < 5 * np.sqrt(2 / mechanism.size)) == fits, found
    assert not clear.shares((), members, SeededEntropy(b"none")).any()


def test_a_learner_that_is_none_is_refused_before_a_run(shop: Shop) -> None:
    book = prepare(shop.arguments()).book
    assert make_terms(shop.arguments(learner="dp-surrogate"), book, 3).learner == "dp-surrogate"
    with pytest.raises(ArgumentError, match="--learner dp-sgd is unknown"):
        make_terms(shop.arguments(learner="dp-sgd"), book, 3)
    with pytest.raises(ArgumentError, match="--learner does not go with --mode local"):
        shop.arguments(learner="dp-surrogate", mode="local").check()


@pytest.mark.parametrize("wrong", [{"mode": "local"}, {"drop": ("Nord@1",)}])
def test_what_needs_members_that_act_is_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="--engine batched runs neither"):
        shop.arguments(engine="batched", **wrong).check()


def test_of_many_members_a_drawn_part_has_models_of_its_own() -> None:
    few, many = [f"m{i}" for i in range(200)], [f"m{i}" for i in range(201)]
    assert alone_sample(few, 1) == frozenset(few)
    assert len(alone_sample(many, 1)) == 200
    assert alone_sample(many, 1) == alone_sample(many, 1) != alone_sample(many, 3)


@pytest.mark.parametrize(("members", "schema"), [(256, SHIPPED_SCHEMA), (257, SHIPPED_SCHEMA_MANY)])
def test_the_shipped_table_takes_the_schema_with_room(members: int, schema: Path) -> None:
    rows = dict.fromkeys(("schema", "mapping", "test", "split"))
    made = arguments_of("uci", members, rows=rows, market={}, both={})
    assert isinstance(made, Arguments)
    assert made.schema == str(schema)
    assert codebook.load(schema).schema.public.members_max >= members
