"""A member's mapping: one SQL SELECT from its own tables into the schema's columns, as a TOML file."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedrepay.shared.errors import MappingError

DATA = "data"
"""The table that ``--data FILE`` is bound to."""

ROW = "_row"
"""Every loaded table's column of 1-based row numbers; the SELECT may pass it through."""

OFFER = "offer_id"
"""With ``[outcomes]``, the column that ties the SELECT's rows to offers, payments and re-profilings."""

_EPOCH = date(1970, 1, 1)
_Sql = Annotated[str, Field(min_length=1, max_length=100_000)]
_TableName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]


class _Outcomes(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    as_of: Annotated[date, Field(ge=_EPOCH)]
    offers: _Sql
    payments: _Sql
    reprofiles: _Sql | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    sql: _Sql
    tables: dict[_TableName, str] = {}
    absent: list[str] = []
    extra: list[str] = []
    currency: str | None = None
    title: str | None = None
    outcomes: _Outcomes | None = None


@dataclass(frozen=True)
class Outcomes:
    """SELECTs that labels are derived from (``client/data/labels.py``).

    ``as_of`` is the last day of which every payment is known, as days since 1970-01-01.
    """

    as_of: int
    offers: str
    payments: str
    reprofiles: str | None = None

    @property
    def selects(self) -> dict[str, str]:
        """The SELECTs by their names in the mapping."""
        given = {"offers": self.offers, "payments": self.payments, "reprofiles": self.reprofiles}
        return {name: sql for name, sql in given.items() if sql is not None}


@dataclass(frozen=True)
class Mapping:
    """How one member's tables become canonical columns.

    ``tables`` are files by table name, ``absent`` the features this member does not have, ``extra``
    columns kept beside the schema's (a simulation may split by them), ``currency`` what its amounts are
    in (told to people; the SELECT does the conversion). With ``outcomes``, labels come from dated payments.
    """

    sql: str
    tables: dict[str, Path] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    currency: str | None = None
    outcomes: Outcomes | None = None

    @property
    def mixes_rows(self) -> bool:
        """Whether a SELECT aggregates, joins subqueries or limits rows.

        The privacy guarantee needs every row to depend on its own customer only: such a mapping keeps it
        only if it groups within one customer, which nobody but its author can see.
        """
        selects = self.outcomes.selects.values() if self.outcomes else ()
        return any(_mixes_rows(sql) for sql in (self.sql, *selects))


def load_mapping(path: Path) -> Mapping:
    """Read a mapping; table paths are relative to its folder.

    Raises:
        MappingError: unreadable, unknown fields, or anything but exactly one SELECT.
    """
    remedy = 'A mapping is TOML with sql = """SELECT … FROM data"""; see `fedrepay member check-data --help`.'
    try:
        content = tomllib.loads(path.read_bytes().decode())
        given = _File.model_validate(content)
    except OSError as error:
        raise MappingError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MappingError(f"{path} is not TOML: {error}.", remedy) from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise MappingError(f"{path}: {'; '.join(lines)}.", remedy) from error
    _check_sql(given.sql, f"{path}: sql")
    tables = {name: path.parent / file for name, file in given.tables.items()}
    outcomes = _outcomes(given.outcomes, path)
    return Mapping(given.sql, tables, tuple(given.absent), tuple(given.extra), given.currency, outcomes)


def _outcomes(given: _Outcomes | None, path: Path) -> Outcomes | None:
    if given is None:
        return None
    made = Outcomes((given.as_of - _EPOCH).days, given.offers, given.payments, given.reprofiles)
    for name, sql in made.selects.items():
        _check_sql(sql, f"{path}: outcomes.{name}")
    return made


def tables_of(sql: str) -> set[str]:
    """Names of the tables a SELECT reads, in lower case; empty if it cannot be parsed."""
    import sqlglot  # noqa: PLC0415 - heavy
    from sqlglot import exp  # noqa: PLC0415

    try:
        return {table.name.lower() for table in sqlglot.parse_one(sql, read="duckdb").find_all(exp.Table)}
    except sqlglot.errors.SqlglotError:
        return set()


def _mixes_rows(sql: str) -> bool:
    """Whether the SELECT's shape can let one row move another's values; what cannot be parsed counts."""
    import sqlglot  # noqa: PLC0415 - heavy
    from sqlglot import exp  # noqa: PLC0415

    mixing = (
        exp.AggFunc,
        exp.Window,
        exp.Distinct,
        exp.Limit,
        exp.Offset,
        exp.Subquery,
        exp.SetOperation,
        exp.Group,
        exp.TableSample,
    )
    try:
        nodes = list(sqlglot.parse_one(sql, read="duckdb").walk())
    except sqlglot.errors.SqlglotError:
        return True
    if any(isinstance(node, mixing) for node in nodes):
        return True
    nested = (each.parent for each in nodes if isinstance(each, exp.Select))
    if any(parent is not None and not isinstance(parent, exp.CTE) for parent in nested):
        return True
    if any(isinstance(each, exp.Join) and each.method == "POSITIONAL" for each in nodes):
        return True
    read = [each.name.lower() for each in nodes if isinstance(each, exp.Table)]
    unknown = {each.name.lower() for each in nodes if isinstance(each, exp.Anonymous)}
    return len(set(read)) < len(read) or bool(unknown and unknown & _aggregates())


@cache
def _aggregates() -> frozenset[str]:
    """DuckDB's own names of functions over many rows, beside those that sqlglot knows."""
    import duckdb  # noqa: PLC0415 - heavy

    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
        ).fetchall()
    return frozenset(str(name).lower() for (name,) in found)


def _check_sql(sql: str, source: str) -> None:
    import duckdb  # noqa: PLC0415 - heavy

    remedy = "Write one SELECT; its columns carry the names asked for."
    try:
        with duckdb.connect() as connection:
            kinds = [statement.type for statement in connection.extract_statements(sql)]
    except duckdb.Error as error:
        raise MappingError(f"{source}: {str(error).splitlines()[0]}", remedy) from error
    if kinds != [duckdb.StatementType.SELECT]:
        names = ", ".join(kind.name for kind in kinds) or "nothing"
        raise MappingError(f"{source} must be exactly one SELECT; it is {names}.", remedy)


def without_columns(sql: str, names: Collection[str]) -> str:
    """The SELECT without the given output columns, so that accounts to score need no outcome.

    What cannot be taken apart (a UNION, DISTINCT) comes back as it was.
    """
    if not names:
        return sql
    import sqlglot  # noqa: PLC0415 - heavy
    from sqlglot import exp  # noqa: PLC0415

    try:
        tree = sqlglot.parse_one(sql, read="duckdb")
    except sqlglot.errors.SqlglotError:
        return sql
    if not isinstance(tree, exp.Select) or tree.args.get("distinct"):
        return sql
    kept = [each for each in tree.expressions if each.alias_or_name.lower() not in names]
    if not kept or len(kept) == len(tree.expressions):
        return sql
    tree.set("expressions", kept)
    pruned: str = tree.sql(dialect="duckdb")
    return pruned
