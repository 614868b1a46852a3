"""The ceremony's shell at a member: reads the store, asks ``epoch``, and says what to remember.

Each step gives its answer and the facts to be stored with it, in one transaction, before it is sent.
"""

from fedrepay.client import epoch
from fedrepay.client.epoch import EpochState
from fedrepay.client.identity import Identity
from fedrepay.client.store import MemberStore
from fedrepay.shared.errors import Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Acceptances, ContextClosing, EpochStart

Answer = tuple[bytes, dict[str, bytes]]


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
            raise Refusal("epoch", "This member is in no epoch.")
        return EpochState.decode(stored)

    def hello(self, shared: bytes, _own: bytes) -> Answer:
        """Answer a call for an epoch with fresh keys."""
        signed = Signed.decode(shared)
        start = EpochStart.decode(signed.body)
        run = start.run
        last = int.from_bytes(self._store.fact("run") or b"\x00", "big")
        if run <= last:
            raise Refusal("monotone", f"Run {run} is not above run {last}.")
        begun = self._store.fact("epoch")
        if begun is not None and EpochState.decode(begun).run == run:
            raise Refusal("monotone", f"Another call for run {run} was answered already.")
        known, code = self._store.fact("roster"), self._store.fact("approved_code")
        if known is not None:
            roster = Roster.decode(known)
            if start.coordinator != roster.coordinator and code == roster.code().encode():
                raise Refusal(
                    "roster",
                    "The call for an epoch is not by the coordinator of this member's roster.",
                    "If the coordinator's key has changed, compare the new words and approve them first.",
                )
        state, answer = epoch.hello(self._identity, signed, self._entropy)
        return answer.encode(), {"epoch": state.encode(), "blocked": b""}

    def introduce(self, shared: bytes, _own: bytes) -> Answer:
        """Accept the roster, or refuse an unknown one."""
        code = (self._store.fact("approved_code") or b"").decode()
        state, answer = epoch.introduce(
            self._identity, self.state(), shared, code, self._store.fact("roster")
        )
        return answer.encode(), {"epoch": state.encode()}

    def seed(self, shared: bytes, _own: bytes) -> Answer:
        """A seeder's contribution, sealed to every member."""
        state = self.state()
        accepted = Acceptances.decode_once(shared).signed
        epoch.check_acceptances(state.epoch(), accepted, self._store.fact("roster"))
        return epoch.envelopes(self._identity, state).encode(), {}

    def context(self, _shared: bytes, own: bytes) -> Answer:
        """The maker's encryption context and test vector."""
        state = self.state()
        seed = epoch.group_seed(self._identity, state, own)
        return epoch.offer_context(self._identity, state, seed).encode(), {}

    def confirm(self, shared: bytes, own: bytes) -> Answer:
        """Open the context, check its test vector, confirm."""
        state, message = self.state(), ContextClosing.decode_once(shared)
        last = self._store.fact("roster")
        epoch.check_acceptances(state.epoch(), message.acceptances, last)
        seed = epoch.group_seed(self._identity, state, own)
        state, answer = epoch.confirm(self._identity, state, seed, message.offer)
        facts = {"roster": state.epoch().roster.encode(), "run": state.run.to_bytes(8, "big")}
        return answer.encode(), {"epoch": state.encode(), **facts}
