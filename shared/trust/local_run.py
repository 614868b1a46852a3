"""The public terms of a run in local mode, as one file: a member makes it, the operator starts the run with it.

The coordinator can neither import a torch module nor prove its noise, so a member states both; every other member
compares the module with its own and proves the noise again before it trains.
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.trust.fields import Digest
from fedrepay.shared.trust.terms import LocalTerms

_HEAD = "# A run in local mode, in public numbers: `fedrepay coordinator train --mode local --terms FILE` starts it.\n"
_REMEDY = "`fedrepay member local-terms` makes such a file; do not change it by hand."


class LocalRun(BaseModel):
    """What the operator must know: the fields of :class:`RunPlan` that the noise was made for, and the module's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_hash: Digest
    epsilon: float
    delta: float
    rounds: int
    max_attempts: int
    local: LocalTerms


def write(run: LocalRun, path: Path) -> None:
    """Write the file.

    Raises:
        ArgumentError: it exists.
        StorageError: it cannot be written.
    """
    facts = {**run.model_dump(exclude={"local"}), **run.local.model_dump()}
    lines = [f"{name} = {_shown(value)}\n" for name, value in facts.items()]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_HEAD + "".join(lines))
    except FileExistsError as error:
        raise ArgumentError(f"{path} exists already.", "Choose another --out.") from error
    except OSError as error:
        path.unlink(missing_ok=True)  # half a file is none
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.", "Free the disk, or choose another --out."
        ) from error


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    return f'"{value}"' if isinstance(value, str) else repr(value)


def read(path: Path) -> LocalRun:
    """The terms in a file.

    Raises:
        ArgumentError: naming the file, the field and the bound.
    """
    try:
        facts: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}.", _REMEDY) from error
    except ValueError as error:
        raise ArgumentError(f"{path} is not TOML: {error}.", _REMEDY) from error
    for name in ("schema_hash", "model_hash"):
        try:
            facts[name] = bytes.fromhex(facts[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(f"{path}: {name} must be 64 hexadecimal digits.", _REMEDY) from error
    own = {name: facts.pop(name) for name in LocalRun.model_fields if name in facts}
    try:
        return LocalRun.model_validate(own | {"local": LocalTerms.model_validate(facts)})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArgumentError(f"{path}: {field} = {first['input']!r}: {first['msg']}.", _REMEDY) from error
