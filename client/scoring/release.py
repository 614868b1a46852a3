"""A release in use: it is checked and believed once, then scores and explains rows."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedrepay.client.data.reading.table import Finding, Findings, Table, load_mapping, read_table
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.columns import Column, Columns, Rows, as_file
from fedrepay.client.scoring.release_file import CheckedRelease
from fedrepay.client.scoring.score import MOST_REASONS, Contributions, good_value, probability, strongest
from fedrepay.client.scoring.trust import Trust
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import ArgumentError, DataError, ReleaseError
from fedrepay.shared.privacy.statement import headline

if TYPE_CHECKING:
    from collections.abc import Sequence

Place = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Scores(Columns):
    """One row an account, as ``fedrepay member score`` writes it; ``findings`` say why rows were left out."""

    findings: tuple[Finding, ...] = ()

    @property
    def rejected(self) -> int:
        """Rows left out."""
        return len({each.row for each in self.findings if each.row is not None})


@dataclass(frozen=True, eq=False, repr=False)
class Release:
    """A signed release whose signatures, roster and privacy were checked by :func:`load_release`."""

    checked: CheckedRelease
    model: str | None = None

    def __repr__(self) -> str:
        mark = "" if self.not_private is None else " NOT PRIVATE"
        signed = f"{self.checked.signatures} of {len(self.checked.release.roster.names)}"
        return f"<Release {self.number} {self.origin}{mark}, signed by {signed} members; {self.privacy}>"

    @property
    def number(self) -> int:
        """Its run's number."""
        return self.checked.release.number

    @property
    def hash(self) -> str:
        """The file's hash, hex; it goes into whatever is made with the release."""
        return self.checked.hash

    @property
    def origin(self) -> str:
        """``consortium``, or ``SIMULATED`` where no institution has signed: decide about nobody with that."""
        return self.checked.origin

    @property
    def not_private(self) -> str | None:
        """Why it claims no privacy; None where it does claim it."""
        return self.checked.not_private

    @property
    def statement(self) -> dict[str, Any]:
        """The privacy statement that the members signed: ε, δ, unit, adjacency, colluders (docs/metrics.md, privacy)."""
        return self.checked.release.statement

    @property
    def privacy(self) -> str:
        """The statement's headline in words."""
        return headline(self.statement)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes it predicts."""
        return tuple(each.name for each in self.checked.book.schema.outcomes)

    @property
    def roster_code(self) -> str:
        """The twelve words of its roster, for people to compare."""
        return self.checked.release.roster.code()

    def score(self, accounts: Rows, *, mapping: Place | None = None) -> Scores:
        """Score rows; see ``fedrepay member score --help``.

        Args:
            accounts: a CSV or Parquet file, columns by name, or a table of pyarrow or pandas. Tables in memory pass
                through a file that only you may read.
            mapping: TOML with one SELECT; without it columns match by name.

        Returns:
            ``id``, ``row`` (1-based), ``probability`` of the good outcome, ``rank`` (1 is the likeliest), four reasons,
            release number, hash and origin.

        Raises:
            ReleaseError: it predicts several outcomes, or its torch module is not the one at hand.
            ArgumentError: rows that are no table, or a torch module that cannot be imported.
            MappingError: the mapping cannot be used.
            DataError: no row can be used.
        """
        book, made = self.checked.book, self.checked.release
        self._refuse_several()
        table, findings = self._read(accounts, mapping)
        good = good_value(book)
        reasons: list[Sequence[str]]
        if made.card.get("local"):
            from fedrepay.client.scoring import torch_score  # noqa: PLC0415 - torch is an extra

            held = torch_score.model_of(made.card, book, self.model)
            likely = torch_score.probability(held, book, made.weights[0], table.codes)
            reasons = [()] * len(likely)  # a torch module has no effects by bin to name
        else:
            likely = probability(book, made.weights[0], table.codes)
            reasons = self._reasons().top(table.codes, good)
        likely = likely if good == 1 else 1.0 - likely
        columns: dict[str, Column] = {
            "id": table.customers.astype(str).astype(object),
            "row": table.source_rows.astype(np.int64),
            "probability": np.round(likely, 6),
            "rank": ranks(likely),
        }
        for place in range(MOST_REASONS):
            told = [each[place] if place < len(each) else None for each in reasons]
            columns[f"reason_{place + 1}"] = np.array(told, object)
        columns["release"] = np.full(len(likely), self.number, np.int64)
        columns["release_hash"] = np.full(len(likely), self.hash, object)
        columns["origin"] = np.full(len(likely), self.origin, object)
        return Scores(columns, tuple(findings.refused))

    def explain(self, accounts: Rows, *, mapping: Place | None = None) -> Columns:
        """Everything that each row's score is made of, not the four strongest reasons alone.

        Args:
            accounts: as for :meth:`score`.
            mapping: as for :meth:`score`.

        Returns:
            a row for each account and feature, an account's strongest first: ``id``, ``row``, ``feature``, ``value`` (the bin),
            ``contribution`` (log-odds towards the good outcome, against the consortium's average account), ``origin``.

        Raises:
            ReleaseError: it predicts several outcomes, or is a torch module, which has no effects to name.
            ArgumentError, MappingError, DataError: as for :meth:`score`.
        """
        self._refuse_several()
        if self.checked.release.card.get("local"):
            raise ReleaseError(
                "This release is a torch module, which has no effects by feature to name.",
                "Use a release of the additive model.",
            )
        table, _ = self._read(accounts, mapping)
        reasons = self._reasons()
        parts = reasons.parts(table.codes, good_value(self.checked.book))
        order = strongest(parts)
        of = np.repeat(np.arange(len(parts)), parts.shape[1])
        blocks, codes = order.ravel(), np.take_along_axis(table.codes, order, axis=1).ravel()
        features = [reasons.feature(each) for each in range(parts.shape[1])]
        labels = [each.labels for each in self.checked.book.blocks]
        return Columns(
            {
                "id": table.customers.astype(str).astype(object)[of],
                "row": table.source_rows.astype(np.int64)[of],
                "feature": np.array(features, object)[blocks],
                "value": np.array([labels[b][c] for b, c in zip(blocks, codes, strict=True)], object),
                "contribution": np.take_along_axis(parts, order, axis=1).ravel(),
                "origin": np.full(len(of), self.origin, object),
            }
        )

    def _refuse_several(self) -> None:
        """Only one outcome makes a score."""
        if len(self.outcomes) > 1:
            raise ReleaseError(
                f"This release predicts {len(self.outcomes)} outcomes: {', '.join(self.outcomes)}.",
                "`fedrepay member recommend` weighs them up; `fedrepay member score` ranks accounts by one outcome.",
            )

    def _read(self, accounts: Rows, mapping: Place | None) -> tuple[Table, Findings]:
        mapped = None if mapping is None else load_mapping(Path(mapping))
        with as_file(accounts) as path:
            table, findings = read_table(self.checked.book, path, mapped, need_outcome=False)
            if not len(table.codes):
                findings.raise_if_refused()
                raise DataError(f"{path} holds no rows.", "Give a file with at least one account.")
        return table, findings

    def _reasons(self) -> Contributions:
        made = self.checked.release
        return Contributions.of(self.checked.book, made.weights[0], made.sums[0], made.card["learner"])


def load_release(
    path: Place | None = None,
    *,
    member: Place | None = None,
    roster_code: str | None = None,
    unprotected: bool = False,
    model: str | None = None,
) -> Release:
    """Read a release and check whose it is, as ``fedrepay member score`` does.

    Anybody can make a roster and sign with it, so a consortium's release needs ``member`` or ``roster_code``.

    Args:
        path: the folder ``release``, or the file in it; without it, the release in use at ``member``.
        member: this member's own state folder: the release must be of the roster it takes part in.
        roster_code: the twelve words that people compared: the release must be of that roster.
        unprotected: accept a release that is not private; for tests only.
        model: of a release in local mode: your own torch module, as ``module:Class``.

    Raises:
        ReleaseError: missing, damaged, not signed by a quorum, of a roster that nothing here knows, or not private; or
            none is in use at the member.
        ArgumentError: neither a path nor a member, the words are not a roster code, or a torch module is named that the release does not need.
        StorageError: the member's store cannot be read.
    """
    trust = Trust(None if member is None else Path(member), roster_code)
    checked = release_file.load(
        None if path is None else Path(path), unprotected=unprotected, torch=True, trust=trust
    )
    if model is not None and not checked.release.card.get("local"):
        raise ArgumentError(
            f"--model {model}: this release is an additive model, not a torch module.", "Leave it out."
        )
    return Release(checked, model)


def ranks(likely: F64) -> I64:
    """Rank 1 for the likeliest good outcome; ties by row order."""
    rank = np.empty(len(likely), np.int64)
    rank[np.argsort(-likely, kind="stable")] = np.arange(1, len(likely) + 1)
    return rank
