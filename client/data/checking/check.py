"""What `check-data` says about a member's own file: findings, encoding, coverage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrepay.client.data.checking import spellings
from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.reading.findings import Group
from fedrepay.client.data.reading.table import Findings, Mapping, Table
from fedrepay.shared.schema.codebook import CodeBook

EXAMPLES = 5
"""Cells shown for each kind of finding."""


@dataclass(frozen=True)
class Encoding:
    """How one block encodes this file: ``counts`` holds the usable rows in each of ``labels``' bins."""

    block: str
    kind: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """Everything `check-data` shows; it stays on the member's own screen."""

    file: str
    rows: int
    usable: int
    customers: int
    unit: str
    groups: tuple[Group, ...]
    encodings: tuple[Encoding, ...]
    covered: tuple[str, ...]
    absent: tuple[str, ...]
    currency: str | None
    public_tables: tuple[str, ...]
    not_matured: int
    dropped: int

    @property
    def alike(self) -> int:
        """Rows of customers that stand there in another spelling too."""
        return sum(group.count for group in self.groups if group.bound == spellings.BOUND)

    @property
    def refused(self) -> bool:
        """Whether the file cannot take part as it is."""
        return any(group.fatal for group in self.groups)

    def as_json(self) -> dict[str, Any]:
        """The same, for machines."""
        return {
            "file": self.file,
            "rows": self.rows,
            "usable": self.usable,
            "customers": self.customers,
            "unit_of_privacy": self.unit,
            "refused": self.refused,
            "findings": [described(group) for group in self.groups],
            "encoding": [
                {
                    "block": each.block,
                    "kind": each.kind,
                    "bins": dict(zip(each.labels, each.counts, strict=True)),
                }
                for each in self.encodings
            ],
            "covered": list(self.covered),
            "absent": list(self.absent),
            "currency": self.currency,
            "public_tables": list(self.public_tables),
            "not_matured": self.not_matured,
            "dropped": self.dropped,
        }


def described(group: Group) -> dict[str, Any]:
    """A group of findings for machines."""
    return {
        "file": group.file,
        "column": group.column,
        "kind": group.kind,
        "effect": group.effect,
        "must_be": group.bound,
        "count": group.count,
        "examples": [{"row": row, "value": value} for row, value in examples(group)],
    }


def examples(group: Group) -> list[tuple[int | None, str]]:
    """The first few cells of a group as (row, value)."""
    if group.rows is None:
        return []
    cut = group.rows[:EXAMPLES], (group.values if group.values is not None else group.rows)[:EXAMPLES]
    shown = Group(group.file, group.column, group.bound, group.kind, cut[0], np.asarray(cut[1], dtype=object))
    return [(each.row, "missing" if each.value is None else str(each.value)) for each in shown]


def check(
    book: CodeBook,
    data: Path | None,
    mapping: Mapping | None,
    *,
    override: bytes = b"",
    split: str | None = None,
) -> Report:
    """Read a member's file as a run would, and report on it.

    Args:
        book: schema and code book.
        data: the table ``data``.
        mapping: None means that columns match by name.
        override: digest of the member's signed override of this mapping.
        split: the column that names the member of each row, where the file holds several members'.

    Raises:
        MappingError: the SELECT fails.
        SchemaError: a derived column does not fit its inputs.
    """
    table, findings = read_contributed(
        book, data, mapping, extra=(split,) if split else (), override=override
    )
    schema = book.schema
    names = list(dict.fromkeys(name for block in book.blocks for name in block.columns))
    unusable = {group.column for group in findings.groups if group.rows is None} | set(findings.absent)
    one_row = schema.customer is None
    first = data or next(iter(mapping.tables.values()) if mapping else iter(()), None)
    return Report(
        file=str(first),
        rows=findings.rows_read,
        usable=len(table.codes),
        customers=customers(table),
        unit="one row is one customer (the schema names no customer)" if one_row else "the customer",
        groups=(*findings.groups, *too_many(book, table, findings, str(first), split)),
        encodings=tuple(
            Encoding(
                block.name,
                block.kind,
                block.labels,
                tuple(np.bincount(table.codes[:, index], minlength=len(block.labels)).tolist()),
            )
            for index, block in enumerate(book.blocks[:-1])
        ),
        covered=tuple(name for name in names if name not in unusable),
        absent=findings.absent,
        currency=mapping.currency if mapping else None,
        public_tables=mapping.public if mapping else (),
        not_matured=findings.not_matured,
        dropped=findings.dropped,
    )


def customers(table: Table) -> int:
    """Number of different customers."""
    return len(set(table.customers.tolist()))


def too_many(
    book: CodeBook, table: Table, findings: Findings, file: str, split: str | None = None
) -> tuple[Group, ...]:
    """A refusal if one member brings more customers than the public n_max (checked before it joins).

    Args:
        book: says n_max.
        table: the rows.
        findings: of the same reading.
        file: named in the finding.
        split: the column of the member's name, if the rows are several members'.
    """
    most = book.schema.public.n_max
    column = book.schema.customer.name if book.schema.customer else "(rows)"
    found = {**table.values, **table.extra}.get(split or "")
    members = np.full(len(table.codes), "", object) if found is None else found
    groups = []
    for member in sorted(set(members.astype(str).tolist())):
        count = customers(table.take(members.astype(str) == member))
        if count > most:
            whose = f"the member {member}" if split else "one member"
            more = "" if split else " (a file of several members: name their column with --split)"
            bound = f"at most n_max = {most} customers of {whose}; here are {count} in {findings.rows_read} rows{more}"
            groups.append(Group(file, column, bound, "refuse"))
    return tuple(groups)
