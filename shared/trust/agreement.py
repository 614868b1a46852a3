"""What a consortium agrees on: its terms, one commented TOML file; the hash of its bytes stands in every run's terms."""

import json
from typing import Annotated

from pydantic import AfterValidator, Field

from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import Part, parse_toml
from fedrepay.shared.trust.fields import MAX_MEMBERS, Mode

NOTHING = bytes(32)
"""In the place of the hash, where nobody has agreed on terms: a consortium within one process."""
LONGEST = 64 << 10
"""Bytes of a terms file."""
_REMEDY = "`fedrepay coordinator init` writes such a file."


def _port(value: str) -> str:
    if not 1 <= int(value.rpartition(":")[2]) <= 65535:
        raise ValueError("a port is 1 … 65535")
    return value


Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]-]{1,253}:[0-9]{1,5}$"), AfterValidator(_port)]


class ConsortiumTerms(Part):
    """What every member accepts when it joins.

    Attributes:
        name: of the consortium.
        address: HOST:PORT that members call.
        minimum_cohort: no attempt of a run has fewer members.
        colluders: c, so many members may collude with the coordinator; None: max(1, ⌈K/10⌉).
        epsilon_per_release: the largest ε of one customer for one release.
        epsilon_per_year: the largest ε of one customer for all releases of 365 days.
        least_age_days: an outcome is learned from no earlier than so many days after the offer.
        modes: which runs may be.
        schemas: SHA-256 of the schemas that may be learned on (with their code books), in hexadecimal.
    """

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
    address: Address
    minimum_cohort: Annotated[int, Field(ge=3, le=MAX_MEMBERS)] = 5
    colluders: Annotated[int, Field(ge=1, le=MAX_MEMBERS - 2)] | None = None
    epsilon_per_release: Annotated[float, Field(gt=0, le=100)] = 1.0
    epsilon_per_year: Annotated[float, Field(gt=0, le=1000)] = 4.0
    least_age_days: Annotated[int, Field(ge=0, le=3650)] = 90
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)] = ("distributed",)
    schemas: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...], Field(min_length=1, max_length=64)
    ]


def hashed(data: bytes) -> bytes:
    """Identity of a terms file's bytes (32 bytes): what was shown is what was accepted, comments included."""
    return keys.digest(b"consortium terms", data)


def parse(data: bytes, source: str) -> ConsortiumTerms:
    """Read a terms file.

    Args:
        data: its bytes.
        source: its name, for errors.

    Raises:
        ArgumentError: it is too long or not such a file; naming file, field and bound.
    """
    if len(data) > LONGEST:
        raise ArgumentError(f"{source} has more than {LONGEST} bytes.", _REMEDY)
    return parse_toml(data, source, ConsortiumTerms, ArgumentError, _REMEDY)


def six_lines(terms: ConsortiumTerms) -> tuple[str, ...]:
    """What the terms mean for a member, for its people to say yes or no to."""
    colluders = "a tenth of the members (1 at least)" if terms.colluders is None else str(terms.colluders)
    bare = " (none: without noise, your limits must allow it)" if "none" in terms.modes else ""
    count = "one schema" if len(terms.schemas) == 1 else f"{len(terms.schemas)} schemas"
    cost, year = f"{terms.epsilon_per_release:g}", f"{terms.epsilon_per_year:g}"
    return (
        f"{terms.name}, at {terms.address}. The coordinator reads no update, no sum and no model.",
        f"Your rows stay here; what is sent hides among {terms.minimum_cohort} members or more, even if {colluders} collude.",
        f"A customer's privacy loss: ε at most {cost} a release and {year} a year; your own limits may ask for less.",
        f"Outcomes are learned from when they are {terms.least_age_days} days old or more: your own mapping sees to it, no program does.",
        f"Runs: {', '.join(terms.modes)}{bare}, on {count}.",
        "Other members read the opened sums and the model, and so something of your portfolio as a whole.",
    )


FILE = "terms.toml"
_HEAD = """\
# What this consortium agrees on. Members see it before they join, and their nodes compare its hash in every run: after
# a change (of a comment too) each member has to accept it again.
"""
_SAID = {
    "name": "",
    "address": "HOST:PORT that members call; one port, TLS end to end",
    "minimum_cohort": "no attempt of a run has fewer members; 3 or 4 only where all of them want it",
    "colluders": "so many may collude with the coordinator; default: a tenth of the members, at least 1",
    "epsilon_per_release": "the largest ε of one customer for one release",
    "epsilon_per_year": "and for all releases of 365 days",
    "least_age_days": "outcomes are learned from no earlier; each member's mapping sees to it, and no program looks",
    "modes": "distributed: the noise is shared; local: a member adds all of it; none: no noise",
    "schemas": "hashes of the schemas that may be learned on",
}


def write(terms: ConsortiumTerms) -> bytes:
    """The terms as a commented TOML file."""
    lines = []
    for field, said in _SAID.items():
        value = getattr(terms, field)
        if isinstance(value, tuple):
            value = f"[{', '.join(map(_quoted, value))}]"
        elif isinstance(value, str):
            value = _quoted(value)
        line = f"# {field} = 1" if value is None else f"{field} = {value}"
        lines.append(f"{line:<34} # {said}" if said else line)
    return (_HEAD + "\n".join(lines) + "\n").encode()


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
