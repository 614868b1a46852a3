"""Which batches were written: a batch id stands for the same inputs for good, wherever its files went.

One line a batch, in ``batches.jsonl`` of the folder it is written to and of the member's own folder where that is known,
that only its owner may read (a hash of accounts can be guessed). **The line stands before any of the batch's files has its
name**, so a run that is killed leaves its id free, or held for the same inputs, and never two batches of one id. The lock is held
from the first look to the last file, so that two at a time never mix.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import held, write_atomically

LONGEST_ID = 200
_REMEDY = "Free the disk or check rights, or choose a path in another folder."


def register_of(folder: Path) -> Path:
    """A folder's list of batches."""
    return folder / "batches.jsonl"


def lock_of(folder: Path) -> Path:
    """The lock of one who writes batches there."""
    return folder / "batches.lock"


def check_id(batch_id: object) -> str:
    """A batch id is text that fits in a line; returns it without blanks around it, as ids are compared.

    Raises:
        ArgumentError: it is none.
    """
    text = batch_id if isinstance(batch_id, str) else ""
    if not text.strip() or len(text) > LONGEST_ID or not text.isprintable():
        raise ArgumentError(
            f"The batch id {batch_id!r:.60} is not from 1 to {LONGEST_ID} printable characters.",
            "Name the batch, say by its date.",
        )
    return text.strip()


@dataclass(frozen=True)
class Noted:
    """A batch that is or will be written: its id, its inputs (names and hashes, and the day) and where it went."""

    batch_id: str
    inputs: dict[str, str]
    out: str

    @classmethod
    def read(cls, found: object) -> "Noted":
        """From JSON.

        Raises:
            ValueError: it is something else.
        """
        content = found if isinstance(found, dict) else {}
        inputs, batch_id, out = (content.get(name) for name in ("inputs", "batch_id", "out"))
        known = inputs if isinstance(inputs, dict) else {}
        texts = (batch_id, out, *known.values())
        if not known or not all(isinstance(each, str) for each in texts):
            raise ValueError("it names no batch")
        date.fromisoformat(known.get("today", ""))
        return cls(str(batch_id).strip(), known, str(out))

    def refuse_other(self, inputs: Mapping[str, str]) -> None:
        """Refuse this id for other inputs.

        Raises:
            ArgumentError: naming what differs.
        """
        names = sorted({*self.inputs, *inputs})
        other = [name for name in names if self.inputs.get(name) != inputs.get(name)]
        if other:
            raise ArgumentError(
                f"Batch {self.batch_id} was written to {self.out} from other inputs: {', '.join(other)} differ.",
                "Give the new batch an id of its own.",
            )


@dataclass(frozen=True)
class Register:
    """The batches of some folders, while nobody else writes there."""

    folders: tuple[Path, ...]

    def of(self, batch_id: str) -> list[Noted]:
        """The batches of this id: none, or what each folder knows of it.

        Raises:
            StorageError: a register is damaged.
        """
        every = (each for folder in self.folders for each in _read(register_of(folder)))
        return [each for each in every if each.batch_id == batch_id]

    def add(self, batch_id: str, inputs: Mapping[str, str], out: Path) -> None:
        """Note a batch that goes to ``out``, once, before any of its files has its name.

        Raises:
            StorageError: a register cannot be written, or is damaged.
        """
        made = Noted(batch_id, dict(inputs), str(out.absolute()))
        for path in map(register_of, self.folders):
            known = _read(path)
            if made not in known:
                lines = [json.dumps(vars(each), sort_keys=True) for each in (*known, made)]
                write_atomically(path, ("\n".join(lines) + "\n").encode(), _REMEDY, mode=0o600)


@contextmanager
def opened(folders: Sequence[Path]) -> Iterator[Register]:
    """The register of some folders, theirs alone until the end.

    Raises:
        ArgumentError: another process writes a batch in one of them.
        StorageError: a folder is not there or cannot be written.
    """
    places = tuple(dict.fromkeys(each.absolute() for each in folders))
    with ExitStack() as kept:
        for folder in places:
            taken = ArgumentError(
                f"Another `recommend` is writing a batch in {folder}.",
                "Wait until it is done: batches of one folder, and of one member, are written one after the other.",
            )
            kept.enter_context(held(lock_of(folder), taken, _REMEDY, mode=0o666))
        yield Register(places)


def _read(path: Path) -> list[Noted]:
    try:
        if not path.exists():
            return []
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}.", "Check its rights.") from error
    found = []
    lines = lines or [""]  # written with a line at least: an empty one has lost what it knew
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Noted.read(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise StorageError(
                f"{path}, line {number}, is damaged: {error!s:.100}.",
                "Put the file back from a copy; without that line its batch id could be used again.",
            ) from error
    return found
