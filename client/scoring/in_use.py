"""Which of the releases that a member holds is in use: its people say so, and may go back to the one before.

What is in use is written down in the member's store, never derived from what happens to lie there. ``auto = true`` in
``member.toml`` is a yes given beforehand: the next release that claims privacy comes into use when it is first asked for.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.crypto.identity import IN_FORCE
from fedrepay.client.store import settings
from fedrepay.client.store.database import FILE
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import StoredRelease, Use
from fedrepay.shared.errors import ArgumentError, ReleaseError
from fedrepay.shared.trust.release import ReleaseContent

USE, ROLLBACK, AUTO = "use", "rollback", "auto"
"""Why a release came into use: people said so, went back to it, or it came by itself."""


def opened(folder: Path) -> MemberStore:
    """The store of a member's folder; beside keys that never served, an empty one is made.

    Raises:
        ReleaseError: the folder is no member's.
        StorageError: it cannot be read.
    """
    if not any((folder / name).is_file() for name in (FILE, IN_FORCE)):
        raise ReleaseError(
            f"{folder} is no folder of a member: it has neither keys nor a store.",
            "Name the folder that `member init` made and `member serve` runs in.",
        )
    return MemberStore(folder, time.time)


@dataclass(frozen=True)
class Releases:
    """The releases a member holds, by number, and how they were used."""

    store: MemberStore
    auto: bool
    held: dict[int, StoredRelease]

    @classmethod
    def of(cls, folder: Path) -> "Releases":
        """Those of a member's folder.

        Raises:
            ReleaseError: it is no member's.
            ArgumentError: its settings cannot be read.
            StorageError: its store cannot be read.
        """
        store = opened(folder)
        return cls(store, settings.load(folder).auto, {each.number: each for each in store.releases()})

    def current(self) -> StoredRelease | None:
        """The release in use; None before people have said yes to one. Notes one that comes into use by itself."""
        uses = self.store.uses()
        seen = uses[-1].newest if uses else 0
        if self.auto:
            new = [number for number in self.held if number > seen and self._private(number)]
            if new:
                self.store.use(max(new), max(self.held), AUTO)
                return self.held[max(new)]
        return self.get(uses[-1].number) if uses else None

    def _private(self, number: int) -> bool:
        """Nothing without a privacy guarantee comes into use by itself."""
        return ReleaseContent.decode(self.held[number].release).statement.get("not_private") is None

    def get(self, number: int) -> StoredRelease:
        """A release by its number.

        Raises:
            ReleaseError: it is not held.
        """
        if number not in self.held:
            numbers = ", ".join(map(str, self.held)) or "none"
            raise ReleaseError(
                f"This member holds no release {number}.",
                f"`fedrepay member releases` shows them: {numbers}.",
            )
        return self.held[number]

    def use(self, number: int) -> bool:
        """Put a release in use; False where it is already.

        Raises:
            ReleaseError: it is not held.
        """
        wanted, now = self.get(number), self.current()
        if now is not None and now.number == wanted.number:
            return False
        self.store.use(number, max(self.held), USE)
        return True

    def rollback(self) -> int:
        """Go back to the release that was in use before the present one; its number.

        Raises:
            ArgumentError: there is none before it.
        """
        self.current()
        back = before(self.store.uses())
        if back is None:
            raise ArgumentError(
                "No other release was in use before this one.", "`fedrepay member use N` puts one in use."
            )
        self.store.use(back, max(self.held), ROLLBACK)
        return back


def before(uses: tuple[Use, ...]) -> int | None:
    """What a rollback goes back to: each undoes one use that was not undone yet, so two of them go back twice."""
    standing: list[int] = []
    for each in uses:
        if each.said == ROLLBACK:
            standing.pop()
        else:
            standing.append(each.number)
    return standing[-2] if len(standing) > 1 else None


def release_of(folder: Path) -> StoredRelease:
    """The release in use at a member.

    Raises:
        ReleaseError: the folder is no member's, or none is in use.
    """
    found = Releases.of(folder)
    now = found.current()
    if now is None:
        numbers = ", ".join(map(str, found.held))
        raise ReleaseError(
            f"The member in {folder} has no release in use"
            + (f"; it holds {numbers}." if numbers else ", and holds none."),
            "`fedrepay member use N` is this member's own yes to a release; or name one by --release.",
        )
    return now
