"""Certificates given to the members of a roster: the newest, or all of them in turn, and whose answers count. Pure."""

from collections.abc import Collection, Mapping
from contextlib import suppress

from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.state import Ask
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind, Reply, asked


class Handing:
    """Who has its roster's certificate, and which one each is given next.

    A store that was set back by two rosters or more may not know who signed the newest: what was signed after each
    roster is proven to it step by step, from the oldest on.
    """

    def __init__(self) -> None:
        self.certified: set[str] = set()
        self._steps: dict[
            str, int
        ] = {}  # node → the certificate it is given next, where the newest did not do

    def anew(self) -> None:
        """There is another roster."""
        self.certified, self._steps = set(), {}

    def ask(self, state: Enrolled, seats: Mapping[str, str], there: Collection[str]) -> Ask | None:
        """Certificates for those who are there and have not theirs; None when all have."""
        known = state.certificates
        lacking = {
            node: self._steps.get(node, len(known) - 1)
            for name, node in seats.items()
            if name not in self.certified and node in there
        }
        bodies = {at: known[at].encode() for at in {*lacking.values()}}
        return Ask(Kind.CERTIFY, {n: (bodies[at], b"") for n, at in lacking.items()}) if lacking else None

    def answered(self, state: Enrolled, node: str, name: str, *, taken: bool) -> bool:
        """A member took the certificate it was given, or refused it; whether that is what it is given last."""
        last, at = len(state.certificates) - 1, self._steps.get(node)
        if (at is None and taken) or last in (at, 0):
            if taken:
                self.certified.add(name)
            return True
        self._steps[node] = 0 if at is None else at + 1
        return False


def check_own(state: Enrolled, ask: Ask, node: str, name: str, signed: Signed) -> None:
    """An answer to a certificate is its member's own, under its key of any roster: it may not have come to the newest.

    Raises:
        ProtocolError: it is not.
    """
    rosters = (Roster.decode_once(each.roster) for each in reversed(state.certificates))
    for key in dict.fromkeys(each.entry(name).signing for each in rosters if name in each.names):
        with suppress(ProtocolError):  # another key of its may fit
            said = signed.verified(key, Reply)
            if (said.name, said.asked) == (name, asked(ask.kind, *ask.parts[node])):
                return
    raise ProtocolError(f"An answer at node {node} is not its member's own.", "It does not count.")
