"""Decisions in memory: the road of ``fedrepay member recommend``, with columns back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from fedrepay.client.data.reading.files import literal_path, quoted
from fedrepay.client.plans.batch_io.output import COLUMNS
from fedrepay.client.plans.batch_io.recommend import Job, Progress, Recommended, load, recommend_file
from fedrepay.client.plans.batch_io.register import check_id
from fedrepay.client.scoring.columns import Column, Columns, Rows, as_file, fetched
from fedrepay.client.scoring.release import Place
from fedrepay.client.scoring.trust import Trust
from fedrepay.shared.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Decisions(Columns):
    """One row for each account and rank, with the columns that ``fedrepay member recommend`` writes (docs/plans.md).

    Attributes:
        batch: how many accounts got which decision, what the batch's caps used, which facts were not known.
    """

    batch: Recommended


def recommend(
    release: Place,
    accounts: Rows,
    catalogue: Place,
    *,
    batch_id: str,
    mapping: Place | None = None,
    settings: Place | None = None,
    own: Place | None = None,
    out: Place | None = None,
    today: date | None = None,
    member: Place | None = None,
    roster_code: str | None = None,
    unprotected: bool = False,
    replace: bool = False,
    processes: int = 1,
    progress: Progress | None = None,
) -> Decisions:
    """Recommend plans for accounts; see ``fedrepay member recommend --help`` and docs/plans.md.

    Args:
        release: the folder ``release``, or the file in it.
        accounts: a CSV or Parquet file, columns by name, or a table of pyarrow or pandas. Tables in memory pass through
            a file that only you may read.
        catalogue: TOML: the plans you may offer.
        batch_id: name of the batch; exploration draws by it.
        mapping: TOML with one SELECT; without it columns match by name.
        settings: TOML: prices, weights, affordability, rule packs. Without it no rule pack is in force.
        own: mapping of your past offers: fits your own part of the model here; it never leaves.
        out: where to write too (.csv or .parquet), with rejects, facts and record beside it. Without it nothing is kept.
        today: which rules are in force; default today, in UTC.
        member: this member's own state folder: the release must be of the roster it takes part in.
        roster_code: the twelve words that people compared: the release must be of that roster.
        unprotected: accept a release that is not private; for tests only.
        replace: whether other files at ``out`` may be written over; an id used for other inputs is refused all the same.
        processes: that decide; the decisions are the same however many. More than 1 start this program's main module again:
            what it does on its own must stand under ``if __name__ == "__main__"``.
        progress: told of accounts done, and all.

    Raises:
        ReleaseError: the release must not be used, or is of another kind of schema.
        CatalogueError, RuleError, MappingError: catalogue, settings, a pack or a mapping is wrong.
        ArgumentError: rows that are no table, an argument of another type, an output that is an input or stands there, a
            batch id used for other inputs.
        DataError: no account can be used.
        StorageError: the output cannot be written; nothing half-written is left.
    """
    if today is not None and (isinstance(today, datetime) or not isinstance(today, date)):
        raise ArgumentError(f"today is {today!r:.60}, no date.", "Give a datetime.date.")
    if roster_code is not None and not isinstance(roster_code, str):
        raise ArgumentError("roster_code is no text.", "Give the twelve words.")
    check_id(batch_id)
    with as_file(accounts) as file, _file(_optional("out", out)) as written:
        job = Job(
            _path("release", release),
            file,
            _path("catalogue", catalogue),
            _optional("mapping", mapping),
            _optional("settings", settings),
            today,
            unprotected,
            _optional("own", own),
            Trust(_optional("member", member), roster_code),
        )
        done = recommend_file(
            job,
            load(job),
            written,
            batch_id,
            progress,
            replace=replace,
            kept=out is not None,
            processes=processes,
        )
        return Decisions(_columns(written), done)


def _optional(name: str, given: Place | None) -> Path | None:
    return None if given is None else _path(name, given)


def _path(name: str, given: Place) -> Path:
    try:
        return Path(given)
    except TypeError as error:
        raise ArgumentError(f"{name} is {given!r:.60}, no path.", "Give text or a pathlib.Path.") from error


@contextmanager
def _file(out: Path | None) -> Iterator[Path]:
    """Where decisions are written: as asked, or in a folder of the owner's that goes afterwards."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="fedrepay-") as folder:
        yield Path(folder) / "decisions.parquet"


def _columns(written: Path) -> dict[str, Column]:
    reader = (
        "read_parquet(?, hive_partitioning = false)"
        if written.suffix == ".parquet"
        else "read_csv(?, header = true, all_varchar = true, allow_quoted_nulls = false, hive_partitioning = false)"
    )
    given = [literal_path(written)]
    with duckdb.connect(config={"threads": 1}) as connection:
        names = [str(each[0]) for each in connection.execute(f"DESCRIBE FROM {reader}", given).fetchall()]
        asked = (
            f"CAST({quoted(each)} AS {COLUMNS.get(each, 'VARCHAR')}) AS {quoted(each)}" for each in names
        )
        return fetched(connection, f"SELECT {', '.join(asked)} FROM {reader}", given)
