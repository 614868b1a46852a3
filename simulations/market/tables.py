"""A lender's records as files of its own: separate tables in its own names, units, codes and formats.

Three styles, by the lender's number: CSV in pounds, Parquet in pence, semicolon CSV with decimal commas and codes.
Beside the tables stands the lender's mapping, so that reading them goes the whole way of a real member.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from fedrepay.client.data.reading.files import quoted
from fedrepay.shared.arrays import I64, Objects
from fedrepay.shared.errors import StorageError
from fedrepay.shared.plans.kinds import FREQUENCIES
from fedrepay.shared.rules.facts import DRIVERS
from fedrepay.simulations.market.people import MEDIAN_INCOME, NewAccounts
from fedrepay.simulations.market.records import AS_OF, Records
from fedrepay.simulations.market.styles import STYLES, TYPES, Style
from fedrepay.simulations.market.truth import SICK

Raw = dict[str, npt.NDArray[np.generic]]
MAPPING = "mapping.toml"
KEYS = ("customer", "account", "offer")
"""Columns of ours that are keys."""

_FACTS = {
    "jurisdiction": "word",
    "debt_type": "category",
    "vulnerability_driver": "category",
    "health_data": "word",
    "adviser_engaged": "word",
    "dispute": "word",
    "moratorium_day": "whole",
    "mental_health_crisis_day": "whole",
    "collection_costs_charged": "money",
    "collection_cost_actual": "money",
}


def write(records: Records, lender_name: str, folder: Path) -> Path:
    """Write a lender's records, all or nothing, into a folder that does not exist or is empty.

    Args:
        records: what the lender's systems hold.
        lender_name: ``m01``, …; its number chooses the style.
        folder: of the tables and the mapping.

    Returns:
        the mapping, with ``[tables]`` and ``[outcomes]``.

    Raises:
        StorageError: the files cannot be written; nothing half-written is left.
    """
    style, offers, payments = _style(lender_name), records.offers, records.payments
    first = np.unique(records.customer, return_index=True)[1]
    known = records.columns()
    raw: dict[str, Raw] = {
        "accounts": {
            "account": _ids(f"{lender_name}-", records.customer[first]),
            "customer": records.customer[first],
            "product": known["product"][first],
        },
        "assessments": {
            "offer": _ids("P", offers.offer),
            **_assessed(records.accounts, offers.offered_on),
        },
        "offers": {
            "offer": _ids("P", offers.offer),
            "account": _ids(f"{lender_name}-", records.customer),
            "offered_on": offers.offered_on,
            "agreed_on": offers.agreed_on,
            "first_due_on": offers.first_due_on,
            "instalment": offers.instalment,
            "count": offers.count,
            "frequency": np.array(FREQUENCIES, object)[offers.frequency],
            "kind": known["kind"],
            "discount": known["discount"],
            "interest_waiver": known["interest_waiver"],
            "censored_on": offers.censored_on,
        },
        "payments": {
            "offer": _ids("P", payments.offer),
            "payment": payments.payment,
            "paid_on": payments.paid_on,
            "amount": payments.amount,
            "reverses": payments.reverses,
        },
    }
    files = {name: f"{style.tables[name]}{style.suffix}" for name in TYPES}
    given = {files[name]: (raw[name], TYPES[name]) for name in TYPES}
    _write(style, given, _mapping(style, files), folder)
    return folder / MAPPING


def write_accounts(accounts: NewAccounts, lender_name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write new accounts, with facts for the rules of the UK packs, for ``fedrepay member recommend``.

    Args:
        accounts: as the lender knows them.
        lender_name: ``m01``, …; its number chooses the style.
        folder: of the table and its ``mapping.toml``; must not exist or be empty.
        seed: of the facts.

    Returns:
        the table: ``--accounts``.

    Raises:
        StorageError: the files cannot be written; nothing half-written is left.
    """
    style, n = _style(lender_name), len(accounts)
    types = {**TYPES["accounts"], **TYPES["assessments"], **_FACTS}
    types = {name: kind for name, kind in types.items() if name not in ("account", "offer")}
    raw: Raw = {"customer": _ids("N", np.arange(n)), "product": accounts.columns["product"]}
    raw |= _assessed(accounts, np.full(n, AS_OF)) | _facts(accounts, np.random.default_rng([seed, 13, n]))
    read = _taken(style, {"customer": "id", "product": "category"}, "data") + _account_columns(style, "data")
    read += _taken(style, _FACTS, "data")
    file = f"new{style.suffix}"
    _write(style, {file: (raw, types)}, f'sql = """\n{_select(read)}\nFROM data"""\n', folder)
    return folder / file


def _style(lender_name: str) -> Style:
    return STYLES[(int(lender_name[1:]) - 1) % len(STYLES)]


def _ids(prefix: str, numbers: I64) -> Objects:
    return np.array([f"{prefix}{each:06d}" for each in numbers.tolist()], object)


def _assessed(accounts: NewAccounts, day: I64) -> Raw:
    """Account columns as systems hold them: spending rather than what is left, dates and counts rather than ratios."""
    known = accounts.columns
    raw: Raw = {name: known[name] for name in TYPES["assessments"] if name in known}
    kept = known["kept_ratio_12m"].astype(float) * known["promises_12m"].astype(float)
    raw["promises_kept"] = np.nan_to_num(np.rint(kept))
    raw["essentials"] = known["income"].astype(float) - known["surplus"].astype(float)
    raw["assessed_on"] = day
    raw["payday"] = day + known["days_to_payday"].astype(np.int64)
    return raw


def _facts(accounts: NewAccounts, rng: np.random.Generator) -> Raw:
    """Facts that the UK packs ask for: mostly harmless, a few accounts that a human or nobody may deal with."""
    n, known = len(accounts), accounts.columns
    of = {"card": "card", "energy": "utility", "telecom": "utility"}
    driver = np.where(rng.random(n) < 0.05, rng.integers(1, len(DRIVERS), n), 0)
    driver[(driver > 0) & (accounts.debtors.state == SICK)] = DRIVERS.index("health")
    charged = known["fees"].astype(np.int64)
    cost = np.where(rng.random(n) < 0.97, charged + 500, charged // 2)
    yes = np.array(["no", "yes"], object)
    rare = {
        name: rng.random(n) < share
        for name, share in (("adviser", 0.02), ("dispute", 0.02), ("pause", 0.01), ("crisis", 0.002))
    }
    return {
        "jurisdiction": np.full(n, "UK", object),
        "debt_type": np.array([of.get(each, "consumer") for each in known["product"].tolist()], object),
        "vulnerability_driver": np.array(DRIVERS, object)[driver],
        "health_data": yes[(driver == DRIVERS.index("health")).astype(int)],
        "adviser_engaged": yes[rare["adviser"].astype(int)],
        "dispute": yes[rare["dispute"].astype(int)],
        "moratorium_day": np.where(rare["pause"], rng.integers(1, 91, n), -1),
        "mental_health_crisis_day": np.where(rare["crisis"], rng.integers(0, 61, n), -1),
        "collection_costs_charged": charged,
        "collection_cost_actual": cost,
    }


def _mapping(style: Style, files: Mapping[str, str]) -> str:
    """The lender's mapping as TOML."""
    names = {name: quoted(own) for name, own in style.tables.items()}
    plan = _taken(
        style, {name: TYPES["offers"][name] for name in ("kind", "discount", "interest_waiver")}, "o"
    )
    offered, due = (style.read(name, "date", "o") for name in ("offered_on", "first_due_on"))
    plan += [
        f"{style.read('count', 'whole', 'o')} AS months",
        f"{style.read('instalment', 'money', 'o')} AS monthly",
        f"date_diff('day', {offered}, {due}) AS first_due",
    ]
    columns = ["o._row AS _row", f"o.{style.name('offer')} AS offer_id"]
    columns += (
        _taken(style, {"customer": "id", "product": "category"}, "a") + _account_columns(style, "s") + plan
    )
    joined = (
        f"FROM {names['offers']} o\n"
        f"JOIN {names['accounts']} a ON a.{style.name('account')} = o.{style.name('account')}\n"
        f"JOIN {names['assessments']} s ON s.{style.name('offer')} = o.{style.name('offer')}\nORDER BY o._row"
    )
    given = ["offered_on", "agreed_on", "first_due_on", "instalment", "count", "frequency", "censored_on"]
    offers = _taken(style, {name: TYPES["offers"][name] for name in given}, "o")
    paid = _taken(style, {name: TYPES["payments"][name] for name in ("paid_on", "amount", "reverses")}, "p")
    offers = ["o._row AS _row", f"o.{style.name('offer')} AS offer_id", *offers]
    paid = [
        "p._row AS _row",
        f"p.{style.name('offer')} AS offer_id",
        f"p.{style.name('payment')} AS payment_id",
        *paid,
    ]
    tables = "\n".join(f'{style.tables[name]} = "{file}"' for name, file in files.items())
    kinds = {kind: json.dumps(style.columns.get(kind, kind), ensure_ascii=False) for kind in KEYS}
    keys = ", ".join(f"{kind} = [{name}]" for kind, name in kinds.items())
    return (
        f'currency = "GBP"\nkeys = {{{keys}}}\nsql = """\n{_select(columns)}\n{joined}"""\n\n[tables]\n{tables}\n\n[outcomes]\n'
        f"as_of = {np.datetime64(AS_OF, 'D')}\n"
        f'offers = """\n{_select(offers)}\nFROM {names["offers"]} o"""\n'
        f'payments = """\n{_select(paid)}\nFROM {names["payments"]} p"""\n'
    )


def _account_columns(style: Style, table: str) -> list[str]:
    """Canonical account columns from an assessment."""
    types = TYPES["assessments"]
    derived = ("offer", "assessed_on", "payday", "essentials", "promises_kept")
    plain = {name: kind for name, kind in types.items() if name not in derived}

    def of(name: str) -> str:
        return style.read(name, types[name], table)

    return [
        *_taken(style, plain, table),
        f"{of('income')} - {of('essentials')} AS surplus",
        f"CAST({of('promises_kept')} AS DOUBLE) / NULLIF(CAST({of('promises_12m')} AS DOUBLE), 0) AS kept_ratio_12m",
        f"date_diff('day', {of('assessed_on')}, {of('payday')}) AS days_to_payday",
        f"{MEDIAN_INCOME} AS median_income",
    ]


def _taken(style: Style, types: Mapping[str, str], table: str) -> list[str]:
    return [f"{style.read(name, kind, table)} AS {quoted(name)}" for name, kind in types.items()]


def _select(columns: list[str]) -> str:
    return "SELECT " + ",\n  ".join(columns)


def _write(
    style: Style, tables: Mapping[str, tuple[Raw, Mapping[str, str]]], mapping: str, folder: Path
) -> None:
    """Write everything beside the folder, then give it its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with duckdb.connect() as connection:
            for file, (raw, types) in tables.items():
                _copy(connection, style, raw, types, partial / file)
        (partial / MAPPING).write_text(mapping, encoding="utf-8")
        partial.chmod(0o755)
        partial.replace(folder)
    except (duckdb.Error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(
            f"{folder} cannot be written: {str(error).splitlines()[0]}",
            "Free the disk, or choose a folder that does not exist or is empty.",
        ) from error


def _copy(
    connection: duckdb.DuckDBPyConnection, style: Style, raw: Raw, types: Mapping[str, str], path: Path
) -> None:
    """One table; our −1 (none) and NaN become empty cells."""
    casts = {
        "date": "CASE WHEN {0} >= 0 THEN DATE '1970-01-01' + CAST({0} AS INTEGER) END",
        "money": "CASE WHEN NOT isnan(CAST({0} AS DOUBLE)) THEN CAST({0} AS BIGINT) END",
        "whole": "CASE WHEN NOT isnan(CAST({0} AS DOUBLE)) THEN CAST({0} AS BIGINT) END",
        "share": "CASE WHEN NOT isnan({0}) THEN {0} END",
        "link": "NULLIF({0}, -1)",
    }
    connection.register("given", raw)
    ours = ", ".join(
        f"{casts.get(kind, '{0}').format(quoted(name))} AS {quoted(name)}" for name, kind in types.items()
    )
    own = ", ".join(f"{style.written(name, kind)} AS {style.name(name)}" for name, kind in types.items())
    target = str(path).replace("'", "''")
    connection.execute(f"COPY (SELECT {own} FROM (SELECT {ours} FROM given)) TO '{target}' ({style.copy})")
    connection.unregister("given")
