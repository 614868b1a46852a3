"""The making of a roster of five by hand: every message of it, honest, and its parts to be changed."""

from collections.abc import Mapping
from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.shared import keys
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Joining, Proposal, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from support.parties import ALL, KEY, PEOPLE, by, changed, told

CALL = Call(
    number=3,
    coordinator=keys.public_bytes(KEY),
    predecessor=enrolment.FIRST,
    released=0,
    release=bytes(32),
)
CALLED = told(CALL)
NONCES = {name: bytes([i + 1]) * 32 for i, name in enumerate(ALL)}


def joining(of: str, /, signer: Identity | None = None, **fields: Any) -> Signed:
    """A member's, with other fields."""
    made = Joining(
        call=CALLED.digest(),
        entry=PEOPLE[of].entry(),
        commitment=enrolment.commitment(NONCES[of], of),
    )
    return Signed.make((signer or PEOPLE[of]).signing, changed(made, **fields))


def entry(of: str, /, **fields: Any) -> Any:
    return changed(PEOPLE[of].entry(), **fields)


JOININGS: Mapping[str, Signed] = {name: joining(name) for name in ALL}


def proposal(call: Signed = CALLED, **others: Signed) -> bytes:
    """Of all, some of whom have joined otherwise."""
    return Proposal(call=call, joinings=tuple((dict(JOININGS) | others).values())).encode()


PROPOSAL = proposal()


def revealed(of: str, /, signer: str = "", **fields: Any) -> Signed:
    made = Revealed(proposal=keys.digest(PROPOSAL), name=of, nonce=NONCES[of])
    return by(signer or of, changed(made, **fields))


REVEALED: Mapping[str, Signed] = {name: revealed(name) for name in ALL}
REVEALS = Reveals(proposal=PROPOSAL, revealed=tuple(REVEALED.values()))
ROSTER = Roster(
    number=3,
    predecessor=enrolment.FIRST,
    members=tuple(PEOPLE[name].entry() for name in ALL),
    coordinator=CALL.coordinator,
    released=0,
    release=bytes(32),
    nonces=tuple(NONCES.values()),
)


def approval(of: str, /, signer: str = "", roster: Roster = ROSTER, **fields: Any) -> Signed:
    return by(signer or of, changed(Approval(roster=roster.hash(), name=of), **fields))


def certificate(roster: Roster = ROSTER, names: tuple[str, ...] = ALL, **fields: Any) -> Certificate:
    """Of a roster that these have approved, and the coordinator."""
    ours = told(Approval(roster=roster.hash(), name="coordinator"))
    approvals = tuple(approval(name, roster=roster) for name in names)
    made = Certificate(roster=roster.encode(), approvals=approvals, coordinator=ours)
    return Certificate.model_validate(changed(made, **fields))
