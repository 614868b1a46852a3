"""A roster as a coordinator's database has it, without a ceremony: for what only reads one."""

from collections.abc import Sequence

from fedrepay.shared.trust import keys
from fedrepay.shared.trust.enrolment import FIRST
from fedrepay.shared.trust.roster import Entry, Roster


def roster_of(entries: Sequence[Entry], coordinator: bytes, number: int = 1) -> Roster:
    """These members in order, each with a nonce that follows from its name."""
    ordered = tuple(sorted(entries, key=lambda each: each.name))
    return Roster(
        number=number,
        predecessor=FIRST,
        members=ordered,
        coordinator=coordinator,
        released=0,
        release=bytes(32),
        nonces=tuple(keys.digest(b"nonce", each.name.encode()) for each in ordered),
    )


def changed(roster: Roster, **changes: object) -> Roster:
    """Another roster: ``model_copy`` would take over the hash that this one has remembered."""
    fields = {name: getattr(roster, name) for name in Roster.model_fields}
    return Roster.model_construct(**{**fields, **changes})
