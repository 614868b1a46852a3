"""A member's part in making a roster: joining, revealing its nonce once, approving the words its people compared.

Nonces live in this process's memory alone: after a restart, or on a restored copy of the store, none can be revealed
again, and the proposal is void. Everything that was signed is stored before it is sent.
"""

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, Code, Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Joining, Proposal, Revealed, Reveals
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster

Answer = tuple[bytes, dict[str, bytes]]
NEWCOMER = 1 << 20
"""Number of the last release that a member joining a consortium believes: far from the last number there is."""
_SHOWN = 20
"""Members of a roster named on one line."""


def held(store: MemberStore) -> Roster | None:
    """The roster this member takes part in: everybody has signed it."""
    stored = store.fact("roster")
    return None if stored is None else Roster.decode_once(stored)


def newest(store: MemberStore) -> int:
    """Number of the newest roster that this member has signed, taken part in, or withdrawn from; 0 before the first."""
    signed, roster = store.fact("signed"), held(store)
    return max(
        _withdrawn(store),
        Roster.decode_once(signed).number if signed else 0,
        0 if roster is None else roster.number,
    )


def _withdrawn(store: MemberStore) -> int:
    return int.from_bytes(store.fact("withdrawn") or b"\x00", "big")


def withdraw(store: MemberStore) -> int:
    """Take a signature back from a roster that not everybody has signed; its number can never be used here again.

    People do this at all members together, or not at all: some under the old roster and some under the new one are two
    consortia.

    Returns:
        the number of the roster withdrawn from.

    Raises:
        ArgumentError: there is no such roster.
    """
    signed, roster = store.fact("signed"), held(store)
    number = Roster.decode_once(signed).number if signed else 0
    if not signed or (roster is not None and number <= roster.number):
        raise ArgumentError(
            "This member has signed no roster that waits for others.", "There is nothing to withdraw."
        )
    facts = {"signed": b"" if roster is None else roster.encode(), "reply:approve": b""}
    store.remember(withdrawn=number.to_bytes(4, "big"), **facts)
    return number


def current(store: MemberStore) -> Roster:
    """The roster of a run.

    Raises:
        Refusal: code ``roster``: there is none, or a later one was signed and is not complete.
    """
    roster = held(store)
    if roster is None:
        raise Refusal(Code.ROSTER, "This member is in no roster yet.", "Enrol it first.")
    signed = store.fact("signed")
    if signed and Roster.decode_once(signed).number > roster.number:
        raise Refusal(
            Code.ROSTER,
            "This member has signed a later roster and takes no part under the one before.",
            "Bring the members back that have not signed yet, and let the operator finish the roster; or withdraw, "
            "all members together: `fedrepay member withdraw-roster`.",
        )
    return roster


def newest_run(store: MemberStore) -> int:
    """Number of the newest run whose call for an epoch this member has answered; 0 before the first."""
    stored = store.fact("last_start")
    return 0 if stored is None else EpochStart.decode(Signed.decode(stored).body).run


class MemberEnrolment:
    """One member's side of a roster's making.

    Raises:
        Refusal: from every step, where the member says no.
    """

    def __init__(self, identity: Identity, store: MemberStore, entropy: Entropy) -> None:
        self._identity = identity
        self._store = store
        self._entropy = entropy
        self._nonces: dict[bytes, bytes] = {}  # of the call answered last, by its digest

    def propose(self, shared: bytes) -> Answer:
        """Join: long-term keys and a commitment to a fresh nonce.

        A number counts only once people have approved its roster: calls alone use none up.
        """
        signed = Signed.decode(shared)
        call = signed.verified(Call.decode(signed.body).coordinator, Call)
        base = newest(self._store)
        if not base < call.number <= base + enrolment.FAR:
            raise Refusal(
                Code.NUMBER,
                f"Proposal {call.number} is not among the {enrolment.FAR} above {base}.",
                "The operator's next proposal takes a number above.",
                base.to_bytes(4, "big") + (self._store.fact("signed_call") or b""),
            )
        nonce = self._entropy.draw(32)
        self._nonces = {signed.digest(): nonce}
        joining = Joining(
            call=signed.digest(),
            entry=self._identity.entry(),
            commitment=enrolment.commitment(nonce, self._identity.name),
        )
        answer = Signed.make(self._identity.signing, joining)
        return answer.encode(), {"joining": answer.encode()}

    def reveal(self, shared: bytes) -> Answer:
        """Reveal the nonce, once, to one whole list of entries and commitments."""
        call, _ = enrolment.checked(shared)
        proposal = Proposal.decode_once(shared)
        mine = self._store.fact("joining")
        if mine is None or Signed.decode(mine) not in proposal.joinings:
            raise Refusal(Code.VOID, "The proposal does not hold this member's own, newest joining.")
        self._check_predecessor(call)
        nonce = self._nonces.get(proposal.call.digest())
        if nonce is None:
            raise Refusal(
                Code.VOID,
                "This member's nonce for the proposal is void: it was restarted since, or has given it.",
            )
        self._nonces = {}
        said = Revealed(proposal=keys.digest(shared), name=self._identity.name, nonce=nonce)
        answer = Signed.make(self._identity.signing, said).encode()
        return answer, {"revealed": keys.digest(shared)}

    def _check_predecessor(self, call: Call) -> None:
        """The proposal follows the roster this member takes part in, and tells of the release it holds.

        One that takes part in none yet joins whatever its people approve.
        """
        roster = held(self._store)
        if roster is not None and call.predecessor != roster.hash():
            raise Refusal(
                Code.ROSTER,
                "The proposal does not follow the roster that this member takes part in.",
                "If the coordinator has lost its database, see docs/refusals.md, roster.",
                roster.hash(),
            )
        most = NEWCOMER if roster is None else newest_run(self._store) + enrolment.FAR
        if call.released > most:
            raise Refusal(
                Code.ROSTER, f"The proposal names release {call.released}, too far above what there can be."
            )
        released = self._store.release()
        if released is not None and call.released <= released[0]:
            known = (released[0], keys.digest(released[1]))
            if (call.released, call.release) != known:
                raise Refusal(
                    Code.ROSTER,
                    "The proposal tells of another last release than this member holds.",
                    "The operator's next proposal tells of the one that most members hold.",
                    known[0].to_bytes(4, "big") + known[1],
                )

    def approve(self, shared: bytes) -> Answer:
        """Sign the roster, if its words are the ones that people approved here."""
        message = Reveals.decode_once(shared)
        if self._store.fact("revealed") != keys.digest(message.proposal):
            raise Refusal(Code.VOID, "This member has not revealed its nonce to this proposal.")
        roster = enrolment.roster_of(message.proposal, message.revealed)
        if roster.number <= _withdrawn(self._store):
            raise Refusal(Code.VOID, "People at this member have withdrawn from this roster.")
        if newest(self._store) >= roster.number:
            raise Refusal(Code.ROSTER, "This member has signed this proposal or a later one already.")
        code = roster.code()
        if (self._store.fact("approved_code") or b"").decode() != code:
            self._store.remember(shown=code.encode())
            raise Refusal(
                Code.ROSTER,
                f"This institution has not approved the words of the roster of {_named(roster)}: {code}.",
                "Compare the words with the other members by telephone, then run `fedrepay member approve-roster`. "
                "Differing words mean that somebody else is in the roster.",
            )
        self._check_predecessor(
            enrolment.checked(message.proposal)[0]
        )  # a roster may have come since it revealed
        answer = Signed.make(self._identity.signing, Approval(roster=roster.hash(), name=self._identity.name))
        call = Proposal.decode_once(message.proposal).call.encode()
        return answer.encode(), {"signed": roster.encode(), "signed_call": call}

    def certify(self, shared: bytes) -> Answer:
        """Take part in a roster that everybody has signed, this member among them.

        A restored store may have forgotten that it signed; its signature has not.
        """
        message = Certificate.decode_once(shared)
        before = held(self._store)
        if before is not None and before.encode() == message.roster:
            return b"", {}
        roster = enrolment.certified(message, before)
        signed = self._store.fact("signed")
        if roster.number < newest(self._store) or (
            roster.number == newest(self._store) and signed != message.roster
        ):
            raise Refusal(Code.ROSTER, "This member has signed a later roster, or withdrawn from this one.")
        if (
            self._identity.name not in roster.names
            or roster.entry(self._identity.name) != self._identity.entry()
        ):
            raise Refusal(Code.ROSTER, "The roster does not hold this member's own keys.")
        return b"", {"roster": message.roster, "signed": message.roster, "certificate": shared}

    def certificate(self) -> bytes:
        """What proves the roster this member takes part in, for a coordinator that has lost it; empty before one."""
        return self._store.fact("certificate") or b""


def _named(roster: Roster) -> str:
    """Its members, so far as a line holds them."""
    shown = ", ".join(roster.names[:_SHOWN])
    rest = len(roster.names) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
