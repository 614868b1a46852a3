"""Where the consortium stands, as the link saw it last: one small file in the member's folder, for `status` to read."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.trust.asking import Standing
from fedrepay.shared.trust.message import Wire

FILE, NEW_TERMS = "standing.bin", "terms.new.toml"
OVER = ("done", "abandoned")
"""What the coordinator says of a run that is over (``server/service/standing``)."""
FRESH = 150.0
"""Seconds for which what the link wrote says something of now; it writes every minute, a long poll apart."""


class LinkState(Wire):
    """What the link knows.

    Attributes:
        at: when it wrote this, in seconds since 1970.
        since: since when it has been connected, or not.
        connected: whether the coordinator answered last.
        cause: why not.
        remedy: what to do then.
        certificate_ends: of the member's, in seconds since 1970; 0 where it is not known.
        standing: the coordinator's word, encoded; empty before the first.
        void: hash of a roster that waits here for people, and that the coordinator proposes no more; empty for none.
    """

    at: Annotated[float, Field(ge=0, le=1e11)]
    since: Annotated[float, Field(ge=0, le=1e11)]
    connected: bool
    cause: Annotated[str, Field(max_length=4000)] = ""
    remedy: Annotated[str, Field(max_length=4000)] = ""
    certificate_ends: Annotated[float, Field(ge=0, le=1e11)] = 0.0
    standing: Annotated[bytes, Field(max_length=8 << 20)] = b""
    void: Annotated[bytes, Field(max_length=32)] = b""

    def read(self) -> Standing | None:
        """The coordinator's word; None before the first."""
        return Standing.decode(self.standing) if self.standing else None


def keep(folder: Path, state: LinkState) -> None:
    """Write it, in place of the one before.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(folder / FILE, state.encode(), mode=0o600, durable=False)


def over(folder: Path) -> int:
    """Number of the newest run that is done or was given up, by the coordinator's word; 0 where it has said of none."""
    state = last(folder)
    said = None if state is None else state.read()
    if said is None or not said.run:
        return 0
    return said.run if said.state in OVER else said.run - 1


def last(folder: Path) -> LinkState | None:
    """What was written last; None where nothing was, or by another version."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return LinkState.decode(path.read_bytes())
    except ProtocolError:
        return None
