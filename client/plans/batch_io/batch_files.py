"""What a batch leaves on disk: decisions, facts apart, and a record that makes the batch repeatable.

Chunks go to a folder of parts; the files get their names at the very end, so that a run that is killed leaves
nothing half-written. DuckDB writes with one thread: the same decisions are the same bytes.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fedrepay.client.data.reading.files import literal_path, quoted
from fedrepay.client.plans.batch_io.output import BOUND, COLUMNS, OF_PAYING, OF_PLAN, Table
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import write_atomically

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PRIVATE = 0o600
_REMEDY = "Free the disk or choose another path."
_TYPES = {"f": "DOUBLE", "i": "BIGINT", "O": "VARCHAR"}


def facts_of(out: Path) -> Path:
    """Where the facts that rules used go; nobody but the owner may read it."""
    return out.with_name(out.name + ".facts.parquet")


def record_of(out: Path) -> Path:
    """Where batch id and hashes of the inputs go."""
    return out.with_name(out.name + ".batch.json")


def recorded(out: Path, batch_id: str) -> dict[str, str] | None:
    """The inputs of the last batch written to ``out``, if it had this id.

    Raises:
        StorageError: the record is damaged.
    """
    path = record_of(out)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        inputs = {str(name): str(each) for name, each in found["inputs"].items()}
        left = {name: str(found[name]) for name in ("out", "facts")}
        return {**inputs, **left} if found["batch_id"] == batch_id else None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(
            f"{path} is damaged: {error}.", "Remove it; the batch is then decided again."
        ) from error


def is_done(out: Path, batch_id: str, inputs: Mapping[str, str]) -> bool:
    """Whether this batch stands in ``out`` already.

    Raises:
        ArgumentError: a batch of this id was made from other inputs.
        StorageError: the record is damaged.
    """
    before = recorded(out, batch_id)
    if before is None:
        return False
    other = sorted(name for name in inputs if before.get(name) != inputs[name])
    if other:
        raise ArgumentError(
            f"Batch {batch_id} was written to {out} from other inputs: {', '.join(other)} differ.",
            "Give the new batch an id of its own.",
        )
    left = {"out": out, "facts": facts_of(out)}
    return all(path.exists() and file_hash(path) == before[name] for name, path in left.items())


def file_hash(path: Path) -> str:
    """sha256 of a file, hex.

    Raises:
        ArgumentError: it cannot be read.
    """
    digest = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    return digest.hexdigest()


@dataclass
class Parts:
    """Chunks of one batch on their way to ``out``."""

    out: Path
    connection: "DuckDBPyConnection"
    folder: Path
    written: list[tuple[Path, Path]] = field(default_factory=list)

    def add(self, rows: Table, facts: Table) -> None:
        """Write one chunk; raises StorageError if the disk is full."""
        number = f"{len(self.written):06d}"
        paths = self.folder / f"{number}.rows.parquet", self.folder / f"{number}.facts.parquet"
        given = ", ".join(
            f"CAST({_cell(name, rows)} AS {kind}) AS {quoted(name)}" for name, kind in COLUMNS.items()
        )
        self._copy(f"SELECT {given} FROM given", rows, paths[0])
        given = ", ".join(
            f"CAST({quoted(name)} AS {_TYPES[each.dtype.kind if each.dtype.kind in _TYPES else 'i']}) AS {quoted(name)}"
            for name, each in facts.items()
        )
        self._copy(f"SELECT {given} FROM given", facts, paths[1])
        self.written.append(paths)

    def finish(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Put the chunks together and give the files their names.

        Args:
            before: columns that are the same in all rows, in front.
            after: the same, at the end.
        """
        front, back = (
            [f"{_literal(value)} AS {quoted(name)}" for name, value in each.items()]
            for each in (before, after)
        )
        rows, facts = ([str(each[side]) for each in self.written] for side in (0, 1))
        chosen = ", ".join([*front, "*", *back])
        form = "FORMAT parquet" if self.out.suffix == ".parquet" else "FORMAT csv, HEADER"
        partial = [self._join(f"SELECT {chosen}", rows, self.out, form)]
        partial.append(self._join("SELECT *", facts, facts_of(self.out), "FORMAT parquet"))
        try:
            for path, name in zip(partial, (self.out, facts_of(self.out)), strict=True):
                path.replace(name)
        except OSError as error:
            raise _unwritten(self.out, error) from error

    def record(self, batch_id: str, inputs: Mapping[str, str], prices: str | None) -> None:
        """Note batch id, inputs and the prices of the batch's limits (JSON), last of all; raises StorageError."""
        path = record_of(self.out)
        left = {"out": file_hash(self.out), "facts": file_hash(facts_of(self.out))}
        known = None if prices is None else json.loads(prices)
        content = {"batch_id": batch_id, "inputs": dict(inputs), "limits_prices": known, **left}
        write_atomically(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n", _REMEDY)

    def _copy(self, sql: str, table: Table, path: Path) -> None:
        import duckdb  # noqa: PLC0415 - heavy

        self.connection.register("given", table)
        try:
            self.connection.execute(f"COPY ({sql}) TO {_literal(str(path))} (FORMAT parquet)")
        except (duckdb.Error, OSError) as error:
            raise _unwritten(self.out, error) from error
        finally:
            self.connection.unregister("given")

    def _join(self, sql: str, parts: list[str], out: Path, form: str) -> Path:
        import duckdb  # noqa: PLC0415 - heavy

        partial = out.with_name(out.name + ".partial")
        try:
            partial.touch(PRIVATE if out != self.out else 0o666)
            listed = ", ".join(_literal(literal_path(Path(each))) for each in parts)
            self.connection.execute(
                f"COPY ({sql} FROM read_parquet([{listed}], hive_partitioning = false)) TO {_literal(str(partial))} ({form}, USE_TMP_FILE false)"
            )
        except (duckdb.Error, OSError) as error:
            raise _unwritten(out, error) from error
        return partial


@contextmanager
def parts(out: Path) -> Iterator[Parts]:
    """A folder for chunks beside ``out``, gone afterwards; what a killed run left there goes first.

    Raises:
        StorageError: it cannot be made.
    """
    import duckdb  # noqa: PLC0415 - heavy

    folder = out.with_name(out.name + ".parts")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise _unwritten(out, error) from error
    connection = duckdb.connect(config={"threads": 1, "python_enable_replacements": False})
    try:
        yield Parts(out, connection, folder)
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)
        for each in (out, facts_of(out), record_of(out)):
            each.with_name(each.name + ".partial").unlink(missing_ok=True)


def _cell(name: str, rows: Table) -> str:
    if name not in rows:
        return "NULL"
    for condition, names in (("_plan", OF_PLAN), ("_pays", OF_PAYING), ("_bound", (BOUND,))):
        if name in names:
            return f"CASE WHEN {condition} THEN {quoted(name)} END"
    return quoted(name)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _unwritten(out: Path, error: Exception) -> StorageError:
    return StorageError(f"{out} cannot be written: {str(error).splitlines()[0]}", _REMEDY)
