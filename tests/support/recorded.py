"""A transcript of the small live consortium, its members' stores beside it, as a run on disk has them."""

from pathlib import Path

from fedrepay.shared.trust.message import Signed
from fedrepay.simulations.attacks.tools.adversary import answer
from fedrepay.simulations.run.grid import Exchange
from fedrepay.simulations.run.transcript import Transcript
from fedrepay.simulations.run.world import World


def record(folder: Path, *, stop_at: str = "") -> tuple[Path, World]:
    """Run to the end, or until an ask of kind ``stop_at``; gives ``transcript/`` and the consortium."""
    world = World(folder / "members", rounds=2)
    transcript = Transcript(folder / "transcript", dict(enumerate(world.names)))
    while (ask := world.coordinator.ask()) is not None and ask.kind != stop_at:
        for name, (shared, own) in ask.parts.items():
            body = world.members[name].handle(ask.kind, shared, own)
            index = world.names.index(name)
            transcript.record(Exchange(index, ask.kind, shared, own, body, "", len(shared), len(body), 0.0))
            world.replies.append((ask.kind, name, answer(body)))
            world.take(world.coordinator.receive(ask, name, Signed.decode(body)))
        world.take(world.coordinator.finish(ask))
    return folder / "transcript", world
