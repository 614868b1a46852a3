"""The ceremony's shell at a member: reads the store, asks ``epoch``, and says what to remember.

Each step gives its answer and the facts to be stored with it, in one transaction, before it is sent. A step is
answered once an epoch: the same bytes get the same answer, any other ask is refused (docs/protocol.md, *Epochs, roster,
keys*, 3), since whatever is computed twice in one state may put one key, or one mask, to two uses.
"""

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import enrolment, epoch
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import Acceptances, Declared, EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Offer

Answer = tuple[bytes, dict[str, bytes]]
STEPS = (Kind.INTRODUCE, Kind.SEED, Kind.CONFIRM)
"""After the hello; each is answered once an epoch."""


class Ceremony:
    """One member's side of an epoch's beginning.

    Raises:
        Refusal: from every step, where the guard says no.
    """

    def __init__(self, identity: Identity, store: MemberStore, entropy: Entropy) -> None:
        self._identity = identity
        self._store = store
        self._entropy = entropy

    def state(self) -> EpochState:
        """The epoch under way."""
        stored = self._store.fact("epoch")
        if stored is None:
            raise Refusal(Code.EPOCH, "This member is in no epoch.")
        return EpochState.decode(stored)

    def answer(self, kind: Kind, shared: bytes, own: bytes) -> Answer:
        """One step of :data:`STEPS`; a part of the message that the step does not use must be empty."""
        if bool(own) != (kind == Kind.CONFIRM):
            raise Refusal(Code.EPOCH, f"A part of the message that '{kind}' does not use is not empty.")
        if self._store.fact(f"reply:{kind}"):
            raise Refusal(Code.MONOTONE, self._second(kind, shared))
        if kind == Kind.INTRODUCE:
            return self._introduce(shared)
        if kind == Kind.SEED:
            return self._seed(shared)
        return self._confirm(shared, own)

    def _second(self, kind: Kind, shared: bytes) -> str:
        """Why a second, different ask is refused; where its bytes convict somebody, who."""
        if kind == Kind.INTRODUCE:
            try:
                return epoch.two_introductions(self.state().epoch(), Epoch.decode(shared))
            except ProtocolError:
                return "This member has accepted another introduction of this epoch."
        return f"This member has answered another '{kind}' of this epoch."

    def hello(self, shared: bytes, declared: Declared) -> Answer:
        """Answer a call for an epoch with fresh keys, if its terms are those that this member said yes to."""
        signed, roster = Signed.decode(shared), enrolment.current(self._store)
        start = signed.verified(roster.coordinator, EpochStart)
        last = enrolment.newest_run(self._store)
        if start.run <= last:
            raise Refusal(Code.MONOTONE, f"Run {start.run} is not above run {last}.")
        if start.roster != roster.hash():
            raise Refusal(
                Code.ROSTER,
                "The call for an epoch is for another roster than the one this member takes part in.",
            )
        agreed = self._store.fact("offer")
        offer = None if agreed is None else Offer.decode(Signed.decode(agreed).body)
        if offer is None or (offer.run, offer.roster, offer.terms.terms_hash(), offer.terms.colluders) != (
            start.run,
            start.roster,
            start.terms,
            start.colluders,
        ):
            raise Refusal(Code.EPOCH, "This member has not said yes to the terms of this run.")
        state, answer = epoch.hello(self._identity, signed, start, declared, self._entropy)
        forget = dict.fromkeys(("ending", *(f"reply:{kind}" for kind in (Kind.TERMS, *STEPS))), b"")
        return answer.encode(), {"epoch": state.encode(), "blocked": b"", "last_start": shared, **forget}

    def _introduce(self, shared: bytes) -> Answer:
        roster = enrolment.current(self._store)
        state, answer = epoch.introduce(self._identity, self.state(), shared, roster)
        return answer.encode(), {"epoch": state.encode()}

    def _seed(self, shared: bytes) -> Answer:
        state = self.state()
        epoch.check_acceptances(state.epoch(), Acceptances.decode_once(shared).signed)
        return epoch.envelopes(self._identity, state).encode(), {}

    def _confirm(self, shared: bytes, own: bytes) -> Answer:
        state = self.state()
        epoch.check_acceptances(state.epoch(), Acceptances.decode_once(shared).signed)
        state, answer = epoch.confirm(self._identity, state, epoch.group_seed(self._identity, state, own))
        return answer.encode(), {"epoch": state.encode()}
