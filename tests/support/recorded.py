"""A transcript of the small live consortium, its members' stores beside it, as a run on disk has them."""

from pathlib import Path

from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.attacks.live import World
from fedrepay.simulations.grid import Exchange
from fedrepay.simulations.transcript import Transcript


def record(folder: Path, *, stop_at: str = "") -> tuple[Path, World]:
    """Run to the end, or until an ask of kind ``stop_at``; gives ``transcript/`` and the consortium."""
    world = World(folder / "members", rounds=2)
    transcript = Transcript(folder / "transcript", dict(enumerate(world.names)))
    while (ask := world.coordinator.ask()) is not None and ask.kind != stop_at:
        for target, (shared, own) in ask.parts.items():
            body = world.members[target].handle(ask.kind, shared, own)
            node = world.names.index(target)
            transcript.record(Exchange(node, ask.kind, shared, own, body, "", len(shared), len(body), 0.0))
            signed = Signed.decode(body)
            world.replies.append((ask.kind, target, Reply.decode(signed.body)))
            world.take(world.coordinator.receive(ask, target, signed))
        world.take(world.coordinator.finish(ask))
    return folder / "transcript", world
