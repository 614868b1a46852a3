"""What stands at an output already: this very batch, something else, or nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.plans.batch_io.batch_files import (
    check_regular,
    facts_of,
    file_hash,
    files_of,
    record_of,
)
from fedrepay.client.plans.batch_io.register import Noted, register_of
from fedrepay.client.scoring.score_file import rejects_of
from fedrepay.shared.errors import ArgumentError, StorageError


@dataclass(frozen=True)
class Record:
    """What stands beside a batch: which it is, and the hashes of its files (None: there is none), by path."""

    batch: Noted
    hashes: dict[Path, str | None]

    def is_whole(self, path: Path) -> bool:
        """Whether one of its files is as it was written."""
        there = file_hash(path) if path.exists() else None
        return there == self.hashes[path]


def recorded(out: Path, *, replace: bool) -> Record | None:
    """The record beside ``out``, if there is one; a damaged one is none where it may be written over.

    Raises:
        StorageError: it is damaged.
    """
    path = record_of(out)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        batch = Noted.read({**found, "out": str(out)})
        left = {out: found["out"], facts_of(out): found["facts"], rejects_of(out): found["rejects"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if replace:
            return None
        raise StorageError(
            f"{path} is damaged: {error!s:.200}.",
            "Remove it and the files beside it, or write over them with --replace (replace=True).",
        ) from error
    return Record(batch, left)


def is_done(
    record: Record | None, out: Path, batch_id: str, inputs: Mapping[str, str], *, replace: bool
) -> bool:
    """Whether this batch stands in ``out`` already; where it does not, nothing else may either.

    Args:
        record: of ``out``.
        out: where it is to go.
        batch_id: the batch.
        inputs: of the batch.
        replace: whether other files may be written over.

    Raises:
        ArgumentError: a batch of this id was made from other inputs, or files of something else stand there.
    """
    there = [path for path in files_of(out) if path.exists()]
    for path in there:
        if not path.is_file():
            raise ArgumentError(f"{path} stands there and is no file.", "Choose another --out.")
    if record is not None and record.batch.batch_id == batch_id:
        if out.exists() and record.is_whole(out):
            record.batch.refuse_other(inputs)
        if record.batch.inputs == inputs:
            whole = [path for path in record.hashes if record.is_whole(path)]
            if len(whole) == len(record.hashes):
                return True
            there = [path for path in there if path not in (*whole, record_of(out))]
    if there and not replace:
        raise ArgumentError(
            f"{there[0]} stands there and is not of batch {batch_id} as these inputs make it.",
            "Choose another --out, or write over it with --replace (replace=True).",
        )
    return False


def others(out: Path, batch_id: str) -> tuple[str, ...]:
    """Other batches that are written over with the files of ``out``, by their records."""
    found = (recorded(path, replace=True) for path in files_of(out))
    ids = (each.batch.batch_id for each in found if each is not None)
    return tuple(dict.fromkeys(each for each in ids if each != batch_id))


def _bases(out: Path) -> Iterator[Path]:
    """Outputs beside which a batch would leave a file of this name."""
    for suffix in (".csv", ".parquet"):
        stem, found, _ = out.name.partition(suffix + ".")
        base = out.with_name(stem + suffix)
        if found and out in files_of(base)[1:]:
            yield base


def check_paths(out: Path, inputs: Sequence[Path]) -> None:
    """An output has a known format and is none of the inputs, nor what stands beside another batch.

    Raises:
        ArgumentError: it is not so.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ArgumentError(f"--out {out} is neither .csv nor .parquet.", "Choose one of the two.")
    check_regular(out)
    base = next((path for path in _bases(out) if path.exists() or record_of(path).exists()), None)
    if base is not None:
        raise ArgumentError(
            f"--out {out} is the name of a file beside the batch in {base}, which only its owner may read.",
            "Choose another --out.",
        )
    written = {*files_of(out), register_of(out.parent)}
    if {path.resolve() for path in written} & {path.resolve() for path in inputs}:
        raise ArgumentError(
            f"--out {out} would overwrite one of the files it is made from.", "Choose another."
        )
