"""One epoch in memory: the view of the store, the opened sums, and the model they give.

Everything here can be rebuilt from the store; nothing here is written back without the store first.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.opening import open_verified, verify_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.crypto.seal import AttemptKeys
from fedrepay.client.learning.base import Learner, Model
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.protocol import blame, epoch, guard, terms
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import Opening, SeenAttempt
from fedrepay.client.veto import budget
from fedrepay.client.veto.year import LOST, TOLD, WHOLE
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import Code, Refusal
from fedrepay.shared.privacy.accounting import Charged
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum.masking import attempt_context, mask_context
from fedrepay.shared.secure_sum.packing import Packing
from fedrepay.shared.secure_sum.ring import chunk_count
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.sums import packing
from fedrepay.shared.trust.wire import Attempt, Evidence, RoundConfig, Sum

T = TypeVar("T")


class Session:
    """The member's working memory for one epoch."""

    def __init__(
        self,
        name: str,
        store: MemberStore,
        book: CodeBook,
        state: EpochState,
        observe: Callable[[str, float], None],
        entropy: Entropy,
        model: TorchModel | None = None,
    ) -> None:
        if not state.seed:
            raise Refusal(Code.EPOCH, "The ceremony is not finished at this member.")
        self.epoch = state.epoch()
        self.nonce = state.nonce
        self.book = book
        self._name = name
        self._store = store
        self._state = state.model_copy(update={"introduction": b""})  # large, and held by the epoch
        self._observe = observe
        self._entropy = entropy
        self._model = model
        self._group = GroupKey.derive(state.seed, self.epoch.id)
        self._learner: Learner[Any] | None = None
        self._states: list[Model] = []  # state before each sum, from sum 0
        self._pairs: dict[bytes, bytes] = {}
        self._seen: dict[str, Any] = {}  # what the store said, at its "version"

    # --- the store as the guard sees it ---

    def view(self) -> guard.View:
        """The store as it is; read again after every write, and at least once a message."""
        return self._fresh("view", self._read)

    def rest(self) -> None:
        """Forget what can be read again: a message is over."""
        self._seen = {}

    def _openings(self) -> Sequence[Opening]:
        return self._fresh("openings", lambda: self._store.openings(self.epoch.run))

    def _fresh(self, what: str, read: Callable[[], T]) -> T:
        version = self._store.version
        if version is None or self._seen.get("version") != version:
            self._seen = {"version": version}
        if what not in self._seen:
            self._seen[what] = read()
        found: T = self._seen[what]
        return found

    def _read(self) -> guard.View:
        run = self.epoch.run
        openings = self._openings()
        done = [o for o in openings if o.values is not None]
        begun = [o for o in openings if o.values is None]
        counter = self._store.fact("counter") or b""
        return guard.View(
            name=self._name,
            epoch=self.epoch,
            book=self.book,
            counter=int.from_bytes(counter[32:], "big") if counter[:32] == self.epoch.id else -1,
            charged=frozenset(
                # what others told of a run is no proof that this one's list lacks it
                guard.Place(e.round, e.attempt)
                for e in self._store.ledger()
                if e.run == run and e.status not in (TOLD, LOST, WHOLE)
            ),
            ledger=self._store.ledger_heads(),
            submitted={
                attempt: guard.Submitted(round_, config, Signed.decode(header).digest())
                for round_, attempt, config, header in self._store.uploads(run)
            },
            opened=tuple(o.attempt for o in done),
            opening=guard.Begun(begun[0].attempt, begun[0].sum) if begun else None,
            opened_mac=self.opened_mac(),
            model=guard.held(self._model),
        )

    def counter_bytes(self, attempt: int) -> bytes:
        """The monotone counter as stored: it belongs to this epoch."""
        return self.epoch.id + attempt.to_bytes(4, "big")

    def opened_mac(self) -> bytes:
        """HMAC under the group seed over all opened integer sums and their configurations."""
        chain = keys.digest(b"opened", self.epoch.id)
        for opening in self._openings():
            if opening.values is not None:
                chain = keys.digest(chain, opening.config, opening.values)
        return keys.derive(self._state.seed, "opened", chain)

    def confirmed(self, confirmations: tuple[Signed, ...]) -> bool:
        """Check all K confirmations, once; False asks the coordinator to send them."""
        if self._store.fact("confirmed") == self.epoch.id:
            return True
        if not confirmations:
            return False
        epoch.check_confirmations(self.epoch, self._state.seed, confirmations)
        self._store.remember(confirmed=self.epoch.id)
        return True

    # --- budget ---

    def learner(self, config: RoundConfig) -> Learner[Any]:
        """The run's learner on this member's code book; its terms never change in an epoch (``guard.check_config``)."""
        if self._learner is None:
            members = len(self.epoch.roster.names)
            self._learner = terms.learner(config, self.book, members, self._model, self._entropy)
        return self._learner

    def layout(self) -> list[list[Any]]:
        """Names and shapes of the module's trained parameters, as the release carries them."""
        return [] if self._model is None else [[name, list(shape)] for name, shape in self._model.layout]

    def mechanisms(self, config: RoundConfig, attempt: Attempt | RoundConfig) -> tuple[Charged, ...]:
        """What one attempt of the run costs."""
        members = len(self.epoch.roster.names)
        return budget.mechanisms(config, self.learner(config).segments(), members, attempt)

    def unseen(self, config: RoundConfig, *, begun: bool = True) -> tuple[SeenAttempt, ...]:
        """Attempts that a configuration names and the store has not noted: those it lists, and its own if that is ``begun``."""
        known = {(each.round, each.attempt, each.cohort) for each in self._store.noted(config.run)}
        asks = (config,) if begun and not guard.is_closing(config) else ()
        return tuple(
            SeenAttempt(config.run, *place, budget.as_event(self.mechanisms(config, each)))
            for each in (*config.history, *asks)
            if (place := (each.round, each.attempt, each.cohort)) not in known
        )

    def packing(self, config: RoundConfig, index: int) -> Packing:
        """How the values of a sum lie in slots."""
        return packing(config, index, len(self.epoch.roster.names))

    # --- opening ---

    def open_sums(self, config: RoundConfig, sums: tuple[Sum, ...]) -> int | None:
        """Open what is lacking, in order; returns the first round still lacking, or None."""
        for completed in sums:
            done = len(self.view().opened)
            if completed.round == done < config.round:
                self._open(config, completed)
            elif completed.round > done:
                break
        done = len(self.view().opened)
        return None if done == config.round else done

    def _open(self, config: RoundConfig, completed: Sum) -> None:
        begun = perf_counter()
        view = self.view()
        values_count = guard.sizes(config)[completed.round]
        packing = self.packing(config, completed.round)
        made = guard.check_sum(view, config, completed, chunk_count(values_count, packing.fields))
        tags = self.tags(made)
        sum_digest = keys.digest(completed.payload)
        if view.opening not in (None, guard.Begun(made.attempt, sum_digest)):
            raise Refusal(Code.MONOTONE, f"Another sum of round {made.round} was being opened.")
        chunks = verify_sum(tags, completed.payload, completed.tags)
        self._observe("verify headers and tag", perf_counter() - begun)
        if view.opening is None:
            opening = Opening(made.round, made.attempt, sum_digest, completed.config.digest(), None)
            self._store.record_opening(self.epoch.run, opening)
        begun = perf_counter()
        values = open_verified(self._group, tags, chunks, values_count, packing)
        self._store.store_opened(self.epoch.run, made.round, values.astype("<i8").tobytes())
        self._observe("open", perf_counter() - begun)

    def judge(self, evidence: Evidence) -> tuple[str, ...]:
        """Whose ciphertexts of a failed sum do not fit their tags: :func:`fedrepay.client.protocol.blame.suspects`."""
        return blame.suspects(self.epoch, self._state.seed, self.context, evidence)

    def sums(self) -> tuple[I64, ...]:
        """The opened integer sums, from round 0."""
        return tuple(
            np.frombuffer(o.values, "<i8").astype(np.int64) for o in self._openings() if o.values is not None
        )

    def weights(self, config: RoundConfig) -> Model:
        """The learner's state after all opened sums."""
        learner, sums = self.learner(config), self.sums()
        if not self._states:
            self._states.append(learner.start())
        completed = [each for each in config.history if each.completed]
        begun = perf_counter()
        for index in range(len(self._states) - 1, len(sums)):
            charged = self.mechanisms(config, completed[index])
            listed = config.history[: completed[index].attempt + 1]
            self._states.append(self._step(config, listed, sums[: index + 1], charged))
        self._observe("step", perf_counter() - begun)
        return self._states[len(sums)]

    def _step(
        self,
        config: RoundConfig,
        listed: tuple[Attempt, ...],
        sums: Sequence[I64],
        charged: tuple[Charged, ...],
    ) -> Model:
        """One step; members of one process that opened the same sums share its result."""
        opened = tuple(keys.digest(each.tobytes()) for each in sums)
        asked = (self.epoch.id, self.book.schema_hash, config.terms_hash(), listed, opened)
        index = len(sums) - 1
        return _stepped.get(
            asked,
            max(each.nbytes for each in sums),
            lambda: self.learner(config).step(index, self._states[index], sums[index], charged),
        )

    # --- sealing ---

    def context(self, config: RoundConfig) -> bytes:
        """What tags, pads and canaries of an attempt are bound to."""
        return attempt_context(config.run, config.round, config.attempt, keys.digest(config.encode()))

    def tags(self, config: RoundConfig) -> AttemptTags:
        """Tags, pads and canaries of an attempt."""
        return AttemptTags(self._state.seed, self.context(config), config.cohort)

    def _masked(self, config: RoundConfig) -> bytes:
        """What masks of an attempt are bound to: also to the sums this member has opened."""
        hashed = keys.digest(config.encode())
        return mask_context(config.run, config.round, config.attempt, hashed, self.opened_mac())

    def attempt_keys(self, config: RoundConfig) -> AttemptKeys:
        """Keys for sealing one contribution to this attempt's cohort."""
        key = X25519PrivateKey.from_private_bytes(self._state.mask)
        pairs = {}
        for name in config.cohort:
            if name != self._name:
                peer, hashed = self.epoch.hello(name), self.epoch.key_hashes[name]
                if hashed not in self._pairs:
                    self._pairs[hashed] = keys.shared_secret(key, peer.mask)
                pairs[hashed] = self._pairs[hashed]
        mine = self.epoch.key_hashes[self._name]
        return AttemptKeys(self._group, self.tags(config), self._masked(config), self._name, mine, pairs)


_stepped: Remembered[Model] = Remembered(32 << 20)
