"""The output folder of a simulation: whose it is, and what lies where in it."""

import json
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrepay.shared import files
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.private import private_folder

_REMEDY = "Free the disk or check rights, then run the same command again; or choose another path."


@dataclass(frozen=True)
class Folder:
    """The output folder of one run."""

    path: Path

    @property
    def members(self) -> Path:
        """Members' own stores (0700)."""
        return self.path / "members"

    @property
    def market(self) -> Path:
        """The simulated lenders' own tables (0700)."""
        return self.path / "market"

    @property
    def accounts(self) -> Path:
        """New accounts of each simulated lender, to recommend plans for (0700)."""
        return self.path / "accounts"

    @property
    def marker(self) -> Path:
        """run.json: which run this is."""
        return self.path / "run.json"

    @property
    def coordinator(self) -> Path:
        """The coordinator's key and database."""
        return self.path / "coordinator"

    @property
    def transcript(self) -> Path:
        """What the wire saw."""
        return self.path / "transcript"

    @property
    def release(self) -> Path:
        """The opened, signed release."""
        return self.path / "release"

    @property
    def metrics(self) -> Path:
        """metrics.json."""
        return self.path / "metrics.json"

    @property
    def choices(self) -> Path:
        """What each way of choosing plans chose for each new account of a market, and what came of it."""
        return self.path / "choices.parquet"

    @property
    def report(self) -> Path:
        """report.html."""
        return self.path / "report.html"

    def holds(self, facts: dict[str, Any]) -> bool:
        """Whether the folder holds an earlier start of this very run; nothing is written.

        Args:
            facts: of ``arguments.facts_of``.

        Returns:
            False where the folder is still to be made.

        Raises:
            ArgumentError: the folder belongs to other arguments, other data, or to somebody else.
            StorageError: its marker cannot be read.
        """
        try:
            if not self.marker.exists():
                if self.path.exists() and any(self.path.iterdir()):
                    raise ArgumentError(
                        f"{self.path} is not empty and not a run of ours.", "Choose another --out."
                    )
                return False
            before = json.loads(self.marker.read_text())
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be used: {error.strerror}.", "Choose another --out."
            ) from error
        except ValueError as error:
            raise StorageError(f"{self.marker} is damaged.", "Choose another --out.") from error
        if not isinstance(before, dict):
            raise StorageError(f"{self.marker} is damaged.", "Choose another --out.")
        changed = sorted(key for key in facts | before if facts.get(key) != before.get(key))
        if changed:
            raise ArgumentError(
                f"{self.path} holds a run with other arguments or files ({', '.join(changed)} differ).",
                "Give the same arguments to resume it, or another --out.",
            )
        return True

    def make(self, facts: dict[str, Any]) -> None:
        """Make the folder for a new run; the marker comes first, so that whatever follows can be resumed.

        Raises:
            StorageError: it cannot be written; an empty folder is taken away again.
        """
        try:
            self.mark(facts)
            make_private(self.members)
        except StorageError:
            with suppress(OSError):  # never made, or not empty
                self.path.rmdir()
            raise

    def mark(self, facts: dict[str, Any]) -> None:
        """Say whose folder this is, and make it where it is not there; raises StorageError."""
        files.write_atomically(self.marker, json.dumps(facts, indent=1).encode())

    def held(self) -> AbstractContextManager[None]:
        """Keep other processes out of the folder (``files.held``).

        Raises:
            ArgumentError: another process is at work in it.
            StorageError: it cannot be written.
        """
        taken = ArgumentError(
            f"Another process is at work in {self.path}.", "Wait for it, or choose another --out."
        )
        return files.held(self.path / ".lock", taken, _REMEDY)


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can open, or close it to others; raises StorageError."""
    try:
        private_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be written: {error.strerror}.", _REMEDY)
