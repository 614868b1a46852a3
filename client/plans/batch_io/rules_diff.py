"""Which decisions a changed rule touches: each chosen plan under the old pack and under the new one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.reading.files import opened, quoted
from fedrepay.shared.errors import ArgumentError, DataError
from fedrepay.shared.plans.kinds import CHANNELS, KINDS
from fedrepay.shared.rules.columns import NO_BOUND, PlanColumns
from fedrepay.shared.rules.facts import FACTS, FactTable
from fedrepay.shared.rules.masks import RuleRef, RulesVerdict, evaluate
from fedrepay.shared.rules.pack import Pack
from fedrepay.shared.rules.parameters import MATTERS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fedrepay.shared.arrays import I32

_PLAN = ("discount", "interest_waiver", "fee_waiver", "dormant_months")
_PAIR = ("first_due_days", "instalment", "monthly", "total", "months", "fees", "interest", "bound")
_REAL = frozenset(("discount", "interest_waiver", "fee_waiver", "months"))
_TEXT = ("account", "decision", "kind", "channel")
COLUMNS = (*_TEXT, "rank", "human", *_PLAN, *_PAIR)
"""What a file of decisions must have; ``fedrepay member recommend`` writes them."""

Change = Literal[
    "newly blocked",
    "newly allowed",
    "newly for a human",
    "no longer for a human",
    "newly stopped",
    "no longer stopped",
    "newly told",
    "no longer told",
    "newly covered",
    "no longer covered",
]
Rows = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Touched:
    """One decision that comes out otherwise, and the rule that makes it so; or the matter that the pack covers for it."""

    account: str
    rank: int
    decision: str
    kind: str
    channel: str
    change: Change
    pack: str
    rule: str
    article: str
    old_version: int | None
    new_version: int | None
    unknown: bool


@dataclass(frozen=True)
class Diff:
    """All decisions touched, of how many with a plan, of how many accounts, and how many have no plan."""

    touched: tuple[Touched, ...]
    decisions: int
    accounts: int
    without_plan: int


def facts_of(decisions: Path) -> Path:
    """The file of rule facts that lies beside a file of decisions."""
    return decisions.with_name(decisions.name + ".facts.parquet")


def compare(old: Pack, new: Pack, decisions: Path, day: int | None = None) -> Diff:
    """Evaluate each decision's plan under both packs.

    Args:
        old: the pack as it was.
        new: the pack as it shall be.
        decisions: CSV or Parquet with ``COLUMNS``; its facts lie beside it (``facts_of``).
        day: both packs' dates as of this day; without it their dates are not looked at.

    Raises:
        ArgumentError: there is no file of facts.
        DataError: a file lacks a column, or holds a value that cannot be.
    """
    with _loaded(decisions) as connection:
        rows, without_plan = _decisions(connection, decisions)
        facts = _facts(connection, rows["account"], facts_of(decisions))
    if day is None:
        timeless = {"effective_from": None, "effective_to": None}
        old, new = old.model_copy(update=timeless), new.model_copy(update=timeless)
    touched: list[Touched] = []
    for group in _groups(rows):
        part = {name: column[group] for name, column in rows.items()}
        known = FactTable({name: column[group] for name, column in facts.items()}, len(group))
        plans = _plans(part)
        was, now = (evaluate([pack], known, plans, day or 0) for pack in (old, new))
        touched += _changes(part, was, now)
        touched += _coverage(part, old, new, was, now)
    touched.sort(key=lambda each: (each.account, each.rank, each.change, each.rule))
    return Diff(tuple(touched), len(rows["account"]), len(np.unique(rows["account"])), without_plan)


def _changes(rows: Rows, was: RulesVerdict, now: RulesVerdict) -> Iterator[Touched]:
    notices = sorted({each.rule for each in (*was.rules, *now.rules) if each.kind == "notice"})
    pairs: tuple[tuple[I32, I32, Change, Change], ...] = (
        (was.blocked[:, 0], now.blocked[:, 0], "newly blocked", "newly allowed"),
        (was.human, now.human, "newly for a human", "no longer for a human"),
        (was.stop, now.stop, "newly stopped", "no longer stopped"),
        *((_told(was, rule), _told(now, rule), "newly told", "no longer told") for rule in notices),
    )
    for before, after, worse, better in pairs:
        for row in np.flatnonzero((before < 0) != (after < 0)):
            newly = bool(after[row] >= 0)
            ref = now.rules[after[row]] if newly else was.rules[before[row]]
            yield Touched(
                account=str(rows["account"][row]),
                rank=int(rows["rank"][row]),
                decision=str(rows["decision"][row]),
                kind=str(rows["kind"][row]),
                channel=str(rows["channel"][row]),
                change=worse if newly else better,
                pack=ref.pack,
                rule=ref.rule,
                article=ref.article,
                old_version=_version(was.rules, ref.rule),
                new_version=_version(now.rules, ref.rule),
                unknown=bool((now if newly else was).unknown[row]),
            )


def _told(verdict: RulesVerdict, rule: str) -> "I32":
    """The rule's number where it demands its notice, −1 where it does not, (n,)."""
    told = np.full(len(verdict.notices), -1, np.int32)
    for number, each in enumerate(verdict.rules):
        if each.rule == rule:
            told[verdict.notices[:, number]] = number
    return told


def _coverage(rows: Rows, old: Pack, new: Pack, was: RulesVerdict, now: RulesVerdict) -> Iterator[Touched]:
    """Matters that one of the packs covers for a decision and the other does not; versions are the packs'."""
    for row, place in zip(*np.nonzero(was.covered != now.covered), strict=True):
        newly = bool(now.covered[row, place])
        yield Touched(
            account=str(rows["account"][row]),
            rank=int(rows["rank"][row]),
            decision=str(rows["decision"][row]),
            kind=str(rows["kind"][row]),
            channel=str(rows["channel"][row]),
            change="newly covered" if newly else "no longer covered",
            pack=new.id if newly else old.id,
            rule=f"covers {MATTERS[place]}",
            article=(new if newly else old).citation,
            old_version=old.version,
            new_version=new.version,
            unknown=False,
        )


def _version(rules: tuple[RuleRef, ...], rule: str) -> int | None:
    return next((each.version for each in rules if each.rule == rule), None)


@contextmanager
def _loaded(decisions: Path) -> Iterator["DuckDBPyConnection"]:
    beside = facts_of(decisions)
    if decisions.exists() and not beside.exists():
        raise ArgumentError(
            f"{beside} is missing: the facts that the rules read.",
            "Keep it beside the decisions; `fedrepay member recommend` writes both.",
        )
    with opened({"decisions": decisions, "facts": beside}) as (connection, found):
        if found:
            raise DataError(f"{found[0].file}: not {found[0].bound}.", "Write the decisions again.")
        yield connection


def _names(connection: "DuckDBPyConnection", table: str) -> list[str]:
    return [str(each[0]) for each in connection.execute(f"DESCRIBE {quoted(table)}").fetchall()]


def _decisions(connection: "DuckDBPyConnection", path: Path) -> tuple[Rows, int]:
    """Columns of the decisions that have a plan, and how many have none (their kind is empty)."""
    there = _names(connection, "decisions")
    missing = [name for name in COLUMNS if name not in there]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}.",
            "Give what `fedrepay member recommend` wrote.",
        )
    types = {
        name: "VARCHAR" if name in _TEXT else "BOOLEAN" if name == "human" else "DOUBLE" for name in COLUMNS
    }
    picked = ", ".join(f"TRY_CAST({quoted(name)} AS {types[name]}) AS {quoted(name)}" for name in COLUMNS)
    (empty,) = connection.execute("SELECT count(*) FROM decisions WHERE kind IS NULL").fetchone() or (0,)
    table = connection.execute(
        f"SELECT _row, {picked} FROM decisions WHERE kind IS NOT NULL ORDER BY decisions._row"
    ).fetchnumpy()
    numbers = np.ma.getdata(table["_row"])
    rows: Rows = {}
    for name in COLUMNS:
        column = table[name]
        lost = np.ma.getmaskarray(column)
        if lost.any() and name != "bound":
            raise DataError(
                f"{path}, row {numbers[int(lost.argmax())]}: {name} is empty or no {types[name].lower()}.",
                "Give what `fedrepay member recommend` wrote.",
            )
        if types[name] == "DOUBLE" and name not in _REAL:
            whole = np.ma.getdata(column).astype(np.float64)
            rows[name] = np.where(lost, float(NO_BOUND), whole).astype(np.int64)
        else:
            rows[name] = np.ma.getdata(column)
    for name, codes in (("kind", KINDS), ("channel", CHANNELS)):
        strange = ~np.isin(rows[name].astype(str), codes)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(
                f"{path}, row {numbers[row]}: {name} {rows[name][row]!r} is none of {', '.join(codes)}.",
                "Give what `fedrepay member recommend` wrote.",
            )
    return rows, int(empty)


def _facts(connection: "DuckDBPyConnection", accounts: npt.NDArray[Any], path: Path) -> Rows:
    """Each decision's facts, by account."""
    there = _names(connection, "facts")
    if "account" not in there:
        raise DataError(f"{path} lacks the column account.", "Write the decisions again.")
    order = np.ma.getdata(
        connection.execute("SELECT CAST(account AS VARCHAR) AS a FROM facts ORDER BY _row").fetchnumpy()["a"]
    ).astype(str)
    place = {account: row for row, account in enumerate(order.tolist())}
    if len(place) < len(order):
        raise DataError(f"{path} has an account twice.", "Give one row per account.")
    wanted = accounts.astype(str).tolist()
    missing = next((each for each in wanted if each not in place), None)
    if missing is not None:
        raise DataError(f"{path} has no facts of account {missing}.", "Write the decisions again.")
    rows = np.array([place[each] for each in wanted], np.intp)
    facts: Rows = {}
    for name in FACTS:
        if name in there:
            kind = "VARCHAR" if FACTS[name].type == "category" else "DOUBLE"
            column = connection.execute(
                f"SELECT TRY_CAST({quoted(name)} AS {kind}) AS v FROM facts ORDER BY _row"
            ).fetchnumpy()["v"]
            empty: Any = None if kind == "VARCHAR" else np.nan
            whole = np.ma.getdata(column).astype(object if kind == "VARCHAR" else np.float64)
            facts[name] = np.where(np.ma.getmaskarray(column), empty, whole)[rows]
    return facts


def _groups(rows: Rows) -> Iterator[npt.NDArray[np.intp]]:
    """Decisions whose plan differs only in amounts, so that they stand in one column."""
    place = np.zeros(len(rows["kind"]), np.intp)
    for name in ("kind", "channel", "human", *_PLAN):
        values, codes = np.unique(rows[name], return_inverse=True)
        place = np.unique(place * len(values) + codes, return_inverse=True)[1]
    for group in range(int(place.max()) + 1 if len(place) else 0):
        yield np.flatnonzero(place == group)


def _plans(rows: Rows) -> PlanColumns:
    pair: dict[str, Any] = {
        name: rows[name].astype(np.float64 if name in _REAL else np.int64)[:, None] for name in _PAIR[:-1]
    }
    plan: dict[str, Any] = {
        name: rows[name][:1].astype(np.float64 if name in _REAL else np.int64) for name in _PLAN
    }
    return PlanColumns(
        kind=np.array([KINDS.index(rows["kind"][0])], np.uint8),
        channel=np.array([CHANNELS.index(rows["channel"][0])], np.uint8),
        human=rows["human"][:1].astype(np.bool_),
        bound=rows["bound"].astype(np.int64),
        **plan,
        **pair,
    )
