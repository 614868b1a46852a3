"""Drafts a schema from names and types alone: a bound read off the data would leak it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.data.mappings.mapping import DATA, ROW
from fedrepay.client.data.reading import files
from fedrepay.shared.errors import DataError

_OUTCOMES = {"default", "outcome", "target", "label", "y", "charged_off", "defaulted"}
_GOOD_OUTCOMES = {"repaid", "paid", "kept"}
_CUSTOMERS = {"customer", "customer_id", "id", "client_id", "debtor_id", "borrower_id", "account_id"}
_AUDIT = {"sex", "gender", "age", "marriage", "marital_status", "education", "race", "ethnicity", "religion"}
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS = ("FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Draft:
    """Text of a schema, and of a mapping where names had to change."""

    schema: str
    mapping: str | None
    to_confirm: int
    has_outcome: bool


def draft(file: Path, name: str) -> Draft:
    """Draft a schema for a file.

    Raises:
        DataError: the file cannot be read.
    """
    with files.opened({DATA: file}) as (connection, found):
        if found:
            raise DataError(
                f"{file} must be {'; '.join(each.bound for each in found)}.", "Give a CSV or Parquet file."
            )
        columns = files.guessed_types(connection, DATA)
    names = _canonical([original for original, _ in columns])
    taken: set[str] = set()
    parts = [_HEAD.format(name=_plain(name), file=json.dumps(str(file.name)))]
    unconfirmed = 0
    for canonical, (_, kind) in zip(names, columns, strict=True):
        text, to_confirm = _column(canonical, kind, taken)
        parts.append(text)
        unconfirmed += to_confirm
    has_outcome = "outcome" in taken
    if not has_outcome:
        parts.append(_NO_OUTCOME)
    changed = any(a != b for a, (b, _) in zip(names, columns, strict=True))
    return Draft("\n".join(parts), _mapping(names, columns) if changed else None, unconfirmed, has_outcome)


def _column(name: str, kind: str, taken: set[str]) -> tuple[str, bool]:
    base = kind.partition("(")[0].removeprefix("U")
    lines = ["[[columns]]", f'name = "{name}"']
    is_outcome = name in _OUTCOMES | _GOOD_OUTCOMES and base in (*_WHOLE, *_NUMBERS, "BOOLEAN")
    if is_outcome and "outcome" not in taken:
        taken.add("outcome")
        good = f"good = {int(name in _GOOD_OUTCOMES)}"
        return "\n".join([*lines, 'role = "outcome"', 'type = "integer"', good, _CONFIRM, ""]), True
    if name in _CUSTOMERS and "customer" not in taken:
        taken.add("customer")
        return "\n".join([*lines, 'role = "customer"', 'type = "text"', ""]), False
    lines.append(f'role = "{"audit" if name in _AUDIT else "account"}"')
    if base in _WHOLE or base in _NUMBERS:
        whole = base in _WHOLE
        lines += [f'type = "{"integer" if whole else "number"}"', 'unit = ""']
        lines += ["bounds = [0, 2]  # to confirm", "edges = [1]  # to confirm"]
    else:
        lines += ['type = "category"', 'categories = ["first", "second"]  # to confirm']
    return "\n".join([*lines, 'outside = "refuse"', 'missing = "refuse"', _CONFIRM, ""]), True


def _canonical(originals: list[str]) -> list[str]:
    names: list[str] = []
    for original in originals:
        name = base = _plain(original)
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


def _plain(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:56]
    return name if re.match(r"[a-z]", name) else f"c_{name}".rstrip("_")


def _mapping(names: list[str], columns: list[tuple[str, str]]) -> str:
    pairs = [f"  {files.quoted(b)} AS {files.quoted(a)}" for a, (b, _) in zip(names, columns, strict=True)]
    sql = f"SELECT\n  {ROW},\n" + ",\n".join(pairs) + f"\nFROM {DATA}\n"
    plain = "'''" not in sql and sql.replace("\n", "").isprintable()
    text = f"'''\n{sql}'''" if plain else json.dumps(sql, ensure_ascii=False)
    held = [b for a, (b, _) in zip(names, columns, strict=True) if a in _CUSTOMERS][:1]
    keys = f"keys = {{customer = {json.dumps(held, ensure_ascii=False)}}}  # joins go by these (docs/mappings.md)\n"
    return f"# From your column names to the schema's.\n{keys if held else ''}sql = {text}\n"


_CONFIRM = "confirmed = false"
_HEAD = """# Drafted from the names and types of {file} alone. Every bound, edge and category below is a
# placeholder: put in what the product, the code list or common sense says, never what the rows say
# (a bound read off the data leaks it), and drop each `confirmed = false`.
# Roles: account (a feature), outcome, customer (who a row belongs to: the unit of privacy), audit (fairness
# tables only). Take ids and the column that names the member out: out of this file, and out of the mapping's
# SELECT (or into its extra = ["branch"], for simulate --split column:branch).
# missing = "bin" allows empty cells; outside = "clip" counts values outside the bounds as the nearest.
# Then: fedrepay schema build THIS_FILE
name = "{name}"
version = 1

[public]
n_max = 10000                 # the most customers one member may bring; to confirm
prior = 0.2                   # rate of outcome = 1 known beforehand; to confirm
one_row_per_customer = false  # true if it is so: less noise is needed
confirmed = false
"""
_NO_OUTCOME = """# No column looks like an outcome (0 or 1). Give one of the columns above this form:
# [[columns]]
# name = "…"
# role = "outcome"
# type = "integer"
# good = 0                    # which value is the good one
"""
