"""The opened release on disk: ``release.safetensors`` and ``votes.msgpack`` in one folder, or in the member's own store."""

from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.scoring import in_use
from fedrepay.client.scoring.trust import CONSORTIUM, SIMULATED, Trust, simulated
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError, ReleaseError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.text import printable
from fedrepay.shared.trust.release import ReleaseContent, check_votes
from fedrepay.shared.trust.wire import Votes

RELEASE, VOTES = "release.safetensors", "votes.msgpack"


@dataclass(frozen=True)
class CheckedRelease:
    """A release whose signatures verify, of a roster that is believed; ``origin`` goes into whatever is made with it."""

    release: ReleaseContent
    book: CodeBook
    hash: str
    signatures: int

    @property
    def origin(self) -> str:
        """``consortium``, or ``SIMULATED`` where no institution has signed."""
        return SIMULATED if simulated(self.release) else CONSORTIUM

    @property
    def not_private(self) -> str | None:
        """Why the release claims no privacy, in its own words made printable; None where it does claim it."""
        why = self.release.statement.get("not_private")
        return printable(str(why)) if why else None


def write(folder: Path, release: bytes, votes: bytes, *, over: bool = True) -> None:
    """Write a release as :func:`load` reads it.

    Args:
        folder: made where there is none.
        release: its bytes.
        votes: of the members who signed them, encoded.
        over: whether files that stand there may be replaced.

    Raises:
        ProtocolError: the votes are none.
        StorageError: a file cannot be written, or stands there already.
    """
    Votes.decode(votes)
    write_atomically(folder / RELEASE, release, over=over)
    write_atomically(folder / VOTES, votes, over=over)


def load(
    path: Path | None, *, unprotected: bool, torch: bool = False, trust: Trust | None = None
) -> CheckedRelease:
    """Read a release and check it.

    Args:
        path: the folder, or the file in it; None takes the release in use at the member that ``trust`` names.
        unprotected: accept a release without a privacy guarantee.
        torch: accept a release of local mode, whose weights are a torch module's.
        trust: what is known here of its roster; without it only a release marked as simulated is accepted.

    Raises:
        ReleaseError: missing, damaged, not signed by a quorum of its roster, of a roster that nothing here knows,
            not private, or of local mode; or none is in use.
        ArgumentError, StorageError: neither a path nor a member is given, or the words or the member's folder that
            ``trust`` names cannot be used.
    """
    data, votes = _read(path, None if trust is None else trust.member)
    release = ReleaseContent.decode(data)
    if votes.run != release.number:
        raise ReleaseError("The votes are another release's.", "Name the `release` folder of a finished run.")
    signatures = check_votes(data, release.number, release.roster, release.colluders, votes.signed)
    (trust or Trust()).check(release, data)
    book = codebook.from_bytes(release.schema, release.codebook)
    local = release.card.get("local")
    if local and not torch:
        raise ReleaseError(
            f"This release holds a torch module ({printable(local['model'])}); plans need the additive model.",
            "Score accounts with it by `fedrepay member score`.",
        )
    if not local and release.weights.shape != (book.heads, book.dimension):
        raise ReleaseError("The release's weights do not fit its schema.", "Do not use it.")
    checked = CheckedRelease(release, book, keys.digest(data).hex(), signatures)
    if checked.not_private and not unprotected:
        raise ReleaseError(
            f"The release is not private: {checked.not_private}",
            "Use a release of a protected run; --unprotected accepts this one, for tests.",
        )
    return checked


def _read(path: Path | None, member: Path | None) -> tuple[bytes, Votes]:
    """The bytes of a release, and its votes."""
    if path is None:
        if member is None:
            raise ArgumentError(
                "Nothing says which release is meant.",
                "Give --release FOLDER, or --member FOLDER for the one that is in use there.",
            )
        used = in_use.release_of(member)
        return used.release, Votes.decode(used.votes)
    folder = path if path.is_dir() else path.parent
    try:
        return (folder / RELEASE).read_bytes(), Votes.decode((folder / VOTES).read_bytes())
    except (OSError, ProtocolError) as error:
        raise ReleaseError(
            f"{folder} holds no readable release and votes.", "Name the `release` folder of a finished run."
        ) from error
