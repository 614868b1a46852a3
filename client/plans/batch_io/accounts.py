"""Reads a member's accounts for decisions: the schema's account columns, and facts for rules beside them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.checking import spellings
from fedrepay.client.data.mappings.mapping import Mapping, without_columns
from fedrepay.client.data.reading.findings import Findings, Group
from fedrepay.client.data.reading.table import LeftOut, Table, read_table
from fedrepay.client.plans.batch_io import customers
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.dates import WISHED
from fedrepay.client.plans.deciding.outside import Cell, bound_text, impossible, noted
from fedrepay.client.plans.deciding.pairs import scopes
from fedrepay.shared.arrays import I64, Bool, Objects
from fedrepay.shared.rules.facts import FACTS
from fedrepay.shared.rules.facts import Fact as Declared
from fedrepay.shared.schema.codebook import CodeBook

ACCOUNT = "account"
"""An optional column that names the account where a customer has several."""
BESIDE = {
    "human_requested": Declared("human_requested", "bool", "yes or no", "the customer asked for a person"),
    "date_changes_90d": Declared(
        "date_changes_90d", "int", "times", "changes of a date in 90 days", 0, 10_000
    ),
    WISHED: Declared(WISHED, "int", "day of the month", "when the customer would like to pay", 1, 31),
}
"""Optional columns that hand accounts over to a human, and the day of the month that the customer wished."""
YES, NO = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n")


def read_accounts(
    book: CodeBook, data: Path, mapping: Mapping | None, beside: Sequence[str] = ()
) -> tuple[Accounts, Findings, I64]:
    """Read accounts; rows with a wrong cell are findings and not among them.

    Facts for rules (``shared/rules/facts.py``) are columns of their own names, empty where not known.

    Args:
        book: schema and code book of the release.
        data: CSV or Parquet.
        mapping: None means that columns match by name.
        beside: more columns to keep as text where they are there.

    Returns:
        the accounts, everything wrong, and the accounts' 1-based rows in the file.

    Raises:
        MappingError: the SELECT fails.
        SchemaError: a derived column does not fit its inputs.
    """
    book, lost = _accounts_only(book)
    schema = {each.name for each in book.schema.columns}
    facts = {name: fact for name, fact in FACTS.items() if name not in schema}
    if mapping is not None:
        absent = tuple(name for name in mapping.absent if name not in lost)
        mapping = replace(mapping, sql=without_columns(mapping.sql, lost), absent=absent)
    wanted = (ACCOUNT, *facts, *BESIDE, *beside, *(lost if mapping is None else ()))
    optional = tuple(name for name in dict.fromkeys(wanted) if name not in schema)
    table, findings = read_table(book, data, mapping, need_outcome=False, optional=optional)
    cells = _Cells(str(data), table, list(findings.groups))
    known = {name: cells.parsed(name, fact) for name, fact in facts.items() if name in table.extra}
    others = {name: cells.parsed(name, each) for name, each in BESIDE.items() if name in table.extra}
    others |= {name: table.extra[name] for name in beside if name in table.extra}
    names = cells.names()
    outside = cells.outside(book)
    good = ~cells.wrong
    whole = _of_people(Accounts(names, table.values, known, others, outside=outside), table, cells.wrong)
    accounts = whole.take(good)
    if book.schema.customer is not None:
        cells.groups += spellings.told(book.schema.customer.name, table, str(data))
    return accounts, replace(findings, groups=tuple(cells.groups)), table.source_rows[good]


class _Cells:
    """Cells beside the schema's columns, read one column after the other; rows with a wrong one are noted."""

    def __init__(self, source: str, table: Table, groups: list[Group]) -> None:
        self._source, self._table, self.groups = source, table, groups
        self.wrong = np.zeros(len(table.customers), np.bool_)

    def parsed(self, name: str, declared: Declared) -> npt.NDArray[Any]:
        """One column in its own type, (n,)."""
        cells = self._table.extra[name]
        read, bad = _parsed(declared, cells)
        self._refuse(name, _bound(declared), bad, cells)
        return read

    def names(self) -> Objects:
        """The accounts' names, (n,): each there, and once."""
        names: Objects = self._table.extra.get(ACCOUNT, self._table.customers)
        blank = np.array([name is None or not str(name).strip() for name in names.tolist()], np.bool_)
        self._refuse(ACCOUNT, "not missing", blank, names)
        self._refuse(ACCOUNT, "once in a batch", _again(names) & ~blank, names)
        return names

    def outside(self, book: CodeBook) -> Objects | None:
        """Cells that the schema brings to a bound, as they were; rows in which one cannot be are refused."""
        given = {
            each.name: each for each in book.schema.columns if each.role == "account" and not each.derived
        }
        found: list[tuple[int, Cell]] = []
        for group in [each for each in self.groups if each.kind == "clip" and each.column in given]:
            if group.rows is None or group.values is None:
                continue
            of = dict(zip(group.rows.tolist(), group.values.tolist(), strict=True))
            raw = np.array([of.get(each) for each in self._table.source_rows.tolist()], object)
            there = np.array([each is not None for each in raw], np.bool_)
            found += [(int(row), (group.column, raw[row])) for row in np.flatnonzero(there)]
            if given[group.column].type != "category":
                never = impossible(group.column, raw.astype(np.float64))
                self._refuse(group.column, bound_text(group.column), never, raw)
        return noted(len(self.wrong), found) if found else None

    def _refuse(self, column: str, bound: str, where: Bool, cells: Objects) -> None:
        if where.any():
            rows = np.flatnonzero(where)
            source = self._table.source_rows[rows]
            self.groups.append(Group(self._source, column, bound, "refuse", source, cells[rows]))
            self.wrong[rows] = True


def _of_people(accounts: Accounts, table: Table, wrong: Bool) -> Accounts:
    """The accounts with what all rows of their customer say, refused ones too."""
    refused = table.refused or LeftOut(np.array([], object), {})
    every = np.concatenate([table.customers, refused.customers])
    of = customers.groups(every)
    if of is None:
        return accounts
    n, facts = len(table.customers), accounts.facts
    more = {name: _parsed(FACTS[name], refused.extra[name])[0] for name in facts} if len(every) > n else {}
    said = {name: np.concatenate([each, *([more[name]] if more else [])]) for name, each in facts.items()}
    spread = {name: each[:n] for name, each in customers.spread(of, said).items()}
    lost = np.bincount(of, np.concatenate([wrong, np.ones(len(every) - n)]))[of] > 0
    asked = accounts.beside.get(customers.ASKED)
    said_so = {} if asked is None else {customers.ASKED: _anywhere(of[:n], asked == 1, asked)}
    beside = {
        **accounts.beside,
        **said_so,
        customers.UNREAD: lost[:n].astype(np.float64),
        customers.DIFFERS: customers.differs(of[:n], accounts.raw).astype(np.float64),
    }
    return replace(accounts, facts=spread, beside=beside, person=of[:n])


def _anywhere(of: I64, yes: Bool, given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A yes of any row of a person on all their rows, (n,)."""
    return np.where(np.bincount(of, yes)[of] > 0, 1.0, given)


def _accounts_only(book: CodeBook) -> tuple[CodeBook, tuple[str, ...]]:
    """The book without what hangs on a plan or an outcome, and the names of the given columns left out."""
    schema, scope = book.schema, scopes(book)
    kept = [each for each in schema.columns if each.role == "customer" or scope.get(each.name) == "account"]
    lost = tuple(each.name for each in schema.columns if each not in kept and each.derived is None)
    reduced = schema.model_copy(update={"columns": tuple(kept), "crosses": ()})
    return replace(book, schema=reduced), lost


def _again(names: Objects) -> Bool:
    """Which names stood in an earlier row, (n,)."""
    listed = names.tolist()
    first: dict[object, int] = {}
    firsts = [first.setdefault(name, row) for row, name in enumerate(listed)]
    return np.asarray(np.array(firsts, np.int64) != np.arange(len(listed)))


def _parsed(fact: Declared, cells: Objects) -> tuple[npt.NDArray[Any], Bool]:
    """A fact's text cells as its type, missing as NaN or None, and which cells are no such value; (n,) each."""
    if fact.type == "category":
        known = {None, *fact.categories}
        bad = np.array([each not in known for each in cells], np.bool_)
        cells = cells.copy()
        cells[bad] = None
        return cells, bad
    of: Callable[[str], float] = _yes if fact.type == "bool" else _number
    listed = cells.tolist()
    read = {each: np.nan if each is None else of(each) for each in set(listed)}
    numbers = np.fromiter(map(read.__getitem__, listed), np.float64, len(listed))
    missing = np.asarray(cells == None, np.bool_)  # noqa: E711 - cell by cell
    bad = ~missing & ~((numbers >= fact.low) & (numbers <= fact.high))
    if fact.type == "int":
        bad |= ~missing & (numbers != np.trunc(numbers))
    return np.where(bad, np.nan, numbers), bad


def _yes(cell: str) -> float:
    word = cell.strip().lower()
    return 1.0 if word in YES else 0.0 if word in NO else np.nan


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _bound(fact: Declared) -> str:
    if fact.type == "category":
        return "one of " + ", ".join(fact.categories)
    if fact.type == "bool":
        return "yes or no (1 or 0), or empty where not known"
    whole = "a whole number" if fact.type == "int" else "a number"
    return f"{whole} from {fact.low:g} to {fact.high:g} ({fact.unit})"
