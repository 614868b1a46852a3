"""A run in local mode over a network: a member states its terms in a file, the operator starts the run with it."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.learning.local_terms import LocalWishes as Training
from fedrepay.client.learning.local_terms import local_run as made
from fedrepay.client.veto import budget
from fedrepay.server.network.runs import RunWishes, next_run
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.privacy import subsampled
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust import local_run
from fedrepay.shared.trust.local_run import LocalRun
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.terms import make_terms
from support.command import fedrepay
from support.local_world import model
from support.schemas import column, schema
from support.small_run import check_error


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CodeBook]:
    path = tmp_path_factory.mktemp("schema") / "small.toml"
    path.write_text(schema(column("a"), column("b")))
    book = codebook.build(path.read_bytes())
    codebook.save(book, path)
    return path, book


@pytest.fixture(scope="module")
def run(small: tuple[Path, CodeBook]) -> LocalRun:
    _, book = small
    return made(book, model("logistic", book.dimension), Training(clip=0.5), 2.0, None, 4)


def test_what_a_member_writes_starts_the_run_that_simulate_starts(
    small: tuple[Path, CodeBook], tmp_path: Path
) -> None:
    schema_, book = small
    out = tmp_path / "terms.toml"
    options = ("--epsilon", 2, "--rounds", 4, "--sampling-rate", 0.25, "--local-steps", 3, "--clip", 0.5)
    done = fedrepay("member", "local-terms", "logistic", "--schema", schema_, "--out", out, *options)
    assert done.code == 0, done.err
    wishes = RunWishes(mode="local", terms=local_run.read(out))
    terms, resumed = next_run(tmp_path, book, 5, wishes)
    held = model("logistic", book.dimension)
    asked = Arguments(
        mode="local", epsilon=2.0, rounds=4, sampling_rate=0.25, local_steps=3, clip=0.5, members=5
    )
    assert not terms.simulated, "what `simulate` starts says in its terms that its members are made up"
    assert terms.model_copy(update={"simulated": True}) == make_terms(asked, book, 5, held)
    assert f"hash {held.hash.hex()}" in done.out
    assert terms.local is not None
    assert f"Noise multiplier {terms.local.noise_multiplier:g} for ε = 2" in done.out
    count, steps = budget.local_mechanisms(terms, terms.local, 5)
    whole = subsampled.whole_run(count, steps, terms.rounds, terms.max_attempts)
    two, three = (composed_epsilon(whole, terms.delta, memberships=each) for each in (2, 3))
    assert 2 < two < three
    assert f"A person at two members has ε = {two:.3g} at most, at three {three:.3g}." in done.out
    assert not resumed


def test_a_file_is_read_as_it_was_written_and_never_written_over(run: LocalRun, tmp_path: Path) -> None:
    path = tmp_path / "terms.toml"
    local_run.write(run, path)
    assert local_run.read(path) == run
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="exists already"):
        local_run.write(run, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("epsilon", "", "epsilon: Field required"),
        ("model_hash", "", "model_hash must be 64 hexadecimal digits"),
        ("model_hash", 'model_hash = "xy"', "model_hash must be 64 hexadecimal digits"),
        ("model_hash", 'model_hash = "00"', "local.model_hash: .*at least 32 bytes"),
        ("schema_hash", "schema_hash = 1", "schema_hash must be 64 hexadecimal digits"),
        ("rounds", "rounds = 4.5", r"rounds: .*integer \(it is 4.5\)"),
        (
            "noise_multiplier",
            "noise_multiplier = 0.0",
            "local.noise_multiplier: .*greater than or equal to 0.1 .it is 0.0.",
        ),
        ("model =", 'model = "os.system(1)"', "local.model: "),
        ("clip", "clip = 1.0\nmore = 1", "local.more: Extra inputs"),
        ("clip", "clip = ", "is not TOML"),
    ],
)
def test_a_file_that_was_changed_is_refused_by_file_and_field(
    run: LocalRun, tmp_path: Path, line: str, instead: str, words: str
) -> None:
    path = tmp_path / "terms.toml"
    local_run.write(run, path)
    lines = [instead if each.startswith(line) else each for each in path.read_text().splitlines()]
    assert "\n".join(lines) != path.read_text().rstrip()
    path.write_text("\n".join(lines))
    with pytest.raises(ArgumentError, match=f"terms.toml(:| is).*{words}|terms.toml {words}"):
        local_run.read(path)


def test_a_full_disk_leaves_no_half_a_file(
    run: LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "terms.toml"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"terms\.toml cannot be written: No space left"):
            local_run.write(run, path)
    assert not [*tmp_path.iterdir()]
    local_run.write(run, path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"none\.toml cannot be read: No such file"):
        local_run.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("wishes", "changed", "words"),
    [
        ({"mode": "distributed"}, {}, "--terms go with --mode local"),
        ({"epsilon": 2.0}, {}, "--epsilon stands in the terms"),
        ({"delta": 1e-6}, {}, "--delta stands in the terms"),
        ({"rounds": 4}, {}, "--rounds stands in the terms"),
        ({}, {"schema_hash": bytes(32)}, "another schema"),
        ({}, {"delta": 0.5}, "delta in the terms: 0.5 is outside"),
        ({}, {"epsilon": 0.0}, "epsilon = 0.0"),
        ({}, {"rounds": 1}, "rounds = 1"),
    ],
)
def test_terms_that_cannot_be_start_nothing(
    small: tuple[Path, CodeBook],
    run: LocalRun,
    tmp_path: Path,
    wishes: dict[str, Any],
    changed: dict[str, Any],
    words: str,
) -> None:
    asked = replace(RunWishes(mode="local", terms=run.model_copy(update=changed)), **wishes)
    with pytest.raises(ArgumentError, match=words):
        next_run(tmp_path, small[1], 5, asked)
    assert CoordinatorStore.in_folder(tmp_path).terms() is None


def test_several_outcomes_have_no_local_mode(run: LocalRun, tmp_path: Path) -> None:
    second = '[[columns]]\nname = "kept"\nrole = "outcome"\ntype = "integer"\ngood = 0\n'
    two = codebook.build(schema(column("a"), second).encode())
    with pytest.raises(ArgumentError, match="2 outcomes; local mode takes one"):
        made(two, model("logistic", two.dimension), Training(), 1.0, None, None)
    terms = run.model_copy(update={"schema_hash": two.schema_hash})
    with pytest.raises(ArgumentError, match="2 outcomes; local mode takes one"):
        next_run(tmp_path, two, 5, RunWishes(mode="local", terms=terms))


@pytest.mark.parametrize("delta", [0.0, 1e-3])
def test_a_delta_that_every_member_would_refuse_is_not_stated(
    small: tuple[Path, CodeBook], delta: float
) -> None:
    book = small[1]
    with pytest.raises(ArgumentError, match=r"--delta .* is outside 0 … 1/\(10·members_max·n_max\)"):
        made(book, model("logistic", book.dimension), Training(), 1.0, delta, None)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("nothing:Net",), 2, "cannot be imported"),
        (("logistic", "--epsilon", "0"), 2, "0.0 is not in the range"),
        (("logistic", "--sampling-rate", "2"), 2, "2.0 is not in the range"),
        (("logistic", "--epsilon", "0.000001", "--sampling-rate", "1"), 7, "No noise keeps"),
    ],
)
def test_a_wrong_option_writes_nothing(
    small: tuple[Path, CodeBook], tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    out = tmp_path / "terms.toml"
    done = fedrepay("member", "local-terms", *options, "--schema", small[0], "--out", out)
    check_error(done, code, words)
    assert not out.exists()
