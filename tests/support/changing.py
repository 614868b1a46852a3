"""A roster that changes while a process of the consortium is killed: the coordinator's key rotates, and people approve."""

import random

from support.killed import NAMES, Kill, Network, Violated
from support.people import until

CHANGING = ("proposed", "approving")
"""Stages: the call for another roster goes out; one member's people have approved it."""
CONCERNED = ("service", "front", "serve")
"""Who carries a roster between runs."""


def all_changes(seed: int) -> list[Kill]:
    """Every process concerned at both stages, in an order that the seed decides."""
    rng = random.Random(seed)
    kills = [Kill(victim, stage, rng.choice(NAMES)) for victim in CONCERNED for stage in CHANGING]
    rng.shuffle(kills)
    return kills


def changes(network: Network, kill: Kill) -> str:
    """The coordinator's key rotates, one process is killed meanwhile, and people type nothing twice; what came of it.

    Raises:
        Violated: members hold different rosters, or the coordinator's old key is still in force.
    """
    banks, everybody = list(network.banks.values()), network.everybody
    before = {bank.asks("roster")["held"]["number"] for bank in banks}
    network.operator.says("rotate-key", "--yes")
    done = [network.strike(kill)] if kill.stage == "proposed" else []
    until("everybody is shown a roster", lambda: all(bank.rosters()[1] for bank in banks), everybody)
    words = {bank.asks("roster")["proposed"]["words"] for bank in banks}
    if len(words) != 1:
        raise Violated(f"{kill}: members are shown different words")
    heard = words.pop().split()
    banks[0].types("approve-roster", *heard)
    if kill.stage == "approving":
        done.append(network.strike(kill))
    for bank in banks[1:]:
        bank.types("approve-roster", *heard)
    until("the roster is in force", lambda: all(bank.rosters()[1] is None for bank in banks), everybody)
    after = {bank.asks("roster")["held"]["number"] for bank in banks}
    if len(after) != 1 or after == before:
        raise Violated(f"{kill}: members hold the rosters {sorted(after)}, and held {sorted(before)}")
    until("the new key is in force", lambda: not (network.operator.folder / "coordinator.next").exists(), [])
    return f"{done[0]}: roster {after.pop()} is in force, under another key of the coordinator"
