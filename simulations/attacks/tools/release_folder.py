"""The ``release/`` of a simulation, with the rows it was and was not trained on."""

import json
from pathlib import Path
from typing import Any, TypeVar

from fedrepay.client.scoring import release_file
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.simulations.rows.prepare import Prepared, prepare
from fedrepay.simulations.run.arguments import Arguments, MarketArguments, facts_of
from fedrepay.simulations.run.consortium import Party
from fedrepay.simulations.run.folder import Folder

_REMEDY = "Give DIR/release of a finished `fedrepay simulate --out DIR`"
A = TypeVar("A", Arguments, MarketArguments)


def read_release(path: Path) -> tuple[ReleaseContent, Prepared]:
    """Read a release of a simulation on rows and split its run's rows as the run did.

    Args:
        path: ``release/`` inside the run's folder.

    Raises:
        ArgumentError: no release of a simulation on rows, of a torch module, or the files it was made from have changed.
        ReleaseError: the release is damaged.
    """
    data, facts = _read(path)
    if "split" not in facts:
        raise ArgumentError(f"{path} is not of a simulation on rows.", f"{_REMEDY} on rows: with --data.")
    release = ReleaseContent.decode(data)
    if release.card.get("local") is not None:
        raise ArgumentError(
            f"{path} is of a torch module: this attack reads additive models.",
            f"{_REMEDY} of another mode than local.",
        )
    return release, prepare(_arguments(Arguments, path, facts))


def read_run(path: Path) -> tuple[ReleaseContent, CodeBook, tuple[Party, ...]]:
    """Read a release of any simulation, and its members' training rows.

    Args:
        path: ``release/`` inside the run's folder.

    Raises:
        ArgumentError: no release of a simulation, or the files it was made from have changed.
        ReleaseError: the release is damaged.
    """
    from fedrepay.simulations.market import case  # noqa: PLC0415 - loads the market's models

    data, facts = _read(path)
    if "split" in facts:
        prepared = prepare(_arguments(Arguments, path, facts))
        return ReleaseContent.decode(data), prepared.book, prepared.parties
    arguments = _arguments(MarketArguments, path, facts)
    market = case.prepare(arguments, case.market_of(arguments), Folder(path.resolve().parent))
    return ReleaseContent.decode(data), market.book, market.parties


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The release's bytes and what its run was started with."""
    folder = Folder(path.resolve().parent)
    try:
        data = (path / release_file.RELEASE).read_bytes()
        facts = json.loads(folder.marker.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArgumentError(f"{path} holds no release of a simulation: {error}.", f"{_REMEDY}.") from error
    if not isinstance(facts, dict):
        raise ArgumentError(f"{folder.marker} is damaged.", f"{_REMEDY}.")
    return data, facts


def _arguments(kind: type[A], path: Path, facts: dict[str, Any]) -> A:
    folder = Folder(path.resolve().parent)
    wanted = {name: value for name, value in facts.items() if name != "sha256"}
    try:
        arguments = kind(**(wanted | {"drop": tuple(wanted.get("drop", ()))}))
    except TypeError as error:
        raise ArgumentError(f"{folder.marker} is of another version: {error}.", f"{_REMEDY}.") from error
    if facts_of(arguments) != facts:
        raise ArgumentError(
            f"The files that {folder.path} was made from have changed.",
            "Put them back: the attack must know which rows were in.",
        )
    return arguments
