"""One run of a small consortium, kept: how it stood before each kind of message, and all that was said."""

import copy
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import WordsError
from fedrepay.shared.trust import enrolment, handshake, roster, terms, wire
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.wire import Reply
from support.adversary import fork
from support.world import Tamper, World

if TYPE_CHECKING:
    from fedrepay.server.protocol.coordinator import Coordinator
    from fedrepay.server.protocol.enrolment import Enrolment

ENROLLING = ("propose", "reveal", "approve", "certify")
PARTS = {
    **dict.fromkeys((*ENROLLING, "terms", "hello", "introduce", "seed"), ("shared",)),
    "confirm": ("shared", "own"),
    "prepare": ("shared", "own"),
    "round": ("shared", "own"),
    "resend": ("shared",),
    "blame": ("shared",),
    "write": ("shared", "own"),
    "close": ("shared", "own"),
    "votes": ("shared",),
}
"""Which parts of a message mean something; the others are empty. ``held`` says nothing."""


@dataclass
class Recorded(World):
    """A world that keeps the bytes of every answer, and how it stood before each step of its roster's making."""

    size: int = 3
    rounds: int = 2
    early: dict[str, tuple[World, Ask]] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    parts: set[bytes] = field(default_factory=set)

    def _answer(self, ask: Ask, name: str, tamper: Tamper | None) -> tuple[Ask, str, Signed | None, str]:
        sent = ask.parts[name] if tamper is None else tamper(ask.kind, name, *ask.parts[name])
        if sent is None:
            return ask, name, None, "lost"
        body = self.members[name].handle(ask.kind, *sent)
        self.said.append((ask.kind, body))
        self.parts |= {*ask.parts[name], *sent}
        signed = Signed.decode(body)
        self.replies.append((ask.kind, name, Reply.decode(signed.body)))
        return Ask(ask.kind, {**ask.parts, name: sent}), name, signed, ""

    def enrol(self, tamper: Tamper | None = None) -> None:
        """As every world; people have compared the words before the step that is kept."""
        while (ask := self.enrolment.ask()) is not None:
            if ask.kind in ENROLLING and (ask.kind != "approve" or self.compared()):
                folder = self.folder.with_name(f"{self.folder.name}-{ask.kind}")
                self.early.setdefault(ask.kind, (before_roster(self, folder), ask))
            for target in ask.parts:
                self._take_enrolment(self.enrolment.receive(*self._answer(ask, target, tamper)))
            try:
                self._take_enrolment(self.enrolment.finish(ask))
            except WordsError:
                self.compare()

    def compared(self) -> bool:
        """Whether people have approved words."""
        return all(self.store(name).fact("approved_code") for name in self.names)


def before_roster(world: World, folder: Path) -> World:
    """As ``fork``, where there is no roster yet: nobody restarts, so that no nonce is void."""
    twin = copy.copy(world)
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    twin.folder = folder
    twin.members = {}
    for name in world.names:
        come_up(twin, name, world)
    twin.enrolment = copy.deepcopy(world.enrolment)
    return twin


def copied(world: World, folder: Path) -> World:
    """As ``fork``, but nobody has forgotten what it had prepared."""
    twin = fork(world, folder)
    for name in world.names:
        come_up(twin, name, world)
    return twin


def come_up(world: World, name: str, before: World) -> None:
    """A member on its store as it is now, its nonces and what it had prepared as they were in ``before``."""
    nonces = dict(before.members[name]._enrolment._nonces)
    prepared = before.members[name]._rounds._contributions._prepared
    world.members[name] = world.member(name)
    world.members[name]._enrolment._nonces = nonces
    world.members[name]._rounds._contributions._prepared = prepared


class Stages:
    """A run of three members and two sums; ``prepare`` and ``round`` are the second one's, with the first sum in it.

    ``resend`` and ``blame`` are of another run, whose first sum was changed in the database.
    """

    def __init__(self, folder: Path) -> None:
        world = Recorded(folder / "run")
        self.world = world
        self.at: dict[str, tuple[World, Ask]] = dict(world.early)
        self.blobs: set[bytes] = set()
        for ask in world.steps():
            self._keep(world, ask, folder)
        disputed = self.disputed = Recorded(folder / "disputed")
        disputed.until("prepare", 1)
        change_sum(disputed)
        for ask in disputed.steps():
            self._keep(disputed, ask, folder, "resend", "blame")
            if ask.kind == "blame":
                disputed.deliver(ask)
                break
        self.answers: dict[str, bytes] = {}
        for kind, body in world.said + [each for each in disputed.said if each[0] in ("resend", "blame")]:
            reply = Reply.decode(Signed.decode(body).body)
            if reply.kind == "ok":
                self.answers.setdefault(kind, body)
            else:
                assert (kind, reply.code) == ("approve", "roster"), (
                    kind,
                    reply.cause,
                )  # people had to compare
            self.blobs |= {body, reply.body}
        self.blobs |= world.parts | disputed.parts
        stored = world.store("m0").release()
        assert stored is not None
        _, self.release, self.votes = stored

    def _keep(self, world: World, ask: Ask, folder: Path, *only: str) -> None:
        if not ask.parts or ask.kind not in (only or PARTS):
            return
        if ask.kind not in ("prepare", "round") or world.coordinator.state.sums:
            self.at.setdefault(ask.kind, (copied(world, folder / ask.kind), ask))


def change_sum(world: World) -> None:
    """The coordinator's database changes one bit of the first sum: every member says that it does not fit."""
    (at,) = (n for n, event in enumerate(world.events) if event.kind == "sum")
    changed = wire.Sum.decode(world.events[at].body)
    changed = changed.model_copy(update={"payload": bytes([changed.payload[0] ^ 1]) + changed.payload[1:]})
    world.events[at] = Event("sum", "", changed.encode())
    world.coordinator.state.sums[0] = changed


def machine(world: World, kind: str) -> "Enrolment | Coordinator":
    """Who asks this at the coordinator."""
    return world.enrolment if kind in ENROLLING else world.coordinator


def wire_kinds() -> list[type[Wire]]:
    """Every kind of message; numbered terms stay at the operator's."""
    modules = (wire, roster, enrolment, handshake, terms)
    here = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    kinds = {k for k in here if issubclass(k, Wire)} - {Wire, terms.NumberedTerms}
    return sorted(kinds, key=lambda kind: kind.__name__)
