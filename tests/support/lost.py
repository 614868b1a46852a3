"""A small consortium after one finished run, and members of it that lose their stores and come again."""

import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.year import CHARGED, of_year
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask
from fedrepay.shared import keys
from fedrepay.shared.errors import WordsError
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked, Roster
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.run.world import World

NOW = 1.8e9
"""The world's clock."""
LIMITS = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=40.0)
Tamper = Callable[[str, str, bytes], bytes]
"""(kind, name, shared) → what is delivered instead."""


@dataclass
class Lost:
    """Five members after a run."""

    world: World

    def copy(self, folder: Path) -> "Lost":
        """The same members in another folder, so that a test changes nothing of another's."""
        shutil.copytree(self.world.folder, folder)
        made = object.__new__(World)
        made.__dict__.update(self.world.__dict__)
        made.folder, made.names = folder, [*self.world.names]
        made.identities = {**self.world.identities}
        made.members = {name: made.member(name) for name in made.names}
        made.enrolment = Enrolment(made.key, [], wanted=False, released=(0, bytes(32)))
        made.enrolment.state = deepcopy(self.world.enrolment.state)
        return Lost(made)

    # --- what befalls a member ---

    def lose(self, name: str, *, keys_too: bool = False) -> None:
        """Its database is gone, and it comes up again; its keys may be gone too."""
        shutil.rmtree(self.world.folder / name)
        if keys_too:
            self.world.identities[name] = Identity.create(name)
        self.world.members[name] = self.world.member(name)

    def add(self, name: str) -> None:
        self.world.names.append(name)
        self.world.identities[name] = Identity.create(name)
        self.world.members[name] = self.world.member(name)

    # --- rosters ---

    def machine(
        self, names: Sequence[str] = (), leaving: Sequence[Signed] = (), revoked: Sequence[str] = ()
    ) -> Enrolment:
        """A process of the coordinator that wants another roster, of these."""
        release = self.world.store("m0").release()
        assert release is not None
        chosen = [Node(name, name) for name in names or self.world.names]
        made = Enrolment(
            self.world.key,
            chosen,
            wanted=True,
            released=(release[0], keys.digest(release[1])),
            leaving=leaving,
            revoked=[Revoked(name=name) for name in revoked],
        )
        made.state = self.world.enrolment.state
        return made

    def deliver(self, machine: Enrolment, ask: Ask, tamper: Tamper | None = None) -> None:
        for node, (shared, own) in ask.parts.items():
            sent = shared if tamper is None else tamper(ask.kind, node, shared)
            signed = Signed.decode(self.world.members[node].handle(ask.kind, sent, own))
            for event in machine.receive(Ask(ask.kind, {**ask.parts, node: (sent, own)}), node, signed):
                machine.state.apply(event)
        for event in machine.finish(ask):
            machine.state.apply(event)

    def complete(self, machine: Enrolment, tamper: Tamper | None = None) -> Roster:
        """To the end; people approve the words that they are shown."""
        shown = False
        while (ask := machine.ask()) is not None:
            try:
                self.deliver(machine, ask, tamper)
            except WordsError:
                if shown:
                    raise
                shown = True
                for node in ask.parts:
                    self.world.members[node].approve_roster(self.world.members[node].shown_words())
        assert machine.state.roster is not None
        return machine.state.roster

    def approved(self, machine: Enrolment) -> Ask:
        """To the certificate, undelivered: people have approved the words that they were shown."""
        ask = self.until(machine, "approve")
        for node in ask.parts:
            self.say(node, "approve", ask.parts[node][0])
            self.world.members[node].approve_roster(self.world.members[node].shown_words())
        self.deliver(machine, ask)
        return self.until(machine, "certify")

    def until(self, machine: Enrolment, kind: str) -> Ask:
        """Go on until this is asked, and give it undelivered."""
        while (ask := machine.ask()) is not None:
            if ask.kind == kind:
                return ask
            self.deliver(machine, ask)
        raise AssertionError(kind)

    def reveals(self, machine: Enrolment) -> Reveals:
        """What everybody has revealed, as the members are asked to approve it."""
        ask = self.until(machine, "approve")
        return Reveals.decode(next(iter(ask.parts.values()))[0])

    def say(self, name: str, kind: str, shared: bytes) -> Reply:
        return Reply.decode(Signed.decode(self.world.members[name].handle(kind, shared, b"")).body)

    # --- ledgers ---

    def ledger(self, name: str) -> tuple[LedgerEntry, ...]:
        return self.world.store(name).ledger()

    def charged(self, name: str) -> list[tuple[Any, ...]]:
        """What a ledger counts."""
        return [
            (each.run, each.round, each.attempt, each.event)
            for each in self.ledger(name)
            if each.status in CHARGED
        ]

    def epsilon(self, name: str) -> float:
        """Of what its ledger knows of the year."""
        return composed_epsilon(of_year(self.ledger(name), NOW), 1e-5)

    def marks(self, name: str) -> list[str]:
        return [each.status for each in self.ledger(name) if each.status in ("lost", "whole")]


def without(message: Reveals, names: Sequence[str]) -> Reveals:
    """Who relays the words strikes out what these told of others."""
    _, joinings = enrolment.checked(message.proposal)
    for at, joining in enumerate(joinings):
        if joining.entry.name in names:
            message = shortened(message, at, told=())
    return message


def played(folder: Path) -> Lost:
    """Five members and a run, one attempt of which was void."""
    world = World(folder, size=5, rounds=2, limits=LIMITS)
    gone: list[str] = []

    def once(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        if (kind, name) == ("round", "m3") and not gone:
            gone.append(name)
            return None
        return shared, own

    world.run(once)
    assert world.coordinator.state.done
    return Lost(world)


def shortened(message: Reveals, at: int, **fields: Any) -> Reveals:
    """One member's words changed by who relays them; its signature stays what it was."""
    signed = message.revealed[at]
    said = Revealed.decode(signed.body).model_copy(update=fields)
    revealed = [*message.revealed]
    revealed[at] = Signed(body=said.encode(), signature=signed.signature)
    return message.model_copy(update={"revealed": tuple(revealed)})
