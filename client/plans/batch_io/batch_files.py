"""What a batch leaves on disk: decisions, facts apart, and a record that makes the batch repeatable.

Chunks go to a folder of parts; the files get their names at the very end, so that a run that is killed leaves
nothing half-written. What stands there already is only written over when asked for. DuckDB writes with one thread: the same decisions are the same bytes.
"""

import json
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fedrepay.client.data.reading.files import literal_path, quoted
from fedrepay.client.data.reading.findings import Finding
from fedrepay.client.plans.batch_io.output import BOUND, COLUMNS, OF_ASKING, OF_PAYING, OF_PLAN, Table
from fedrepay.client.plans.batch_io.register import Noted
from fedrepay.client.scoring.score_file import rejects_of, write_rejects
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


def files_of(out: Path) -> tuple[Path, ...]:
    """All that a batch leaves: the rows, facts, rejects and record."""
    return out, facts_of(out), rejects_of(out), record_of(out)


def check_regular(path: Path) -> None:
    """Refuse what can be opened but is no file: a pipe or a device would be waited for.

    Raises:
        ArgumentError: it is neither a file nor a folder, or a path that no system has.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # with NUL in it
        raise ArgumentError(f"{path!s:.200} is no path: {error}.", "Check the path.") from error
    except OSError:
        return  # whoever reads it says so, in the words for that file
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ArgumentError(f"{path} is no file but a pipe or a device.", "Give a file; it is read twice.")


def file_hash(path: Path) -> str:
    """sha256 of a file, hex.

    Raises:
        ArgumentError: it cannot be read, or is no file.
    """
    check_regular(path)
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
    folder: Path
    written: int = 0

    @cached_property
    def connection(self) -> "DuckDBPyConnection":
        """What writes; each process has its own."""
        import duckdb  # noqa: PLC0415 - heavy

        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "python_enable_replacements": False,
            "pandas_analyze_sample": 0,  # all our objects are texts: nothing to find out, a fifth of the time
        }
        return duckdb.connect(config=settings)

    def another(self) -> "Parts":
        """The same for another process, which adds chunks and nothing else."""
        return Parts(self.out, self.folder)

    def add(self, rows: Table, facts: Table, number: int | None = None) -> None:
        """Write one chunk, the next one or that of a number; raises StorageError if the disk is full."""
        paths = self._paths(self.written if number is None else number)
        given = ", ".join(
            f"CAST({_cell(name, rows)} AS {kind}) AS {quoted(name)}" for name, kind in COLUMNS.items()
        )
        self._copy(f"SELECT {given} FROM given", rows, paths[0])
        given = ", ".join(
            f"CAST({quoted(name)} AS {_TYPES[each.dtype.kind if each.dtype.kind in _TYPES else 'i']}) AS {quoted(name)}"
            for name, each in facts.items()
        )
        self._copy(f"SELECT {given} FROM given", facts, paths[1])
        self.written += 1

    def finish(
        self,
        batch: Noted,
        refused: Sequence[Finding],
        prices: str | None,
        same: Mapping[str, str],
    ) -> None:
        """Put the chunks together and give the files their names: the record first, the rows last of all.

        So a run that is killed in between leaves a record by which the same batch goes on, and no rows that could be
        taken for a whole batch.

        Args:
            batch: which it is.
            refused: rows that are not among the chunks.
            prices: of the batch's caps (JSON).
            same: columns that are the same in all rows, at the end; the batch id stands in front.

        Raises:
            StorageError: the files cannot be written.
        """
        front, back = (
            [f"{_literal(value)} AS {quoted(name)}" for name, value in each.items()]
            for each in ({"batch_id": batch.batch_id}, same)
        )
        rows, facts = ([str(self._paths(each)[side]) for each in range(self.written)] for side in (0, 1))
        chosen = ", ".join([*front, "*", *back])
        form = "FORMAT parquet" if self.out.suffix == ".parquet" else "FORMAT csv, HEADER"
        facts_file, rejects = facts_of(self.out), rejects_of(self.out)
        made = {
            facts_file: self._join("SELECT *", facts, facts_file, "FORMAT parquet"),
            rejects: self.folder / rejects.name,
            self.out: self._join(f"SELECT {chosen}", rows, self.out, form),
        }
        write_rejects(refused, self.folder / self.out.name)
        left = {path: file_hash(each) if each.exists() else None for path, each in made.items()}
        content = {
            "batch_id": batch.batch_id,
            "inputs": batch.inputs,
            "caps_prices": None if prices is None else json.loads(prices),
            "out": left[self.out],
            "facts": left[facts_file],
            "rejects": left[rejects],
        }
        text = json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"
        write_atomically(record_of(self.out), text, _REMEDY, mode=PRIVATE)
        try:
            for path, each in made.items():
                if each.exists():
                    each.replace(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritten(self.out, error) from error

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"{number:06d}.rows.parquet", self.folder / f"{number:06d}.facts.parquet"

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
    folder = _chunks_of(out)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise _unwritten(out, error) from error
    made = Parts(out, folder)
    try:
        yield made
    finally:
        made.connection.close()
        clear(out)


def clear(out: Path) -> None:
    """Take away what a run leaves half-done beside ``out``: its chunks hold facts that only the owner may read."""
    shutil.rmtree(_chunks_of(out), ignore_errors=True)
    for each in (out, facts_of(out), record_of(out)):
        each.with_name(each.name + ".partial").unlink(missing_ok=True)


def _chunks_of(out: Path) -> Path:
    return out.with_name(out.name + ".parts")


def _cell(name: str, rows: Table) -> str:
    if name not in rows:
        return "NULL"
    for condition, names in (
        ("_plan", OF_PLAN),
        ("_pays", OF_PAYING),
        ("_bound", (BOUND,)),
        ("_ask", OF_ASKING),
    ):
        if name in names:
            return f"CASE WHEN {condition} THEN {quoted(name)} END"
    return quoted(name)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _unwritten(out: Path, error: Exception) -> StorageError:
    return StorageError(f"{out} cannot be written: {str(error).splitlines()[0]}", _REMEDY)
