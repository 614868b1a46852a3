"""The releases a member holds: what each claims, which is in use, and one of them as the folder that others read."""

from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.in_use import Releases
from fedrepay.client.store.tables import StoredRelease
from fedrepay.shared import keys
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.privacy.statement import headline
from fedrepay.shared.text import printable
from fedrepay.shared.trust.release import ReleaseContent, check_votes
from fedrepay.shared.trust.wire import Votes


@dataclass(frozen=True)
class HeldRelease:
    """One release on the screen; ``stored_at`` are seconds since 1970, ε is null where none is claimed."""

    number: int
    stored_at: float
    in_use: bool
    mode: str
    epsilon: float | None
    delta: float | None
    privacy: str
    not_private: str | None
    signatures: int
    members: int
    schema: str
    roster: int
    simulated: bool
    hash: str


def listed(found: Releases) -> list[HeldRelease]:
    """All releases held, lowest number first; each checked as when it was stored.

    Raises:
        ReleaseError: one of them was changed since, or too few of its signatures verify.
    """
    now = found.current()
    return [_held(each, in_use=now is not None and now.number == each.number) for each in found.held.values()]


def _held(stored: StoredRelease, *, in_use: bool) -> HeldRelease:
    made, signatures = checked(stored)
    said, schema = made.statement, made.card.get("schema", {})
    why = said.get("not_private")
    return HeldRelease(
        number=stored.number,
        stored_at=stored.at,
        in_use=in_use,
        mode=str(said.get("mode")),
        epsilon=said.get("epsilon"),
        delta=said.get("delta"),
        privacy=headline(said),
        not_private=printable(str(why)) if why else None,
        signatures=signatures,
        members=len(made.roster.names),
        schema=printable(f"{schema.get('name', '')} {schema.get('version', '')}".strip()),
        roster=made.roster.number,
        simulated=made.card.get("simulated") is True,
        hash=keys.digest(stored.release).hex(),
    )


def checked(stored: StoredRelease) -> tuple[ReleaseContent, int]:
    """A stored release and how many members' signatures over it verify.

    Raises:
        ReleaseError: it is no release, another one's, or fewer than a quorum of its roster signed it.
    """
    made = ReleaseContent.decode(stored.release)
    if made.number != stored.number:
        raise ReleaseError(
            f"What is stored as release {stored.number} says that it is release {made.number}.",
            "Do not use it.",
        )
    votes = Votes.decode(stored.votes).signed
    return made, check_votes(stored.release, made.number, made.roster, made.colluders, votes)


def put_in_use(found: Releases, number: int, *, unprotected: bool) -> bool:
    """This member's yes to a release; False where it is in use already.

    Raises:
        ReleaseError: it is not held, too few signatures verify, or it is not private and ``unprotected`` is not said.
    """
    made, _ = checked(found.get(number))
    why = made.statement.get("not_private")
    if why and not unprotected:
        raise ReleaseError(
            f"Release {number} is not private: {printable(str(why))}",
            "Use a release of a protected run; --unprotected accepts this one, for tests.",
        )
    return found.use(number)


def export(found: Releases, number: int, out: Path) -> None:
    """Write a release as the folder that `member score --release` takes; nothing that stands there is replaced.

    Raises:
        ReleaseError: it is not held, or too few signatures verify.
        StorageError: a file stands there already, or cannot be written.
    """
    stored = found.get(number)
    checked(stored)
    release_file.write(out, stored.release, stored.votes, over=False)
