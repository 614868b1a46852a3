"""What a schema may say in public of its columns beforehand: how long a block is, and where the model starts."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from typer.testing import CliRunner

from fedrepay.cli import app
from fedrepay.client.learning import dp_sgd, make_learner
from fedrepay.client.learning.base import prior_weights
from fedrepay.client.learning.contribution import prepare
from fedrepay.client.learning.dp_recursive import DPRecursive
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.privacy.accounting import most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.schema.codebook import CodeBook, build, from_bytes
from fedrepay.shared.schema.model import parse_schema
from support.schemas import OUTCOME, column, cross, schema

ONE = "one_row_per_customer = true"
TRUTH = (1.5, 0.3, -0.6, -1.8)


def book(*parts: str, public: str = ONE) -> CodeBook:
    return build(schema(*parts, public=public).encode(), "mine.toml")


def test_shares_of_one_leave_the_code_book_as_it_was() -> None:
    plain = book(column("a"), column("b"), cross("a", "b", [[20], [20]]))
    said = book(column("a", share=1.0), column("b", share=1), cross("a", "b", [[20], [20]]) + "share = 1\n")
    assert all(np.array_equal(x, y) for x, y in zip(plain.matrices, said.matrices, strict=True))
    assert (plain.delta_gram, plain.delta_gradient) == (said.delta_gram, said.delta_gradient)


def test_a_share_makes_its_block_longer_at_the_others_cost_and_rows_keep_their_norm() -> None:
    parts = [column(name) for name in "abcd"]
    plain = book(*parts, public=f"{ONE}\nscale = 4096")
    longer = book(column("a", share=2.0), *parts[1:], public=f"{ONE}\nscale = 4096")
    norms = [np.linalg.norm(matrix.astype(float), axis=1).max() for matrix in longer.matrices]
    assert norms[0] == pytest.approx(2 * norms[1], rel=1e-3)
    assert norms[1] < 4096 / np.sqrt(5)
    for each in (plain, longer):
        rows = each.rows(np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint16))
        assert np.linalg.norm(rows, axis=1) == pytest.approx(4096, rel=2e-3)
    assert longer.delta_gradient <= longer.residual_scale * 4096 + longer.residual_scale


def test_a_crosss_share_is_its_own() -> None:
    made = book(column("a"), column("b"), cross("a", "b", [[20], [20]]) + "share = 0.5\n")
    assert made.matrices[2].max() == int(64 * 0.5 / np.sqrt(3 + 0.25))


def test_a_code_book_of_other_shares_is_no_code_book_of_this_schema() -> None:
    large = book(column("a", share=4.0), column("b"))
    small = schema(column("a", share=0.5), column("b"), public=ONE).encode()
    with pytest.raises(SchemaError, match="another text"):
        from_bytes(small, large.codebook_bytes)


def test_shares_that_leave_a_bin_nothing_are_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="a bin of a nothing but zeros"):
        book(column("a", share=0.1), *(column(f"x{each}", share=10) for each in range(6)))
    with pytest.raises(SchemaError, match="a bin of the intercept nothing but zeros"):
        book(*(column(f"x{each}", share=10) for each in range(45)))


@pytest.mark.parametrize(
    ("blocks", "share", "scale"),
    [(6, 0.4, 56), (6, 0.4, 112), (24, 0.2, 112), (51, 0.8, 116), (96, 0.1, 4032), (126, 4.4, 247)],
)
def test_what_is_built_is_read_where_an_entry_is_a_whole_number(
    blocks: int, share: float, scale: int
) -> None:
    """S·share/length is whole here, so that rounding in another order would refuse the book that was just built."""
    parts = [column(f"x{each}", "category", categories=["y", "z"], share=share) for each in range(blocks)]
    assert len(book(*parts, public=f"{ONE}\nscale = {scale}").blocks) == blocks + 1


def test_longer_rows_than_the_schemas_are_no_code_book_of_it() -> None:
    text = schema(column("a", share=2.0), column("b"), public=ONE).encode()
    made = build(text)
    tensors = load(made.codebook_bytes)
    name = next(each for each in tensors if each.endswith(" a"))
    tensors[name] = np.full_like(tensors[name], tensors[name].max())
    with pytest.raises(SchemaError, match="another shape or size"):
        from_bytes(text, save(tensors, metadata={"schema_sha256": hashlib.sha256(text).hexdigest()}))


def test_a_code_book_without_its_facts_is_refused_by_name() -> None:
    text = schema(column("a"), public=ONE).encode()
    data = build(text).codebook_bytes
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length]) | {"__metadata__": None}
    written = json.dumps(header).encode()
    with pytest.raises(SchemaError, match="code book beside"):
        from_bytes(text, len(written).to_bytes(8, "little") + written + data[8 + length :])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (column("a", share=0), ["a", "share"]),
        (column("a", share=11), ["share"]),
        (column("a", model=False, bounds=[0, 9], edges=[], share=2), ["share and start"]),
        (column("g", "category", "audit", categories=["x", "y"], share=2) + column("a"), ["share and start"]),
        (column("a") + "start = { late = [] }\n", ["start"]),
        (column("a") + "start = { late = [nan, 0, 0, 0] }\n", ["start"]),
        (column("a") + "start = { late = [11, 0, 0, 0] }\n", ["start"]),
        (
            column("a")
            + "start = { late = [4, 0, 0, 0] }\n"
            + column("b")
            + "start = { late = [0, 0, 0, -2] }\n",
            ["start of a, b", "late add up to 6", "the bound is 5"],
        ),
        (column("a") + "start = { early = [0, 0, 0, 0] }\n", ["a.start", "early", "no outcome"]),
    ],
)
def test_what_cannot_be_is_refused_by_name(part: str, words: list[str]) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(schema(part).encode(), "mine.toml")
    assert all(word in caught.value.cause for word in words), caught.value.cause


def test_a_start_has_a_number_for_each_bin() -> None:
    with pytest.raises(SchemaError, match=r"a\.start: 3 log-odds for 4 bins \(< 10; 10 to 20"):
        book(column("a") + "start = { late = [1, 0, -1] }\n")


def test_a_start_is_predicted_before_any_row_is_seen() -> None:
    started = f"start = {{ late = {list(TRUTH)} }}\n"
    made = book(column("a", share=1.7) + started, column("b", missing="bin"))
    codes = np.array([[each, other] for each in range(4) for other in range(5)], np.uint16)
    score = made.rows(codes) @ prior_weights(made)[0] / made.scale
    assert score - np.log(0.3 / 0.7) == pytest.approx(np.repeat(TRUTH, 5))
    for learner in (make_learner("dp-newton", made, 5), make_learner("dp-gd", made, 5), DPRecursive(made)):
        assert learner.start().weights == pytest.approx(prior_weights(made))


def test_each_head_has_a_start_of_its_own() -> None:
    other = OUTCOME.replace("late", "gone")
    made = book(column("a") + "start = { gone = [1, 0, 0, -1] }\n", other)
    weights = prior_weights(made)
    score = made.rows(np.array([[0], [3]], np.uint16)) @ weights.T / made.scale - np.log(0.3 / 0.7)
    assert score == pytest.approx(np.array([[0, 1.0], [0, -1.0]]))


def test_a_good_start_helps_where_noise_drowns_the_rows_and_a_wrong_one_is_unlearned() -> None:
    """The control is the same run without a start: ε = 0.05 of 3,000 customers says next to nothing."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, (3000, 2)).astype(np.uint16)
    likely = 1 / (1 + np.exp(-(np.log(0.3 / 0.7) + np.array(TRUTH)[codes[:, 0]])))
    outcomes = (rng.random(3000) < likely).astype(np.int8)[:, None]

    def loss(start: tuple[float, ...] | None, epsilon: float) -> float:
        text = "" if start is None else f"start = {{ late = {list(start)} }}\n"
        made = book(column("a") + text, column("b"))
        data = prepare(made, codes, outcomes, np.arange(3000).astype(str).astype(object), None)
        learner = make_learner("dp-newton", made, 5)
        sums, state, found = learner.segments(), learner.start(), []
        for draw in range(5):
            entropy, state = SeededEntropy(bytes([draw])), learner.start()
            for index in range(5):
                mu = target_mu(epsilon, 1e-5, most_draws(sums, 5, 3))
                charged = plan_attempt(mu, sums, list(range(index)), index, 5, 1)
                noise = [DiscreteGaussian(each.total_variance).sample(each.size, entropy) for each in charged]
                opened = learner.contribution(index, state, data) + np.concatenate(noise)
                state = learner.step(index, state, opened, charged)
            score = made.rows(codes) @ state.weights[0] / made.scale
            found.append(np.mean(np.logaddexp(0, score) - outcomes[:, 0] * score))
        return float(np.mean(found))

    wrong = tuple(-each for each in TRUTH)
    assert loss(TRUTH, 0.05) < loss(None, 0.05) - 0.02 < loss(wrong, 0.05) - 0.04
    assert loss(wrong, 20.0) < loss(TRUTH, 20.0) + 0.03


def test_learners_that_start_otherwise_refuse_a_schema_with_a_start() -> None:
    made = book(column("a") + f"start = {{ late = {list(TRUTH)} }}\n")
    with pytest.raises(SchemaError, match=r"public start.*dp-surrogate"):
        make_learner("dp-surrogate", made, 5)
    with pytest.raises(SchemaError, match=r"public start.*--mode local"):
        dp_sgd.DPSGD(made, 2, None, 1.0, 1e-5, 3, None, None)  # type: ignore[arg-type]


def test_check_shows_what_is_declared_and_refuses_a_short_start_before_it_is_built(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(schema(column("a", share=2.5) + "start = { late = [1, 0, 0, -1] }\n", public=ONE))
    done = CliRunner().invoke(app, ["schema", "check", str(path)])
    assert "a: share 2.5" in done.output
    assert "a: starts late from +1, +0, +0, -1" in done.output
    told = json.loads(CliRunner().invoke(app, ["schema", "check", str(path), "--json"]).stdout)
    assert (told["blocks"][0]["share"], told["blocks"][0]["start"]) == (2.5, {"late": [1, 0, 0, -1]})
    path.write_text(schema(column("a") + "start = { late = [1, 0, -1] }\n", public=ONE))
    done = CliRunner().invoke(app, ["schema", "check", str(path)])
    assert isinstance(done.exception, SchemaError)
    assert "3 log-odds for 4 bins" in done.exception.cause
