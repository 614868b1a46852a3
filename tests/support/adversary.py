"""A malicious coordinator's tools, as the attacks use them, for tests."""

from typing import Any

from fedrepay.server.protocol.state import Ask
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry, Roster
from fedrepay.shared.trust.wire import Reply, asked
from fedrepay.simulations.attacks.tools.adversary import (
    answer,
    config_of,
    contribute,
    due,
    following,
    fork,
    last_sum,
    opened,
    prepare_of,
    say,
    trace,
    upload_of,
    with_config,
    with_prepare,
    with_sum,
)
from fedrepay.simulations.run.world import World

__all__ = [
    "answer",
    "config_of",
    "contribute",
    "due",
    "following",
    "fork",
    "last_sum",
    "opened",
    "prepare_of",
    "roster_of",
    "say",
    "speak",
    "trace",
    "upload_of",
    "with_config",
    "with_prepare",
    "with_sum",
]


def speak(world: World, name: str, ask: Ask, **reply: Any) -> Signed:
    """An answer that a member signs, whatever it says."""
    named = {"kind": "ok", "name": name, "asked": asked(ask.kind, *ask.parts[name])}
    return Signed.make(world.identities[name].signing, Reply(**(named | reply)))


def roster_of(entries: list[Entry], coordinator: bytes, number: int = 1) -> Roster:
    """A roster as if its making were over, with nonces of zeros."""
    members = tuple(sorted(entries, key=lambda entry: entry.name))
    roster = Roster(
        number=number,
        predecessor=bytes(32),
        members=members,
        coordinator=coordinator,
        released=0,
        release=bytes(32),
        nonces=(bytes(32),) * len(members),
    )
    roster.check()
    return roster
