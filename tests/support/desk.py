"""A collections analyst's desk: a release, a file of accounts, a catalogue of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from fedrepay.client.plans.batch_io.recommend import Job
from fedrepay.client.scoring.release_file import RELEASE
from support.command import Result, fedrepay
from support.market_accounts import Columns
from support.market_release import compared, roster_words

ACCOUNTS = 200
CATALOGUE = """
name = "mine"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [3, 6, 12, 24, 36]
interest_waiver = [0.0, 0.5, 1.0]
first_due = [7, 21]
[[plans]]
kind = "INSTALMENT"
share = [0.5, 1.0]
interest_waiver = [0.0, 0.5, 1.0]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.2]
interest_waiver = [0.0, 0.5, 1.0]
[[plans]]
kind = "REVIEW"
n = [12]
interest_waiver = [1.0]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
[[plans]]
kind = "REFER"
"""
Row = dict[str, Any]


@dataclass
class Desk:
    folder: Path

    @property
    def accounts(self) -> Path:
        return self.folder / "accounts.csv"

    def job(self, **changed: Any) -> Job:
        given: dict[str, Any] = {
            "release": self.folder / "release",
            "accounts": self.accounts,
            "catalogue": self.folder / "mine.toml",
            **changed,
        }
        given.setdefault("trust", compared(given["release"]))
        return Job(**given)

    def recommend(
        self, out: str | None = "out.csv", *options: object, batch: str = "b1", **changed: Any
    ) -> Result:
        given: dict[str, object] = {
            "release": self.folder / "release",
            "accounts": self.accounts,
            "catalogue": self.folder / "mine.toml",
            "batch-id": batch,
            "out": None if out is None else self.folder / out,
            "today": "2026-01-05",
            **changed,
        }
        if (given["release"] / RELEASE).exists():  # type: ignore[operator]
            given.setdefault("roster-code", roster_words(given["release"]))  # type: ignore[arg-type]
        named = [each for name, value in given.items() if value is not None for each in (f"--{name}", value)]
        return fedrepay("member", "recommend", *named, *options)

    def rows(self, out: str = "out.csv") -> list[Row]:
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT * FROM '{self.folder / out}'")
            names = [each[0] for each in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def left(self) -> list[str]:
        own = {"release", "accounts.csv", "mine.toml", "batches.lock"}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in own)


def write_csv(path: Path, columns: Columns) -> None:
    def cell(value: object) -> str:
        return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)

    lines = [",".join(columns)]
    lines += [",".join(map(cell, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
