"""From files to members: read, hold out test customers, form the parties, plan the run."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.reading.table import Mapping, Table, load_mapping
from fedrepay.shared.errors import ArgumentError, DataError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.rows.split import by_value, split_members, split_test
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.consortium import Party
from fedrepay.simulations.run.terms import check_parties

_LOG = logging.getLogger("fedrepay.simulate")


@dataclass(frozen=True)
class Prepared:
    """Data after the splits."""

    book: CodeBook
    train: Table
    test: Table
    parties: tuple[Party, ...]
    tests: dict[str, Table]  # each member's own held-out rows


def prepare(arguments: Arguments) -> Prepared:
    """Read the data, hold out test customers, form the members.

    Raises:
        DataError: rows that `check-data` refuses, or a part with one class only.
        ArgumentError: a schema of several outcomes.
    """
    book = codebook.load(Path(arguments.schema))
    if book.heads > 1:
        raise ArgumentError(
            f"{arguments.schema} has {book.heads} outcomes; a simulation of your own rows judges one.",
            "Give a schema with one column of role outcome.",
        )
    mapping = None if arguments.mapping is None else load_mapping(Path(arguments.mapping))
    kind, _, column = arguments.split.partition(":")
    extra = (column,) if kind == "column" and column else ()
    table = _read(book, Path(arguments.data), mapping, extra)
    shares = _split(arguments, table)
    if arguments.test is None:
        held_out = split_test(table.customers, arguments.seed)
        test = table.take(np.flatnonzero(held_out))
        trains = {name: table.take(rows[~held_out[rows]]) for name, rows in shares}
        tests = {name: table.take(rows[held_out[rows]]) for name, rows in shares}
        train = table.take(np.flatnonzero(~held_out))
    else:
        train, test = table, _read(book, Path(arguments.test), mapping, extra)
        trains = {name: table.take(rows) for name, rows in shares}
        given = dict(_split_test_file(arguments, test, len(shares)))
        tests = {name: test.take(given.get(name, np.array([], np.int64))) for name in trains}
    for name, part in (("training", train), ("test", test)):
        if part.outcomes is None or len(np.unique(part.outcomes)) < 2:
            raise DataError(
                f"The whole {name} part has one class of outcome (or no row).",
                "Learning and judging need both outcomes; give more rows.",
            )
    parties = tuple(Party(name, rows) for name, rows in trains.items())
    check_parties(arguments, book, parties)
    return Prepared(book, train, test, parties, tests)


def _read(book: CodeBook, path: Path, mapping: Mapping | None, extra: tuple[str, ...]) -> Table:
    table, findings = read_contributed(book, path, mapping, extra=extra, draws=())  # a member's node draws
    for group in findings.groups:
        if group.fatal and group.column in extra:
            raise ArgumentError(
                f"--split column:{group.column}: in {path} it must be {group.bound}.",
                "Name a column of the file, or one that the mapping's SELECT makes.",
            )
    findings.raise_if_fatal()
    if findings.dropped:
        _LOG.warning(
            "%s: %d of %d rows are dropped by findings of their own; `fedrepay member check-data` shows them.",
            *(path, findings.dropped, findings.rows_read),
        )
    return table


def _split(arguments: Arguments, table: Table) -> list[tuple[str, np.ndarray]]:
    values = _split_column(arguments, table)
    return split_members(table.customers, arguments.split, arguments.members, arguments.seed, values)


def _split_test_file(arguments: Arguments, test: Table, members: int) -> list[tuple[str, np.ndarray]]:
    """Each member's rows of a test file, which may lack some members, or be too small to split."""
    values = _split_column(arguments, test)
    if arguments.split.startswith("column:") and values is not None:
        return by_value(values)
    return _split(arguments, test) if len(np.unique(test.customers)) >= members else []


def _split_column(arguments: Arguments, table: Table) -> np.ndarray | None:
    return {**table.values, **table.extra}.get(arguments.split.partition(":")[2])
