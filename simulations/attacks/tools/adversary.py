"""A malicious coordinator's tools: copies of a consortium, and messages changed and signed again."""

import copy
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedrepay.server.protocol.state import Ask
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Prepare, PrepareRequest, Reply, RoundConfig, Sum, Upload
from fedrepay.simulations.run.world import Tamper, World


def fork(world: World, folder: Path) -> World:
    """The same consortium at the same moment, with stores of its own: everybody restarts."""
    twin = copy.copy(world)
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    twin.folder = folder
    twin.events, twin.replies = list(world.events), list(world.replies)
    twin.members = {name: twin.member(name) for name in twin.names}
    twin.enrolment = copy.deepcopy(world.enrolment)
    twin.restart_coordinator()
    return twin


def say(world: World, name: str, kind: str, shared: bytes, own: bytes = b"") -> Reply:
    """Send one message to one member, past the coordinator."""
    return answer(world.members[name].handle(kind, shared, own))


def contribute(world: World, name: str, shared: bytes, own: bytes = b"", *cohort: str) -> Reply:
    """A ``prepare`` and, if the member is ready, the ``round`` after it; the last answer.

    Args:
        world: the consortium.
        name: the member.
        shared: a ``prepare``.
        own: the member's own part of both.
        cohort: of the attempt; everybody, where none is named.
    """
    ready = say(world, name, Kind.PREPARE, shared, own)
    return (
        ready if ready.kind != "ok" else say(world, name, Kind.ROUND, following(world, shared, *cohort), own)
    )


def following(world: World, shared: bytes, *cohort: str) -> bytes:
    """The ``round`` after a ``prepare``."""
    return Signed.make(world.key, prepare_of(shared).config(cohort or tuple(world.names))).encode()


def mislead(world: World, lie: Tamper) -> Iterator[Ask]:
    """Carry a run on as :meth:`World.steps`, with a coordinator that itself sends what ``lie`` makes of its asks."""
    while (ask := world.coordinator.ask()) is not None:
        sent = {name: lie(ask.kind, name, *part) for name, part in ask.parts.items()}
        told = Ask(ask.kind, {name: part for name, part in sent.items() if part is not None})
        yield told
        world.deliver(told)
        world.take(world.coordinator.finish(told))


def answer(body: bytes) -> Reply:
    """What a member's signed answer says."""
    return Reply.decode(Signed.decode(body).body)


def due(world: World, name: str) -> tuple[bytes, bytes]:
    """The honest message that a member is about to get."""
    ask = world.coordinator.ask()
    if ask is None:
        raise AssertionError("the run is over: no message is due")
    return ask.parts[name]


def trace(world: World, name: str) -> tuple[Any, ...]:
    """Everything a member has sent, opened and paid."""
    store, run = world.store(name), world.coordinator.terms.run
    return store.uploads(run), store.openings(run), store.ledger()


def opened(world: World, name: str) -> list[bytes]:
    """The sums a member has opened, from round 0."""
    return [each.values for each in world.store(name).openings(world.coordinator.terms.run) if each.values]


def config_of(shared: bytes) -> RoundConfig:
    """The attempt that a ``round`` asks for."""
    return RoundConfig.decode(Signed.decode(shared).body)


def with_config(world: World, shared: bytes, **changes: object) -> bytes:
    """A ``round`` with a changed configuration, signed by the coordinator."""
    return Signed.make(world.key, config_of(shared).model_copy(update=changes)).encode()


def prepare_of(shared: bytes) -> Prepare:
    """The attempt that a ``prepare`` comes before."""
    return Prepare.decode(PrepareRequest.decode(shared).asked.body)


def with_prepare(world: World, shared: bytes, **changes: object) -> bytes:
    """A ``prepare`` with other words of the attempt, signed by the coordinator."""
    asked = Signed.make(world.key, prepare_of(shared).model_copy(update=changes))
    return PrepareRequest.decode(shared).model_copy(update={"asked": asked}).encode()


def with_sum(shared: bytes, changes: Mapping[str, object]) -> bytes:
    """A ``prepare`` with its last sum changed."""
    request = PrepareRequest.decode(shared)
    sums = (*request.sums[:-1], request.sums[-1].model_copy(update=changes))
    return request.model_copy(update={"sums": sums}).encode()


def last_sum(shared: bytes) -> Sum:
    """The newest completed sum in a ``prepare``."""
    return PrepareRequest.decode(shared).sums[-1]


def upload_of(world: World, name: str, attempt: int) -> Upload:
    """What the wire saw a member send for an attempt."""
    sent = [
        reply.body
        for kind, who, reply in world.replies
        if (kind, who, reply.kind) == (Kind.ROUND, name, "ok") and reply.body
    ]
    return Upload.decode(sent[attempt])
