"""Introductions of the five members of ``parties``: with other hellos, or to another call."""

from fedrepay.shared.trust.handshake import Hello, Introduction
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from support.parties import ALL, GREETINGS, ROSTER, hello, introduction

HELLOS = {name: Hello.decode(signed.body) for name, (_, signed) in GREETINGS.items()}
SIGNED = introduction().hellos


def with_hellos(*hellos: Signed) -> Introduction:
    return introduction(hellos=hellos)


def called(start: Signed, names: tuple[str, ...] = ALL, roster: Roster = ROSTER) -> Introduction:
    """An introduction to another call, which everybody of these has answered."""
    hellos = tuple(hello(name, start=start.digest()) for name in names)
    return Introduction(roster=roster.encode(), start=start, hellos=hellos)
