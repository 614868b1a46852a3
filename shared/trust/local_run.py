"""The public terms of a run in local mode, as one file: a member makes it, the operator starts the run with it.

The coordinator can neither import a torch module nor prove its noise, so a member states both; every other member
compares the module with its own and proves the noise again before it trains.
"""

from pathlib import Path

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import Part, content_of, fitted, read_bytes, write_atomically
from fedrepay.shared.trust.fields import Digest
from fedrepay.shared.trust.terms import LocalTerms

_HEAD = "# A run in local mode, in public numbers: `fedrepay coordinator train --mode local --terms FILE` starts it.\n"
_REMEDY = "`fedrepay member local-terms` makes such a file; do not change it by hand."


class LocalRun(Part):
    """What the operator must know: the fields of :class:`NumberedTerms` that the noise was made for, and the module's."""

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
    text = _HEAD + "".join(f"{name} = {_shown(value)}\n" for name, value in facts.items())
    if path.exists():
        raise ArgumentError(f"{path} exists already.", "Choose another --out.")
    write_atomically(path, text.encode(), "Free the disk, or choose another --out.", over=False)


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    return f'"{value}"' if isinstance(value, str) else repr(value)


def read(path: Path) -> LocalRun:
    """The terms in a file.

    Raises:
        ArgumentError: naming the file, the field and the bound.
    """
    facts = content_of(read_bytes(path, ArgumentError, _REMEDY), str(path), ArgumentError, _REMEDY)
    for name in ("schema_hash", "model_hash"):
        try:
            facts[name] = bytes.fromhex(facts[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(f"{path}: {name} must be 64 hexadecimal digits.", _REMEDY) from error
    own = {name: facts.pop(name) for name in LocalRun.model_fields if name in facts and name != "local"}
    return fitted(own | {"local": facts}, str(path), LocalRun, ArgumentError, _REMEDY)
