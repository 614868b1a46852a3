"""The release: one safetensors file, signed by a quorum of the roster, checked before use.

It carries weights, code book, schema, opened sums, roster, model card and privacy statement, so that
a member can recompute it and a reader can check it without asking anybody.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import ProtocolError, ReleaseError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster, quorum
from fedrepay.shared.trust.wire import ReleaseVote

WEIGHT_TOLERANCE = 1e-9  # relative; eigh differs in the last bits between CPUs
MAX_HEADER = 4 << 20  # bytes of safetensors' header: names, shapes, card and statement
MAX_FACTS = 1 << 16
"""Values in a header: of JSON, two bytes a value can take eighty in memory, and nobody has voted for it yet."""
_HEADER = 8  # bytes of safetensors' length field
_MODULE = "module."  # before the names of a torch module's parameters
_TENSORS = ("weights", "schema", "codebook", "roster")  # and the sums


@dataclass(frozen=True)
class ReleaseContent:
    """What a run gives to its members."""

    number: int
    weights: F64  # (H, d); of a torch module (1, P)
    sums: tuple[I64, ...]  # the opened sums, grid units
    schema: bytes
    codebook: bytes
    roster: Roster
    card: dict[str, Any]
    statement: dict[str, Any]

    def encode(self) -> bytes:
        """The bytes that members sign."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "schema": np.frombuffer(self.schema, np.uint8),
            "codebook": np.frombuffer(self.codebook, np.uint8),
            "roster": np.frombuffer(self.roster.encode(), np.uint8),
        }
        tensors |= self._modules() or {"weights": self.weights}
        tensors |= {f"sum_{i:04d}": values for i, values in enumerate(self.sums)}
        facts = {"number": self.number, "card": self.card, "statement": self.statement}
        return save(tensors, {"fedrepay": json.dumps(facts, sort_keys=True)})

    def _modules(self) -> dict[str, npt.NDArray[Any]]:
        """A torch module's weights by parameter, to be read by any tool; empty for the additive model."""
        parts, start = {}, 0
        for name, shape in _layout(self.card):
            size = math.prod(shape)
            parts[f"{_MODULE}{name}"] = self.weights[0, start : start + size].reshape(shape)
            start += size
        return parts

    @classmethod
    def decode(cls, data: bytes) -> "ReleaseContent":
        """Parse release bytes.

        Raises:
            ReleaseError: not a release.
        """
        try:
            header = _header(data)
            tensors = load(data)
            facts = _facts(json.loads(header)["__metadata__"])
            layout = _layout(facts["card"])
            others = {*_TENSORS, *(f"{_MODULE}{name}" for name, _ in layout)} - (
                {"weights"} if layout else set()
            )
            names = [f"sum_{i:04d}" for i in range(len(tensors) - len(others))]
            if set(tensors) != {*others, *names}:
                raise ValueError("a tensor more or fewer")
            weights = _weights(tensors, layout)
            return cls(
                facts["number"],
                weights,
                tuple(tensors[name].astype(np.int64, casting="no") for name in names),
                _bytes(tensors["schema"]),
                _bytes(tensors["codebook"]),
                Roster.decode(_bytes(tensors["roster"])),
                facts["card"],
                facts["statement"],
            )
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, ProtocolError) as error:
            raise ReleaseError(
                "The file is not a fedrepay release.", "Name the folder or file that `simulate` left."
            ) from error

    @property
    def colluders(self) -> int:
        """c, as the statement has it: it decides how many must sign.

        Raises:
            ReleaseError: the statement has none.
        """
        said = self.statement.get("colluders")
        if not isinstance(said, int) or isinstance(said, bool) or said < 1:
            raise ReleaseError("The release does not say how many colluders it bears.", "Do not use it.")
        return said

    def disagrees(self, other: "ReleaseContent") -> str | None:
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


def _header(data: bytes) -> bytes:
    """The header, if reading it stays cheap; brackets and commas bound how many values it holds."""
    length = int.from_bytes(data[:_HEADER], "little")
    header = data[_HEADER : _HEADER + min(length, MAX_HEADER)]
    if length != len(header) or _values(header) > MAX_FACTS:
        raise ValueError("too much of a header")
    return header


def _values(text: bytes) -> int:
    return sum(text.count(mark) for mark in b",[{")


def _facts(metadata: dict[str, str]) -> dict[str, Any]:
    """The plain facts: nothing else, of these types, in one spelling; else members would sign what none computed."""
    if _values(metadata["fedrepay"].encode()) > MAX_FACTS:  # an escaped bracket is none in the header
        raise ValueError("too many facts")
    facts = json.loads(metadata["fedrepay"])
    types = {name: type(value) for name, value in facts.items()} if isinstance(facts, dict) else {}
    if len(metadata) != 1 or types != {"number": int, "card": dict, "statement": dict}:
        raise ValueError("other facts")
    if json.dumps(facts, sort_keys=True) != metadata["fedrepay"]:
        raise ValueError("not canonical")
    return dict(facts)


def _bytes(tensor: npt.NDArray[Any]) -> bytes:
    if tensor.dtype != np.uint8 or tensor.ndim != 1:
        raise ValueError("not bytes")
    return tensor.tobytes()


def _layout(card: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Names and shapes of a torch module's parameters, as the card has them; none for the additive model."""
    local = card.get("local")
    if local is None:
        return []
    layout = [(str(name), [int(size) for size in shape]) for name, shape in local["layout"]]
    if not layout or {type(local["model"]), type(local["model_hash"])} != {str}:
        raise ValueError("no torch module")
    return layout


def _weights(tensors: Mapping[str, npt.NDArray[Any]], layout: Sequence[tuple[str, list[int]]]) -> F64:
    """The weights of either kind of model."""
    if not layout:
        weights = tensors["weights"].astype(np.float64, casting="no")
        if weights.ndim != 2:
            raise ValueError("one row of weights a head")
        return weights
    parts = [tensors[f"{_MODULE}{name}"].astype(np.float64, casting="no") for name, _ in layout]
    if [list(part.shape) for part in parts] != [shape for _, shape in layout]:
        raise ValueError("a parameter's shape is not the card's")
    return np.concatenate([part.ravel() for part in parts])[None]


def check_votes(release: bytes, run: int, roster: Roster, colluders: int, votes: Sequence[Signed]) -> int:
    """Count valid votes over these bytes.

    Args:
        release: the bytes.
        run: number of the run, and so of the release.
        roster: whose members vote.
        colluders: c of the run: so many of those who vote may lie.
        votes: as they came.

    Returns:
        the number of distinct members who signed.

    Raises:
        ReleaseError: fewer than the quorum of the roster.
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
    least = quorum(len(roster.names), colluders)
    if len(seen) < least:
        raise ReleaseError(
            f"{len(seen)} of {len(roster.names)} members' signatures over this release verify; {least} must.",
            "Do not use it. Pull the release again from a source you trust.",
        )
    return len(seen)
