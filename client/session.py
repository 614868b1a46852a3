"""One epoch in memory: the view of the store, the opened sums, and the model they give.

Everything here can be rebuilt from the store; nothing here is written back without the store first.
"""

from collections.abc import Callable
from hashlib import sha256
from time import perf_counter

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client import budget, epoch, guard
from fedrepay.client.epoch import EpochState
from fedrepay.client.he import GroupContext, open_sum, verify_sum
from fedrepay.client.learning import make_learner
from fedrepay.client.learning.base import Learner, State
from fedrepay.client.seal import AttemptKeys
from fedrepay.client.store import MemberStore
from fedrepay.client.tables import Opening
from fedrepay.shared.errors import Refusal
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.secure_sum.ring import chunk_count
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.wire import Attempt, RoundConfig, Signed, Sum


class Session:
    """The member's working memory for one epoch."""

    def __init__(
        self,
        name: str,
        store: MemberStore,
        book: CodeBook,
        state: EpochState,
        observe: Callable[[str, float], None],
    ) -> None:
        if not state.seed:
            raise Refusal("epoch", "The ceremony is not finished at this member.")
        self.epoch = state.epoch()
        self.context_id = sha256(state.context_public).digest()
        self.book = book
        self._name = name
        self._store = store
        self._state = state
        self._observe = observe
        self._group = GroupContext.from_secret(state.context_secret)
        self._learner: Learner | None = None
        self._model: list[State] = []  # state before each sum, from sum 0
        self._pairs: dict[bytes, bytes] = {}

    # --- the store as the guard sees it ---

    def view(self) -> guard.View:
        """Read the store."""
        run = self.epoch.run
        openings = self._store.openings(run)
        done = [o for o in openings if o.values is not None]
        begun = [o for o in openings if o.values is None]
        counter = self._store.fact("counter") or b""
        return guard.View(
            name=self._name,
            epoch=self.epoch,
            context_id=self.context_id,
            schema_hash=self.book.schema_hash,
            dimension=self.book.dimension,
            heads=self.book.heads,
            counter=int.from_bytes(counter[32:], "big") if counter[:32] == self.epoch.id else -1,
            charged=frozenset((e.round, e.attempt) for e in self._store.ledger() if e.run == run),
            ledger=self._store.ledger_heads(),
            submitted={
                attempt: (round_, config, Signed.decode(header).digest())
                for round_, attempt, config, header in self._store.uploads(run)
            },
            opened=tuple((o.attempt, o.config) for o in done),
            opening=(begun[0].attempt, begun[0].sum) if begun else None,
            opened_mac=self.opened_mac(),
            terms=self._store.fact(f"terms:{run}"),
        )

    def counter_bytes(self, attempt: int) -> bytes:
        """The monotone counter as stored: it belongs to this epoch."""
        return self.epoch.id + attempt.to_bytes(4, "big")

    def opened_mac(self) -> bytes:
        """HMAC under the group seed over all opened integer sums and their configurations."""
        chain = keys.digest(b"opened", self.epoch.id)
        for opening in self._store.openings(self.epoch.run):
            if opening.values is not None:
                chain = keys.digest(chain, opening.config, opening.values)
        return keys.derive(self._state.seed, "opened", chain)

    def confirmed(self, confirmations: tuple[Signed, ...]) -> bool:
        """Check all K confirmations, once; False asks the coordinator to send them."""
        if self._store.fact("confirmed") == self.epoch.id:
            return True
        if not confirmations:
            return False
        epoch.check_confirmations(self.epoch, self._state.seed, self.context_id, confirmations)
        self._store.remember(confirmed=self.epoch.id)
        return True

    # --- budget ---

    def learner(self, config: RoundConfig) -> Learner:
        """The run's learner on this member's code book."""
        if self._learner is None or (self._learner.name, self._learner.rounds) != (
            config.learner,
            config.rounds,
        ):
            self._learner = make_learner(config.learner, self.book, config.rounds)
            self._model = []
            sizes = tuple(sum(s.size for s in segments) for segments in self._learner.segments())
            if sizes != guard.sizes(config):
                raise Refusal("schema", "The learner's sums and the run's differ in size.")
        return self._learner

    def mechanisms(self, config: RoundConfig, attempt: Attempt | RoundConfig) -> tuple[Mechanism, ...]:
        """What one attempt of the run costs."""
        members = len(self.epoch.roster.names)
        return budget.mechanisms(config, self.learner(config).segments(), members, attempt)

    # --- opening ---

    def open_sums(self, config: RoundConfig, sums: tuple[Sum, ...]) -> int | None:
        """Open what is lacking, in order; returns the first round still lacking, or None."""
        for completed in sums:
            done = len(self.view().opened)
            if completed.round == done:
                self._open(config, completed)
            elif completed.round > done:
                break
        done = len(self.view().opened)
        return None if done == config.round else done

    def _open(self, config: RoundConfig, completed: Sum) -> None:
        begun = perf_counter()
        view = self.view()
        values_count = guard.sizes(config)[completed.round]
        made = guard.check_sum(view, config, completed, chunk_count(values_count))
        context = self._context(made)
        sum_digest = keys.digest(completed.payload)
        if view.opening not in (None, (made.attempt, sum_digest)):
            raise Refusal("monotone", f"Another sum of round {made.round} was being opened.")
        verify_sum(self._state.seed, context, made.cohort, completed.payload, completed.tags)
        self._observe("verify headers and tag", perf_counter() - begun)
        if view.opening is None:
            opening = Opening(made.round, made.attempt, sum_digest, completed.config.digest(), None)
            self._store.record_opening(self.epoch.run, opening)
        begun = perf_counter()
        values = open_sum(
            self._group,
            self._state.seed,
            context,
            made.cohort,
            completed.payload,
            completed.tags,
            values_count,
        )
        self._store.store_opened(self.epoch.run, made.round, values.astype("<i8").tobytes())
        self._observe("open", perf_counter() - begun)

    def sums(self) -> tuple[npt.NDArray[np.int64], ...]:
        """The opened integer sums, from round 0."""
        return tuple(
            np.frombuffer(o.values, "<i8").astype(np.int64)
            for o in self._store.openings(self.epoch.run)
            if o.values is not None
        )

    def weights(self, config: RoundConfig) -> State:
        """The learner's state after all opened sums."""
        learner, sums = self.learner(config), self.sums()
        if not self._model:
            self._model.append(learner.start())
        completed = [each for each in config.history if each.completed]
        begun = perf_counter()
        for index in range(len(self._model) - 1, len(sums)):
            charged = self.mechanisms(config, completed[index])
            self._model.append(learner.step(index, self._model[index], sums[index], charged))
        self._observe("step", perf_counter() - begun)
        return self._model[len(sums)]

    # --- sealing ---

    def _context(self, config: RoundConfig) -> bytes:
        return attempt_context(config.run, config.round, config.attempt, keys.digest(config.encode()))

    def attempt_keys(self, config: RoundConfig) -> AttemptKeys:
        """Keys for sealing one contribution to this attempt's cohort."""
        key = X25519PrivateKey.from_private_bytes(self._state.mask)
        pairs = {}
        for name in config.cohort:
            if name != self._name:
                peer = self.epoch.hello(name)
                hashed = keys.key_hash(peer.signing)
                if hashed not in self._pairs:
                    self._pairs[hashed] = keys.shared_secret(key, peer.mask)
                pairs[hashed] = self._pairs[hashed]
        mine = keys.key_hash(self.epoch.hello(self._name).signing)
        return AttemptKeys(self._group, self._state.seed, self._context(config), self._name, mine, pairs)
