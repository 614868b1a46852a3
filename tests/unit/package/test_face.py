"""`import fedrepay`: what a notebook uses, as its page and docstrings say."""

import doctest
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fedrepay
from fedrepay.client.scoring.columns import Columns, as_file, fetched, write_columns
from fedrepay.shared.errors import ArgumentError
from fedrepay.simulations.market import market
from fedrepay.simulations.run.folder import Folder
from support import shop
from support.command import fedrepay as command

PAGE = Path(__file__).parents[3] / "docs/python.md"
FLAGS = doctest.ELLIPSIS
TABLE = Columns(
    {
        "text": np.array(["a", None], object),
        "whole": np.ma.masked_array([1, 2], [False, True]),
        "decimal": np.array([0.5, np.nan]),
    }
)


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("member", "catalogue", "init", "plans.toml").code == 0
    made = shop.make(tmp_path)
    for path in tmp_path.glob("shop*"):
        path.rename(path.with_name(path.name.replace("shop", "loans")))
    made.data.rename(tmp_path / "loans.csv")
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=FLAGS)
    assert tried > 20
    assert not failed


@pytest.mark.parametrize("module", [market])
def test_examples_in_docstrings_run(module: Any) -> None:
    failed, tried = doctest.testmod(module, optionflags=FLAGS)
    assert tried
    assert not failed


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(fedrepay, name) is not None for name in fedrepay.__all__)
    assert set(fedrepay.__all__) <= set(dir(fedrepay))
    with pytest.raises(AttributeError, match="has no attribute 'scores'"):
        fedrepay.scores  # type: ignore[attr-defined]  # noqa: B018


def test_a_name_whose_libraries_are_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(fedrepay), "recommend", raising=False)
    monkeypatch.delitem(sys.modules, "fedrepay.client.plans.batch_io.decisions", raising=False)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ArgumentError, match=r"fedrepay\.recommend needs duckdb.*pip install"):
        fedrepay.recommend  # noqa: B018


@pytest.mark.parametrize("library", ["pyarrow", "pandas"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ArgumentError, match=f"needs {library}.*pip install {library}"):
        TABLE.to_arrow() if library == "pyarrow" else TABLE.to_pandas()


def test_arrow_is_given_which_cells_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pyarrow, which the project does not need itself."""
    arrow = SimpleNamespace(table=dict, array=lambda values, mask: (values.tolist(), mask.tolist()))
    monkeypatch.setitem(sys.modules, "pyarrow", arrow)
    given = TABLE.to_arrow()
    assert [mask for _, mask in given.values()] == 3 * [[False, True]]
    assert given["whole"][0][0] == 1


def test_pandas_keeps_whole_numbers_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = SimpleNamespace(DataFrame=dict, array=lambda values, dtype: (values, dtype))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert TABLE.to_pandas()["whole"] == ([1, None], "Int64")


def test_a_market_names_its_lenders() -> None:
    with pytest.raises(ArgumentError, match=r"no lender m09.*m01 … m03"):
        fedrepay.Market(members=3).lender("m09")


def test_a_run_without_a_release_says_why(tmp_path: Path) -> None:
    run = fedrepay.Run(Folder(tmp_path), {"engine": "batched"})
    for ask in (lambda: run.release, lambda: run.sums):
        with pytest.raises(fedrepay.errors.ReleaseError, match="left no release: engine batched"):
            ask()


def test_columns_come_back_as_they_went(tmp_path: Path) -> None:
    import duckdb

    write_columns(TABLE.columns, tmp_path / "t.parquet")
    with duckdb.connect() as connection:
        found = fetched(
            connection, "SELECT text, decimal, 2 AS two FROM read_parquet(?)", [str(tmp_path / "t.parquet")]
        )
    assert found["text"].tolist() == ["a", None]
    assert found["decimal"].tolist()[0] == 0.5
    assert np.isnan(found["decimal"][1])
    assert not any(np.ma.isMaskedArray(each) for each in found.values())


@pytest.mark.parametrize("rows", [3, {}, {"a": [1], "b": [1, 2]}])
def test_what_is_no_table_is_refused(rows: Any) -> None:
    with pytest.raises(ArgumentError, match="is no table"), as_file(rows):
        pass


def test_rows_in_memory_pass_through_a_file_of_the_owner_that_goes() -> None:
    with as_file({"a": [1, None], "b": np.array(["x", "y"])}) as path:
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.parent.exists()
