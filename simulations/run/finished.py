"""A finished simulation: its figures, and where what it left lies."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fedrepay.client.scoring import release_file
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.simulations.run.folder import Folder


@dataclass(frozen=True, eq=False)
class Run:
    """A finished simulation.

    Attributes:
        folder: everything it left, by name.
        metrics: the contents of metrics.json (docs/metrics.md).
    """

    folder: Folder
    metrics: dict[str, Any]

    def __repr__(self) -> str:
        return (
            f"<Run in {self.folder.path}, {self.metrics['members']} members, {self.metrics['rounds']} sums>"
        )

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @property
    def report(self) -> Path:
        """report.html, one file for people."""
        return self.folder.report

    @property
    def release(self) -> Path:
        """The folder of the signed release, for ``fedrepay.load_release`` and ``fedrepay.recommend``.

        Raises:
            ReleaseError: the engine writes none.
        """
        if not (self.folder.release / release_file.RELEASE).exists():
            raise ReleaseError(
                f"The run in {self.path} left no release: engine {self.metrics['engine']}.",
                "Run it with engine faithful (the default) or flower in another folder.",
            )
        return self.folder.release

    @cached_property
    def sums(self) -> tuple[I64, ...]:
        """The opened sums in the order of their rounds, as the members saw them, noise and all; grid units.

        In a run of the additive model the first is the upper triangle of the Gram matrix, row by row, and each of the
        others a gradient of every head, one after the other.

        Raises:
            ReleaseError: the engine writes no release, which holds them.
        """
        return ReleaseContent.decode((self.release / release_file.RELEASE).read_bytes()).sums
