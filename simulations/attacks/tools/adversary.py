"""A malicious coordinator's tools: copies of a consortium, and messages changed and signed again."""

import copy
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedrepay.server.protocol.state import Ask
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Reply, RoundConfig, RoundRequest, Sum, Upload
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
    """The attempt a round request asks for."""
    return RoundConfig.decode(RoundRequest.decode(shared).config.body)


def with_config(world: World, shared: bytes, **changes: object) -> bytes:
    """The round request with a changed configuration, signed by the coordinator."""
    config = config_of(shared).model_copy(update=changes)
    request = RoundRequest.decode(shared)
    return request.model_copy(update={"config": Signed.make(world.key, config)}).encode()


def with_sum(shared: bytes, changes: Mapping[str, object]) -> bytes:
    """The round request with its last sum changed."""
    request = RoundRequest.decode(shared)
    sums = (*request.sums[:-1], request.sums[-1].model_copy(update=changes))
    return request.model_copy(update={"sums": sums}).encode()


def last_sum(shared: bytes) -> Sum:
    """The newest completed sum in a round request."""
    return RoundRequest.decode(shared).sums[-1]


def upload_of(world: World, name: str, attempt: int) -> Upload:
    """What the wire saw a member send for an attempt."""
    sent = [
        reply.body
        for kind, who, reply in world.replies
        if (kind, who, reply.kind) == (Kind.ROUND, name, "ok") and reply.body
    ]
    return Upload.decode(sent[attempt])
