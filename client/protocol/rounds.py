"""A member's part in a run: rounds, what becomes of a sum that failed, the release.

The decisions are pure (``guard``, ``budget``, ``blame``, ``closing``); this is their shell beside ``member``.
"""

from collections.abc import Callable
from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.learning.contribution import Rows
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.protocol import closing, enrolment, guard
from fedrepay.client.protocol.contributing import Contributor
from fedrepay.client.protocol.ended import Ended
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.protocol.session import Session
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto import budget
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.year import year_before
from fedrepay.shared import keys
from fedrepay.shared.errors import Code, Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES
from fedrepay.shared.trust.handshake import Declared, Year
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import (
    Attempt,
    Closing,
    Evidence,
    PrepareRequest,
    Resend,
    RoundConfig,
    Upload,
    Verdict,
    Votes,
    Written,
)


class Rounds:
    """Answers rounds, resends, verdicts and the release out of one member's store; arguments as :class:`Member`'s."""

    def __init__(
        self,
        identity: Identity,
        store: MemberStore,
        book: CodeBook,
        rows: Callable[[], tuple[Rows, bytes]],
        limits: Limits,
        clock: Callable[[], float],
        entropy: Entropy,
        observe: Callable[[str, float], None],
        model: TorchModel | None,
        override: bytes,
    ) -> None:
        self._identity = identity
        self._store = store
        self._book = book
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self._observe = observe
        self._model = model
        self._override = override
        self._contributions = Contributor(identity, store, rows, limits, clock, entropy, observe, override)
        self._session: Session | None = None
        self._ended = Ended(identity.name, store)

    def declared(self) -> Declared:
        """What this member says of itself in the hello of an epoch, for the statement."""
        delta = self._limits.year_delta(self._book.schema.public)
        said = year_before(self._identity.name, self._store.ledger(), delta, self._clock())
        year = Year(epsilon=said.epsilon, delta=said.delta, runs=said.runs, attempts=said.attempts)
        return Declared(year=year, override=self._override)

    def forget(self) -> None:
        """Another epoch begins, or this one is over."""
        self._session = None
        self._contributions.forget()

    def put_away(self) -> None:
        """Another run begins: what was prepared for the one before is not kept any longer."""
        self._contributions.forget()

    def rest(self) -> None:
        """A message is over: what can be read again is forgotten."""
        if self._session is not None:
            self._session.rest()

    def end_epoch(self, refusal: Refusal, message: bytes) -> Refusal:
        """After some refusals this member takes no further part: what it gives instead, see :meth:`Ended.by`."""
        return self._ended.by(refusal, None if self._session is None else self._session.nonce, message)

    def _state(self) -> EpochState:
        stored = self._store.fact("epoch")
        if stored is None:
            raise Refusal(Code.EPOCH, "This member is in no epoch.")
        return EpochState.decode(stored)

    def _refuse_ended(self) -> None:
        self._ended.refuse(self._state().nonce)

    def _working(self) -> Session:
        """The epoch's working memory, also of one that has ended: what was sent in it must still be charged.

        Raises:
            Refusal: there is no epoch, or this member takes part in a later roster, or has signed one.
        """
        if self._session is None:
            state = self._state()
            if state.epoch().roster.hash() != enrolment.current(self._store).hash():
                raise Refusal(
                    Code.ROSTER, "The epoch is of an earlier roster than this member takes part in."
                )
            self._session = Session(
                self._identity.name,
                self._store,
                self._book,
                self._state(),
                self._observe,
                self._entropy,
                self._model,
            )
        return self._session

    def prepare(self, shared: bytes, own: bytes) -> dict[str, Any]:
        """Every sum before an attempt opened and this member's contribution at hand; or the first sum that it lacks.

        The guard's order: docs/protocol.md, *One round*, 1.
        """
        request = PrepareRequest.decode_once(shared)
        session = self._working()
        view = session.view()
        config = guard.check_prepare(view, request.asked)
        if guard.is_closing(config):
            raise Refusal(Code.MONOTONE, "The run is over: there is nothing to prepare.")
        self._check_rollback(session, config, own, begun=False)
        self._refuse_ended()
        guard.check_monotone(view, config)
        if not session.confirmed(request.confirmations):
            return {"kind": "need", "need": 0, "run": config.run}
        need = session.open_sums(config, request.sums)
        if need is not None:
            return {"kind": "need", "need": need, "run": config.run}
        self._contributions.prepare(session, config)
        return {"run": config.run, "need": self._contributions.least_cohort()}

    def round(self, shared: bytes, own: bytes) -> dict[str, Any]:
        """A contribution to an attempt whose cohort is known, of what was prepared; or that it has to be prepared again.

        The guard's order: docs/protocol.md, *One round*, 1.
        """
        signed = Signed.decode_once(shared)
        session = self._working()
        view = session.view()
        config = guard.check_config(view, signed)
        if guard.is_closing(config) or self._identity.name not in config.cohort:
            raise Refusal(Code.MONOTONE, "This attempt does not ask this member for a contribution.")
        self._check_rollback(session, config, own)
        self._refuse_ended()
        named = {"run": config.run, "attempt": config.attempt}
        stored = self._store.upload(config.run, config.round, config.attempt)
        if stored and view.submitted[config.attempt].config == signed.digest():
            return {"body": stored, **named}
        guard.check_monotone(view, config)
        if self._contributions.prepared != config.attempt:
            return {"kind": "need", "need": config.round, **named}
        return {"body": self._contributions.send(session, config, signed), **named}

    def resend(self, shared: bytes, _own: bytes) -> dict[str, Any]:
        """One ciphertext of an upload again, under its header: the bytes that were sent, also after the epoch's end."""
        message, session = Resend.decode(shared), self._working()
        config = message.config.verified(session.epoch.roster.coordinator, RoundConfig)
        if (config.run, config.epoch) != (session.epoch.run, session.epoch.id):
            raise Refusal(Code.EPOCH, "The attempt is another run's or epoch's.")
        stored = self._store.upload(config.run, config.round, config.attempt)
        if not stored or session.view().submitted[config.attempt].config != message.config.digest():
            raise Refusal(Code.LOST_ATTEMPT, "This member holds no upload to that attempt any more.")
        upload = Upload.decode(stored)
        start = message.chunk * UPLOAD_BYTES
        part = upload.model_copy(update={"payload": upload.payload[start : start + UPLOAD_BYTES]})
        return {"body": part.encode(), "run": config.run, "attempt": config.attempt}

    def blame(self, shared: bytes, _own: bytes) -> dict[str, Any]:
        """This member's verdict on a sum that failed; it decrypts nothing."""
        evidence, session = Evidence.decode_once(shared), self._working()
        verdict = Verdict(
            config=evidence.config.digest(), name=self._identity.name, suspects=session.judge(evidence)
        )
        return {"body": Signed.make(self._identity.signing, verdict).encode()}

    def _check_rollback(
        self, session: Session, config: RoundConfig, own: bytes, *, begun: bool = True
    ) -> None:
        """Refuse, and charge what this member's own last header shows that the store has forgotten.

        Args:
            session: of the epoch.
            config: of an attempt, of the run's end, or (not ``begun``) of an attempt that may never be.
            own: the header, or nothing.
            begun: whether there is such an attempt.
        """
        header = guard.rolled_back(session.view(), Signed.decode(own) if own else None)
        if header is None:
            return
        charged = session.view().charged
        attempts: tuple[Attempt | RoundConfig, ...] = config.history
        if not guard.is_closing(config) and (begun or header.attempt >= config.attempt):
            attempts = (*attempts, config)
        for each in attempts:
            known = guard.Place(each.round, each.attempt) in charged
            if self._identity.name in each.cohort and not known and each.attempt <= header.attempt:
                event = budget.as_event(session.mechanisms(config, each))
                now = str(int(self._clock())).encode()  # what it saw of others may be forgotten too
                self._store.charge(
                    config.run,
                    each.round,
                    each.attempt,
                    "rolled-back",
                    event,
                    seen=session.unseen(config, begun=begun),
                    since=now,
                )
        raise Refusal(
            Code.ROLLBACK,
            "This member's store is older than what it has sent: it was restored from a backup.",
            "The lost attempts are charged. A new epoch must start before this member takes part again.",
        )

    # --- the release ---

    def close(self, shared: bytes, own: bytes) -> dict[str, Any] | tuple[bytes, dict[str, bytes]]:
        """The release: written, or another's checked, and signed."""
        message, session = Closing.decode_once(shared), self._working()
        config = guard.check_config(session.view(), message.config)
        if not guard.is_closing(config):
            raise Refusal(Code.MONOTONE, "The run is not over.")
        self._check_rollback(session, config, own)
        self._refuse_ended()
        if self._store.fact(f"voted:{config.run}") and config.round != len(session.view().opened):
            raise Refusal(Code.RELEASE, "This member has signed the run's release and opens no further sum.")
        need = session.open_sums(config, message.sums)
        if need is not None:
            return {"kind": "need", "need": need, "run": config.run}
        if unseen := session.unseen(config):
            self._store.note(unseen)
        number, _, _ = self._store.release() or (-1, b"", b"")
        if config.run <= number:
            raise Refusal(Code.RELEASE, f"Release {config.run} is not above release {number}.")
        made = closing.compute(session, config, private=self._entropy.private)
        if message.sealed is None:
            release = made.encode()
            sealed = closing.seal(release, made.number, session.epoch, self._entropy)
            vote = closing.vote(self._identity, made.number, release)
            return Written(sealed=sealed, vote=vote).encode(), self._voted(config.run, release)
        release = closing.open_sealed(self._identity, message.sealed, session.epoch)
        closing.check(made, release)
        vote = closing.vote(self._identity, made.number, release)
        return vote.encode(), self._voted(config.run, release)

    def _voted(self, run: int, release: bytes) -> dict[str, bytes]:
        """What to remember with a vote: one release a run, ever, and no sum is opened after it."""
        key, digest = f"voted:{run}", keys.digest(release)
        if self._store.fact(key) not in (None, digest):
            raise Refusal(Code.RELEASE, f"This member has signed another release of run {run}.")
        return {"candidate": release, key: digest}

    def votes(self, shared: bytes) -> tuple[bytes, dict[str, bytes]]:
        """Store a release that enough have signed, and forget the epoch's secrets."""
        candidate = self._store.fact("candidate")
        votes = Votes.decode_once(shared)
        stored = self._store.release()
        if candidate is None and stored is not None and stored[0] == votes.run:
            return b"", {}  # stored before a crash, and asked again
        if candidate is None:
            raise Refusal(Code.RELEASE, "This member holds no release to store.")
        session = self._working()
        self._refuse_ended()
        closing.check_votes(candidate, session.epoch, votes)
        self._store.store_release(session.epoch.run, candidate, shared, forget=closing.EPOCH_FACTS)
        self.forget()
        return b"", {}
