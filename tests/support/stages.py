"""One run of a small consortium, kept: how it stood before each kind of message, and all that was said."""

from pathlib import Path
from typing import TYPE_CHECKING

from fedrepay.shared.trust import roster, wire
from fedrepay.shared.trust.message import Wire
from support.adversary import fork
from support.world import World

if TYPE_CHECKING:
    from fedrepay.server.state import Ask

PARTS = {
    "hello": ("shared",),
    "introduce": ("shared",),
    "seed": ("shared",),
    "context": ("own",),
    "confirm": ("shared", "own"),
    "round": ("shared", "own"),
    "write": ("shared", "own"),
    "close": ("shared", "own"),
    "votes": ("shared",),
}
"""Which parts of a message mean something; the others are empty."""


class Stages:
    """A run of three members and two sums; ``round`` is the second one's, with the first sum in it."""

    def __init__(self, folder: Path) -> None:
        world = World(folder / "run", size=3, rounds=2)
        self.at: dict[str, tuple[World, Ask]] = {}
        self.blobs = {wire.Ping(run=1, round=0).encode()}  # nobody is lost here
        for ask in world.steps():
            if ask.kind in PARTS and (ask.kind != "round" or world.coordinator.state.sums):
                self.at.setdefault(ask.kind, (fork(world, folder / ask.kind), ask))
            for part in ask.parts.values():
                self.blobs |= set(part)
        self.answers: dict[str, bytes] = {}
        for kind, name, reply in world.replies:
            assert reply.kind == "ok", (name, reply.cause)
            self.answers.setdefault(kind, reply.encode())
            self.blobs |= {reply.encode(), reply.body}
        stored = world.store("m0").release()
        assert stored is not None
        _, self.release, self.votes = stored


def wire_kinds() -> list[type[Wire]]:
    """Every kind of message."""
    here = [kind for module in (wire, roster) for kind in vars(module).values() if isinstance(kind, type)]
    return sorted({k for k in here if issubclass(k, Wire)} - {Wire}, key=lambda kind: kind.__name__)
