"""What must hold of a run whatever crashed in it, and the plain sums that it is compared with."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from fedrepay.client.crypto.opening import open_verified
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.learning import make_learner
from fedrepay.client.protocol import session
from fedrepay.client.veto.budget import mechanisms
from fedrepay.server.protocol.state import State
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.keys import digest
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.secure_sum.packing import Packing
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.wire import Header, Reply, Upload
from support.world import World, rows

CHARGED = ("reserved", "unprotected", "rolled-back")  # what the veto counts, and mode none's own word
Sums = list[I64]


@contextmanager
def decryptions() -> Iterator[set[bytes]]:
    """Every different sum that any member decrypts meanwhile."""
    seen: set[bytes] = set()

    def noted(group: GroupKey, tags: AttemptTags, chunks: U64, n_values: int, packing: Packing) -> I64:
        seen.add(digest(tags.context, chunks.tobytes()))
        return open_verified(group, tags, chunks, n_values, packing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "open_verified", noted)
        yield seen


def answers(replies: list[tuple[str, str, Reply]]) -> dict[tuple[str, int, int], set[bytes]]:
    """The different uploads that left a member for an attempt, by (name, round, attempt)."""
    sent: dict[tuple[str, int, int], set[bytes]] = defaultdict(set)
    for kind, name, reply in replies:
        if kind == "round" and reply.kind == "ok":
            header = Header.decode(Upload.decode(reply.body).header.body)
            sent[name, header.round, header.attempt].add(reply.body)
    return sent


def check(world: World, state: State) -> None:
    """Spent ≥ released, one answer an attempt, one opening a round, and what was opened is equal."""
    run = world.coordinator.terms.run
    ledgers = {name: world.store(name).ledger() for name in world.names}
    charges = {
        (name, entry.round, entry.attempt)
        for name, ledger in ledgers.items()
        for entry in ledger
        if entry.run == run and entry.status in CHARGED
    }
    for (name, round_, attempt), uploads in answers(world.replies).items():
        assert (name, round_, attempt) in charges, f"{name}'s upload has no charge"
        assert len(uploads) == 1, f"{name} answered attempt {attempt} in two ways"
    if world.mode == "distributed":
        for name in world.names:
            assert composed_epsilon(spent(world, name), 1e-5) <= world.epsilon
    for round_, completed in state.sums.items():
        opened = {
            (opening.attempt, opening.sum, opening.values)
            for name in world.names
            for opening in world.store(name).openings(run)
            if opening.round == round_ and opening.values is not None
        }
        assert len(opened) == 1, f"members opened {len(opened)} sums of round {round_}"
        assert {attempt for attempt, _, _ in opened} == {completed.attempt}


def spent(world: World, name: str) -> list[Mechanism]:
    """What a member's ledger was charged in the run."""
    entries = world.store(name).ledger()
    return [Mechanism(**facts) for entry in entries if entry.status in CHARGED for facts in entry.event]


def opened_sums(world: World, name: str) -> Sums:
    """The integers a member has opened, from round 0."""
    openings = world.store(name).openings(world.coordinator.terms.run)
    return [np.frombuffer(o.values, "<i8").astype(np.int64) for o in openings if o.values is not None]


def plain_sums(world: World, state: State, opened: Sums) -> Sums:
    """What each completed attempt's cohort contributed, added without any cryptography or noise."""
    learner = make_learner(world.coordinator.terms.learner, world.book, world.coordinator.terms.rounds)
    data = {name: rows(world.book, int(name[1:])) for name in world.names}
    model, found = learner.start(), []
    for round_, total in enumerate(opened):
        config = next(r.config for r in state.attempts if r.config.attempt == state.sums[round_].attempt)
        parts = [learner.contribution(round_, model, data[name]) for name in config.cohort]
        found.append(np.sum(parts, axis=0))
        charged = mechanisms(config, learner.segments(), world.size, config)
        model = learner.step(round_, model, total, charged)
    return found
