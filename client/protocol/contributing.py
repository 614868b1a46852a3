"""A member's contribution to an attempt: computed while it is asked who is there, protected and sent once its cohort is known.

What takes long stands before the attempt, so that a member can be lost only in the short while after: an attempt that
loses one is void, and charged all the same. The contribution waits in memory alone: integers of this member's rows
without noise are never written. A process that was started again is asked to prepare once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.crypto.seal import add_noise, seal
from fedrepay.client.learning.contribution import Rows
from fedrepay.client.protocol import accepted
from fedrepay.client.protocol.session import Session
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import StoredUpload
from fedrepay.client.veto import budget
from fedrepay.client.veto.limits import Limits
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import Code, Refusal
from fedrepay.shared.privacy.accounting import Charged
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.secure_sum.ciphertext import hashes
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header, RoundConfig, Upload


@dataclass(frozen=True)
class PreparedPart:
    """A contribution before its noise.

    Attributes:
        number: of which attempt.
        attempt: digest of its configuration without cohort, and of the sums opened before.
        values: integers, one a value of the sum.
        snapshot: keyed hash of the rows.
        window: whose customers the attempt is charged for.
    """

    number: int
    attempt: bytes
    values: I64
    snapshot: bytes
    window: bytes


class Contributor:
    """Computes, keeps and sends one member's contributions; arguments as :class:`Member`'s."""

    def __init__(
        self,
        identity: Identity,
        store: MemberStore,
        rows: Callable[[], tuple[Rows, bytes]],
        limits: Limits,
        clock: Callable[[], float],
        entropy: Entropy,
        observe: Callable[[str, float], None],
        override: bytes,
    ) -> None:
        self._identity = identity
        self._store = store
        self._rows = rows
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
        self._observe = observe
        self._override = override
        self._prepared: PreparedPart | None = None

    def forget(self) -> None:
        """Another epoch begins, or this one is over."""
        self._prepared = None

    @property
    def prepared(self) -> int | None:
        """To which attempt a contribution is at hand: a late copy of an earlier ask may have put its own in the place of it."""
        return None if self._prepared is None else self._prepared.number

    def prepare(self, session: Session, config: RoundConfig) -> None:
        """Judge the attempt as it would be with that cohort, and have its contribution at hand; nothing is charged.

        Raises:
            BudgetError: a bound would be passed.
            Refusal: code ``limits`` or ``snapshot``.
        """
        self._judge(session, config)
        self._prepared = self._computed(session, config)

    def least_cohort(self) -> int:
        """The fewest members that an attempt may have for this one to take part."""
        return accepted.least_cohort(self._store, self._limits)

    def send(self, session: Session, config: RoundConfig, signed: Signed) -> bytes:
        """The upload to an attempt, charged before it is made and stored before it leaves.

        Raises:
            BudgetError: a bound would be passed.
            Refusal: the attempt is not the one that was prepared; code ``limits``; or a peer's key is unusable.
        """
        prepared = self._prepared
        if prepared is None or prepared.attempt != _attempt(session, config):
            raise Refusal(Code.HISTORY, "The attempt is another than this member was asked to prepare.")
        charged = self._judge(session, config)
        self._prepared = None
        attempt_keys = session.attempt_keys(config)  # a peer's unusable key must not cost budget
        event, window = budget.as_event(charged), prepared.window
        self._store.charge(
            config.run,
            config.round,
            config.attempt,
            "unprotected" if config.mode == "none" else "reserved",
            event,
            window=window,
            seen=session.unseen(config),
            **{
                f"snapshot:{config.run}": prepared.snapshot,
                "counter": session.counter_bytes(config.attempt),
            },
        )
        begun = perf_counter()
        noisy = add_noise(prepared.values, charged, self._entropy)
        self._observe("noise", perf_counter() - begun)
        begun = perf_counter()
        payload, tags = seal(noisy, attempt_keys, self._entropy, session.packing(config, config.round))
        self._observe("mask, encrypt, tag", perf_counter() - begun)
        header = Header(
            run=config.run,
            epoch=config.epoch,
            config=signed.digest(),
            round=config.round,
            attempt=config.attempt,
            name=self._identity.name,
            chunks=hashes(payload),
            tags=tags,
            opened=session.opened_mac(),
            ledger=self._store.ledger_head(),
        )
        made = Signed.make(self._identity.signing, header)
        body = Upload(header=made, payload=payload).encode()
        upload = StoredUpload(config.round, config.attempt, signed.digest(), body, made.encode())
        self._store.submit(config.run, upload, event, "committed", window=window)
        return body

    def _judge(self, session: Session, config: RoundConfig) -> tuple[Charged, ...]:
        """What the attempt costs, once limits and ledger allow it."""
        accepted.check_attempt(self._store, config)
        self._limits.check(config, len(session.epoch.roster.names), session.book.schema.public)
        new = session.mechanisms(config, config)
        spent = tuple(
            mechanism
            for each in config.history
            if self._identity.name in each.cohort
            for mechanism in session.mechanisms(config, each)
        )
        limits, ledger = accepted.tightened(self._store, self._limits), self._store.ledger()
        budget.judge_attempt(config, spent, new, ledger, limits, session.book, self._clock())
        return new

    def _computed(self, session: Session, config: RoundConfig) -> PreparedPart:
        """The contribution, kept or computed; never of other rows than the run began with."""
        attempt = _attempt(session, config)
        if self._prepared is not None and self._prepared.attempt == attempt:
            return self._prepared
        begun = perf_counter()
        rows, snapshot = self._rows()
        if self._store.fact(f"snapshot:{config.run}") not in (None, snapshot):
            raise Refusal(
                Code.SNAPSHOT, "The data changed since the run began.", "Restore the run's snapshot."
            )
        values = session.learner(config).contribution(config.round, session.weights(config), rows)
        self._observe("contribution", perf_counter() - begun)
        return PreparedPart(config.attempt, attempt, values, snapshot, self._window(rows))

    def _window(self, rows: Rows) -> bytes:
        """Whose customers an attempt is charged for, and whether the mapping that made their rows was overridden."""
        return rows.window + (
            b"; mapping overridden " + self._override.hex().encode() if self._override else b""
        )


def _attempt(session: Session, config: RoundConfig) -> bytes:
    return keys.digest(config.model_copy(update={"cohort": ()}).encode(), session.opened_mac())
