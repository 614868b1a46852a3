"""A file of decisions as `fedrepay member recommend` writes it, its facts beside it."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from fedrepay.client.plans.batch_io.rules_diff import facts_of

PLAN: dict[str, Any] = {
    "rank": 1,
    "decision": "OFFER",
    "kind": "INSTALMENT",
    "channel": "letter",
    "instalment": 5_000,
    "monthly": 5_000,
    "total": 60_000,
    "months": 12.0,
    "fees": 0,
    "interest": 0,
    "discount": 0.0,
    "interest_waiver": 1.0,
    "fee_waiver": 1.0,
    "dormant_months": 0,
    "first_due_days": 14,
    "bound": 6_000,
    "human": False,
}


def write_decisions(
    path: Path, decisions: list[dict[str, Any]], facts: list[dict[str, Any]], drop: str | None = None
) -> Path:
    """Write both; each decision is ``PLAN`` with what differs, each account's facts stand once."""
    rows = [{**PLAN, **each} for each in decisions]
    _write(path, [{name: row[name] for name in row if name != drop} for row in rows])
    _write(facts_of(path), facts)
    facts_of(path).chmod(0o600)
    return path


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(each) for each in values}
        columns[name] = np.array(values, object if len(kinds) > 1 or str in kinds else None)
    form = "FORMAT parquet" if path.suffix == ".parquet" else "FORMAT csv, HEADER"
    with duckdb.connect() as connection:
        connection.register("columns", columns)
        connection.execute(f"COPY columns TO '{path}' ({form})")
