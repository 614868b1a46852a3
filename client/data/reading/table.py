"""A member's rows, read and encoded: files → mapping → canonical columns → codes of the code book."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.mappings.mapping import (
    DATA,
    OFFER,
    Mapping,
    UnreadableError,
    load_mapping,
    without_columns,
)
from fedrepay.client.data.reading import files, labels, tolerant
from fedrepay.client.data.reading.columns import MAPPED
from fedrepay.client.data.reading.findings import Finding, Findings, Group
from fedrepay.client.data.reading.reader import MappedTable
from fedrepay.shared.arrays import F64, I8, I64, U16, Bool, Objects
from fedrepay.shared.errors import MappingError
from fedrepay.shared.schema import bins, encode
from fedrepay.shared.schema.bins import Values
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.columns import Column
from fedrepay.shared.schema.model import Schema

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Finding", "Findings", "Mapping", "Table", "load_mapping", "read_table"]


@dataclass(frozen=True)
class LeftOut:
    """The rows that a finding refuses, (m,) each: ``customers`` (None where not read) and the ``extra`` columns, as text."""

    customers: Objects
    extra: dict[str, Objects]


@dataclass(frozen=True)
class Table:
    """One party's encoded rows, (n,) each; rows that a finding refuses are not in it.

    ``codes`` is (n, blocks − 1); ``outcomes`` (n, H) 0 or 1 as the schema writes them, or −1 outside a
    head's population; ``customers`` text; ``propensity`` in (0, 1]; ``audit`` the labels of audit columns; ``extra`` columns asked for by name,
    as text; ``source_rows`` 1-based rows of the file; ``values`` the canonical columns behind the codes. Where labels
    come from dated payments, ``offered_on`` is each row's day of offering and ``as_of`` the last day of payments known,
    both in days since 1970-01-01; else None. ``refused`` is what can be told of the rows that are not in it.
    """

    codes: U16
    outcomes: I8 | None
    customers: Objects
    propensity: F64 | None
    audit: dict[str, Objects]
    extra: dict[str, Objects]
    source_rows: I64
    values: dict[str, Values]
    offered_on: I64 | None = None
    as_of: int | None = None
    refused: LeftOut | None = None

    def take(self, index: npt.NDArray[np.integer] | Bool) -> "Table":
        """The chosen rows, in the order of ``index``."""
        return replace(
            self,
            codes=self.codes[index],
            outcomes=None if self.outcomes is None else self.outcomes[index],
            customers=self.customers[index],
            propensity=None if self.propensity is None else self.propensity[index],
            audit={name: each[index] for name, each in self.audit.items()},
            extra={name: each[index] for name, each in self.extra.items()},
            source_rows=self.source_rows[index],
            values={name: each[index] for name, each in self.values.items()},
            offered_on=None if self.offered_on is None else self.offered_on[index],
        )


def read_table(
    book: CodeBook,
    data: Path | None,
    mapping: Mapping | None,
    *,
    need_outcome: bool,
    extra: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> tuple[Table, Findings]:
    """Read, map, check and encode one party's rows.

    Args:
        book: schema and code book.
        data: the file behind the table ``data``; None if the mapping names all its tables.
        mapping: None means that columns match by name.
        need_outcome: rows to learn from; False for rows to score, which need no outcome, propensity or
            audit columns, nor the mapping's extra ones, and may repeat a customer.
        extra: columns outside the schema to keep as text; without one of them no row can be used.
        optional: columns outside the schema to keep as text where they are there.

    Returns:
        the rows that can be used, and everything that is wrong at once; the caller decides what is fatal.

    Raises:
        MappingError: the SELECT fails, or declares absent what the schema needs.
        SchemaError: a derived column does not fit its inputs.
        ArgumentError: neither data nor a mapping with tables.
    """
    reading = Reading.of(book, data, mapping, need_outcome=need_outcome, extra=extra, optional=optional)
    with files.opened(reading.sources) as (connection, groups):
        return reading.read(connection, groups)


@dataclass(frozen=True)
class Reading:
    """What is read from which files; ``read`` may be called again once the tables hold other rows."""

    book: CodeBook
    mapping: Mapping | None
    sources: dict[str, Path]
    need_outcome: bool
    absent: tuple[str, ...]
    given: tuple[str, ...]  # outcomes that dated payments give
    extra: tuple[str, ...]
    optional: tuple[str, ...]

    @classmethod
    def of(
        cls,
        book: CodeBook,
        data: Path | None,
        mapping: Mapping | None,
        *,
        need_outcome: bool,
        extra: Sequence[str] = (),
        optional: Sequence[str] = (),
    ) -> "Reading":
        """As :func:`read_table` is asked."""
        sources = {**(mapping.tables if mapping else {}), **({DATA: data} if data else {})}
        absent = _absent(book.schema, mapping)
        dated = mapping.outcomes if mapping else None
        given = labels.derivable(book.schema, dated, absent) if need_outcome else ()
        promised = mapping.extra if mapping and need_outcome else ()
        extra = tuple(dict.fromkeys((*extra, *promised, *((OFFER,) if given else ()))))
        return cls(book, mapping, sources, need_outcome, absent, given, extra, tuple(optional))

    @property
    def file(self) -> str:
        """The file that findings name."""
        return str(self.sources.get(DATA) or next(iter(self.sources.values())))

    def read(self, connection: "DuckDBPyConnection", groups: Sequence[Group]) -> tuple[Table, Findings]:
        """Map, check and encode the loaded tables; ``groups`` are findings about the files.

        Raises:
            MappingError: the SELECT fails.
            SchemaError: a derived column does not fit its inputs.
        """
        try:
            return self._read(connection, groups)
        finally:
            connection.execute(f"DROP TABLE IF EXISTS {MAPPED}").fetchall()

    def _read(self, connection: "DuckDBPyConnection", groups: Sequence[Group]) -> tuple[Table, Findings]:
        schema, dated = self.book.schema, self.mapping.outcomes if self.mapping else None
        if groups:
            return self._nothing(), Findings(tuple(groups), self.absent)
        derived = labels.read(connection, dated, self.sources) if dated and self.given else None
        twice, unread = _map(connection, self.mapping, self.file, self._unasked())
        if twice:
            return self._nothing(), Findings(tuple(twice), self.absent)
        reader = MappedTable(connection, self.file, self.absent)
        reader.unreadable(unread)
        texts = self._columns(reader)
        open_ = labels.join(reader, schema, self.given, derived, texts[OFFER]) if derived else 0
        if self.need_outcome:
            reader.check_outcomes(schema)
            reader.check_customers(schema, 1 << self.book.weight_bits)
        findings = Findings(tuple(reader.groups), self.absent, reader.rows, open_)
        kept = {name: each for name, each in texts.items() if each is not None}
        if len(kept) < len(texts) or not self._complete(reader):
            return self._nothing(), findings
        table = _table(schema, reader, kept, need_outcome=self.need_outcome)
        days = labels.offered_on(derived, kept[OFFER]) if derived else None
        if dated and days is not None:
            table = replace(table, offered_on=days[~reader.refused], as_of=dated.as_of)
        return table, replace(findings, used=len(table.codes))

    def _columns(self, reader: MappedTable) -> dict[str, Objects | None]:
        """Read and derive the schema's columns; returns those outside it as text, None where one cannot be used."""
        schema, inputs = self.book.schema, list[str]()
        own = [each for each in schema.columns if each.derived is None and self._needs(each)]
        asked = [each for each in own if each.name not in self.given]
        extra = (*self.extra, *(name for name in self.optional if name in reader.types))
        reader.check_names(schema, asked, extra, self._unasked())
        if not reader.rows:
            reader.whole("(file)", "a table with at least one row")
        with files.sandbox() as sandbox:
            for column in schema.columns:
                if column in asked:
                    reader.read(column)
                elif column.derived is not None:
                    reader.derive(column, inputs, sandbox)
                inputs += [column.name] if column.is_input else []
        return {name: reader.text(name) for name in extra}

    def _complete(self, reader: MappedTable) -> bool:
        """Whether all columns are there (an unknown one beside them spoils no row)."""
        columns = self.book.schema.columns
        needed = [each.name for each in columns if each.derived is not None or self._needs(each)]
        return bool(reader.rows) and all(name in reader.columns for name in needed)

    def _nothing(self) -> Table:
        """A table without rows, where the file cannot be used at all."""
        schema, need_outcome = self.book.schema, self.need_outcome
        none = np.array([], dtype=object)
        columns = [each for each in schema.columns if each.is_input]
        blocks = len(schema.features) + len(schema.crosses)
        return Table(
            codes=np.zeros((0, blocks), dtype=np.uint16),
            outcomes=np.zeros((0, len(schema.outcomes)), dtype=np.int8) if need_outcome else None,
            customers=none,
            propensity=np.zeros(0) if need_outcome and schema.propensity else None,
            audit={each.name: none for each in schema.of_role("audit")} if need_outcome else {},
            extra={},
            source_rows=np.zeros(0, dtype=np.int64),
            values={each.name: none if each.type == "category" else np.zeros(0) for each in columns},
        )

    def _unasked(self) -> set[str]:
        """Columns, in lower case, that the SELECT may make though nobody asks for them."""
        mapping = self.mapping
        names = {each.name for each in self.book.schema.columns if not self._needs(each)}
        names |= {OFFER} if mapping and mapping.outcomes else set()
        names |= set(mapping.extra) if mapping else set()
        return {each.lower() for each in names} - {each.lower() for each in (*self.extra, *self.optional)}

    def _needs(self, column: Column) -> bool:
        return self.need_outcome or column.role in ("account", "plan", "customer")


def _absent(schema: Schema, mapping: Mapping | None) -> tuple[str, ...]:
    absent = mapping.absent if mapping else ()
    for name in absent:
        column = next((each for each in schema.columns if each.name == name and not each.derived), None)
        if column is None:
            raise MappingError(f"absent: {name} is not a column to be read.", "Take it out of `absent`.")
        if column.role != "audit" and column.missing == "refuse":
            raise MappingError(
                f"absent: {name} cannot be absent: the schema gives it no missing bin.",
                'Only audit columns and columns with missing = "bin" or "outside" may be declared absent.',
            )
    return absent


def _map(
    connection: "DuckDBPyConnection", mapping: Mapping | None, file: str, unasked: Collection[str]
) -> tuple[list[Group], list[tolerant.Unread]]:
    """Run the SELECT into ``_mapped``, without columns nobody asks for; returns doubled names and unread rows."""
    import duckdb  # noqa: PLC0415 - heavy

    unread: list[tolerant.Unread] = []
    sql = without_columns(mapping.sql, unasked) if mapping else f"SELECT * FROM {DATA}"
    try:
        relation = connection.sql(sql)
        twice = files.doubled(file, relation.columns)
        if not twice:
            unread = tolerant.create(connection, sql)
    except duckdb.Error as error:
        kind = UnreadableError if tolerant.is_of_a_cell(error) else MappingError
        raise kind(
            f"The mapping's SELECT fails on {file}: {tolerant.said(connection, error)}",
            "Mend the SELECT. Cells of a CSV file are text: CAST(x AS DOUBLE) makes numbers of them, and "
            "TRY_CAST(x AS DOUBLE) a missing value of a bad cell.",
        ) from error
    return twice, unread


def _table(schema: Schema, reader: MappedTable, texts: dict[str, Objects], *, need_outcome: bool) -> Table:
    good = np.flatnonzero(~reader.refused)
    columns = {name: each[good] for name, each in reader.columns.items()}
    source_rows = reader.source_rows[good]
    customer, propensity = schema.customer, schema.propensity
    names = columns[customer.name] if customer else source_rows.astype(str).astype(object)
    weighted = need_outcome and propensity is not None
    return Table(
        codes=encode.encode(schema, columns),
        outcomes=_outcomes(schema, columns) if need_outcome else None,
        customers=np.asarray(names, dtype=object),
        propensity=columns[propensity.name].astype(np.float64) if weighted and propensity else None,
        audit={each.name: _labels(each, columns[each.name]) for each in schema.of_role("audit")}
        if need_outcome
        else {},
        extra={name: each[good] for name, each in texts.items()},
        source_rows=source_rows,
        values={each.name: columns[each.name] for each in schema.columns if each.is_input},
        refused=_refused(reader, customer, texts),
    )


def _refused(reader: MappedTable, customer: Column | None, texts: dict[str, Objects]) -> LeftOut:
    rows = np.flatnonzero(reader.refused)
    nobody = np.full(len(rows), None, dtype=object)
    names = nobody if customer is None else np.asarray(reader.columns[customer.name], dtype=object)[rows]
    return LeftOut(names, {name: each[rows] for name, each in texts.items()})


def _outcomes(schema: Schema, columns: dict[str, Values]) -> I8:
    heads = np.stack([columns[each.name].astype(np.float64) for each in schema.outcomes], axis=1)
    return np.where(np.isnan(heads), -1, heads).astype(np.int8)


def _labels(column: Column, values: Values) -> Objects:
    """Labels of an audit column, (n,): its bands, or its values where it has none."""
    side = bins.side(column)
    known = (
        np.array([each is not None for each in values]) if side.groups else ~np.isnan(values.astype(float))
    )
    out = np.full(len(values), bins.MISSING, dtype=object)
    chosen = np.flatnonzero(known)
    if side.groups or side.edges:
        out[chosen] = np.array(side.labels, dtype=object)[side.codes(values[chosen])]
    else:
        out[chosen] = [bins.number(each) for each in values[chosen]]
    return out
