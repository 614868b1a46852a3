"""The release: one safetensors file, signed by more than half of the roster, checked before use.

It carries weights, code book, schema, opened sums, roster, model card and privacy statement, so that
a member can recompute it and a reader can check it without asking anybody.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedrepay.shared.errors import ProtocolError, ReleaseError
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import ReleaseVote, Signed

WEIGHT_TOLERANCE = 1e-9  # relative; eigh differs in the last bits between CPUs
_HEADER = 8  # bytes of safetensors' length field


@dataclass(frozen=True)
class Release:
    """What a run gives to its members."""

    number: int
    weights: npt.NDArray[np.float64]  # (H, d)
    sums: tuple[npt.NDArray[np.int64], ...]  # the opened sums, grid units
    schema: bytes
    codebook: bytes
    roster: Roster
    card: dict[str, Any]
    statement: dict[str, Any]

    def encode(self) -> bytes:
        """The bytes that members sign."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "weights": self.weights,
            "schema": np.frombuffer(self.schema, np.uint8),
            "codebook": np.frombuffer(self.codebook, np.uint8),
            "roster": np.frombuffer(self.roster.encode(), np.uint8),
        }
        tensors |= {f"sum_{i:04d}": values for i, values in enumerate(self.sums)}
        facts = {"number": self.number, "card": self.card, "statement": self.statement}
        return save(tensors, {"fedrepay": json.dumps(facts, sort_keys=True)})

    @classmethod
    def decode(cls, data: bytes) -> "Release":
        """Parse release bytes.

        Raises:
            ReleaseError: not a release.
        """
        try:
            tensors = load(data)
            length = int.from_bytes(data[:_HEADER], "little")
            facts = json.loads(json.loads(data[_HEADER : _HEADER + length])["__metadata__"]["fedrepay"])
            names = sorted(name for name in tensors if name.startswith("sum_"))
            weights = tensors["weights"].astype(np.float64, casting="no")
            if weights.ndim != 2:
                raise ValueError("one row of weights a head")
            return cls(
                int(facts["number"]),
                weights,
                tuple(tensors[name].astype(np.int64, casting="no") for name in names),
                tensors["schema"].tobytes(),
                tensors["codebook"].tobytes(),
                Roster.decode(tensors["roster"].tobytes()),
                facts["card"],
                facts["statement"],
            )
        except (SafetensorError, ValueError, KeyError, TypeError, ProtocolError) as error:
            raise ReleaseError(
                "The file is not a fedrepay release.", "Name the folder or file that `simulate` left."
            ) from error

    def disagrees(self, other: "Release") -> str | None:
        """The first thing in which two releases differ, or None; weights to 1e-9 relative."""
        for name in ("number", "schema", "codebook", "roster", "card", "statement"):
            if getattr(self, name) != getattr(other, name):
                return name
        if len(self.sums) != len(other.sums) or not all(
            np.array_equal(a, b) for a, b in zip(self.sums, other.sums, strict=True)
        ):
            return "sums"
        if self.weights.shape != other.weights.shape:
            return "weights"
        scale = max(1.0, float(np.abs(self.weights).max(initial=0.0)))
        far = np.abs(self.weights - other.weights).max(initial=0.0) > WEIGHT_TOLERANCE * scale
        return "weights" if far or not np.isfinite(other.weights).all() else None


def check_votes(release: bytes, run: int, roster: Roster, votes: Sequence[Signed]) -> int:
    """Count valid votes over these bytes.

    Returns:
        the number of distinct members who signed.

    Raises:
        ReleaseError: not more than half of the roster.
    """
    wanted, seen = keys.digest(release), set()
    for signed in votes:
        try:
            name = ReleaseVote.decode(signed.body).name
            vote = signed.verified(roster.entry(name).signing, ReleaseVote)
        except ProtocolError:
            continue  # a vote that does not verify is no vote; the count decides
        if vote.release == wanted and vote.run == run:
            seen.add(name)
    if len(seen) <= len(roster.names) // 2:
        raise ReleaseError(
            f"{len(seen)} of {len(roster.names)} members' signatures over this release verify; "
            "more than half must.",
            "Do not use it. Pull the release again from a source you trust.",
        )
    return len(seen)
