"""A disk that is full at one file."""

import errno
from pathlib import Path

import pytest


def fill_disk(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """The last step of writing the file called ``at`` fails, after its bytes were written beside it."""
    replace = Path.replace

    def fails(self: Path, target: Path) -> Path:
        if Path(target).name == at:
            assert self.exists()
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails)
