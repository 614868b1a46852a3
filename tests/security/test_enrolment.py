"""How a roster comes about: what a coordinator, a member or a stranger can do to it, and what they cannot.

A coordinator that chooses entries after it has seen nonces chooses the twelve words; so nonces are committed to, and
revealed once, to one whole list (docs/protocol.md, *Epochs, roster, keys*, 1; docs/adr/0019).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import enrolment as client_enrolment
from fedrepay.client.protocol.enrolling import MemberEnrolment
from fedrepay.client.protocol.member import Member
from fedrepay.server.protocol import calls, held
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, CohortError, ProtocolError, WordsError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import FAR, FIRST, Approval, Joining, Proposal, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry, Roster
from fedrepay.shared.trust.wire import Reply, asked
from support.adversary import roster_of
from support.company import NAMES, Company, certificate
from support.world import World

LOW_ORDER = bytes(32)
"""An X25519 key with which every exchange gives zeros."""


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def ghost(call: Signed, name: str) -> Signed:
    """A joining by keys that the coordinator made itself."""
    made = Identity.create(name)
    joining = Joining(call=call.digest(), entry=made.entry(), commitment=bytes(32))
    return Signed.make(made.signing, joining)


def with_ghost(proposal: bytes) -> bytes:
    """The same proposal, a ghost in the place of m3."""
    message = Proposal.decode(proposal)
    return message.model_copy(
        update={"joinings": (*message.joinings[:-1], ghost(message.call, "m3"))}
    ).encode()


def nonce(body: bytes) -> bytes:
    return Revealed.decode(Signed.decode(body).body).nonce


# --- a nonce is revealed once, to one list ---


def test_a_member_reveals_its_nonce_once_and_to_one_list(company: Company) -> None:
    """Else the coordinator tries one list after the other until the words are those of another roster."""
    first = company.proposal(company.call(1))
    told = company.told("m0", "reveal", first)
    refused = company.say("m0", "reveal", with_ghost(first))
    assert (refused.code, refused.body) == ("void", b"")
    assert company.told("m0", "reveal", first) == told, "the same bytes get the same answer"


def test_control_a_member_that_keeps_its_nonce_gives_it_to_another_list(company: Company) -> None:
    first = company.proposal(company.call(1))
    member = company.members["m0"]._enrolment
    kept = dict(member._nonces)
    told = company.told("m0", "reveal", first)
    member._nonces = kept
    assert nonce(company.told("m0", "reveal", with_ghost(first))) == nonce(told)


def test_a_member_approves_no_list_but_the_one_it_revealed_its_nonce_to(company: Company) -> None:
    first = company.proposal(company.call(1))
    reveals = Reveals.decode(company.reveals(first))
    other = reveals.model_copy(update={"proposal": with_ghost(first)}).encode()
    assert company.say("m0", "approve", other).code == "void"
    assert company.members["m0"].shown_words() == "", "nobody is shown words of it"
    assert company.say("m0", "approve", reveals.encode()).code == "roster", "control: people have to compare"
    assert company.members["m0"].shown_words() != ""


def test_a_list_without_the_members_own_newest_joining_is_not_answered(company: Company) -> None:
    old = company.proposal(company.call(1))
    new = company.proposal(company.call(2))
    assert company.say("m0", "reveal", old).code == "void"
    others = Proposal.decode(new)
    without = others.model_copy(update={"joinings": others.joinings[1:]}).encode()
    assert company.say("m0", "reveal", without).code == "void"
    assert company.say("m0", "reveal", new).kind == "ok"


# --- a restart voids it ---


@pytest.mark.parametrize("restored", [False, True], ids=["restarted", "from a copy of its store"])
def test_after_a_restart_no_nonce_is_revealed(company: Company, *, restored: bool) -> None:
    proposal = company.proposal(company.call(1))
    if restored:
        shutil.copytree(company.folder / "m0", company.folder / "copy")
        company.told("m0", "reveal", proposal)
        shutil.rmtree(company.folder / "m0")
        shutil.copytree(company.folder / "copy", company.folder / "m0")
    company.restart("m0")
    for each in (proposal, with_ghost(proposal)):
        refused = company.say("m0", "reveal", each)
        assert (refused.code, refused.body) == ("void", b"")
    assert company.say("m1", "reveal", proposal).kind == "ok", "control: one that was not restarted"


def test_a_void_proposal_is_followed_by_another_of_a_higher_number(company: Company) -> None:
    machine = company.enrolment()
    ask = company.until(machine, "reveal")
    company.restart("m0")
    company.deliver(machine, ask)
    again = company.until(machine, "approve")
    assert machine.state.called == 2
    assert company.say("m0", "approve", again.parts["m0"][0]).code == "roster", "it waits for people alone"


# --- commitments ---


def revealed_by(company: Company, name: str, proposal: bytes, chosen: bytes) -> Signed:
    said = Revealed(proposal=keys.digest(proposal), name=name, nonce=chosen)
    return Signed.make(company.identities[name].signing, said)


def with_nonce(company: Company, reveals: bytes, chosen: bytes) -> bytes:
    """The last member colludes: it signs another nonce once it has seen all of them."""
    message = Reveals.decode(reveals)
    said = revealed_by(company, "m3", message.proposal, chosen)
    return message.model_copy(update={"revealed": (*message.revealed[:-1], said)}).encode()


def test_another_nonce_than_the_one_committed_to_names_its_member(company: Company) -> None:
    reveals = company.reveals(company.proposal(company.call(1)))
    refused = company.say("m0", "approve", with_nonce(company, reveals, bytes(32)))
    assert refused.code == "message"
    assert "m3 revealed another nonce" in refused.cause


def test_control_without_commitments_the_last_to_reveal_chooses_the_words(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "commitment", lambda *_: bytes(32))
    reveals = company.reveals(company.proposal(company.call(1)))
    firsts = set()
    for number in range(40):
        chosen = Reveals.decode(with_nonce(company, reveals, bytes([number]) * 32))
        firsts.add(enrolment.roster_of(chosen.proposal, chosen.revealed).code())
    assert len(firsts) == 40
    chosen = Reveals.decode(with_nonce(company, reveals, bytes(32)))
    assert company.say("m0", "approve", chosen.encode()).code == "roster", "it only waits for people"


def test_the_coordinator_names_it_too(company: Company) -> None:
    machine = company.enrolment()
    ask = company.until(machine, "reveal")
    shared, own = ask.parts["m3"]
    said = revealed_by(company, "m3", shared, bytes(32)).encode()
    reply = Reply(kind="ok", name="m3", asked=asked("reveal", shared, own), body=said)
    assert machine.receive(ask, "m3", Signed.make(company.identities["m3"].signing, reply)) == []
    for name in NAMES[:3]:
        signed = Signed.decode(company.members[name].handle("reveal", *ask.parts[name]))
        for event in machine.receive(ask, name, signed):
            machine.state.apply(event)
    with pytest.raises(CohortError, match="m3 revealed another nonce"):
        machine.finish(ask)


# --- numbers ---


def test_calls_are_answered_in_rising_numbers_and_none_far_above(company: Company) -> None:
    def code(number: int, predecessor: bytes = FIRST) -> tuple[str, bytes]:
        reply = company.say("m0", "propose", company.call(number, predecessor).encode())
        return reply.code, reply.body if reply.code else b""

    assert code(FAR + 1) == ("number", (0).to_bytes(4, "big"))
    assert code(5) == ("", b"")
    assert code(4) == ("", b""), "a call alone uses no number up: anybody could"
    assert code(5) == ("", b""), "the very same one"
    company.enrolled(5)
    call = company.store("m0").fact("signed_call") or b""
    for low in (1, 3, 4):
        assert code(low) == ("number", (5).to_bytes(4, "big") + call)
    assert code(5 + FAR + 1)[0] == "number"
    assert code(5 + FAR) == ("", b"")


def test_control_where_calls_count_a_stranger_uses_the_numbers_up(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten calls of a stranger's, each as far as may be; then the coordinator's own."""
    stranger, ours = Ed25519PrivateKey.generate(), company.key

    def calls() -> str:
        company.key = stranger
        for step in range(1, 11):
            company.say("m0", "propose", company.call(step * FAR).encode())
        company.key = ours
        return company.say("m0", "propose", company.call(1).encode()).code

    assert calls() == ""
    joined = MemberEnrolment.propose

    def counted(self: MemberEnrolment, shared: bytes) -> tuple[bytes, dict[str, bytes]]:
        answer, facts = joined(self, shared)
        number = enrolment.Call.decode(Signed.decode(shared).body).number
        return answer, {**facts, "withdrawn": number.to_bytes(4, "big")}

    monkeypatch.setattr(MemberEnrolment, "propose", counted)
    company.restart("m0")
    assert calls() == "number"


def lie_of_number(company: Company, machine: Enrolment, said: int) -> None:
    """m3 says that it has answered a far call; the others join."""
    ask = company.until(machine, "propose")
    parts = ask.parts["m3"]
    body = said.to_bytes(4, "big")
    lie = Reply(kind="refused", name="m3", asked=asked("propose", *parts), code="number", body=body)
    for name in NAMES[:3]:
        signed = Signed.decode(company.members[name].handle("propose", *ask.parts[name]))
        for event in machine.receive(ask, name, signed):
            machine.state.apply(event)
    for event in machine.receive(ask, "m3", Signed.make(company.identities["m3"].signing, lie)):
        machine.state.apply(event)
    for event in machine.finish(ask):
        machine.state.apply(event)


def test_a_lie_of_the_number_moves_the_coordinator_by_a_bounded_step(company: Company) -> None:
    machine = company.enrolment()
    lie_of_number(company, machine, 2**31 - 1)
    company.until(machine, "propose")
    assert machine.state.called == 2


def test_nobody_can_name_the_last_number(company: Company) -> None:
    """m3 lies once, and answers honestly ever after."""
    machine = company.enrolment()
    lie_of_number(company, machine, 2**31 - 1)
    company.until(machine, "approve")


def test_control_where_one_member_is_believed_its_lie_leads_to_where_nobody_follows(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "default_colluders", lambda _members: 0)
    machine = company.enrolment()
    lie_of_number(company, machine, 2**31 - 2)
    company.until(machine, "propose")
    assert machine.state.called == 2**31 - 1


def test_a_number_that_our_own_signature_proves_is_believed_of_one_member(company: Company) -> None:
    """m0 alone has signed the roster of call 5, before the database was lost."""
    reveals = company.reveals(company.proposal(company.call(5)))
    company.approvals(reveals, ("m0",))
    company.until(machine := company.enrolment(), "approve")
    assert machine.state.called == 6


def test_a_coordinator_that_lost_its_database_finds_the_next_number(company: Company) -> None:
    """In the middle of a first roster, where nobody holds one that could be given back."""
    reveals = company.reveals(company.proposal(company.call(7)))
    company.approvals(reveals)
    machine = company.enrolment()
    company.until(machine, "approve")
    assert machine.state.called == 8


# --- the roster before ---


def test_a_proposal_that_does_not_follow_the_members_own_roster_is_refused(company: Company) -> None:
    roster = company.enrolled()
    for number, predecessor in ((2, FIRST), (3, bytes([9]) * 32)):
        refused = company.say("m0", "reveal", company.proposal(company.call(number, predecessor)))
        assert (refused.code, refused.body) == ("roster", roster.hash())
    following = company.proposal(company.call(4, roster.hash()))
    assert company.say("m0", "reveal", following).kind == "ok"


def test_the_coordinator_takes_the_predecessor_that_most_members_hold(company: Company) -> None:
    """Its database is older than the members' roster."""
    roster = company.enrolled(5)
    machine = company.enrolment(wanted=True)
    machine._asked_held = True  # nobody gives it back
    company.until(machine, "approve")
    assert machine.state.call is not None
    assert enrolment.Call.decode(machine.state.call.body).predecessor == roster.hash()


def test_a_signed_later_roster_ends_the_one_before_until_it_is_complete(company: Company) -> None:
    """Nobody stands in two rosters: who has signed the second takes no part in the first."""
    roster = company.enrolled()
    made = company.certificate(company.call(2, roster.hash()))
    refused = company.say("m0", "terms", Signed.make(company.key, company.call(1)).encode())
    assert "signed a later roster" in refused.cause
    company.told("m0", "certify", made.encode())
    other = company.say("m0", "terms", Signed.make(company.key, company.call(1)).encode())
    assert "signed a later roster" not in other.cause, "control: complete, it is the roster"


# --- another's name or key ---


def joins_as(company: Company, ask: Ask, thief: str, entry: Entry, key: Ed25519PrivateKey) -> Signed:
    """A thief's answer to a call, signed with what it has."""
    shared, own = ask.parts[thief]
    joining = Joining(call=Signed.decode(shared).digest(), entry=entry, commitment=bytes(32))
    body = Signed.make(key, joining).encode()
    return Signed.make(key, Reply(kind="ok", name=entry.name, asked=asked("propose", shared, own), body=body))


def thefts(company: Company) -> dict[str, tuple[Entry, Ed25519PrivateKey, str]]:
    mine, theirs = company.identities["m3"], company.identities["m0"]
    own = mine.entry()
    copied = {"signing": keys.public_bytes(theirs.signing)}
    return {
        "a copied signing key": (own.model_copy(update=copied), mine.signing, "does not verify"),
        "a stolen signing key": (own.model_copy(update=copied), theirs.signing, "both say they are 'm3'"),
        "another's name": (own.model_copy(update={"name": "m0"}), mine.signing, "says it is 'm0'"),
        "a sealing key of no use": (
            own.model_copy(update={"sealing": LOW_ORDER}),
            mine.signing,
            "sealing key of m3 is of low order",
        ),
    }


def proposed_with(company: Company, machine: Enrolment, theft: str) -> None:
    """Everybody joins, m3 as a thief, last."""
    entry, key, _ = thefts(company)[theft]
    ask = company.until(machine, "propose")
    for name in NAMES[:3]:
        signed = Signed.decode(company.members[name].handle("propose", *ask.parts[name]))
        for event in machine.receive(ask, name, signed):
            machine.state.apply(event)
    for event in machine.receive(ask, "m3", joins_as(company, ask, "m3", entry, key)):
        machine.state.apply(event)
    for event in machine.finish(ask):
        machine.state.apply(event)


@pytest.mark.parametrize(
    "theft", ["a copied signing key", "a stolen signing key", "another's name", "a sealing key of no use"]
)
def test_whoever_takes_anothers_name_or_key_is_named_when_it_joins(company: Company, theft: str) -> None:
    words = thefts(company)[theft][2]
    with pytest.raises(CohortError, match=words) as stopped:
        proposed_with(company, company.enrolment(), theft)
    assert "m3" in stopped.value.cause
    assert "lacks 1 of 4" in stopped.value.cause, "the others have joined"


def test_control_unchecked_the_proposal_is_refused_by_all_and_nobody_knows_who(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Enrolled, "check_joining", lambda *_: None)
    machine = company.enrolment()
    proposed_with(company, machine, "another's name")
    refused = company.say("m1", "reveal", machine.state.proposal)
    assert refused.code in ("message", "void")
    assert "m3" not in refused.cause


def test_a_node_that_is_not_registered_is_named_with_the_one_it_copies(company: Company) -> None:
    machine = company.enrolment(registered=False)
    with pytest.raises(CohortError, match="Nodes m0 and m3 both say they are 'm0'"):
        proposed_with(company, machine, "another's name")


@dataclass(frozen=True)
class Copier(Identity):
    """Says that another's sealing key is its own."""

    copied: bytes = b""

    def entry(self) -> Entry:
        return super().entry().model_copy(update={"sealing": self.copied})


class CopiedSealing(World):
    """m3 enrols with m0's sealing key."""

    def member(self, name: str) -> Member:
        mine, theirs = self.identities["m3"], self.identities["m0"]
        copied = keys.public_bytes(theirs.sealing)
        self.identities["m3"] = Copier("m3", mine.signing, mine.sealing, mine.local, copied=copied)
        return super().member(name)


def test_a_copied_sealing_key_harms_its_copier_alone(tmp_path: Path) -> None:
    world = CopiedSealing(tmp_path, rounds=2)
    assert len({entry.sealing for entry in world.roster.members}) == 3
    world.run()
    assert all(world.store(name).release() is not None for name in NAMES[:3])
    writer = world.coordinator.roster.by_key_hash()[0]
    expected = set() if writer == "m3" else {("m3", "release")}
    assert {each for each in world.refusals() if each[1] != "roster"} == expected


def test_control_were_it_refused_one_member_could_block_every_roster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the rule was before: the sealing key unique too."""

    def unique(roster: Roster) -> None:
        if len({entry.sealing for entry in roster.members}) < len(roster.members):
            raise ProtocolError("a sealing key twice", "")

    monkeypatch.setattr(Roster, "check", unique)
    with pytest.raises((CohortError, ProtocolError), match="sealing key twice"):
        CopiedSealing(tmp_path)


# --- everybody approves ---


def roster_and_approvals(company: Company) -> tuple[bytes, list[Signed]]:
    reveals = company.reveals(company.proposal(company.call(1)))
    return reveals, company.approvals(reveals)


def forged(company: Company, approvals: list[Signed], how: str) -> list[Signed]:
    *others, last = approvals
    said = Approval.decode(last.body)
    stranger = Ed25519PrivateKey.generate()
    return {
        "one missing": others,
        "one twice": [*others, others[0]],
        "by the coordinator": [*others, Signed.make(company.key, said)],
        "of another roster": [
            *others,
            Signed.make(company.identities["m3"].signing, said.model_copy(update={"roster": bytes(32)})),
        ],
        "from outside": [*approvals, Signed.make(stranger, said.model_copy(update={"name": "eve"}))],
    }[how]


HOW = ["one missing", "one twice", "by the coordinator", "of another roster", "from outside"]


@pytest.mark.parametrize("how", HOW)
def test_a_roster_that_not_everybody_has_approved_is_not_taken(company: Company, how: str) -> None:
    reveals, approvals = roster_and_approvals(company)
    wrong = certificate(reveals, forged(company, approvals, how), company.key)
    refused = company.say("m0", "certify", wrong.encode())
    assert refused.code == "message"
    assert company.roster("m0") is None
    right = certificate(reveals, approvals, company.key)
    company.told("m0", "certify", right.encode())
    assert company.roster("m0") == Roster.decode(right.roster), "control"


@pytest.mark.parametrize("how", HOW)
def test_control_unchecked_it_would_be_taken(
    company: Company, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveals, approvals = roster_and_approvals(company)
    monkeypatch.setattr(enrolment, "check_approvals", lambda *_: None)
    company.told("m0", "certify", certificate(reveals, forged(company, approvals, how), company.key).encode())
    assert company.roster("m0") is not None


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members look at what follows only when it is certified."""
    monkeypatch.setattr(enrolment, "check_follows", lambda *_: None)


def test_nobody_reveals_a_nonce_to_a_roster_that_leaves_somebody_out(company: Company) -> None:
    """It could never come into force, and who had signed it would take part in none."""
    roster = company.enrolled()
    proposal = company.proposal(company.call(2, roster.hash()), NAMES[:3])
    refused = company.say("m0", "reveal", proposal)
    assert (refused.code, refused.body) == ("roster", b"")
    assert "m3 of the roster before: left out" in refused.cause


@pytest.mark.usefixtures("early")
def test_the_members_of_the_roster_before_must_have_approved_too(company: Company) -> None:
    """Who is left out silently would otherwise go on under the old words, beside the new ones."""
    roster = company.enrolled()
    made = company.certificate(company.call(2, roster.hash()), NAMES[:3])
    refused = company.say("m0", "certify", made.encode())
    assert "No approval by m3" in refused.cause
    assert company.roster("m0") == roster
    leaving = Approval(roster=Roster.decode(made.roster).hash(), name="m3")
    signed = Signed.make(company.identities["m3"].signing, leaving)
    company.told("m0", "certify", made.model_copy(update={"approvals": (*made.approvals, signed)}).encode())
    assert company.roster("m0") == Roster.decode(made.roster), "control: m3 has signed that it leaves"


def test_a_roster_without_a_member_of_the_one_before_is_stopped_before_anybody_signs(
    company: Company,
) -> None:
    """m3's node is gone; the operator asks for a new roster of the others. The old one stays, and has a quorum."""
    kept = company.certificate(company.call(1))
    for name in NAMES:
        company.told(name, "certify", kept.encode())
    company.names = NAMES[:3]
    machine = company.enrolment(wanted=True)
    machine.state.seated = {name: name for name in NAMES}
    machine.state.apply(Event("roster", "", kept.encode()))
    with pytest.raises(CohortError, match="m3 of the roster before did not join"):
        company.until(machine, "approve")
    assert {company.roster(name) for name in company.names} == {machine.state.roster}
    current = [
        company.say(name, "terms", Signed.make(company.key, company.call(9)).encode()) for name in NAMES[:3]
    ]
    assert not any("signed a later roster" in reply.cause for reply in current)


def test_a_key_that_changes_is_refused_before_anybody_reveals_a_nonce(company: Company) -> None:
    roster = company.enrolled()
    company.identities["m3"] = Identity.create("m3")
    shutil.rmtree(company.folder / "m3")
    company.restart("m3")
    refused = company.say("m0", "reveal", company.proposal(company.call(2, roster.hash())))
    assert "key of m3 changed" in refused.cause


@pytest.mark.usefixtures("early")
def test_a_key_that_changes_between_two_rosters_needs_the_old_keys_signature(company: Company) -> None:
    roster = company.enrolled()
    company.identities["m3"] = Identity.create("m3")
    shutil.rmtree(company.folder / "m3")
    company.restart("m3")
    made = company.certificate(company.call(2, roster.hash()))
    refused = company.say("m0", "certify", made.encode())
    assert "key of m3 changed" in refused.cause
    assert company.roster("m0") == roster


def test_an_approval_waits_for_the_words_that_people_compared(company: Company) -> None:
    reveals = company.reveals(company.proposal(company.call(1)))
    company.members["m0"].approve_roster("abandon " * 11 + "about")
    refused = company.say("m0", "approve", reveals)
    assert refused.code == "roster"
    assert company.members["m0"].shown_words() in refused.cause
    company.members["m0"].approve_roster(company.members["m0"].shown_words().upper())
    company.told("m0", "approve", reveals)


def test_the_operator_is_told_that_people_have_not_compared_yet(company: Company) -> None:
    machine = company.enrolment()
    with pytest.raises(WordsError, match="4 of 4 members have not approved"):
        company.deliver(machine, company.until(machine, "approve"))


# --- stores that are older, databases that are lost ---


@pytest.mark.parametrize("moment", ["nothing", "joined", "revealed", "approved"])
def test_a_restored_store_takes_the_certificate(company: Company, moment: str) -> None:
    """It may have forgotten that it signed; its signature has not."""
    kept, folder = company.folder / "kept", company.folder / "m0"

    def keep(now: str) -> None:
        if now == moment:
            shutil.copytree(folder, kept)

    keep("nothing")
    proposal = company.proposal(company.call(1))
    keep("joined")
    reveals = company.reveals(proposal)
    keep("revealed")
    approvals = company.approvals(reveals)
    keep("approved")
    made = certificate(reveals, approvals, company.key).encode()
    company.told("m0", "certify", made)
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    company.restart("m0")
    assert company.roster("m0") is None
    company.told("m0", "certify", made)
    assert company.roster("m0") is not None


def test_a_certificate_is_for_the_member_whose_keys_it_holds(company: Company) -> None:
    made = company.certificate(company.call(1))
    company.identities["m0"] = Identity.create("m0")
    company.restart("m0")
    refused = company.say("m0", "certify", made.encode())
    assert "own keys" in refused.cause
    company.told("m1", "certify", made.encode())


def test_an_earlier_roster_does_not_come_back(company: Company) -> None:
    first = company.certificate(company.call(1))
    for name in NAMES:
        company.told(name, "certify", first.encode())
    second = company.certificate(company.call(2, Roster.decode(first.roster).hash()))
    company.told("m0", "certify", second.encode())
    company.told("m1", "certify", second.encode())
    refused = company.say("m0", "certify", first.encode())
    assert (refused.code, company.roster("m0")) == ("roster", Roster.decode(second.roster))


def given_back(company: Company, machine: Enrolment) -> None:
    ask = machine.ask()
    assert ask is not None
    assert ask.kind == "held"
    company.deliver(machine, ask)


def test_a_coordinator_that_lost_its_database_gets_the_roster_back(company: Company) -> None:
    """By its certificate, from whoever holds it: nobody compares words again."""
    roster = company.enrolled()
    machine = company.enrolment()
    given_back(company, machine)
    assert machine.state.roster == roster
    assert machine.state.seats == {name: name for name in NAMES}
    while (ask := machine.ask()) is not None:
        assert ask.kind == "certify"
        company.deliver(machine, ask)


def invented(company: Company) -> bytes:
    """A certificate of a member's own making: ghosts, of whom it has the keys, and our coordinator's public one."""
    people = [company.identities["m3"], *(Identity.create(f"ghost{i}") for i in range(3))]
    roster = roster_of([each.entry() for each in people], keys.public_bytes(company.key), number=2**31 - 1)
    said = [Signed.make(each.signing, Approval(roster=roster.hash(), name=each.name)) for each in people]
    ours = Signed.make(Ed25519PrivateKey.generate(), Approval(roster=roster.hash(), name="coordinator"))
    return enrolment.Certificate(roster=roster.encode(), approvals=tuple(said), coordinator=ours).encode()


@pytest.mark.parametrize("lost", [True, False], ids=["a lost database", "a new roster is wanted"])
def test_a_roster_that_a_member_invents_is_not_taken_back(company: Company, *, lost: bool) -> None:
    roster = company.enrolled()
    machine = company.enrolment(wanted=not lost)
    if not lost:
        kept = company.store("m0").fact("certificate")
        assert kept is not None
        machine.state.seated = {name: name for name in NAMES}
        machine.state.apply(Event("roster", "", kept))
    company.store("m3").remember(certificate=invented(company))
    given_back(company, machine)
    assert machine.state.roster == roster


def test_control_without_the_coordinators_signature_it_would_be(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.enrolled()
    company.store("m3").remember(certificate=invented(company))

    def unsigned(made: enrolment.Certificate, before: Roster | None) -> Roster:
        roster = Roster.decode(made.roster)
        enrolment.check_approvals(roster, before, made)
        return roster

    monkeypatch.setattr(enrolment, "certified", unsigned)
    monkeypatch.setattr(held, "default_colluders", lambda _: 0)
    machine = company.enrolment()
    given_back(company, machine)
    assert machine.state.roster is not None
    assert machine.state.roster.number == 2**31 - 1


def test_who_signed_a_later_roster_can_withdraw_and_never_signs_that_one_again(company: Company) -> None:
    roster = company.enrolled()
    made = company.certificate(company.call(2, roster.hash()))
    question = Signed.make(company.key, company.call(1)).encode()
    assert "signed a later roster" in company.say("m0", "terms", question).cause, "control: stranded"
    assert client_enrolment.withdraw(company.store("m0")) == 2
    company.restart("m0")
    assert "signed a later roster" not in company.say("m0", "terms", question).cause
    assert company.say("m0", "certify", made.encode()).code == "roster"
    again = company.call(2, roster.hash(), (1, bytes(32))).encode()
    assert company.say("m0", "propose", again).code == "number"
    with pytest.raises(ArgumentError, match="no roster that waits"):
        client_enrolment.withdraw(company.store("m0"))


def test_the_roster_of_another_coordinator_is_not_given_back(company: Company) -> None:
    company.enrolled()
    company.key = Ed25519PrivateKey.generate()
    machine = company.enrolment()
    given_back(company, machine)
    assert machine.state.roster is None


def test_a_certificate_that_lacks_an_approval_gives_nothing_back(company: Company) -> None:
    company.enrolled()
    made = enrolment.Certificate.decode(company.store("m0").fact("certificate") or b"")
    cut = made.model_copy(update={"approvals": made.approvals[:3]}).encode()
    for name in NAMES:
        company.store(name).remember(certificate=cut)
    machine = company.enrolment()
    given_back(company, machine)
    assert machine.state.roster is None
