"""A member's folder as `member serve` leaves it, after runs of a small consortium that was played here."""

import json
from pathlib import Path

from fedrepay.client.node import setup
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.schema import codebook
from fedrepay.simulations.run.world import World

NOW = 1.8e9
"""The world's clock."""
EPSILON = 4.0


def roomy(year: float = 100.0) -> Limits:
    return Limits(
        minimum_cohort=3, epsilon_per_release=EPSILON, epsilon_per_year=year, allow_unprotected=True
    )


def played(folder: Path, modes: tuple[str, ...] = ("distributed",)) -> World:
    """A world with one finished run for each mode, numbered from 1; its first member's folder is complete."""
    world = World(folder, size=3, rounds=2, mode=modes[0], epsilon=EPSILON, limits=roomy())
    world.run()
    for run, mode in enumerate(modes[1:], start=2):
        world.mode, world.events = mode, []
        world.coordinator = world.new_coordinator(run)
        world.run()
    complete(world, "m0")
    return world


def complete(world: World, name: str) -> Path:
    """What `member init` writes beside a store, and the consortium's schema with its code book."""
    folder, identity = world.folder / name, world.identities[name]
    identity.save(folder)
    entry = identity.entry()
    facts = {"name": name, "signing": entry.signing.hex(), "sealing": entry.sealing.hex(), "node": ""}
    (folder / setup.ENTRY).write_text(json.dumps(facts))
    (folder / "schema.toml").write_bytes(world.book.schema_bytes)
    codebook.save(world.book, folder / "schema.toml")
    return folder


def store_of(folder: Path) -> MemberStore:
    return MemberStore(folder, lambda: NOW)
