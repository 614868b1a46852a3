"""How a roster comes about, at a member and for everybody: each check alone, with messages made by hand."""

from typing import Any

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import enrolling
from fedrepay.client.protocol import enrolment as at_member
from fedrepay.client.protocol.enrolling import MemberEnrolment
from fedrepay.client.protocol.testimony import Departed
from fedrepay.client.store.tables import LedgerEntry
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError, Refusal
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Joining, Proposal, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import default_colluders, quorum
from support.joining import (
    CALL,
    CALLED,
    JOININGS,
    PROPOSAL,
    REVEALED,
    REVEALS,
    ROSTER,
    approval,
    certificate,
    entry,
    joining,
    proposal,
    revealed,
)
from support.parties import ALL, OTHER, PEOPLE, SEED, START, STRANGER, by, changed, told

FOUR = ALL[:4]
LATER = changed(ROSTER, number=4, predecessor=ROSTER.hash())
CODE = ROSTER.code().encode()
NOBODY = Departed(gone=()).encode()


# --- what everybody checks ---


def test_a_commitment_is_to_a_nonce_and_a_name() -> None:
    assert enrolment.commitment(SEED, "m0") == keys.digest(b"roster nonce", b"m0", SEED)


def test_a_proposal_is_its_call_and_its_joinings() -> None:
    assert enrolment.checked(PROPOSAL) == (CALL, [Joining.decode(each.body) for each in JOININGS.values()])


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (proposal(by("m0", CALL)), "does not verify"),
        (proposal(told(changed(CALL, number=4))), "answers another call"),
        (proposal(m1=joining("m1", STRANGER)), "does not verify"),
        (proposal(m1=joining("m1", call=OTHER)), "joining of m1 answers another call"),
        (
            proposal(m1=joining("m1", entry=entry("m1", sealing=bytes(32)))),
            "sealing key of m1 is of low order",
        ),
        (proposal(m1=JOININGS["m0"]), "twice, or is not sorted"),
        (Proposal(call=CALLED, joinings=tuple(JOININGS.values())[::-1]).encode(), "twice, or is not sorted"),
    ],
    ids=["call", "another call", "signature", "joining to another", "sealing", "twice", "unsorted"],
)
def test_another_proposal_is_refused(message: bytes, cause: str) -> None:
    with pytest.raises(ProtocolError, match=cause):
        enrolment.checked(message)


def test_a_roster_is_of_the_proposal_and_its_nonces() -> None:
    assert enrolment.roster_of(PROPOSAL, REVEALS.revealed) == ROSTER
    said = told(changed(CALL, released=2, release=SEED, predecessor=OTHER))
    joinings = {name: joining(name, call=said.digest()) for name in ALL}
    made = proposal(said, **joinings)
    nonces = [revealed(name, proposal=keys.digest(made)) for name in ALL]
    assert enrolment.roster_of(made, nonces) == changed(ROSTER, released=2, release=SEED, predecessor=OTHER)


@pytest.mark.parametrize(
    ("others", "cause"),
    [
        ({"m1": revealed("m1", proposal=OTHER)}, "m1 revealed its nonce to another proposal"),
        ({"m1": revealed("m1", name="m2")}, "m1 revealed its nonce to another proposal"),
        ({"m1": revealed("m1", "m2")}, "does not verify"),
        ({"m1": revealed("m1", nonce=OTHER)}, "m1 revealed another nonce"),
        ({"m9": REVEALED["m4"]}, "Not every member"),
    ],
    ids=["proposal", "name", "signature", "nonce", "one more"],
)
def test_other_nonces_make_no_roster(others: dict[str, Signed], cause: str) -> None:
    with pytest.raises(ProtocolError, match=cause):
        enrolment.roster_of(PROPOSAL, tuple((dict(REVEALED) | others).values()))


def test_every_nonce_is_needed() -> None:
    with pytest.raises(ProtocolError, match="Not every member"):
        enrolment.roster_of(PROPOSAL, REVEALS.revealed[:-1])


def test_a_key_is_in_no_roster_twice() -> None:
    twice = joining("m1", PEOPLE["m0"], entry=entry("m1", signing=entry("m0").signing))
    made = proposal(m1=twice)
    said = {name: revealed(name, proposal=keys.digest(made)) for name in ALL}
    said["m1"] = revealed("m1", "m0", proposal=keys.digest(made))
    with pytest.raises(ProtocolError, match="m1 has the signing key of m0"):
        enrolment.roster_of(made, tuple(said.values()))


def test_a_certificate_is_of_everybody_s_approval() -> None:
    assert enrolment.certified(certificate(), None) == ROSTER
    assert enrolment.certified(certificate(approvals=certificate().approvals[::-1]), None) == ROSTER
    assert enrolment.certified(certificate(LATER), ROSTER) == LATER


def approvals(**others: Signed) -> tuple[Signed, ...]:
    return tuple(({name: approval(name) for name in ALL} | others).values())


OUTSIDE = Signed.make(STRANGER.signing, Approval(roster=ROSTER.hash(), name="m9"))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"approvals": approvals()[1:]}, "No approval by m0"),
        ({"approvals": (*approvals(), approval("m0"))}, "doubled or from outside"),
        ({"approvals": (*approvals(), OUTSIDE)}, "doubled or from outside"),
        ({"approvals": approvals(m1=approval("m1", roster=LATER))}, "m1 approved another roster"),
        ({"approvals": approvals(m1=approval("m1", "m2"))}, "does not verify"),
        ({"coordinator": by("m0", Approval(roster=ROSTER.hash(), name="coordinator"))}, "does not verify"),
        ({"coordinator": told(Approval(roster=OTHER, name="coordinator"))}, "coordinator signed another"),
    ],
    ids=["missing", "doubled", "outside", "another roster", "forged", "coordinator", "coordinator's other"],
)
def test_a_certificate_that_lacks_an_approval_is_none(fields: dict[str, Any], cause: str) -> None:
    with pytest.raises(ProtocolError, match=cause):
        enrolment.certified(certificate(**fields), None)


def test_a_certified_roster_is_checked_itself() -> None:
    unsorted = changed(ROSTER, members=ROSTER.members[::-1])
    with pytest.raises(ProtocolError, match="not sorted"):
        enrolment.certified(certificate(unsorted), None)


def test_those_of_the_roster_before_approve_too_under_their_old_keys() -> None:
    fewer = changed(LATER, members=LATER.members[:4], nonces=LATER.nonces[:4])
    with pytest.raises(ProtocolError, match="No approval by m4"):
        enrolment.certified(certificate(fewer, FOUR), ROSTER)
    assert enrolment.certified(certificate(fewer), ROSTER) == fewer
    other = changed(LATER.members[4], signing=keys.public_bytes(STRANGER.signing))
    with pytest.raises(ProtocolError, match="key of m4 changed"):
        enrolment.certified(certificate(changed(LATER, members=(*LATER.members[:4], other))), ROSTER)


def fits(message: Any, **fields: Any) -> bool:
    """Whether a message may have these fields."""
    try:
        kept = {name: getattr(message, name) for name in type(message).model_fields}
        type(message).model_validate(kept | fields)
    except ValueError:
        return False
    return True


def test_numbers_and_lists_have_their_bounds() -> None:
    assert [fits(CALL, number=each) for each in (0, 1, 2**31 - 1, 2**31)] == [False, True, True, False]
    joinings, said = tuple(JOININGS.values()), REVEALS.revealed
    assert [fits(Proposal.decode(PROPOSAL), joinings=joinings[:n]) for n in (2, 3)] == [False, True]
    assert [fits(REVEALS, revealed=said[:n]) for n in (2, 3)] == [False, True]
    assert [fits(REVEALS, proposal=bytes(n)) for n in (4 << 20, (4 << 20) + 1)] == [True, False]
    made = certificate()
    assert [fits(made, approvals=approvals()[:n]) for n in (2, 3)] == [False, True]
    assert [fits(made, roster=bytes(n)) for n in (4 << 20, (4 << 20) + 1)] == [True, False]
    assert [fits(made, approvals=approvals()[:1] * n) for n in (3000, 3001)] == [True, False]


def test_an_entry_and_a_roster_have_their_bounds() -> None:
    assert [fits(entry("m0"), node=bytes(n)) for n in (1024, 1025)] == [True, False]
    assert [fits(ROSTER, nonces=ROSTER.nonces[:n], members=ROSTER.members[:3]) for n in (2, 3)] == [
        False,
        True,
    ]


def test_a_copy_of_a_roster_is_shallow_unless_a_deep_one_is_asked_for() -> None:
    assert ROSTER.model_copy().members is ROSTER.members
    assert ROSTER.model_copy(deep=True).members[0] is not ROSTER.members[0]


def test_by_default_somebody_always_colludes_and_two_never_do() -> None:
    assert default_colluders(0) == 1
    assert all(1 <= default_colluders(members) <= members - 2 for members in range(3, 1501))


def test_more_colluders_than_leave_two_honest_have_no_quorum() -> None:
    assert quorum(3, 2) == 4
    assert quorum(4, 3) == 5


# --- a member's side ---


class Facts(dict[str, bytes]):
    """A store that remembers, and nothing else."""

    def __init__(self, released: tuple[int, bytes, bytes] | None = None, /, **facts: bytes) -> None:
        super().__init__(facts)
        self.released = released

    def fact(self, name: str) -> bytes | None:
        return self.get(name)

    def remember(self, **facts: bytes) -> None:
        self.update(facts)

    def release(self) -> tuple[int, bytes, bytes] | None:
        return self.released

    def ledger(self) -> tuple[LedgerEntry, ...]:
        return ()

    noted = ledger


def store(released: tuple[int, bytes, bytes] | None = None, /, **facts: bytes) -> Any:
    return Facts(released, **facts)


def member(facts: Any, identity: Identity = PEOPLE["m0"]) -> MemberEnrolment:
    return MemberEnrolment(identity, facts, lambda: 1.8e9, OsEntropy())


def refused(code: str, cause: str) -> Any:
    """Refusal of this code: to be compared by its cause."""
    return pytest.raises(Refusal, match=cause, check=lambda error: error.code == code)


HELD = {"roster": ROSTER.encode()}
WAITS = {"signed": LATER.encode()}


def test_the_newest_roster_is_the_highest_signed_held_or_withdrawn() -> None:
    assert at_member.newest(store()) == 0
    assert at_member.newest(store(**HELD)) == 3
    assert at_member.newest(store(**WAITS)) == 4
    assert at_member.newest(store(**HELD, **WAITS)) == 4
    assert at_member.newest(store(**HELD, withdrawn=(9).to_bytes(4, "big"))) == 9
    assert at_member.held(store()) is None
    assert at_member.held(store(**HELD)) == ROSTER


def test_a_signature_is_taken_back_where_the_roster_waits() -> None:
    facts = store(**HELD, **WAITS)
    assert at_member.withdraw(facts) == 4
    left = {"signed": ROSTER.encode(), "withdrawn": (4).to_bytes(4, "big"), "reply:approve": b""}
    assert facts == {**HELD, **left}
    first = store(signed=ROSTER.encode())
    assert at_member.withdraw(first) == 3
    assert first == {"signed": b"", "withdrawn": (3).to_bytes(4, "big"), "reply:approve": b""}
    assert at_member.newest(first) == 3, "and it goes on from there"
    with pytest.raises(ArgumentError):
        at_member.withdraw(first)
    for nothing in (store(), store(**HELD), store(**HELD, signed=ROSTER.encode())):
        with pytest.raises(ArgumentError):
            at_member.withdraw(nothing)


def test_a_run_is_under_the_roster_held_unless_a_later_one_was_signed() -> None:
    assert at_member.current(store(**HELD)) == ROSTER
    assert at_member.current(store(**HELD, signed=ROSTER.encode())) == ROSTER
    assert at_member.current(store(**HELD, signed=b"")) == ROSTER
    with refused("roster", "in no roster yet"):
        at_member.current(store(**WAITS))
    with refused("roster", "signed a later roster"):
        at_member.current(store(**HELD, **WAITS))


def test_the_newest_run_is_of_the_last_call_answered() -> None:
    assert at_member.newest_run(store()) == 0
    assert at_member.newest_run(store(last_start=START.encode())) == 7


# --- joining ---


def call(number: int, **fields: Any) -> Signed:
    return told(changed(CALL, number=number, **fields))


def test_a_member_joins_with_its_keys_and_a_fresh_commitment() -> None:
    each = member(store())
    said = [Signed.decode(each.propose(CALLED.encode())[0]) for _ in range(2)]
    first, second = (one.verified(entry("m0").signing, Joining) for one in said)
    assert (first.call, first.entry) == (CALLED.digest(), entry("m0"))
    assert first.commitment != second.commitment
    body, facts = each.propose(CALLED.encode())
    assert facts == {"joining": body}


def test_a_call_is_its_coordinator_s() -> None:
    with pytest.raises(ProtocolError, match="does not verify"):
        member(store()).propose(by("m0", CALL).encode())


def test_numbers_rise_and_not_far() -> None:
    each = member(store(**HELD, signed_call=b"proof"))
    for number in (4, 3 + 1000):
        assert each.propose(call(number).encode())[0]
    for number in (3, 4 + 1000):
        with refused("number", "is not among") as error:
            each.propose(call(number).encode())
        assert error.value.proof == (3).to_bytes(4, "big") + b"proof"
    with refused("number", "is not among") as error:
        member(store()).propose(call(1001).encode())
    assert error.value.proof == bytes(4)


# --- revealing ---


def joined(
    facts: Any, signed: Signed = CALLED, holding: tuple[str, ...] = ALL[1:]
) -> tuple[MemberEnrolment, bytes]:
    """A member that joined, and the proposal it is in; some of the others hold the release that the call names."""
    each, call = member(facts), Call.decode(signed.body)
    body, said = each.propose(signed.encode())
    facts.remember(**said)
    holds: dict[str, Any] = {"released": call.released, "release": call.release}
    others = {
        name: joining(name, call=signed.digest(), **(holds if name in holding else {})) for name in ALL[1:]
    }
    return each, proposal(signed, m0=Signed.decode(body), **others)


def test_a_nonce_is_revealed_once() -> None:
    each, message = joined(store())
    body, facts = each.reveal(message)
    said = Signed.decode(body).verified(entry("m0").signing, Revealed)
    mine = Joining.decode(Proposal.decode(message).joinings[0].body)
    assert (said.proposal, said.name) == (keys.digest(message), "m0")
    assert enrolment.commitment(said.nonce, "m0") == mine.commitment
    assert facts == {"revealed": keys.digest(message)}
    with refused("void", "nonce for the proposal is void"):
        each.reveal(message)


def test_only_to_a_proposal_that_holds_the_own_newest_joining() -> None:
    each, message = joined(store())
    with refused("void", "own, newest joining"):
        each.reveal(PROPOSAL)
    each.propose(CALLED.encode())
    with refused("void", "own, newest joining"):
        member(store()).reveal(message)
    with pytest.raises(ProtocolError, match="not sorted"):
        each.reveal(
            changed(Proposal.decode(message), joinings=Proposal.decode(message).joinings[::-1]).encode()
        )


def test_a_restarted_member_has_no_nonce() -> None:
    facts = store()
    _, message = joined(facts)
    with refused("void", "nonce for the proposal is void"):
        member(facts).reveal(message)


@pytest.mark.parametrize(
    ("facts", "fields", "cause"),
    [
        (store(**HELD), {"predecessor": ROSTER.hash()}, ""),
        (store(**HELD), {"predecessor": OTHER}, "does not follow"),
        (store(), {"predecessor": SEED}, ""),
        (store(), {"released": 1 << 20}, ""),
        (store(), {"released": (1 << 20) + 1}, "too far above"),
        (store(**HELD), {"predecessor": ROSTER.hash(), "released": 1000}, ""),
        (store(**HELD), {"predecessor": ROSTER.hash(), "released": 1001}, "too far above"),
        (store(**HELD, last_start=START.encode()), {"predecessor": ROSTER.hash(), "released": 1007}, ""),
        (
            store(**HELD, last_start=START.encode()),
            {"predecessor": ROSTER.hash(), "released": 1008},
            "too far above",
        ),
        (store((5, b"made", b"")), {"released": 5, "release": keys.digest(b"made")}, ""),
        (store((5, b"made", b"")), {"released": 5, "release": OTHER}, "another last release"),
        (store((5, b"made", b"")), {"released": 4, "release": keys.digest(b"made")}, "another last release"),
        (store((5, b"made", b"")), {"released": 6, "release": OTHER}, ""),
    ],
)
def test_a_proposal_follows_the_roster_and_release_that_are_held(
    facts: Any, fields: dict[str, Any], cause: str
) -> None:
    each, message = joined(facts, call(4, **fields))
    if not cause:
        assert each.reveal(message)[0]
        return
    with refused("roster", cause) as error:
        each.reveal(message)
    held = {
        "does not follow": ROSTER.hash(),
        "another last release": (5).to_bytes(4, "big") + keys.digest(b"made"),
    }
    assert error.value.proof == held.get(cause, b"")


NAMED = {"predecessor": ROSTER.hash(), "released": 6, "release": SEED}


@pytest.mark.parametrize(
    ("facts", "holding", "cause"),
    [
        (store(**HELD), ALL[1:3], ""),
        (store(**HELD), ALL[1:2], "1 members hold release 6 as the proposal names it; 2 must"),
        (store((6, b"made", b""), **HELD), ALL[1:2], ""),
        (store(), ALL[1:3], ""),
        (store(), (), "0 members hold release 6"),
    ],
)
def test_a_release_that_a_proposal_names_is_held_by_more_than_may_lie(
    facts: Any, holding: tuple[str, ...], cause: str
) -> None:
    mine = facts.release()
    fields = NAMED if mine is None else NAMED | {"release": keys.digest(mine[1])}
    each, message = joined(facts, call(4, **fields), holding)
    if not cause:
        assert each.reveal(message)[0]
        return
    with refused("roster", cause):
        each.reveal(message)


def test_who_is_new_vouches_for_no_release_to_who_is_not() -> None:
    before = changed(ROSTER, members=ROSTER.members[:3], nonces=ROSTER.nonces[:3])
    _, message = joined(store(), call(4, **NAMED), ALL[2:])
    enrolment.check_release(message, None)
    enrolment.check_release(message, ROSTER)
    with pytest.raises(ProtocolError, match="1 members hold release 6 as the proposal names it; 2 must"):
        enrolment.check_release(message, before)


# --- approving ---

SHOWN = {"revealed": keys.digest(PROPOSAL)}


def test_people_compare_the_words_before_a_member_signs() -> None:
    for approved in ({}, {"approved_code": b"abandon about"}):
        facts = store(**SHOWN, **approved)
        with refused("roster", f"roster of m0, m1, m2, m3, m4: {ROSTER.code()}"):
            member(facts).approve(REVEALS.encode())
        assert facts["shown"] == CODE


def test_a_member_signs_the_words_that_its_people_approved() -> None:
    body, facts = member(store(**SHOWN, approved_code=CODE)).approve(REVEALS.encode())
    said = Signed.decode(body).verified(entry("m0").signing, Approval)
    assert said == Approval(roster=ROSTER.hash(), name="m0")
    assert facts == {"signed": ROSTER.encode(), "signed_call": CALLED.encode(), "heard": b""}


def test_only_the_proposal_it_revealed_to_and_once() -> None:
    approved = {"approved_code": CODE}
    with refused("void", "not revealed its nonce"):
        member(store(**approved)).approve(REVEALS.encode())
    with refused("void", "not revealed its nonce"):
        member(store(revealed=OTHER, **approved)).approve(REVEALS.encode())
    for signed in (ROSTER, LATER):
        with refused("roster", "or a later one already"):
            member(store(**SHOWN, **approved, signed=signed.encode())).approve(REVEALS.encode())
    earlier = changed(ROSTER, number=2).encode()
    assert member(store(**SHOWN, **approved, signed=earlier)).approve(REVEALS.encode())[0]
    with pytest.raises(ProtocolError, match="Not every member"):
        member(store(**SHOWN, **approved)).approve(changed(REVEALS, revealed=REVEALS.revealed[1:]).encode())


def test_a_roster_withdrawn_from_is_not_signed_again() -> None:
    approved = {**SHOWN, "approved_code": CODE}
    for number in (3, 4):
        with refused("void", "withdrawn from this roster"):
            member(store(**approved, withdrawn=number.to_bytes(4, "big"))).approve(REVEALS.encode())
    assert member(store(**approved, withdrawn=(2).to_bytes(4, "big"))).approve(REVEALS.encode())[0]


def test_a_roster_that_came_after_the_nonce_was_revealed_must_be_the_predecessor() -> None:
    came = changed(ROSTER, number=2)
    said = told(changed(CALL, predecessor=came.hash()))
    follows = proposal(said, **{name: joining(name, call=said.digest()) for name in ALL})
    nonces = tuple(revealed(name, proposal=keys.digest(follows)) for name in ALL)
    held = {"roster": came.encode(), "revealed": keys.digest(follows)}
    code = enrolment.roster_of(follows, nonces).code().encode()
    message = Reveals(proposal=follows, revealed=nonces).encode()
    assert member(store(**held, approved_code=code)).approve(message)[0], "control: it is"
    with refused("roster", "does not follow the roster"):
        member(store(**SHOWN, approved_code=CODE, roster=came.encode())).approve(REVEALS.encode())


@pytest.mark.parametrize(("size", "named"), [(20, "m19"), (21, "m19 and 1 more"), (23, "m19 and 3 more")])
def test_a_long_roster_is_named_as_far_as_a_line_holds(size: int, named: str) -> None:
    members = tuple(entry("m0", name=f"m{i:02}") for i in range(size))
    made = changed(ROSTER, members=members)
    assert enrolling._named(made).endswith(named)
    assert enrolling._named(made).startswith("m00, m01, m02")


# --- the certificate ---


def test_a_certificate_makes_the_roster_the_member_s() -> None:
    shared = certificate().encode()
    for facts in (store(), store(signed=ROSTER.encode()), store(withdrawn=(2).to_bytes(4, "big"))):
        body, kept, *taken = member(facts).certify(shared)
        known = facts.fact("signed") is not None
        said = {"roster": ROSTER.encode(), "signed": ROSTER.encode(), "certificate": shared, "heard": b""}
        assert (body, kept) == (b"", said | {"gone": NOBODY} | ({} if known else {"since": b"1800000000"}))
        assert [each.status for each in taken] == ([] if known else ["lost"]), (
            "who knows nothing of it has lost a store"
        )
    assert member(store(**HELD)).certify(shared) == (b"", {})
    assert member(store(**HELD)).certify(certificate(LATER).encode())[1]["roster"] == LATER.encode()


def test_no_earlier_roster_and_none_withdrawn_from_comes_back() -> None:
    other = changed(ROSTER, nonces=(OTHER,) * 5)
    for facts in (
        store(**WAITS),
        store(signed=other.encode()),
        store(withdrawn=(3).to_bytes(4, "big")),
        store(withdrawn=(4).to_bytes(4, "big"), signed=ROSTER.encode()),
    ):
        with refused("roster", "signed a later roster, or withdrawn"):
            member(facts).certify(certificate().encode())


def test_a_roster_holds_the_member_s_own_keys() -> None:
    renewed = Identity("m0", STRANGER.signing, STRANGER.sealing, b"")
    for identity in (STRANGER, renewed):
        with refused("roster", "own keys"):
            member(store(), identity).certify(certificate().encode())


def test_what_not_everybody_signed_is_not_taken() -> None:
    with pytest.raises(ProtocolError, match="No approval by m0"):
        member(store()).certify(certificate(approvals=approvals()[1:]).encode())
    fewer = changed(LATER, members=LATER.members[:4], nonces=LATER.nonces[:4])
    with pytest.raises(ProtocolError, match="No approval by m4"):
        member(store(**HELD)).certify(certificate(fewer, FOUR).encode())


def test_a_certificate_is_given_back() -> None:
    assert member(store()).certificate() == b""
    assert member(store(certificate=b"kept")).certificate() == b"kept"
