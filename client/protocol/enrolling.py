"""A member's part in making a roster: joining, revealing its nonce once, approving the words its people compared.

Nonces live in this process's memory alone: after a restart, or on a restored copy of the store, none can be revealed
again, and the proposal is void. Everything that was signed is stored before it is sent. Where a member changes its
keys, it joins under the new ones, and they come into force with the roster that holds them.
"""

from collections.abc import Callable

from fedrepay.client.crypto.identity import Identity, Keyring
from fedrepay.client.protocol import testimony
from fedrepay.client.protocol.enrolment import check_coordinator, former, held, newest, newest_run, withdrawn
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.year import loss, lost_mark
from fedrepay.shared import keys
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Joining, Proposal, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.succession import KeyChange, Rotation, changes

Answer = tuple[bytes, dict[str, bytes]]
Certified = tuple[bytes, dict[str, bytes], *tuple[LedgerEntry, ...]]
"""A body, facts to remember with it, and what the ledger takes over with them."""
NEWCOMER = 1 << 20
"""Number of the last release that a member joining a consortium believes: far from the last number there is."""
_SHOWN = 20
"""Members of a roster named on one line."""


class MemberEnrolment:
    """One member's side of a roster's making.

    Raises:
        Refusal: from every step, where the member says no.
    """

    def __init__(
        self,
        identity: Identity,
        store: MemberStore,
        clock: Callable[[], float],
        entropy: Entropy,
        keyring: Keyring | None = None,
    ) -> None:
        self.identity = identity  # its keys are in force
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._keyring = keyring
        self._nonces: dict[bytes, bytes] = {}  # of the call answered last, by its digest
        self.joins_as = identity  # by whose keys the newest joining is, and all that follows it
        self.settle()
        following, joining = self._following(), store.fact("joining")
        if following is not None and joining:
            entry = Joining.decode(Signed.decode(joining).body).entry
            self.joins_as = following if entry == following.entry() else identity

    def _following(self) -> Identity | None:
        """The keys made to follow those in force."""
        return None if self._keyring is None else self._keyring.following()

    def settle(self) -> bool:
        """Put the new keys in force, once this member takes part in a roster that holds them."""
        following, roster = self._following(), held(self._store)
        if following is None or roster is None or following.name not in roster.names:
            return False
        if roster.entry(following.name) != following.entry():
            return False
        assert self._keyring is not None  # noqa: S101 - it gave the keys
        self._keyring.take()
        self.identity = self.joins_as = following
        return True

    def propose(self, shared: bytes) -> Answer:
        """Join: long-term keys and a commitment to a fresh nonce.

        A number counts only once people have approved its roster: calls alone use none up.
        """
        signed = Signed.decode(shared)
        call = signed.verified(Call.decode(signed.body).coordinator, Call)
        check_coordinator(self._store, call.coordinator)
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
        self.joins_as, rotation = self._renewed()
        released, made, _ = self._store.release() or (0, b"", b"")
        joining = Joining(
            call=signed.digest(),
            entry=self.joins_as.entry(),
            commitment=enrolment.commitment(nonce, self.identity.name),
            rotation=rotation,
            released=released,
            release=keys.digest(made) if made else bytes(32),
            empty=testimony.empty(self._store),
        )
        answer = Signed.make(self.joins_as.signing, joining)
        return answer.encode(), {"joining": answer.encode()}

    def _renewed(self) -> tuple[Identity, Signed | None]:
        """The keys to join with; new ones only where the old ones can say so, to those who know them."""
        following, roster = self._following(), held(self._store)
        mine = self.identity.entry()
        if following is None or roster is None or mine not in roster.members:
            return self.identity, None
        said = Rotation(roster=roster.hash(), name=mine.name, signing=following.entry().signing)
        return following, Signed.make(self.identity.signing, said)

    def reveal(self, shared: bytes) -> Answer:
        """Reveal the nonce, once, to one whole list of entries and commitments; and what is known of who starts empty."""
        _, joinings = enrolment.checked(shared)
        proposal = Proposal.decode_once(shared)
        mine = self._store.fact("joining")
        if mine is None or Signed.decode(mine) not in proposal.joinings:
            raise Refusal(Code.VOID, "The proposal does not hold this member's own, newest joining.")
        self._check_predecessor(shared)
        nonce = self._nonces.get(proposal.call.digest())
        if nonce is None:
            raise Refusal(
                Code.VOID,
                "This member's nonce for the proposal is void: it was restarted since, or has given it.",
            )
        words = testimony.said(self._store, joinings, self.identity.name, self._clock())
        self._nonces = {}
        facts = {"proposal": keys.digest(shared), "name": self.identity.name, "nonce": nonce}
        answer = Signed.make(self.joins_as.signing, Revealed.model_validate(facts | words)).encode()
        return answer, {"revealed": keys.digest(shared)}

    def _check_predecessor(self, proposal: bytes) -> None:
        """The proposal follows the roster this member takes part in, and tells of a release that enough hold.

        One that takes part in none yet joins whatever its people approve.
        """
        (call, _), roster = enrolment.checked(proposal), held(self._store)
        if roster is not None and call.predecessor != roster.hash():
            raise Refusal(
                Code.ROSTER,
                "The proposal does not follow the roster that this member takes part in.",
                "If the coordinator has lost its database, see docs/refusals.md, roster.",
                roster.hash(),
            )
        if roster is not None:
            try:
                enrolment.check_follows(proposal, roster)
            except ProtocolError as error:
                raise Refusal(Code.ROSTER, error.cause) from error
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
        try:
            enrolment.check_release(proposal, roster)
        except ProtocolError as error:
            raise Refusal(Code.ROSTER, error.cause, error.remedy) from error

    def approve(self, shared: bytes) -> Answer:
        """Sign the roster, if its words are the ones that people approved here."""
        message = Reveals.decode_once(shared)
        if self._store.fact("revealed") != keys.digest(message.proposal):
            raise Refusal(Code.VOID, "This member has not revealed its nonce to this proposal.")
        roster = enrolment.roster_of(message.proposal, message.revealed)
        if roster.number <= withdrawn(self._store):
            raise Refusal(Code.VOID, "People at this member have withdrawn from this roster.")
        if newest(self._store) >= roster.number:
            raise Refusal(Code.ROSTER, "This member has signed this proposal or a later one already.")
        code, ledger = roster.code(), self._store.ledger()
        inherited = testimony.taken(message, self.identity.name, ledger, self._clock())
        unseen = self._replaced(roster) and self._store.fact("pending") != roster.encode()
        if unseen or (self._store.fact("approved_code") or b"").decode() != code:
            # words typed in before this member showed that the coordinator's key is replaced are typed in again
            facts = {"approved_code": b""} if unseen else {}
            self._store.remember(pending=roster.encode(), shown=code.encode(), **facts)
            raise Refusal(
                Code.ROSTER,
                f"This institution has not approved the words of the roster of {_named(roster)}: {code}."
                f"{self._changes(roster)}{testimony.shown(inherited)}",
                "Compare the words with the other members by telephone, then run `fedrepay member approve-roster`. "
                "Differing words mean that somebody else is in the roster.",
            )
        self._check_predecessor(message.proposal)  # a roster may have come since it revealed
        answer = Signed.make(self.joins_as.signing, Approval(roster=roster.hash(), name=self.identity.name))
        call = Proposal.decode_once(message.proposal).call.encode()
        # what is taken over comes with the roster; of who takes nothing over, the words of others are not kept
        heard = shared if inherited else b""
        return answer.encode(), {"signed": roster.encode(), "signed_call": call, "heard": heard}

    def _replaced(self, roster: Roster) -> bool:
        before = held(self._store)
        return before is not None and changes(before, roster).coordinator == KeyChange.REPLACED

    def _changes(self, roster: Roster) -> str:
        """What people need to see beside the words; nothing at a first roster, where all are new."""
        before = held(self._store)
        said = "" if before is None else str(changes(before, roster))
        return f" Of the roster before: {said}." if said else ""

    def certify(self, shared: bytes) -> Certified:
        """Take part in a roster that everybody has signed, this member among them.

        A restored store may have forgotten that it signed; its signature has not.
        """
        message = Certificate.decode_once(shared)
        before = held(self._store)
        if before is not None and before.encode() == message.roster:
            return b"", {}
        roster = enrolment.certified(message, before)
        check_coordinator(self._store, roster.coordinator)
        signed = self._store.fact("signed")
        if roster.number < newest(self._store) or (
            roster.number == newest(self._store) and signed != message.roster
        ):
            raise Refusal(Code.ROSTER, "This member has signed a later roster, or withdrawn from this one.")
        following = self._following()
        mine = {each.entry() for each in (self.identity, following) if each is not None}
        if self.identity.name not in roster.names or roster.entry(self.identity.name) not in mine:
            raise Refusal(Code.ROSTER, "The roster does not hold this member's own keys.")
        now = self._clock()
        entries = self._inherited(before, ours=signed == message.roster, now=now)
        facts = {"roster": message.roster, "signed": message.roster, "certificate": shared, "heard": b""}
        facts["gone"] = testimony.departed(self._store, before, roster, now)
        if signed != message.roster or (entries and not self._store.fact("since")):
            facts |= testimony.since(now)  # what it saw of others before is forgotten
        if before is not None and before.coordinator != roster.coordinator:
            facts["former_coordinators"] = b"".join((*former(self._store), before.coordinator))
        return b"", facts, *entries

    def _inherited(self, before: Roster | None, *, ours: bool, now: float) -> tuple[LedgerEntry, ...]:
        """What the ledger takes over with a roster; a store that knows neither it nor one before has lost the year."""
        heard, ledger = self._store.fact("heard"), self._store.ledger()
        if ours and heard:
            return testimony.taken(Reveals.decode_once(heard), self.identity.name, ledger, now)
        if ours or before is not None or loss(ledger, now) is not None:
            return ()
        return (lost_mark(now),)

    def certificate(self) -> bytes:
        """What proves the roster this member takes part in, for a coordinator that has lost it; empty before one."""
        return self._store.fact("certificate") or b""


def _named(roster: Roster) -> str:
    """Its members, so far as a line holds them."""
    shown = ", ".join(roster.names[:_SHOWN])
    rest = len(roster.names) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
