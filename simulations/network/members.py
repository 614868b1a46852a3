"""A member on this machine: its folder, its rows as a file of its own, `member serve` and `member node`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.node import setup
from fedrepay.client.node.door import SOCKET
from fedrepay.client.scoring.columns import write_columns
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import DataError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.network.operator import FEDREPAY, Operator
from fedrepay.simulations.network.processes import Processes, Running, free_ports

ROWS, MAPPING, LIMITS, SCHEMA = "rows.parquet", "rows.mapping.toml", "limits.toml", "schema.toml"


@dataclass(frozen=True)
class MemberSite:
    """One member's folder and processes.

    Args:
        name: of the member.
        folder: its own.
        processes: where its processes belong.
    """

    name: str
    folder: Path
    processes: Processes

    @property
    def socket(self) -> Path:
        """Where its door is."""
        return self.folder / SOCKET

    @property
    def public_key(self) -> bytes:
        """Of its node, for the operator."""
        return (self.folder / "node.pub").read_bytes()

    def prepare(self, book: CodeBook, rows: Table, limits: Limits) -> None:
        """Keys, rows, schema and limits, as files of the member's own; what is there stays."""
        if not (self.folder / setup.ENTRY).exists():
            setup.create(self.name, self.folder)
        if not (self.folder / ROWS).exists():
            write_rows(book, rows, self.folder)
        write_atomically(self.folder / SCHEMA, book.schema_bytes)
        codebook.save(book, self.folder / SCHEMA)
        write_atomically(self.folder / LIMITS, _toml(limits).encode())

    def serve(self, model: str | None = None) -> Running:
        """Start ``member serve``, with a torch module in local mode."""
        files = {"schema": SCHEMA, "data": ROWS, "mapping": MAPPING, "limits": LIMITS}
        options = [part for option, file in files.items() for part in (f"--{option}", self.folder / file)]
        named = [] if model is None else ["--model", model]
        command = [*FEDREPAY, "member", "serve", "--folder", self.folder, *options, *named]
        return self.processes.start(f"serve-{self.name}", command)

    def relay(self, operator: Operator) -> Running:
        """Start ``member node`` towards the operator's front."""
        where = ("--superlink", operator.address, "--certificates", operator.authority)
        command = [
            *FEDREPAY,
            "member",
            "node",
            "--folder",
            self.folder,
            *where,
            "--port",
            str(free_ports(1)[0]),
        ]
        return self.processes.start(f"node-{self.name}", command)


def write_rows(book: CodeBook, rows: Table, folder: Path) -> None:
    """Rows in the schema's own columns, and a mapping that says which audit columns they lack.

    Raises:
        DataError: the table was read without outcomes.
        StorageError: they cannot be written.
    """
    schema = book.schema
    if rows.outcomes is None:
        raise DataError("These rows carry no outcome.", "Read the table with its outcomes.")
    columns: dict[str, list[object]] = {
        each.name: _cells(rows.values[each.name])
        for each in schema.columns
        if each.is_input and each.derived is None
    }
    for place, outcome in enumerate(schema.outcomes):
        columns[outcome.name] = [None if value < 0 else int(value) for value in rows.outcomes[:, place]]
    if schema.customer is not None:
        columns[schema.customer.name] = list(rows.customers)
    if schema.propensity is not None and rows.propensity is not None:
        columns[schema.propensity.name] = rows.propensity.tolist()
    write_columns(columns, folder / ROWS)
    absent = ", ".join(f'"{each.name}"' for each in schema.of_role("audit"))
    names = ", ".join(f'"{name}"' for name in columns)
    text = f'absent = [{absent}]\nsql = """SELECT _row, {names} FROM data"""\n'
    write_atomically(folder / MAPPING, text.encode())


def _cells(values: object) -> list[object]:
    """Cells of a column; a missing number is null, not NaN."""
    cells = np.asarray(values)
    if cells.dtype == object:
        return list(cells)
    return [None if np.isnan(each) else each for each in cells.tolist()]


def _toml(limits: Limits) -> str:
    lines = []
    for name, value in limits.model_dump().items():
        if value is not None:
            lines.append(f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}")
    return "\n".join(lines) + "\n"
