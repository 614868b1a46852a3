"""A member's node: answers one message at a time; every answer is stored before it is sent.

The decisions are pure (``epoch``, ``guard``, ``budget``, ``closing``); this module is their shell:
it reads the store, asks them, writes what they decide, and only then answers.
"""

import logging
from collections.abc import Callable
from time import perf_counter

from fedrepay.client import budget, closing, guard
from fedrepay.client.ceremony import Ceremony
from fedrepay.client.identity import Identity
from fedrepay.client.learning.contribution import Rows
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.limits import Limits
from fedrepay.client.seal import add_noise, seal
from fedrepay.client.session import Session
from fedrepay.client.store import MemberStore
from fedrepay.client.tables import StoredUpload
from fedrepay.shared.errors import BudgetError, FedrepayError, Refusal
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import (
    Attempt,
    Closing,
    Header,
    Reply,
    RoundConfig,
    RoundRequest,
    Upload,
    Votes,
    Written,
)

_ENDING = ("tag", "canary", "rollback")
_AT_HOME = "The member's own log says why."
"""Errors other than refusals may name paths, data or other runs: they stay at the member."""
log = logging.getLogger(__name__)


class Member:
    """One institution's side of the protocol.

    Args:
        identity: long-term keys.
        store: durable state.
        book: the schema's code book, as this member holds it.
        rows: gives the frozen snapshot of the member's data and its keyed hash (32 bytes).
        limits: the member's veto.
        clock: seconds since 1970, for the ledger's year.
        entropy: noise, keys and nonces; anything but OS entropy makes every release ``not_private``.
        observe: told how long each stage took, in seconds.
        model: the torch module this member trains in local mode, as its own configuration names it.
    """

    def __init__(
        self,
        identity: Identity,
        store: MemberStore,
        book: CodeBook,
        rows: Callable[[], tuple[Rows, bytes]],
        limits: Limits,
        clock: Callable[[], float],
        entropy: Entropy | None = None,
        observe: Callable[[str, float], None] = lambda _stage, _seconds: None,
        model: TorchModel | None = None,
    ) -> None:
        self._identity = identity
        self._store = store
        self._book = book
        self._rows = rows
        self._limits = limits
        self._clock = clock
        self._entropy = entropy or OsEntropy()
        self._observe = observe
        self._model = model
        self._ceremony = Ceremony(identity, store, self._entropy)
        self._session: Session | None = None
        self._ended: tuple[bytes, str] | None = (
            None  # the epoch (by this member's nonce) and why, also unstored
        )

    def approve_roster(self, code: str) -> None:
        """The twelve words that people at the members compared out of band."""
        self._store.remember(approved_code=" ".join(code.lower().split()).encode())

    def handle(self, kind: str, shared: bytes, own: bytes) -> bytes:
        """Answer one message; refusals are answers too (an encoded ``Reply``)."""
        try:
            guard.check_size(shared, own)
            with self._store.connected():
                reply = self._dispatch(kind, shared, own)
            if self._session is not None:
                self._session.rest()
        except Refusal as refusal:
            self._end_epoch(refusal)
            reply = Reply(kind="refused", code=refusal.code, cause=refusal.cause)
        except BudgetError as error:
            log.warning("%s: %s", kind, error)
            reply = Reply(kind="refused", code="budget", cause=_AT_HOME)
        except FedrepayError as error:
            log.warning("%s: %s", kind, error)
            reply = Reply(kind="refused", code=type(error).__name__, cause=_AT_HOME)
        except Exception:
            log.exception("%s", kind)
            reply = Reply(kind="refused", code="internal", cause=_AT_HOME)
        return reply.encode()

    def _end_epoch(self, refusal: Refusal) -> None:
        """After these refusals this member takes no further part; also where the store cannot say so (a full disk)."""
        if refusal.code not in _ENDING:
            return
        session = self._session
        if session is not None and (self._ended is None or self._ended[0] != session.nonce):
            self._ended = (session.nonce, refusal.code)
        try:
            if self._ended is not None and not self._store.fact("blocked"):
                self._store.remember(blocked=self._ended[1].encode())
        except FedrepayError as error:
            log.warning("%s: %s", refusal.code, error)

    def _dispatch(self, kind: str, shared: bytes, own: bytes) -> Reply:
        if kind == "ping":
            return Reply(kind="ok")
        if kind == "round":
            return self._round(shared, own)
        steps = {
            "hello": self._hello,
            "introduce": self._ceremony.introduce,
            "seed": self._ceremony.seed,
            "context": self._ceremony.context,
            "confirm": self._ceremony.confirm,
            "write": self._close,
            "close": self._close,
            "votes": self._votes,
        }
        if kind not in steps:
            raise Refusal("epoch", f"A message of unknown kind {kind!r}.")
        asked = keys.digest(kind.encode(), shared, own)
        stored = self._store.fact(f"reply:{kind}")
        if stored is not None and stored[:32] == asked:
            return Reply(kind="ok", body=stored[32:])
        answer = steps[kind](shared, own)
        if isinstance(answer, Reply):
            return answer
        body, facts = answer
        self._store.remember(**facts, **{f"reply:{kind}": asked + body})
        return Reply(kind="ok", body=body)

    def _hello(self, shared: bytes, own: bytes) -> tuple[bytes, dict[str, bytes]]:
        answer = self._ceremony.hello(shared, own)
        self._session = None  # another epoch's
        return answer

    # --- rounds ---

    def _open_session(self) -> Session:
        session = self._working()
        self._refuse_ended()
        return session

    def _refuse_ended(self) -> None:
        blocked = (self._store.fact("blocked") or b"").decode()
        if not blocked and self._ended is not None and self._ended[0] == self._ceremony.state().nonce:
            blocked = self._ended[1]
        if blocked:
            raise Refusal("rollback", f"This epoch ended at this member ({blocked}).")

    def _working(self) -> Session:
        """The epoch's working memory, also of one that has ended: what was sent in it must still be charged."""
        if self._session is None:
            self._session = Session(
                self._identity.name,
                self._store,
                self._book,
                self._ceremony.state(),
                self._observe,
                self._entropy,
                self._model,
            )
        return self._session

    def _round(self, shared: bytes, own: bytes) -> Reply:
        request = RoundRequest.decode_once(shared)
        session = self._working()
        view = session.view()
        config = guard.check_config(view, request.config)
        if guard.is_closing(config) or self._identity.name not in config.cohort:
            raise Refusal("monotone", "This attempt does not ask this member for a contribution.")
        self._check_rollback(session, config, own)
        self._refuse_ended()
        stored = self._store.upload(config.run, config.round, config.attempt)
        if stored and view.submitted[config.attempt][1] == request.config.digest():
            return Reply(kind="ok", body=stored)
        guard.check_monotone(view, config)
        if view.counter < 0 and not session.confirmed(request.confirmations):
            return Reply(kind="need", need=0)
        need = session.open_sums(config, request.sums)
        if need is not None:
            return Reply(kind="need", need=need)
        self._limits.check(config, len(session.epoch.roster.names), self._book.schema.public)
        return Reply(kind="ok", body=self._contribute(session, config, request.config))

    def _check_rollback(self, session: Session, config: RoundConfig, own: bytes) -> None:
        header = guard.rolled_back(session.view(), Signed.decode(own) if own else None)
        if header is None:
            return
        charged = session.view().charged
        attempts: tuple[Attempt | RoundConfig, ...] = config.history
        if not guard.is_closing(config):
            attempts = (*attempts, config)
        for each in attempts:
            pair = (each.round, each.attempt)
            if self._identity.name in each.cohort and pair not in charged and each.attempt <= header.attempt:
                event = budget.as_event(session.mechanisms(config, each))
                self._store.charge(config.run, *pair, "rolled-back", event)
        raise Refusal(
            "rollback",
            "This member's store is older than what it has sent: it was restored from a backup.",
            "The lost attempts are charged. A new epoch must start before this member takes part again.",
        )

    def _contribute(self, session: Session, config: RoundConfig, signed: Signed) -> bytes:
        new = session.mechanisms(config, config)
        spent = tuple(
            mechanism
            for each in config.history
            if self._identity.name in each.cohort
            for mechanism in session.mechanisms(config, each)
        )
        budget.gate(config, spent, new, self._store.ledger(), self._limits, self._book, self._clock())
        begun = perf_counter()
        rows, snapshot = self._rows()
        frozen = self._store.fact(f"snapshot:{config.run}")
        if frozen not in (None, snapshot):
            raise Refusal("snapshot", "The data changed since the run began.", "Restore the run's snapshot.")
        attempt_keys = session.attempt_keys(config)  # a peer's unusable key must not cost budget
        event = budget.as_event(new)
        status = "unprotected" if config.mode == "none" else "reserved"
        self._store.charge(
            config.run,
            config.round,
            config.attempt,
            status,
            event,
            **{
                f"snapshot:{config.run}": snapshot,
                f"terms:{config.run}": guard.terms(config),
                "counter": session.counter_bytes(config.attempt),
            },
        )
        values = session.learner(config).contribution(config.round, session.weights(config), rows)
        self._observe("contribution", perf_counter() - begun)
        begun = perf_counter()
        noisy = add_noise(values, new, self._entropy)
        self._observe("noise", perf_counter() - begun)
        begun = perf_counter()
        payload, tags = seal(noisy, attempt_keys, session.packing(config, config.round))
        self._observe("mask, encrypt, tag", perf_counter() - begun)
        header = Header(
            run=config.run,
            epoch=config.epoch,
            context_id=session.context_id,
            config=signed.digest(),
            round=config.round,
            attempt=config.attempt,
            name=self._identity.name,
            payload=keys.digest(payload),
            tags=tags,
            opened=session.opened_mac(),
            ledger=self._store.ledger_head(),
        )
        made = Signed.make(self._identity.signing, header)
        body = Upload(header=made, payload=payload).encode()
        upload = StoredUpload(config.round, config.attempt, signed.digest(), body, made.encode())
        self._store.submit(config.run, upload, event, "committed")
        return body

    # --- the release ---

    def _close(self, shared: bytes, own: bytes) -> Reply | tuple[bytes, dict[str, bytes]]:
        message, session = Closing.decode_once(shared), self._working()
        config = guard.check_config(session.view(), message.config)
        if not guard.is_closing(config):
            raise Refusal("monotone", "The run is not over.")
        self._check_rollback(session, config, own)
        self._refuse_ended()
        if self._store.fact(f"voted:{config.run}") and config.round != len(session.view().opened):
            raise Refusal("release", "This member has signed the run's release and opens no further sum.")
        need = session.open_sums(config, message.sums)
        if need is not None:
            return Reply(kind="need", need=need)
        number, _, _ = self._store.release() or (-1, b"", b"")
        if config.run <= number:
            raise Refusal("release", f"Release {config.run} is not above release {number}.")
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
            raise Refusal("release", f"This member has signed another release of run {run}.")
        return {"candidate": release, key: digest}

    def _votes(self, shared: bytes, _own: bytes) -> tuple[bytes, dict[str, bytes]]:
        candidate = self._store.fact("candidate")
        votes = Votes.decode_once(shared)
        stored = self._store.release()
        if candidate is None and stored is not None and stored[0] == votes.run:
            return b"", {}  # stored before a crash, and asked again
        if candidate is None:
            raise Refusal("release", "This member holds no release to store.")
        session = self._open_session()
        closing.check_votes(candidate, session.epoch, votes)
        self._store.store_release(
            session.epoch.run, candidate, shared, forget=("epoch", "candidate", *closing.EPOCH_REPLIES)
        )
        self._session = None
        return b"", {}
