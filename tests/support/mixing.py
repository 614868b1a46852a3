"""A member of two tables and a public one, mappings of them, and one more customer at the top of each file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedrepay.client.data.mappings.mapping import Mapping, load_mapping
from fedrepay.client.data.reading.table import Table, read_table
from fedrepay.client.learning.contribution import from_table, gram
from fedrepay.shared.schema.codebook import CodeBook, build
from support.schemas import column, schema

BOOK: CodeBook = build(schema(column("a", outside="clip", missing="bin")).encode())
KEYS = 'keys = {customer = ["who"], account = ["acc"], offer = ["off"]}\n'
MORE = "one-more"
_DATA = "who,acc,off,late,a,branch,day"
_PAID = "who,acc,a,branch,day"
_RATES = "branch,rate"


def files(folder: Path, *, more: bool, customers: int = 300, data: Sequence[str] = ()) -> None:
    """Write ``data``, ``paid`` and ``rates``; ``more`` brings one customer with rows in the first two."""
    own = [f"{MORE},acc-m,off-m,0,5000,north,99"] if more else []
    rows = [
        f"c{i},acc{i},off{i},{i % 2},{i % 60},{('north', 'south')[i % 2]},{i % 50}" for i in range(customers)
    ]
    (folder / "data.csv").write_text("\n".join([_DATA, *own, *rows, *data]) + "\n")
    own = [f"{MORE},acc-m,77,{each},45" for each in ("north", "south") if more]
    rows = [f"c{i},acc{i},{i % 90},none,-1" for i in range(customers)]
    (folder / "paid.csv").write_text("\n".join([_PAID, *own, *rows]) + "\n")
    (folder / "rates.csv").write_text(f"{_RATES}\nnorth,3\nsouth,40\n")


def mapping(folder: Path, sql: str, head: str = KEYS) -> Mapping:
    """The mapping of these files."""
    tables = '[tables]\ndata = "data.csv"\npaid = "paid.csv"\nrates = "rates.csv"\n'
    (folder / "m.toml").write_text(f"{head}sql = '''{sql}'''\n{tables}")
    return load_mapping(folder / "m.toml")


def unchecked(folder: Path, how: Mapping, *, more: bool, customers: int = 300) -> Table:
    """The rows as they come without any check."""
    files(folder, more=more, customers=customers)
    return read_table(BOOK, None, how, need_outcome=True)[0]


def others(table: Table) -> list[tuple[object, ...]]:
    """Rows of everybody but the one more, in no order."""
    assert table.outcomes is not None
    rows = zip(table.customers, table.codes.tolist(), table.outcomes.tolist(), strict=True)
    return sorted((who, *codes, *labels) for who, codes, labels in rows if who != MORE)


def moved(before: Table, after: Table) -> float:
    """How far the Gram sum moves, in units of Δ."""
    sums = [gram(from_table(BOOK, each)).astype(float) for each in (before, after)]
    return float(np.linalg.norm(sums[1] - sums[0]) / BOOK.delta_gram)
