"""An epoch of the five members of ``parties``, played through at every member: seed, confirmations."""

from dataclasses import dataclass
from functools import cache

from fedrepay.client.protocol import epoch as ceremony
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared.trust.handshake import Envelopes
from fedrepay.shared.trust.message import Signed
from support.parties import ALL, EPOCH, GREETINGS, PEOPLE, ROSTER, introduction

BODY = introduction().encode()


@dataclass(frozen=True)
class Stood:
    """Everybody's state and answers, by name."""

    states: dict[str, EpochState]
    acceptances: dict[str, Signed]
    envelopes: dict[str, Envelopes]  # of each seeder, to all
    seed: bytes
    confirmed: dict[str, EpochState]
    confirmations: dict[str, Signed]

    def received(self, name: str) -> bytes:
        """Every seeder's envelope for one member."""
        at = ALL.index(name)
        return Envelopes(signed=tuple(each.signed[at] for each in self.envelopes.values())).encode()


@cache
def stood() -> Stood:
    """The same one for all tests of a process."""
    states, acceptances = {}, {}
    for name in ALL:
        states[name], acceptances[name] = ceremony.introduce(PEOPLE[name], GREETINGS[name][0], BODY, ROSTER)
    sent = {name: ceremony.envelopes(PEOPLE[name], states[name]) for name in EPOCH.seeders}
    begun = Stood(states, acceptances, sent, b"", {}, {})
    seed = ceremony.group_seed(PEOPLE["m0"], states["m0"], begun.received("m0"))
    confirmed, confirmations = {}, {}
    for name in ALL:
        confirmed[name], confirmations[name] = ceremony.confirm(PEOPLE[name], states[name], seed)
    return Stood(states, acceptances, sent, seed, confirmed, confirmations)
