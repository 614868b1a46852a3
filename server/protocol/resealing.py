"""The last release for members that joined after it: a member that holds it is asked to seal it to each. Pure.

A machine as the making of a roster is (``enrolment``); its asks go to members under their own names.
"""

from collections.abc import Collection
from contextlib import suppress

from fedrepay.server.protocol import pulls
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.message import Signed


class Resealing:
    """Asks one member after the other for what newcomers lack.

    Args:
        state: what the events of rosters have said.
        holders: members of the release's own roster: they can pull it themselves.
        there: members that are connected.
    """

    def __init__(self, state: Enrolled, holders: Collection[str], there: Collection[str]) -> None:
        self.state = state
        roster = state.roster
        assert roster is not None  # noqa: S101 - there are members
        self._roster = roster
        lacking = [name for name in roster.names if name not in holders] if roster.released else []
        self._left = [
            (name, sender)
            for name in lacking
            for sender in roster.names
            if sender in there and sender in holders
        ]

    def node(self, target: str) -> str:
        """Members' own names serve as nodes."""
        return target

    def ask(self) -> Ask | None:
        """The next member to ask; None when nobody lacks it, or nobody is left to ask."""
        while self._left and self._left[0][0] in self.state.resealed:
            self._left.pop(0)
        if not self._left:
            return None
        recipient, sender = self._left[0]
        return pulls.reseal(sender, recipient)

    def receive(self, ask: Ask, name: str, signed: Signed | None, _reason: str = "no answer") -> list[Event]:
        """What the asked member sealed; whether it is what it should be, its recipient judges."""
        (recipient,) = (shared.decode() for shared, _ in ask.parts.values())
        if signed is not None:
            with suppress(ProtocolError):  # the next one is asked
                return [Event("resealed", recipient, pulls.resealed(ask, name, name, self._roster, signed))]
        return []

    def finish(self, _ask: Ask, _seconds: float = 0.0, /) -> list[Event]:
        """On to the next."""
        self._left.pop(0)
        return []
