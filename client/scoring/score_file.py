"""Score a file of accounts with a release of one outcome: columns in, columns out."""

from collections.abc import Sequence
from pathlib import Path

from fedrepay.client.data.reading.table import Finding
from fedrepay.client.scoring.columns import write_columns
from fedrepay.client.scoring.release import Release, Scores
from fedrepay.shared.errors import ArgumentError


def score_file(release: Release, accounts: Path, mapping: Path | None, out: Path) -> Scores:
    """Score and write; see ``fedrepay member score --help``.

    Raises:
        ReleaseError: the release predicts several outcomes, or its torch module is not the one at hand.
        ArgumentError: an unknown output format, or an output that is an input.
        DataError: a file cannot be read or holds no good row.
        StorageError: the output cannot be written; nothing half-written is left.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ArgumentError(f"--out {out} is neither .csv nor .parquet.", "Choose one of the two.")
    own = {path.resolve() for path in (accounts, mapping) if path is not None}
    if own & {out.resolve(), rejects_of(out).resolve()}:
        raise ArgumentError(
            f"--out {out} would overwrite one of the files it is made from.", "Choose another."
        )
    scores = release.score(accounts, mapping=mapping)
    write_columns(scores.columns, out)
    write_rejects(scores.findings, out)
    return scores


def rejects_of(out: Path) -> Path:
    """Where rejected rows go."""
    return out.with_name(out.name + ".rejects")


def write_rejects(refused: Sequence[Finding], out: Path) -> None:
    """Write what was refused beside ``out``, or take an older file of rejects away.

    Raises:
        StorageError: the file cannot be written.
    """
    rejects = rejects_of(out)
    if not refused:
        rejects.unlink(missing_ok=True)
        return
    columns: dict[str, list[object]] = {
        "file": [each.file for each in refused],
        "row": [each.row for each in refused],
        "column": [each.column for each in refused],
        "value": [str(each.value) for each in refused],
        "bound": [each.bound for each in refused],
    }
    write_columns(columns, rejects)
