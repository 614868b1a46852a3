"""Several outcomes in one model: in the schema, the tables, the learners, the release and the commands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from fedrepay.client.data.mappings.mapping import Mapping
from fedrepay.client.data.reading.table import Table, read_table
from fedrepay.client.learning import make_learner
from fedrepay.client.learning.base import prior_weights
from fedrepay.client.learning.contribution import Rows, from_table, gradient, gram, prepare
from fedrepay.client.learning.monotone import project
from fedrepay.client.scoring.release import load_release
from fedrepay.client.scoring.release_file import RELEASE, VOTES, load
from fedrepay.client.scoring.score_file import score_file
from fedrepay.shared.errors import DataError, MappingError, ReleaseError, SchemaError
from fedrepay.shared.privacy.accounting import Mechanism, most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.schema.codebook import CodeBook, build
from fedrepay.shared.schema.model import MOST_HEADS, parse_schema
from fedrepay.shared.trust.fields import Heads
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.sums import sum_sizes
from support import heads
from support.invariants import opened_sums
from support.market_release import compared, roster_words
from support.schemas import OUTCOME, column, schema
from support.small_run import SmallRun, check_error
from support.tiny_book import tiny_book
from support.world import SCHEMA, World

BOOK = heads.book()
TWO = tiny_book((6, 4, 8), head_weights=(0.8, 0.6), outside=True)
ONE = tiny_book((6, 4, 8), outside=True)


# --- the schema ---


def test_heads_have_priors_and_weights_of_their_own() -> None:
    assert BOOK.schema.priors == (0.3, 0.6, 0.1)
    assert BOOK.schema.head_weights == pytest.approx([1 / 3**0.5] * 3)
    assert BOOK.heads == 3
    given = heads.outcome("first", weight=0.6)
    text = schema(column("a"), given).replace(OUTCOME, OUTCOME + "weight = 0.8\n")
    book = build(text.encode())
    assert book.residual_scales == (int(0.8 * book.residual_scale), int(0.6 * book.residual_scale))
    alone = build(schema(column("a")).encode())
    assert (alone.heads, alone.residual_scales) == (1, (alone.residual_scale,))
    assert alone.delta_gradient == book.delta_gradient


def test_a_head_that_rounding_would_silence_is_refused() -> None:
    text = schema(column("a"), heads.outcome("first", weight=0.0001)).replace(
        OUTCOME, OUTCOME + "weight = 0.9\n"
    )
    with pytest.raises(SchemaError, match=r"weight of 0\.0001 leaves its residual less than 32"):
        build(text.encode())


@pytest.mark.parametrize(
    ("public", "parts", "words"),
    [
        ('local_kinds = ["settle"]', [column("a")], "needs a category column"),
        ('local_kinds = ["gift"]', [column("a"), heads.KINDS], "gift; use categories of kind"),
        ('local_kinds = ["full", "full"]', [column("a"), heads.KINDS], "one kind twice"),
        ('local_kinds = ["full"]', [column("a"), heads.KINDS.replace('"plan"', '"account"')], "role plan"),
        ('local_kinds = ["full"]', [column("a"), heads.KINDS + 'missing = "bin"\n'], 'missing = "refuse"'),
        ("ridge_factor = 0", [column("a")], "ridge_factor"),
        ("ridge_factor = 101", [column("a")], "ridge_factor"),
        ("curvature = 0.26", [column("a")], "curvature"),
    ],
)
def test_public_settings_out_of_place_are_refused(public: str, parts: list[str], words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(schema(*parts, public=public).encode(), "mine.toml")
    assert words in caught.value.cause


# --- the tables ---

LINES = ["who,late,a,n,z,kind,first,broken"]
LINES += ["k1,0,5,6,1,full,1,", "k2,1,,6,1,token,,", "k3,1,5,60,99,settle,0,1"]


def read(
    folder: Path, lines: list[str], book: CodeBook = BOOK, **mapping: Any
) -> tuple[Table, set[tuple[str, str]]]:
    file = folder / "rows.csv"
    file.write_text("\n".join(lines) + "\n")
    how = Mapping(**mapping) if mapping else None
    table, findings = read_table(book, file, how, need_outcome=True)
    return table, {(group.column, group.bound) for group in findings.groups}


def test_an_empty_cell_is_outside_the_population(tmp_path: Path) -> None:
    table, found = read(tmp_path, LINES)
    assert not found
    assert table.outcomes is not None
    assert table.outcomes.dtype == np.int8
    assert table.outcomes.tolist() == [[0, 1, -1], [1, -1, -1], [1, 0, 1]]
    assert table.take(np.array([2])).outcomes.tolist() == [[1, 0, 1]]  # type: ignore[union-attr]


def test_a_row_outside_every_population_is_refused(tmp_path: Path) -> None:
    outside = heads.SCHEMA.replace(OUTCOME, OUTCOME + 'missing = "outside"\n')
    table, found = read(tmp_path, [*LINES, "k4,,5,6,1,full,,"], build(outside.encode()))
    assert found == {("late, first, broken", "at least one outcome known")}
    assert table.customers.tolist() == ["k1", "k2", "k3"]
    _, found = read(tmp_path, [*LINES, "k4,,5,6,1,full,1,"])
    assert found == {("late", "not missing")}, "an outcome refuses empty cells unless it says outside"


def test_a_member_may_lack_an_outcome_that_allows_it(tmp_path: Path) -> None:
    sql = "SELECT who, late, a, n, z, kind, first FROM data"
    table, found = read(tmp_path, LINES, sql=sql, absent=("broken",))
    assert not found
    assert table.outcomes is not None
    assert table.outcomes[:, 2].tolist() == [-1, -1, -1]
    with pytest.raises(MappingError, match="late cannot be absent"):
        read(tmp_path, LINES, sql=sql, absent=("late",))


def test_local_kinds_never_enter_the_contribution(tmp_path: Path) -> None:
    kept = [line for line in LINES if "settle" not in line]
    local = build(heads.SCHEMA.replace("scale = 256", 'scale = 256\nlocal_kinds = ["settle"]').encode())
    same = [*LINES, "k1,1,7,7,7,settle,1,1"]  # k1's other row counts whole: its settlement stays at home
    rows = from_table(local, read(tmp_path, same, local)[0])
    without = from_table(local, read(tmp_path, kept, local)[0])
    weights = np.random.default_rng(1).normal(size=(3, local.dimension))
    assert rows.customers == 2
    assert np.array_equal(gradient(rows, weights), gradient(without, weights))
    assert np.array_equal(gram(rows), gram(without))
    everything = from_table(BOOK, read(tmp_path, same)[0])
    assert not np.array_equal(gram(everything), gram(without)), "control: without the setting it enters"


def test_rows_read_without_outcomes_contribute_nothing(tmp_path: Path) -> None:
    table, _ = read(tmp_path, LINES)
    with pytest.raises(DataError, match="carry no outcome"):
        from_table(BOOK, replace(table, outcomes=None))


def test_the_wire_carries_as_many_heads_as_a_schema_may_have() -> None:
    wire = TypeAdapter(Heads)
    assert wire.validate_python(MOST_HEADS) == MOST_HEADS
    for wrong in (0, MOST_HEADS + 1):
        with pytest.raises(ValidationError):
            wire.validate_python(wrong)


# --- the learners ---


def synthetic(book: CodeBook, n: int, seed: int = 7) -> Rows:
    """Two outcomes that run opposite ways in the first column; the second exists for half of the rows."""
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, k, n) for k in (6, 4, 8)]).astype(np.uint16)
    score = 0.5 * (codes[:, 0] - 2.5)
    chances = 1 / (1 + np.exp(-np.stack([score - 1, -score - 1], axis=1)))
    outcomes = (rng.random((n, 2)) < chances).astype(np.int8)
    outcomes[rng.random(n) < 0.5, 1] = -1
    return prepare(book, codes, outcomes[:, : book.heads], np.arange(n).astype(str).astype(object), None)


DATA = synthetic(TWO, 6_000)


def run(
    book: CodeBook, name: str, rounds: int, data: Rows, epsilon: float | None = None, seed: bytes = b""
) -> Any:
    learner = make_learner(name, book, rounds)
    state, sums, entropy = learner.start(), learner.segments(), SeededEntropy(seed)
    for index in range(rounds):
        opened = learner.contribution(index, state, data)
        used: tuple[Mechanism, ...] = ()
        if epsilon is not None:
            used = plan_attempt(
                target_mu(epsilon, 1e-5, most_draws(sums, 5, 3)), sums, range(index), index, 5, 1
            )
            opened = opened + np.concatenate(
                [DiscreteGaussian(m.total_variance).sample(m.size, entropy) for m in used]
            )
        state = learner.step(index, state, opened, used)
    return learner, state


@pytest.mark.parametrize(("name", "rounds"), [("dp-newton", 5), ("dp-surrogate", 5), ("dp-gd", 7)])
def test_sums_hold_a_block_a_head(name: str, rounds: int) -> None:
    learner = make_learner(name, BOOK, rounds)
    sizes = tuple(sum(segment.size for segment in segments) for segments in learner.segments())
    assert sizes == sum_sizes(name, BOOK.dimension, rounds, 3)
    assert sizes[-1] == 3 * BOOK.dimension


def test_each_head_starts_at_its_own_prior() -> None:
    scores = BOOK.rows(heads.codes(BOOK, 50, 1)) @ prior_weights(BOOK).T / BOOK.scale
    assert 1 / (1 + np.exp(-scores)) == pytest.approx(np.tile([0.3, 0.6, 0.1], (50, 1)))


def test_the_second_block_is_the_gradient_of_its_population_alone() -> None:
    weights = np.random.default_rng(2).normal(size=(2, TWO.dimension))
    inside = DATA.outcomes[:, 1] >= 0
    part = replace(
        DATA, codes=DATA.codes[inside], outcomes=DATA.outcomes[inside], weights=DATA.weights[inside]
    )
    d = TWO.dimension
    assert np.array_equal(gradient(DATA, weights)[d:], gradient(part, weights)[d:])
    assert not np.array_equal(gradient(DATA, weights)[:d], gradient(part, weights)[:d])


@pytest.mark.parametrize(("name", "rounds"), [("dp-newton", 6), ("dp-surrogate", 6), ("dp-gd", 100)])
def test_without_noise_each_head_is_the_model_it_would_be_alone(name: str, rounds: int) -> None:
    """Up to truncation of its residuals, which is a little coarser: w of the grid."""
    first = replace(DATA, book=ONE, outcomes=DATA.outcomes[:, :1])
    second = replace(DATA, book=ONE, outcomes=DATA.outcomes[:, 1:])
    together = run(TWO, name, rounds, DATA)[1].weights
    for head, alone in enumerate((first, second)):
        assert together[head] == pytest.approx(run(ONE, name, rounds, alone)[1].weights[0], abs=2e-2)
    assert abs(together[0] - together[1]).max() > 0.5


@pytest.mark.parametrize(("name", "rounds"), [("dp-newton", 4), ("dp-surrogate", 5), ("dp-gd", 20)])
def test_the_noise_band_of_each_head_is_what_repeated_runs_show(name: str, rounds: int) -> None:
    """The band on average: a learner that fits its penalty to noisy sums has another one each time."""
    data = synthetic(TWO, 800)
    runs = [run(TWO, name, rounds, data, 4.0, bytes([i])) for i in range(60)]
    bands = [[np.concatenate(head) ** 2 for head in learner.weight_noise(state)] for learner, state in runs]
    for head, variance in enumerate(np.mean(bands, axis=0)):
        scores = [
            np.concatenate(
                [b.matrix @ s.weights[head, c] / 64 for b, c in zip(TWO.blocks, TWO.slices, strict=True)]
            )
            for _, s in runs
        ]
        seen = np.std(scores, axis=0)
        assert 0.8 < np.sqrt(np.mean(variance) / np.mean(seen**2)) < 1.5


def test_the_schema_sets_ridge_and_curvature() -> None:
    text = schema(column("a"), column("b"))
    mine = schema(column("a"), column("b"), public="ridge_factor = 15\ncurvature = 0.25")
    gains, ridges = [], []
    for book in (build(text.encode()), build(mine.encode())):
        codes = heads.codes(book, 500, 1)
        names = np.arange(500).astype(str).astype(object)
        data = prepare(book, codes, (codes[:, :1] > 1).astype(np.int8), names, None)
        learner = make_learner("dp-newton", book, 2)
        used = plan_attempt(0.3, learner.segments(), [], 0, 5, 1)
        ridges.append(
            learner.step(0, learner.start(), learner.contribution(0, learner.start(), data), used).ridge
        )
        _, state = run(book, "dp-newton", 2, data)
        gains.append(abs(state.weights - prior_weights(book)).max())
    assert ridges[1] == pytest.approx(15 / 8 * ridges[0])
    assert gains[1] == pytest.approx(0.12 / 0.25 * gains[0])


# --- the release ---

SECOND = heads.outcome("kept", 1, prior=0.6, missing="outside").encode()
SEVERAL = SCHEMA.replace(b"edges = [2, 4, 6, 8]", b'edges = [2, 4, 6, 8]\nmonotone = "up"') + SECOND


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("heads"), schema=SEVERAL, mode="none")  # no noise: no flicker
    world.run()
    return world


def test_members_release_all_heads_monotone_and_agree(world: World) -> None:
    stored = [world.store(name).release() for name in world.names]
    assert len({each[1] for each in stored if each}) == 1
    assert stored[0] is not None
    made = ReleaseContent.decode(stored[0][1])
    assert made.weights.shape == (2, world.book.dimension)
    assert made.card["heads"] == ["y", "kept"]
    assert made.card["parameters"] == 2 * world.book.dimension
    learner = make_learner("dp-newton", world.book, 3)
    assert [len(each) for each in made.sums] == [s[0].size for s in learner.segments()]
    assert all(np.array_equal(a, b) for a, b in zip(made.sums, opened_sums(world, "m0"), strict=True))
    effects = made.weights[:, world.book.slices[0]] @ world.book.blocks[0].matrix.T
    assert (np.diff(effects[0]) <= 1e-9).all(), "y = 0 is good, so its log-odds fall"
    assert (np.diff(effects[1]) >= -1e-9).all()
    assert project(world.book, made.weights) == pytest.approx(made.weights, abs=1e-10)


def test_control_the_opened_sums_alone_give_a_model_that_is_not_monotone(world: World) -> None:
    learner = make_learner("dp-newton", world.book, 3)
    state = learner.start()
    for index, opened in enumerate(opened_sums(world, "m0")):
        state = learner.step(index, state, opened, ())
    effects = state.weights[0, world.book.slices[0]] @ world.book.blocks[0].matrix.T
    assert (np.diff(effects) > 0).all(), "these accounts run the other way"
    stored = world.store("m0").release()
    assert stored is not None
    assert np.array_equal(ReleaseContent.decode(stored[1]).weights, project(world.book, state.weights))


def files(world: World, folder: Path) -> Path:
    stored = world.store("m0").release()
    assert stored is not None
    (folder / RELEASE).write_bytes(stored[1])
    (folder / VOTES).write_bytes(stored[2])
    return folder


def test_scoring_sends_several_heads_to_member_recommend(world: World, tmp_path: Path) -> None:
    assert load(files(world, tmp_path), unprotected=True, trust=compared(tmp_path)).book.heads == 2
    accounts, out = tmp_path / "accounts.csv", tmp_path / "scores.csv"
    accounts.write_text("id,x,z\nk,1,a\n")
    release = load_release(files(world, tmp_path), unprotected=True, roster_code=roster_words(tmp_path))
    with pytest.raises(ReleaseError) as caught:
        score_file(release, accounts, None, out)
    assert "2 outcomes: y, kept" in caught.value.cause
    assert "fedrepay member recommend" in caught.value.remedy
    assert not out.exists()


def test_simulate_takes_one_outcome(tmp_path: Path) -> None:
    small = SmallRun(tmp_path)
    small.write_schema(schema(column("a"), heads.outcome("first", missing="outside")))
    check_error(
        small.simulate("--members", 3), 2, "has 2 outcomes.*Give a schema with one column of role outcome"
    )
