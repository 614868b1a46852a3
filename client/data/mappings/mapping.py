"""A member's mapping: one SQL SELECT from its own tables into the schema's columns, as a TOML file."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedrepay.shared.errors import MappingError
from fedrepay.shared.files import Part, parse_toml, read_bytes

DATA = "data"
"""The table that ``--data FILE`` is bound to."""

ROW = "_row"
"""Every loaded table's column of 1-based row numbers; the SELECT may pass it through."""

OFFER = "offer_id"
"""With ``[outcomes]``, the column that ties the SELECT's rows to offers, payments and re-profilings."""

_EPOCH = date(1970, 1, 1)
_Sql = Annotated[str, Field(min_length=1, max_length=100_000)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_TableName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]


class _Outcomes(Part):
    as_of: Annotated[date, Field(ge=_EPOCH)]
    offers: _Sql
    payments: _Sql
    reprofiles: _Sql | None = None


class Keys(Part):
    """Names of key columns by kind, as ``column`` (in every table) or ``table.column``."""

    customer: tuple[_Name, ...] = ()
    account: tuple[_Name, ...] = ()
    offer: tuple[_Name, ...] = ()

    def kind(self, table: str, column: str) -> str | None:
        """``customer``, ``account`` or ``offer``, if the table's column is such a key; names in any case."""
        names = {column.lower(), f"{table}.{column}".lower()}
        for kind, given in (("customer", self.customer), ("account", self.account), ("offer", self.offer)):
            if any(each.lower() in names for each in given):
                return kind
        return None

    def __bool__(self) -> bool:
        return bool(self.customer or self.account or self.offer)


class _File(Part):
    sql: _Sql
    tables: dict[_TableName, str] = Field(default_factory=dict)
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    currency: str | None = None
    title: str | None = None
    outcomes: _Outcomes | None = None
    keys: Keys = Keys()
    public: tuple[_TableName, ...] = ()


@dataclass(frozen=True)
class Outcomes:
    """SELECTs that labels are derived from (``client/data/reading/labels.py``).

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

    ``keys`` say which columns of the tables name customers, accounts and offers, ``public`` which tables hold
    nothing of any customer. ``digest`` is the SHA-256 of the file, empty where there was none.
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
    keys: Keys = field(default_factory=Keys)
    public: tuple[str, ...] = ()
    digest: bytes = b""

    @property
    def selects(self) -> dict[str, str]:
        """All SELECTs by their names in the mapping."""
        dated = self.outcomes.selects if self.outcomes else {}
        return {"sql": self.sql, **{f"outcomes.{name}": sql for name, sql in dated.items()}}


def load_mapping(path: Path) -> Mapping:
    """Read a mapping; table paths are relative to its folder.

    Raises:
        MappingError: unreadable, unknown fields, or anything but exactly one SELECT.
    """
    remedy = 'A mapping is TOML with sql = """SELECT … FROM data"""; see `fedrepay member check-data --help`.'
    raw = read_bytes(path, MappingError)
    given = parse_toml(raw, str(path), _File, MappingError, remedy)
    _check_sql(given.sql, f"{path}: sql")
    tables = {name: path.parent / file for name, file in given.tables.items()}
    outcomes = _outcomes(given.outcomes, path)
    return Mapping(
        given.sql,
        tables,
        given.absent,
        given.extra,
        given.currency,
        outcomes,
        given.keys,
        tuple(each.lower() for each in given.public),
        sha256(raw).digest(),
    )


def _outcomes(given: _Outcomes | None, path: Path) -> Outcomes | None:
    if given is None:
        return None
    made = Outcomes((given.as_of - _EPOCH).days, given.offers, given.payments, given.reprofiles)
    for name, sql in made.selects.items():
        _check_sql(sql, f"{path}: outcomes.{name}")
    return made


class UnreadableError(MappingError):
    """A SELECT fails on a cell, where no single row of its output can be named."""


@lru_cache(64)
def tables_of(sql: str) -> frozenset[str]:
    """Names of the tables a SELECT reads, in lower case; empty if it cannot be parsed."""
    import sqlglot  # noqa: PLC0415 - heavy
    from sqlglot import exp  # noqa: PLC0415

    try:
        return frozenset(
            each.name.lower() for each in sqlglot.parse_one(sql, read="duckdb").find_all(exp.Table)
        )
    except sqlglot.errors.SqlglotError:
        return frozenset()


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
