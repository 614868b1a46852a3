"""What the coordinator's next call for a roster says: its number, what it follows, the last release, who goes. Pure."""

from collections.abc import Collection, Sequence
from statistics import mode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Call
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked, default_colluders
from fedrepay.shared.trust.succession import KeyHandover, Leaving

_RELEASE = 4 + 32
"""Bytes of a release's number and hash."""
Going = tuple[tuple[Signed, ...], tuple[Revoked, ...]]


class Calls:
    """Makes calls out of what the database holds and what members have said when they refused earlier ones.

    Args:
        key: the coordinator's, in force.
        following: its key of the next roster, where that is to be another.
        released: number and hash of the last release.
        leaving: leavings that members have signed, of whatever roster: those that count are picked out.
        revoked: whom the operator asks the others to revoke. Who is in the roster no more is not named again, and
            is asked to join none, as long as it stands here.
    """

    def __init__(
        self,
        key: Ed25519PrivateKey,
        released: tuple[int, bytes],
        leaving: Sequence[Signed],
        revoked: Collection[Revoked],
        following: Ed25519PrivateKey | None = None,
    ) -> None:
        self._key = key
        self.signing = key if following is None else following
        """By which calls are signed, and the rosters that they make."""
        self.ours = frozenset(map(keys.public_bytes, (key, self.signing)))
        """Public halves of both, 32 bytes each."""
        self._released = released
        self.barred = frozenset(each.name for each in revoked)
        self._leaving, self._revoked = leaving, sorted(revoked, key=lambda each: each.name)
        # node → the last release it holds, where we know another
        self._releases: dict[str, tuple[int, bytes]] = {}
        # node → number it has signed already; whether that is proven
        self._told: dict[str, tuple[int, bool]] = {}

    def make(self, state: Enrolled, members: int) -> Signed:
        """A new call to so many, with a number above every one that was answered so far."""
        number, release = self._released
        if self._releases:
            number, release = mode(self._releases.values())
        leaving, revoked = self.going(state)
        call = Call(
            number=self._next(state, members),
            coordinator=keys.public_bytes(self.signing),
            predecessor=_predecessor(state),
            released=number,
            release=release,
            leaving=leaving,
            revoked=revoked,
            handover=self._handover(state),
        )
        return Signed.make(self.signing, call)

    def current(self, call: Signed) -> bool:
        """Whether a call is by the key by which we make them now."""
        return Call.decode_once(call.body).coordinator == keys.public_bytes(self.signing)

    def _handover(self, state: Enrolled) -> Signed | None:
        """The word of the key in force for the following one, if the roster before is the one we know, and knows that key."""
        before, ours = state.roster, keys.public_bytes(self.signing)
        known = keys.public_bytes(self._key)
        if (
            before is None
            or ours == known
            or before.coordinator != known
            or before.hash() != _predecessor(state)
        ):
            return None
        return Signed.make(self._key, KeyHandover(roster=before.hash(), coordinator=ours))

    def going(self, state: Enrolled) -> Going:
        """Who leaves the roster before, and who is to be revoked, as a call says it."""
        before, predecessor = state.roster, _predecessor(state)
        if before is not None and before.hash() != predecessor:
            before = None  # members hold another: they can tell who is in it
        revoked = tuple(each for each in self._revoked if before is None or each.name in before.names)
        out, left = {each.name for each in revoked}, dict[str, Signed]()
        for signed in self._leaving:
            try:
                name = Leaving.decode(signed.body).name
                if before is not None:
                    signed.verified(before.entry(name).signing, Leaving)
            except ProtocolError:
                continue  # of another roster, or no leaving
            if name not in out and Leaving.decode(signed.body).roster == predecessor:
                left[name] = signed
        return tuple(left[name] for name in sorted(left)), revoked

    def numbered(self, node: str, body: bytes) -> None:
        """A member says what it has signed; a call that we signed may prove it."""
        said, call = int.from_bytes(body[:4], "big"), body[4:]
        try:
            signed = Signed.decode(call)
            by = Call.decode(signed.body).coordinator
            self._told[node] = (signed.verified(by, Call).number, True) if by in self.ours else (said, False)
        except ProtocolError:
            self._told[node] = said, False

    def released(self, node: str, body: bytes) -> bool:
        """A member says which release it holds; whether that is what it says.

        Raises:
            ProtocolError: no run has that number.
        """
        if len(body) != _RELEASE:
            return False
        number, release = int.from_bytes(body[:4], "big"), body[4:]
        if number >= 1 << 31:
            raise ProtocolError(f"Node {node} tells of release {number}.", "No run has that number.")
        self._releases[node] = (number, release)
        return True

    def _next(self, state: Enrolled, members: int) -> int:
        """A number that no member has signed; another one than the last, whose nonces are void or given."""
        base, called = self._believed(state, members), state.called
        return max(base, called) + 1 if called < base + enrolment.FAR else base + 1

    def _believed(self, state: Enrolled, members: int) -> int:
        """The highest number in use: ours, what our own signature proves, and what more say than may lie."""
        known = 0 if state.roster is None else state.roster.number
        proven = [number for number, sure in self._told.values() if sure]
        told = sorted((number for number, _ in self._told.values()), reverse=True)
        shared = told[default_colluders(members) :]
        return max([known, *proven, *shared])


def _predecessor(state: Enrolled) -> bytes:
    """Hash of the roster before: the one that most say they hold, where this database has lost it."""
    if state.before:
        return mode(state.before.values())
    return enrolment.FIRST if state.roster is None else state.roster.hash()


def said(call: Signed) -> Going:
    """Who goes, as a call says it."""
    message = Call.decode_once(call.body)
    return message.leaving, message.revoked
