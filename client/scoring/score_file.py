"""Score a file of accounts with a release of one outcome: columns in, columns out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from fedrepay.client.data.reading.table import Finding, load_mapping, read_table
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.score import MOST_REASONS, Reasons, good_value, probability
from fedrepay.client.scoring.trust import Trust
from fedrepay.shared.errors import ArgumentError, DataError, ReleaseError, StorageError
from fedrepay.shared.privacy.statement import headline


@dataclass(frozen=True)
class Scored:
    """What was written."""

    rows: int
    rejected: int
    findings: int
    number: int
    signatures: int
    members: int
    roster_code: str
    not_private: str | None
    origin: str
    privacy: str


def score_file(
    release: Path,
    accounts: Path,
    mapping: Path | None,
    out: Path,
    *,
    unprotected: bool,
    model: str | None = None,
    trust: Trust | None = None,
) -> Scored:
    """Score and write; see ``fedrepay member score --help``.

    Raises:
        ReleaseError: the release must not be used, or predicts several outcomes.
        ArgumentError: an unknown output format, an output that is an input, or a torch module named in vain.
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
    checked = release_file.load(release, unprotected=unprotected, torch=True, trust=trust)
    book, made = checked.book, checked.release
    local = made.card.get("local")
    if model is not None and not local:
        raise ArgumentError(
            f"--model {model}: this release is an additive model, not a torch module.", "Leave it out."
        )
    if book.heads > 1:
        raise ReleaseError(
            f"This release predicts {book.heads} outcomes: {', '.join(made.card['heads'])}.",
            "`fedrepay member recommend` weighs them up; `fedrepay member score` ranks accounts by one outcome.",
        )
    mapped = None if mapping is None else load_mapping(mapping)
    table, findings = read_table(book, accounts, mapped, need_outcome=False)
    refused = findings.refused
    if not len(table.codes):
        findings.raise_if_refused()
        raise DataError(f"{accounts} holds no rows.", "Give a file with at least one account.")
    good = good_value(book)
    weights = made.weights[0]
    reasons: Sequence[Sequence[str]]
    if local:
        from fedrepay.client.scoring import torch_score  # noqa: PLC0415 - torch is an extra

        held = torch_score.model_of(made.card, book, model)
        likely = torch_score.probability(held, book, weights, table.codes)
        reasons = [()] * len(likely)  # a torch module has no effects by bin to name
    else:
        likely = probability(book, weights, table.codes)
        reasons = Reasons.of(book, weights, made.sums[0], made.card["learner"]).top(table.codes, good)
    likely = likely if good == 1 else 1.0 - likely
    columns: dict[str, list[object]] = {"id": [str(each) for each in table.customers]}
    columns["row"] = [int(each) for each in table.source_rows]
    columns["probability"] = [round(float(each), 6) for each in likely]
    columns["rank"] = [int(each) for each in ranks(likely)]
    for position in range(MOST_REASONS):
        columns[f"reason_{position + 1}"] = [
            each[position] if position < len(each) else None for each in reasons
        ]
    columns["release"] = [made.number] * len(likely)
    columns["release_hash"] = [checked.hash] * len(likely)
    columns["origin"] = [checked.origin] * len(likely)
    write_columns(columns, out)
    write_rejects(refused, out)
    return Scored(
        rows=len(likely),
        rejected=len({each.row for each in refused if each.row is not None}),
        findings=len(refused),
        number=made.number,
        signatures=checked.signatures,
        members=len(made.roster.names),
        roster_code=made.roster.code(),
        not_private=checked.not_private,
        origin=checked.origin,
        privacy=headline(made.statement),
    )


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


def ranks(likely: np.ndarray) -> np.ndarray:
    """Rank 1 for the likeliest good outcome; ties by row order."""
    rank = np.empty(len(likely), np.int64)
    rank[np.argsort(-likely, kind="stable")] = np.arange(1, len(likely) + 1)
    return rank


def write_columns(columns: dict[str, list[object]], out: Path) -> None:
    """Write columns as CSV or Parquet (by suffix; anything else is CSV), all or nothing.

    Raises:
        StorageError: the file cannot be written.
    """
    partial = out.with_name(out.name + ".partial")
    form = "FORMAT parquet" if out.suffix == ".parquet" else "FORMAT csv, HEADER"
    try:
        with duckdb.connect() as connection:
            arrays: dict[str, np.ndarray[Any, Any]] = {
                name: np.asarray(values, dtype=_dtype(values)) for name, values in columns.items()
            }
            connection.register("columns", arrays)
            connection.execute(f"COPY columns TO '{str(partial).replace(chr(39), chr(39) * 2)}' ({form})")
        partial.replace(out)
    except (duckdb.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{out} cannot be written: {str(error).splitlines()[0]}", "Free the disk or choose another path."
        ) from error


def _dtype(values: list[object]) -> type:
    for kind in (int, float):
        if all(type(each) is kind for each in values):
            return kind
    return object
