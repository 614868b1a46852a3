"""Why a release's roster is believed: its votes prove only that *its own* roster signed it.

Anybody can make a roster, its keys and its votes. So somebody outside the file must know the roster: the member's own
state folder, or people who typed the twelve words. A release of a simulation has no people behind it; it is believed
to be that, and everything made with it says so.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.protocol import roster_code
from fedrepay.client.store.database import FILE
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.roster import Roster

CONSORTIUM, SIMULATED = "consortium", "SIMULATED"
"""Where a release comes from, as outputs say it in their column ``origin``."""
WARNING = (
    "SIMULATED: a release of `fedrepay simulate`, signed by no institution. Decide about nobody with it."
)
_OURS = "Give --member FOLDER (made by `fedrepay member init`), or --roster-code with the twelve words that"


@dataclass(frozen=True)
class Trust:
    """What the person who uses a release knows of its roster; each that is given must fit.

    ``member`` is the state folder of the member, ``words`` are the twelve words that people compared.
    """

    member: Path | None = None
    words: str | None = None

    def check(self, release: ReleaseContent, data: bytes) -> None:
        """Refuse a roster that is not the one known here, but for releases that the member holds itself.

        It stored those when it took part in their rosters, and rosters change.

        Args:
            release: what the bytes say.
            data: the bytes.

        Raises:
            ReleaseError: another roster; or nothing is known, and the release is of no simulation.
            ArgumentError: the words are no roster code.
            StorageError: the member's store cannot be read.
        """
        roster = release.roster
        if self.member is not None and not _of_member(self.member, release, data):
            raise ReleaseError(
                f"The release's roster is not the one that the member in {self.member} takes part in.",
                "Do not use it: whoever made it signed it with keys of their own. Take the release from your own "
                "consortium; for one of an earlier roster that this member does not hold, give that roster's words as --roster-code.",
            )
        if self.words is not None and roster_code.parse(self.words) != roster.code():
            raise ReleaseError(
                "The release's roster is not the one of the words in --roster-code.",
                "Do not use it, unless the words are another roster's: compare them with the other members by telephone.",
            )
        if self.member is None and self.words is None and not simulated(release):
            raise ReleaseError(
                "Nothing says whose release this is: its signatures fit the roster inside it, and anybody can make one.",
                f"{_OURS} your institution compared by telephone.",
            )


def simulated(release: ReleaseContent) -> bool:
    """Whether the release says itself that it is of a simulation."""
    return release.card.get("simulated") is True


def _of_member(folder: Path, release: ReleaseContent, data: bytes) -> bool:
    """Whether a member stored these very bytes, after it had checked their votes, or takes part in their roster."""
    store = _store(folder)
    if any(each.number == release.number and each.release == data for each in store.releases()):
        return True
    stored = store.fact("roster")
    if stored is None:
        raise ReleaseError(
            f"The member in {folder} has taken part in no run yet, so it knows no roster.",
            "Give --roster-code with the twelve words that your institution compared by telephone.",
        )
    return Roster.decode(stored).hash() == release.roster.hash()


def _store(folder: Path) -> MemberStore:
    if not (folder / FILE).is_file():
        raise ReleaseError(
            f"{folder} is no state folder of a member, so it knows no roster.", f"{_OURS} people compared."
        )
    return MemberStore(folder, time.time)
