"""What is wrong with a member's data: every finding at once, with file, row, column, value and bound."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fedrepay.shared.arrays import I64, Objects
from fedrepay.shared.errors import DataError
from fedrepay.shared.rules.facts import shown

FIRST = 20
"""Kinds of findings an error's text shows; `member check-data` shows the rest by column."""
LONGEST_VALUE = 80
Kind = Literal["refuse", "clip", "warn"]
"""``refuse``: the row is not used, or where no rows are named the file; ``clip``: used with the nearest legal value."""


@dataclass(frozen=True)
class Finding:
    """One cell, one row or (``row`` is None) one whole file or column."""

    file: str
    row: int | None
    column: str
    value: object
    bound: str
    kind: Kind


@dataclass(frozen=True)
class Group:
    """Findings of one column and one reason; ``rows`` (m,) are 1-based, or None for the whole column.

    What comes out of it shows no value of a restricted fact.
    """

    file: str
    column: str
    bound: str
    kind: Kind
    rows: I64 | None = None
    values: Objects | None = None

    @property
    def fatal(self) -> bool:
        """Whether nothing of the file can be used; a refused row only drops itself."""
        return self.kind == "refuse" and self.rows is None

    @property
    def effect(self) -> str:
        """What follows, in a word: refused (the file), dropped, clipped, told."""
        words = {"clip": "clipped", "warn": "told"}
        return words.get(self.kind, "refused" if self.fatal else "dropped")

    @property
    def count(self) -> int:
        """Rows concerned; 1 for a whole column."""
        return 1 if self.rows is None else len(self.rows)

    def __iter__(self) -> Iterator[Finding]:
        if self.rows is None or self.values is None:
            yield Finding(self.file, None, self.column, None, self.bound, self.kind)
            return
        for row, value in zip(self.rows.tolist(), self.values.tolist(), strict=True):
            cell = value[:LONGEST_VALUE] if isinstance(value, str) else value
            missing = isinstance(cell, float) and cell != cell and self.bound == "not missing"  # noqa: PLR0124
            told = shown(self.column.lower(), None if missing else cell)
            yield Finding(self.file, row, self.column, told, self.bound, self.kind)


@dataclass(frozen=True)
class Findings:
    """All findings of one reading; ``absent`` are the columns that the mapping declares absent.

    ``used`` are the rows of ``rows_read`` that are in the table, −1 where there is none.
    ``not_matured`` offers are left out without a finding: no label of theirs is known yet, or they were censored.
    """

    groups: tuple[Group, ...] = ()
    absent: tuple[str, ...] = ()
    rows_read: int = 0
    not_matured: int = 0
    used: int = -1

    @cached_property
    def refused(self) -> list[Finding]:
        """Findings whose rows (or whole file) are not used."""
        return self._of("refuse")

    @cached_property
    def clipped(self) -> list[Finding]:
        """Findings whose rows are used with the nearest legal value."""
        return self._of("clip")

    def _of(self, kind: str) -> list[Finding]:
        return [each for group in self.groups if group.kind == kind for each in group]

    @property
    def dropped(self) -> int:
        """Rows of the mapped table that a finding of their own leaves out."""
        return self.rows_read - self.used - self.not_matured if self.used >= 0 else 0

    def raise_if_fatal(self) -> None:
        """Stop where the file as a whole cannot be used; rows that drop themselves stop nothing.

        Raises:
            DataError: the first findings as a table, and how many there are of each reason.
        """
        if any(group.fatal for group in self.groups):
            refused = [group for group in self.groups if group.kind == "refuse"]
            self._raise(sorted(refused, key=lambda group: not group.fatal))

    def raise_if_refused(self) -> None:
        """Stop on any refusal, also of a single row.

        Raises:
            DataError: the first findings as a table, and how many there are of each reason.
        """
        self._raise([group for group in self.groups if group.kind == "refuse"])

    @staticmethod
    def _raise(groups: list[Group]) -> None:
        if not groups:
            return
        total = sum(group.count for group in groups)
        lines = [f"{groups[0].file} is refused: {total} finding{'s' * (total > 1)}."]
        for group in groups[:FIRST]:
            first = next(iter(group))
            where = "the whole column" if first.row is None else f"{group.count} rows, first row {first.row}"
            value = "" if first.row is None else f": {first.value!r}"
            lines.append(f"  {group.column}: {where}{value}; must be {group.bound}")
        if len(groups) > FIRST:
            lines.append(f"  … and {len(groups) - FIRST} more kinds.")
        raise DataError(
            "\n".join(lines) + "\n",
            "Mend the rows, or map the columns with --mapping; `fedrepay member check-data` shows everything.",
        )
