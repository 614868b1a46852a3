"""Schema and code book come from outside: no number in them may hide from the sensitivity."""

import hashlib
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedrepay.shared.errors import SchemaError
from fedrepay.shared.rules.facts import RESTRICTED
from fedrepay.shared.schema.codebook import build, from_bytes
from fedrepay.shared.schema.model import parse_schema
from support.schemas import column, schema

TEXT = schema(column("a")).encode()
BOOK = build(TEXT)


def book_with(entry: int, *, everywhere: bool = True) -> bytes:
    """The code book's bytes with every entry of the feature's table replaced, or one a row and the others 0."""
    tables = {name: table.copy() for name, table in load(BOOK.codebook_bytes).items()}
    tables["000 a"][:] = entry if everywhere else entry * np.eye(len(tables["000 a"]), dtype=np.int32)
    return save(tables, metadata={"schema_sha256": hashlib.sha256(TEXT).hexdigest()})


@pytest.mark.parametrize("entry", [-(2**31), 2**31 - 1, 46, -46])
def test_a_code_book_with_larger_entries_than_the_schema_makes_is_refused(entry: int) -> None:
    assert BOOK.scale / np.sqrt(2) < 46
    with pytest.raises(SchemaError, match="another shape or size") as caught:
        from_bytes(TEXT, book_with(entry))
    assert "schema build" in caught.value.remedy
    from_bytes(TEXT, book_with(45, everywhere=False))


def test_rows_longer_than_the_schema_makes_are_refused_though_no_entry_is_larger() -> None:
    """No leak, since Δ follows from the tables: noise that nobody agreed to."""
    with pytest.raises(SchemaError, match="another shape or size"):
        from_bytes(TEXT, book_with(45))


def test_control_the_lowest_integer_would_pass_for_no_sensitivity_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(np, "abs", lambda _table: np.zeros(1, np.int64))
    book = from_bytes(TEXT, book_with(-(2**31)))
    row = book.rows(np.zeros((1, 1), dtype=np.uint16))[0]
    true_norm = (1 << book.weight_bits) * book.residual_scale * float(np.linalg.norm(row))
    assert true_norm > 10**6 * book.delta_gradient, "squares of 2³¹ wrap to 0 in the bound, not in the data"


@pytest.mark.parametrize(
    "text",
    [
        "crosses = [{columns = 5}]",
        "columns = [{name = 5}]",
        "columns = 5",
        "columns = [[1]]",
        "a = " + "[" * 5000,
        "n = 1" + "0" * 5000,
        "n = 0x" + "f" * 5000,
        "[public]\nn_max = 1e400",
        "a = 1979-05-27",
        "\ufffd",
        '"\\u0000" = 1',
    ],
)
def test_hostile_texts_end_in_a_schema_error_with_a_remedy(text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(text.encode(), "theirs.toml")
    assert "theirs.toml" in caught.value.cause
    assert "schema check --help" in caught.value.remedy


@pytest.mark.parametrize("role", ["account", "plan"])
@pytest.mark.parametrize("name", sorted(RESTRICTED))
def test_a_restricted_fact_never_becomes_part_of_a_model(name: str, role: str) -> None:
    """Neither as a feature nor, with model = false, as what a feature is derived from."""
    hidden: dict[str, Any] = {"model": False, "bounds": [0, 1]}
    for given in ({}, hidden):
        text = schema(column("a"), column(name, role=role, **given))
        with pytest.raises(SchemaError, match=f"columns: {name}: a restricted fact .* leave it out"):
            parse_schema(text.encode(), "theirs.toml")


def test_control_facts_that_are_not_restricted_may_be_columns_and_restricted_ones_if_none_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("dpd", "balance", "apr"):
        assert [each.name for each in parse_schema(schema(column(name)).encode(), "ours.toml").features] == [
            name
        ]
    monkeypatch.setattr("fedrepay.shared.schema.model.RESTRICTED", frozenset())
    assert [each.name for each in parse_schema(schema(column("dispute")).encode(), "ours.toml").features] == [
        "dispute"
    ]
