"""The peer of the masks: the same packs as one SQL query of DuckDB, over one row an account and one row a plan of it.

SQL's three-valued logic is the rules' own: what is not known is NULL, and a rule that might block does. The query
answers one question of those that the masks answer, which rule blocks a plan first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from fedrepay.shared.arrays import I64
from fedrepay.shared.plans.kinds import CHANNELS, COLLECTING, CONTACTING, FREE, KINDS
from fedrepay.shared.rules.columns import NO_BOUND, PlanColumns
from fedrepay.shared.rules.effects import ROUNDING, TICKS_A_YEAR
from fedrepay.shared.rules.facts import FACTS, NONE, Column
from fedrepay.shared.rules.pack import Pack
from fedrepay.shared.rules.parameters import (
    Affordability,
    ChannelConsent,
    Condition,
    ContactCap,
    CostCap,
    FeeCap,
    InterestFreeze,
    Moratorium,
    Notice,
    Parameters,
    QuietHours,
    SpecialCategoryHuman,
    StopCollection,
    TermCap,
)

_OF_PAIR = ("first_due_days", "instalment", "total", "months", "fees", "interest", "monthly")
_OF_PLAN = ("kind", "channel", "human", "dormant_months")


@dataclass(frozen=True)
class _Block:
    """``when`` (of an account; NULL is not known) plans that are ``which`` are blocked, with ``amount`` those above ``limit``."""

    when: str
    which: str
    amount: str | None = None
    limit: str = "0"


def opened(packs: Sequence[Pack], today: int) -> duckdb.DuckDBPyConnection:
    """A connection of one thread, its tables empty, with the query prepared."""
    connection = duckdb.connect(config={"threads": 1})
    none, kinds = np.zeros(0), np.zeros(0, np.uint8)
    facts: dict[str, Column] = {
        name: np.zeros(0, "U1") if fact.type == "category" else none for name, fact in FACTS.items()
    }
    pairs, months, numbers = np.zeros((0, 0), np.int64), np.zeros((0, 0)), np.zeros(0, np.int64)
    human = np.zeros(0, np.bool_)
    plans = PlanColumns(
        kinds,
        kinds,
        human,
        none,
        none,
        none,
        numbers,
        pairs,
        pairs,
        pairs,
        pairs,
        months,
        pairs,
        pairs,
        numbers,
    )
    for name, columns in _tables(facts, plans).items():
        connection.register("given", columns)
        connection.execute(f"CREATE TABLE {name} AS SELECT {_chosen(columns)} FROM given")
        connection.unregister("given")
    connection.execute(f"PREPARE blocked AS {query(packs, today)}")
    return connection


def load(connection: duckdb.DuckDBPyConnection, facts: dict[str, Column], plans: PlanColumns) -> None:
    """Accounts and plans in DuckDB's own tables, ``a`` and ``p``, in place of what was there."""
    for name, columns in _tables(facts, plans).items():
        connection.register("given", columns)
        connection.execute(f"DELETE FROM {name}")
        connection.execute(f"INSERT INTO {name} SELECT {_chosen(columns)} FROM given")
        connection.unregister("given")


def _tables(facts: dict[str, Column], plans: PlanColumns) -> dict[str, dict[str, Column]]:
    accounts, count = plans.shape
    of_account = {"account": np.arange(accounts), "bound": plans.bound, **facts}
    of_plan = {"account": np.repeat(np.arange(accounts), count)}
    of_plan |= {name: np.asarray(getattr(plans, name)).ravel() for name in _OF_PAIR}
    of_plan |= {name: np.tile(getattr(plans, name), accounts) for name in _OF_PLAN}
    of_plan["place"] = np.arange(accounts * count)
    return {"a": of_account, "p": of_plan}


def _chosen(columns: dict[str, Column]) -> str:
    return ", ".join(_column(each, column) for each, column in columns.items())


def _column(name: str, column: Column) -> str:
    fact = FACTS.get(name)
    if fact is None or name in ("account", *_OF_PAIR, *_OF_PLAN):
        return name
    if fact.type == "category":
        return f"nullif(CAST({name} AS VARCHAR), '') AS {name}"
    number = f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END" if column.dtype.kind == "f" else name
    return f"({number})::{ {'bool': 'BOOLEAN', 'int': 'BIGINT', 'number': 'DOUBLE'}[fact.type] } AS {name}"


def query(packs: Sequence[Pack], today: int) -> str:
    """SELECT of each plan its place in ``p`` and the first rule that blocks it, −1 for none."""
    of_account, cases, number = ["account"], [], -1
    for pack in packs:
        applies = [_one_of("jurisdiction", pack.places), *map(_condition, pack.applies_to)]
        for rule in pack.rules:
            number += 1
            if not pack.in_force(today):
                continue
            where = " AND ".join([*applies, *map(_condition, rule.applies_to)])
            for place, block in enumerate(_blocks(rule.parameters)):
                name = f"r{number}_{place}"
                of_account.append(f"coalesce({where} AND {block.when}, true) AS {name}")
                test = f"{name} AND {block.which}"
                if block.amount is not None:
                    of_account.append(f"({block.limit}) AS {name}_most")
                    test += f" AND {block.amount} > {name}_most"
                cases.append(f"WHEN {test} THEN {number}")
    return (
        f"WITH w AS MATERIALIZED (SELECT {', '.join(of_account)}, balance, apr FROM a) "
        f"SELECT place AS at, CASE {' '.join(cases)} ELSE -1 END AS blocked FROM p JOIN w USING (account)"
    )


def blocked(connection: duckdb.DuckDBPyConnection) -> I64:
    """Run it; (n·P,), account by account."""
    found = connection.execute("EXECUTE blocked").fetchnumpy()
    made = np.empty(len(found["at"]), np.int64)
    made[found["at"]] = found["blocked"]
    return made


def _blocks(of: Parameters) -> Iterator[_Block]:
    contacting, collecting = _kinds(CONTACTING), _kinds(COLLECTING)
    match of:
        case ContactCap(counts=str(counts)):
            yield _Block(f"{counts} >= {of.most}", f"{contacting} AND {_channels(of.channels)}")
        case ContactCap():
            paused = f"{of.since} BETWEEN 0 AND {(of.pause_days or 0) - 1}"
            yield _Block(paused, f"{contacting} AND {_channels(of.channels)}")
        case QuietHours():
            closed = f"contact_minute NOT BETWEEN {of.opens} AND {of.closes - 1}"
            closed = closed if of.unless is None else f"({closed}) AND NOT {of.unless}"
            yield _Block(closed, f"{contacting} AND {_channels(of.channels)}")
        case ChannelConsent():
            for each in of.channels:
                yield _Block(f"NOT consent_{each}", f"{contacting} AND {_channels((each,))}")
        case FeeCap(method="none"):
            yield _Block("true", contacting, "fees")
        case FeeCap(method="authorised"):
            yield _Block("NOT fees_authorised", contacting, "fees")
        case FeeCap():
            base = "collection_cost_actual" if of.method == "cost" else "balance"
            most = base if of.method == "cost" else _scale(of)
            known = (
                f"{base} IS NOT NULL AND collection_costs_charged IS NOT NULL"  # greatest passes over NULL
            )
            limit = f"CASE WHEN {known} THEN greatest({most} - collection_costs_charged, 0) ELSE 0 END"
            yield _Block("true", contacting, "fees", limit)
        case InterestFreeze(allowed="none"):
            yield _Block("true", contacting, "interest")
        case InterestFreeze():
            yield _Block("true", contacting, f"interest - {_contract_rate()}")
        case CostCap():
            owed = "coalesce(balance, 0)"
            caps = [] if of.most_share is None else [f"{owed} * {of.most_share} // 10000"]
            caps += [] if of.most_rate is None else [_at_rate(owed, of.most_rate)]
            yield _Block("true", collecting, f"interest + fees - least({', '.join(caps)})")
        case TermCap():
            run = f"coalesce({of.most_months} - agreement_months, {NONE})"
            yield _Block("true", collecting, "months", run if of.counts_agreement else str(of.most_months))
        case Affordability():
            limit = f"CASE WHEN bound = {NO_BOUND} THEN {NONE} ELSE bound END"
            yield _Block("true", f"{collecting} AND NOT {_kinds(of.spares)}", "monthly", limit)
        case Moratorium():
            yield _Block(f"{of.day} BETWEEN 0 AND {of.days}", collecting)
        case StopCollection():
            yield _Block("true", collecting if of.blocks == "collecting" else contacting)
        case SpecialCategoryHuman(machine_plans="block"):
            yield _Block("true", f"{contacting} AND NOT human")
        case Notice(required=True, fees_after_days=int(days)):
            yield _Block(f"NOT notice_age_d >= {days + 1}", contacting, "fees")
        case _:
            return


def _condition(of: Condition) -> str:
    if of.is_ is not None:
        return of.fact if of.is_ else f"NOT {of.fact}"
    if of.one_of:
        return _one_of(of.fact, of.one_of)
    limits = ((">=", of.at_least), ("<=", of.at_most))
    return " AND ".join(f"{of.fact} {sign} {limit}" for sign, limit in limits if limit is not None)


def _one_of(fact: str, names: Sequence[str]) -> str:
    return f"{fact} IN ({', '.join(repr(each) for each in names)})"


def _codes(column: str, names: Sequence[str], of: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(str(names.index(each)) for each in of)})" if of else "false"


def _kinds(of: Sequence[str]) -> str:
    return _codes("kind", KINDS, of)


def _channels(of: Sequence[str]) -> str:
    return _codes("channel", CHANNELS, of)


def _scale(fee: FeeCap) -> str:
    begun, parts = 0, []
    for edge, basis_points in fee.bands:
        parts.append(f"greatest(least(balance - {begun}, {edge - begun}), 0) * {basis_points}")
        begun = edge
    parts.append(f"greatest(balance - {begun}, 0) * {fee.above or 0}")
    return f"greatest(least(({' + '.join(parts)}) // 10000, {fee.highest}), {fee.lowest})"


def _at_rate(owed: str, rate: int) -> str:
    count = "greatest((total + greatest(instalment, 1) - 1) // greatest(instalment, 1), 1)"
    thirteenths = "floor(13 * months + 1e-6)::BIGINT"
    between = (
        f"CASE WHEN instalment > 0 THEN {thirteenths} - ({thirteenths} + {count} - 1) // {count} ELSE 0 END"
    )
    ticks, whole = f"(first_due_days * 312 + ({between}) * 365)", 10_000 * TICKS_A_YEAR
    return f"{owed} * {rate} // {whole} * {ticks} + {owed} * {rate} % {whole} * {ticks} // {whole}"


def _contract_rate() -> str:
    months, known = "greatest(months, dormant_months)", "(apr IS NOT NULL AND balance IS NOT NULL)"
    rate = f"CASE WHEN {known} THEN apr ELSE 0 END"
    owed = f"CASE WHEN {known} THEN balance ELSE 0 END"
    count, monthly = f"greatest({months}, 1.0)", f"(({rate}) / 12.0)"
    annuity = f"{count} * {monthly} / (1.0 - pow(1.0 + {monthly}, -{count})) - 1.0"
    level = f"NOT {_kinds((*FREE, 'FULL'))} AND ({rate}) > 0"
    share = f"CASE WHEN {level} THEN {annuity} ELSE ({rate}) * {months} / 12.0 END + ({rate}) * first_due_days / 365.0"
    return f"(floor(({owed}) * ({share})) + {ROUNDING} * {known}::INTEGER)"
