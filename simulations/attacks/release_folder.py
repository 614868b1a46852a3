"""The ``release/`` of a simulation on rows, with the rows it was and was not trained on."""

import json
from pathlib import Path

from fedrepay.client.scoring import release_file
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.release import Release
from fedrepay.simulations.arguments import Arguments, Folder, facts_of
from fedrepay.simulations.prepare import Prepared, prepare

_REMEDY = "Give DIR/release of a finished `fedrepay simulate --out DIR` on rows."


def read_release(path: Path) -> tuple[Release, Prepared]:
    """Read a release and split its run's rows as the run did.

    Args:
        path: ``release/`` inside the run's folder.

    Raises:
        ArgumentError: no release of a simulation on rows, or the files it was made from have changed.
        ReleaseError: the release is damaged.
    """
    folder = Folder(path.resolve().parent)
    try:
        data = (path / release_file.RELEASE).read_bytes()
        facts = json.loads(folder.marker.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArgumentError(f"{path} holds no release of a simulation: {error}.", _REMEDY) from error
    if not isinstance(facts, dict) or "split" not in facts:
        raise ArgumentError(f"{path} is not of a simulation on rows.", _REMEDY)
    wanted = {name: value for name, value in facts.items() if name != "sha256"}
    try:
        arguments = Arguments(**(wanted | {"drop": tuple(wanted.get("drop", ()))}))
    except TypeError as error:
        raise ArgumentError(f"{folder.marker} is of another version: {error}.", _REMEDY) from error
    if facts_of(arguments) != facts:
        raise ArgumentError(
            f"The files that {folder.path} was made from have changed.",
            "Put them back: the attack must know which rows were in.",
        )
    return Release.decode(data), prepare(arguments)
