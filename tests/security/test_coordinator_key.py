"""The coordinator's key rotates under its old signature, or is replaced by all members; the old one then signs nothing.

docs/protocol.md, *Rosters that change*; docs/adr/0030. Every attack has its control: with that defence off, it works.
"""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.protocol import enrolling
from fedrepay.client.protocol import enrolment as at_member
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, ProtocolError
from fedrepay.shared.trust import enrolment, succession
from fedrepay.shared.trust.enrolment import Approval, Certificate
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked, Roster
from fedrepay.shared.trust.succession import KeyChange, KeyHandover, changes
from fedrepay.shared.trust.wire import RoundConfig
from support.adversary import say
from support.company import NAMES, Company
from support.world import World

WIDE = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=30.0)


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def begun(company: Company) -> Enrolment:
    machine = company.enrolment()
    company.complete(machine)
    return machine


def rotated(company: Company, machine: Enrolment) -> Ed25519PrivateKey:
    """The next roster holds another key, for which the old one signed; the old one."""
    old, new = company.key, Ed25519PrivateKey.generate()
    company.complete(company.enrolment(machine, wanted=True, following=new))
    company.key = new
    return old


def replaced(company: Company, machine: Enrolment) -> Ed25519PrivateKey:
    """The next roster holds another key, and the old one is lost to the operator."""
    old, company.key = company.key, Ed25519PrivateKey.generate()
    company.complete(company.enrolment(machine, wanted=True))
    return old


def shown(company: Company, machine: Enrolment) -> str:
    """What a member says, before its people have approved."""
    ask = company.until(machine, "approve")
    return company.say("m0", "approve", ask.parts["m0"][0]).cause


def word(before: Roster, signer: Ed25519PrivateKey, to: Ed25519PrivateKey) -> Signed:
    return Signed.make(signer, KeyHandover(roster=before.hash(), coordinator=keys.public_bytes(to)))


# --- rotated or replaced ---


def test_it_rotates_under_its_old_signature_and_people_see_that_before_they_approve(company: Company) -> None:
    machine, new = begun(company), Ed25519PrivateKey.generate()
    first = company.roster("m0")
    assert first is not None
    again = company.enrolment(machine, wanted=True, following=new)
    said = shown(company, again)
    assert "the coordinator's key rotates, signed by the one before" in said
    assert "REPLACED" not in said
    second = company.complete(again)
    assert second.coordinator == keys.public_bytes(new) != first.coordinator
    assert changes(first, second).coordinator == KeyChange.ROTATED
    assert [company.roster(name) for name in NAMES] == [second] * 4
    assert at_member.former(company.store("m0")) == (first.coordinator,)
    company.key = new
    third = company.complete(company.enrolment(machine, wanted=True))
    assert (third.handover, changes(second, third).coordinator) == (None, KeyChange.KEPT)


def test_it_is_replaced_where_nobody_signed_for_it_and_people_see_that(company: Company) -> None:
    machine = begun(company)
    first, company.key = company.roster("m0"), Ed25519PrivateKey.generate()
    again = company.enrolment(machine, wanted=True)
    said = shown(company, again)
    assert "THE COORDINATOR'S KEY IS REPLACED" in said
    assert "Call the operator on a number that you know" in said
    assert "signed by the one before" not in said
    offer = company.call(9)  # whatever the new key signs
    assert "does not verify" in company.say("m0", "terms", offer.encode()).cause
    second = company.complete(again)
    assert first is not None
    assert changes(first, second).coordinator == KeyChange.REPLACED
    assert [company.roster(name) for name in NAMES] == [second] * 4


@pytest.mark.parametrize("replaces", [True, False])
def test_words_typed_in_before_people_saw_that_it_is_replaced_do_not_count(
    company: Company, *, replaces: bool
) -> None:
    """Heard by telephone, by somebody whose own screen has not shown it yet."""
    machine = begun(company)
    if replaces:
        company.key = Ed25519PrivateKey.generate()
    again = company.enrolment(machine, wanted=True)
    shared = company.until(again, "approve").parts["m0"][0]
    words = again.state.proposed().code()
    company.members["m0"].approve_roster(words)
    reply = company.say("m0", "approve", shared)
    assert reply.kind == ("refused" if replaces else "ok"), "control: of other rosters they do"
    if replaces:
        assert "THE COORDINATOR'S KEY IS REPLACED" in reply.cause
        assert company.say("m0", "approve", shared).kind == "refused", "typed in again, after it was shown"
        company.members["m0"].approve_roster(words)
        assert company.say("m0", "approve", shared).kind == "ok"


def test_a_replacement_needs_every_member_of_the_roster_before(company: Company) -> None:
    machine, company.key = begun(company), Ed25519PrivateKey.generate()
    company.stopped = {"m3"}
    with pytest.raises(CohortError, match="m3: no answer"):
        company.complete(company.enrolment(machine, wanted=True))
    before = company.roster("m0")
    assert before is not None
    proposal = company.proposal(company.call(7, before.hash()), NAMES[:3])
    assert "m3 of the roster before: left out" in company.say("m0", "reveal", proposal).cause


@pytest.mark.parametrize("strict", [True, False])
def test_nobody_is_revoked_by_it_and_control(
    company: Company, monkeypatch: pytest.MonkeyPatch, *, strict: bool
) -> None:
    """Whoever has no key of a coordinator's would else take a majority along, and leave the rest with the old one."""
    machine, company.key = begun(company), Ed25519PrivateKey.generate()
    if not strict:
        monkeypatch.setattr(succession, "key_change", lambda *_: KeyChange.ROTATED)
    again = company.enrolment(machine, wanted=True, revoked=[Revoked(name="m3")])
    if strict:
        with pytest.raises(CohortError, match="everybody of the roster before signs"):
            company.complete(again)
        before = company.roster("m0")
        assert before is not None
        call = company.call(7, before.hash(), revoked=["m3"])
        refused = company.say("m0", "reveal", company.proposal(call, NAMES[:3]))
        assert "everybody of the roster before signs" in refused.cause
        return
    assert company.complete(again).names == NAMES[:3]


def test_who_has_left_by_its_own_word_need_not_sign_it_and_a_rotation_revokes(company: Company) -> None:
    machine = begun(company)
    left = at_member.leave(company.identities["m3"], company.store("m3"))
    company.stopped, company.key = {"m3"}, Ed25519PrivateKey.generate()
    second = company.complete(company.enrolment(machine, wanted=True, leaving=[left]))
    assert second.names == NAMES[:3]
    company.names, company.stopped = NAMES[:3], set()
    company.add("m4")
    new = Ed25519PrivateKey.generate()
    third = company.complete(company.enrolment(machine, wanted=True, following=new))
    company.key, new = new, Ed25519PrivateKey.generate()
    again = company.enrolment(machine, wanted=True, following=new, revoked=[Revoked(name="m4")])
    fourth = company.complete(again)
    assert changes(third, fourth).coordinator == KeyChange.ROTATED
    assert fourth.names == NAMES[:3]


@pytest.mark.parametrize(
    "kind", ["a stranger's", "another roster's", "to another", "to itself", "a first roster's"]
)
def test_a_word_that_is_none_is_refused_and_never_shown_as_a_rotation(company: Company, kind: str) -> None:
    begun(company)
    before = company.roster("m0")
    assert before is not None
    old, new = company.key, Ed25519PrivateKey.generate()
    other = before.model_copy(update={"number": 9})
    said = {
        "a stranger's": word(before, new, new),
        "another roster's": word(other, old, new),
        "to another": word(before, old, Ed25519PrivateKey.generate()),
        "to itself": word(before, old, old),
        "a first roster's": word(before, old, new),
    }[kind]
    company.key = old if kind == "to itself" else new
    predecessor = bytes(32) if kind == "a first roster's" else before.hash()
    call = company.call(2, predecessor, handover=said)
    refused = company.say("m0", "reveal", company.proposal(call))
    cause = {"a stranger's": "does not verify", "a first roster's": "in a first roster"}.get(
        kind, "handed over"
    )
    assert cause in refused.cause
    made = before.model_copy(
        update={
            "predecessor": predecessor,
            "coordinator": keys.public_bytes(company.key),
            "handover": said,
            "number": 2,
        }
    )
    assert changes(before, made).coordinator != KeyChange.ROTATED
    with pytest.raises(ProtocolError):
        succession.signers(made, None if kind == "a first roster's" else before, (), ())
    good = company.call(3, before.hash(), handover=word(before, old, new))
    company.key = new
    good = company.call(3, before.hash(), handover=word(before, old, new))
    assert company.say("m0", "reveal", company.proposal(good)).kind == "ok", "control: the right word"


def test_control_unverified_anybody_s_key_would_rotate(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(company)
    before, company.key = company.roster("m0"), Ed25519PrivateKey.generate()
    assert before is not None
    call = company.call(2, before.hash(), handover=word(before, company.key, company.key))
    monkeypatch.setattr(Signed, "verified", lambda signed, _public, kind: kind.decode(signed.body))
    reveals = company.reveals(company.proposal(call))
    assert "signed by the one before" in company.say("m0", "approve", reveals).cause


# --- the old key afterwards ---


@pytest.mark.parametrize("way", [rotated, replaced])
@pytest.mark.parametrize("remembered", [True, False])
def test_the_old_key_calls_for_no_other_roster_and_control(
    company: Company, monkeypatch: pytest.MonkeyPatch, way: object, *, remembered: bool
) -> None:
    machine = begun(company)
    assert callable(way)
    old = way(company, machine)
    second = company.roster("m0")
    assert second is not None
    if not remembered:
        monkeypatch.setattr(enrolling, "check_coordinator", lambda *_: None)
    company.key = old
    call = company.call(9, second.hash())
    refused = company.say("m0", "propose", call.encode())
    assert refused.kind == ("refused" if remembered else "ok")
    if remembered:
        assert (refused.code, "was given up in an earlier roster" in refused.cause) == ("roster", True)
        return
    made = company.certificate(call)
    company.told("m0", "certify", made.encode())
    assert company.roster("m0") == Roster.decode(made.roster), "people would only see that it is replaced"


def test_the_new_key_does_not_hand_over_to_the_old_one(company: Company) -> None:
    machine = begun(company)
    old = rotated(company, machine)
    again = company.enrolment(machine, wanted=True, following=old)
    with pytest.raises(CohortError, match="was given up in an earlier roster"):
        company.complete(again)


def by_hand(company: Company, before: Roster, key: Ed25519PrivateKey) -> Certificate:
    """Of a roster under a key, that all its members have signed, and nobody was asked."""
    update = {
        "number": 8,
        "predecessor": before.hash(),
        "coordinator": keys.public_bytes(key),
        "handover": None,
    }
    made = before.model_copy(update=update)
    said = [
        Signed.make(company.identities[name].signing, Approval(roster=made.hash(), name=name))
        for name in NAMES
    ]
    ours = Signed.make(key, Approval(roster=made.hash(), name="coordinator"))
    return enrolment.Certificate(roster=made.encode(), approvals=tuple(said), coordinator=ours)


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_certificate_of_the_old_key_is_refused_and_control_of_the_new_one(
    company: Company, which: str
) -> None:
    machine = begun(company)
    old = rotated(company, machine)
    before = company.roster("m0")
    assert before is not None
    made = by_hand(company, before, old if which == "old" else company.key)
    said = company.say("m0", "certify", made.encode())
    assert (said.code, company.roster("m0") == before) == (
        ("roster", True) if which == "old" else ("", False)
    )


def test_it_forgets_no_key_that_was_given_up(company: Company) -> None:
    machine = begun(company)
    olds = [rotated(company, machine), replaced(company, machine), rotated(company, machine)]
    assert at_member.former(company.store("m0")) == tuple(map(keys.public_bytes, olds))
    company.restart("m0")
    at_member.leave(company.identities["m0"], company.store("m0"))
    at_member.join_anew(company.store("m0"))
    for old in olds:
        company.key = old
        assert "was given up" in company.say("m0", "propose", company.call(20).encode()).cause


def rekeyed(world: World, *, signed: bool) -> tuple[Ed25519PrivateKey, Roster]:
    """A roster of the same members under another key; the key and roster before."""
    old, before, new = world.key, world.roster, Ed25519PrivateKey.generate()
    nodes, state = [Node(name, name) for name in world.names], world.enrolment.state
    world.enrolment = Enrolment(
        old if signed else new,
        nodes,
        wanted=True,
        released=(0, bytes(32)),
        following=new if signed else None,
    )
    world.enrolment.state = state
    world.enrol()
    world.key = new
    world.coordinator = world.new_coordinator()
    return old, before


@pytest.mark.parametrize("signed", [True, False])
def test_a_run_goes_on_under_the_new_key_and_the_old_one_signs_no_round(
    tmp_path: Path, *, signed: bool
) -> None:
    world = World(tmp_path, limits=WIDE, rounds=2)
    old, before = rekeyed(world, signed=signed)
    ask = world.until("round")
    shared, own = ask.parts["m0"]
    config = Signed.decode(shared).verified(keys.public_bytes(world.key), RoundConfig)
    forged = Signed.make(old, config)
    refused = say(world, "m0", "round", forged.encode(), own)
    assert (refused.code, "does not verify" in refused.cause) == ("message", True)
    assert say(world, "m0", "round", shared, own).kind == "ok", "control: the new one does"
    world.run()
    assert world.coordinator.state.done
    for roster in (world.roster, before):
        late = Coordinator(world.terms(2), old, roster, {name: name for name in world.names})
        offer = late.ask()
        assert offer is not None
        said = say(world, "m0", "terms", *offer.parts["m0"])
        assert (said.kind, "does not verify" in said.cause) == ("refused", True)


def test_a_run_that_is_under_way_ends_for_whoever_takes_the_new_key_s_roster(tmp_path: Path) -> None:
    """No roster is made under a run; a coordinator that makes one all the same goes on under neither key."""
    world = World(tmp_path, limits=WIDE, rounds=2)
    ask = world.until("round")
    running = world.coordinator
    old, _ = rekeyed(world, signed=True)
    assert say(world, "m0", "round", *ask.parts["m0"]).code == "roster"
    config = Signed.decode(ask.parts["m0"][0]).verified(keys.public_bytes(old), RoundConfig)
    forged = Signed.make(world.key, config)
    assert say(world, "m0", "round", forged.encode(), b"").code == "roster"
    assert running.state.attempts, "control: it was under way"


def test_before_the_roster_is_complete_the_old_key_s_runs_go_on_and_the_new_one_s_are_refused(
    tmp_path: Path,
) -> None:
    world, new = World(tmp_path, limits=WIDE, rounds=2), Ed25519PrivateKey.generate()
    early = Coordinator(world.terms(), new, world.roster, {name: name for name in world.names})
    offer = early.ask()
    assert offer is not None
    assert "does not verify" in say(world, "m0", "terms", *offer.parts["m0"]).cause
    ask = world.until("round")
    shared, own = ask.parts["m0"]
    config = Signed.decode(shared).verified(keys.public_bytes(world.key), RoundConfig)
    forged = Signed.make(new, config)
    assert say(world, "m0", "round", forged.encode(), own).code == "message"
    world.run()
    assert world.coordinator.state.done, "control: the key in force"


# --- two rosters ---


@pytest.mark.parametrize("defended", [True, False])
@pytest.mark.parametrize("signed", [True, False])
def test_halves_shown_the_old_and_the_new_key_do_not_end_in_two_rosters(
    company: Company, monkeypatch: pytest.MonkeyPatch, *, signed: bool, defended: bool
) -> None:
    """A half is told that the other is revoked, ghosts in its place, under the old key; the other half the same, under the new."""
    before = company.enrolled()
    for name in ("g0", "g1"):
        company.add(name)
    if not defended:
        monkeypatch.setattr(succession, "revokers", lambda members: members // 2)
        monkeypatch.setattr(succession, "key_change", lambda *_: KeyChange.ROTATED)
    old, new = company.key, Ed25519PrivateKey.generate()
    for number, (key, half, out) in enumerate(((old, NAMES[:2], NAMES[2:]), (new, NAMES[2:], NAMES[:2])), 2):
        company.key = key
        said = word(before, old, new) if signed and key is new else None
        call = company.call(number, before.hash(), revoked=out, handover=said)
        there = ("g0", "g1", *half)
        if defended:
            refused = company.say(half[0], "reveal", company.proposal(call, there))
            assert ("would revoke" in refused.cause) != ("everybody of the roster before" in refused.cause)
            continue
        made = company.certificate(call, there)
        for name in half:
            company.told(name, "certify", made.encode())
    held = {roster.coordinator for name in NAMES if (roster := company.roster(name))}
    assert held == ({before.coordinator} if defended else {keys.public_bytes(old), keys.public_bytes(new)})


def test_everybody_who_signs_both_ends_in_one(company: Company) -> None:
    """All approve one under the old key, which is held back, and one under the new; each half is given another certificate."""
    before, old, new = company.enrolled(), company.key, Ed25519PrivateKey.generate()
    under_old = company.certificate(company.call(2, before.hash()))
    company.key = new
    under_new = company.certificate(company.call(3, before.hash(), handover=word(before, old, new)))
    for name in NAMES[:2]:
        refused = company.say(name, "certify", under_old.encode())
        assert (refused.code, "signed a later roster" in refused.cause) == ("roster", True)
    for name in NAMES[2:]:
        company.told(name, "certify", under_new.encode())
    for name in NAMES[:2]:
        assert "signed a later roster" in company.say(name, "terms", company.call(9).encode()).cause
        company.told(name, "certify", under_new.encode())
    assert {company.roster(name) for name in NAMES} == {Roster.decode(under_new.roster)}


# --- at the coordinator ---


def test_an_open_call_of_the_old_key_is_void_once_another_is_to_follow(company: Company) -> None:
    machine, new = begun(company), Ed25519PrivateKey.generate()
    again = company.enrolment(machine, wanted=True)
    ask = company.until(again, "approve")
    company.approvals(ask.parts["m0"][0], NAMES[:3])
    with pytest.raises(CohortError):
        company.deliver(again, ask)
    assert len(again.state.approvals) == 3
    made = company.complete(company.enrolment(machine, wanted=True, following=new))
    assert (made.coordinator, made.number) == (keys.public_bytes(new), 3)


def test_a_rotation_goes_on_where_the_old_key_is_lost_meanwhile(company: Company) -> None:
    """Its word stands in the open call."""
    machine, new = begun(company), Ed25519PrivateKey.generate()
    first = company.roster("m0")
    company.until(company.enrolment(machine, wanted=True, following=new), "approve")
    company.key = new
    made = company.complete(company.enrolment(machine, wanted=True))
    assert first is not None
    assert changes(first, made).coordinator == KeyChange.ROTATED
    assert made.number == 2


def test_a_database_that_is_lost_with_a_rotation_under_way_costs_nothing_more(company: Company) -> None:
    machine, new = begun(company), Ed25519PrivateKey.generate()
    first = company.roster("m0")
    assert first is not None
    company.until(company.enrolment(machine, wanted=True, following=new), "approve")
    empty = company.enrolment(following=new)
    company.complete(empty)
    assert empty.state.roster == first, "given back: the key in force is the old one"
    made = company.complete(company.enrolment(empty, wanted=True, following=new))
    assert changes(first, made).coordinator == KeyChange.ROTATED
    again = company.enrolment(following=new)
    company.complete(again)
    assert again.state.roster == made, "a roster of the following key is ours too"


def test_a_copy_of_before_a_rotation_signs_for_no_key(company: Company) -> None:
    """Members hold a roster that it does not know; what it signs with the old key is no word to them, so it does not sign."""
    machine = begun(company)
    first = machine.state.certificate
    old, third = rotated(company, machine), Ed25519PrivateKey.generate()
    assert first is not None
    copy = company.enrolment()
    copy.state.certificate, copy.state.roster = first, Roster.decode(first.roster)
    copy.state.certificates = [first]
    company.key = old
    again = company.enrolment(copy, wanted=True, following=third)
    assert "THE COORDINATOR'S KEY IS REPLACED" in shown(company, again)
    assert company.complete(again).handover is None
