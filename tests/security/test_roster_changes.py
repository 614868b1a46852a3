"""Members that leave, are revoked, change their keys or join: what the rest take, and what nobody can make them take.

docs/protocol.md, *Rosters that change*; docs/adr/0026. Every attack has its control: with that defence off, it works.
"""

import shutil
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import FOLLOWING, IN_FORCE, Identity, Keyring
from fedrepay.client.protocol import enrolment as at_member
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, CohortError, ProtocolError, Refusal, StorageError
from fedrepay.shared.trust import enrolment, succession
from fedrepay.shared.trust.enrolment import Approval, Joining, Proposal
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry, Revoked, Roster
from fedrepay.shared.trust.succession import Leaving, Rotation
from support.adversary import roster_of
from support.company import NAMES, Company

REST = NAMES[:3]
WHY = "its licence was withdrawn"


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def begun(company: Company) -> Enrolment:
    """A coordinator whose first roster all hold."""
    machine = company.enrolment()
    company.complete(machine)
    return machine


def held_by(company: Company, *names: str) -> list[Roster | None]:
    return [company.roster(name) for name in names]


def leaves(company: Company, name: str) -> Signed:
    return at_member.leave(company.identities[name], company.store(name))


def taking_part(company: Company, name: str) -> str:
    """What a member says to the offer of a run."""
    return company.say(name, "terms", Signed.make(company.key, company.call(9)).encode()).cause


# --- leaving ---


def test_a_member_leaves_and_the_others_go_on_without_its_approval(company: Company) -> None:
    machine = begun(company)
    first = machine.state.roster
    left = leaves(company, "m3")
    company.stopped = {"m3"}
    made = company.complete(company.enrolment(machine, wanted=True, leaving=[left]))
    assert (made.names, made.revoked, made.number) == (REST, (), 2)
    assert held_by(company, *REST) == [made] * 3
    assert company.roster("m3") == first
    assert machine.state.certificate is not None
    assert machine.state.certificate.leaving == (left,)
    assert succession.changes(first, made).leaves == ("m3",)


def test_control_without_its_leaving_nobody_goes_on(company: Company) -> None:
    machine = begun(company)
    company.stopped = {"m3"}
    with pytest.raises(CohortError, match="m3: no answer"):
        company.complete(company.enrolment(machine, wanted=True))


def test_who_has_left_takes_no_part_and_joins_nothing_until_it_joins_anew(company: Company) -> None:
    machine = begun(company)
    store = company.store("m3")
    with pytest.raises(ArgumentError, match="has left no roster"):
        at_member.join_anew(store)
    left = leaves(company, "m3")
    assert leaves(company, "m3") == left, "the same again"
    with pytest.raises(Refusal, match="has left the roster"):
        at_member.current(store)
    for kind in ("terms", "hello", "prepare", "round", "propose", "certify", "reseal"):
        reply = company.say("m3", kind, company.call(2).encode())
        assert (reply.code, "has left" in reply.cause) == ("roster", True), kind
    assert company.say("m3", "held", b"").kind == "ok"
    assert "has left" not in taking_part(company, "m0"), "control"
    company.stopped = {"m3"}
    second = company.complete(company.enrolment(machine, wanted=True, leaving=[left]))
    company.stopped = set()
    at_member.join_anew(store)
    company.restart("m3")
    third = company.complete(company.enrolment(machine, wanted=True, leaving=[left]))
    assert third.predecessor == second.hash()
    assert held_by(company, *NAMES) == [third] * 4
    assert succession.changes(second, third).joins == ("m3",)


def test_who_joins_anew_never_comes_back_to_the_roster_it_left(company: Company) -> None:
    kept = company.certificate(company.call(1))
    for name in NAMES:
        company.told(name, "certify", kept.encode())
    leaves(company, "m3")
    at_member.join_anew(company.store("m3"))
    company.restart("m3")
    assert company.say("m3", "certify", kept.encode()).code == "roster"
    assert company.roster("m3") is None
    assert at_member.newest(company.store("m3")) == 1


def test_nobody_leaves_what_it_is_not_in_or_while_a_later_roster_waits(company: Company) -> None:
    with pytest.raises(ArgumentError, match="in no roster"):
        leaves(company, "m3")
    roster = company.enrolled()
    company.certificate(company.call(2, roster.hash()))
    with pytest.raises(ArgumentError, match="later roster that waits"):
        leaves(company, "m3")
    at_member.withdraw(company.store("m3"))
    assert Leaving.decode(leaves(company, "m3").body).roster == roster.hash()


def replayed(company: Company) -> tuple[Signed, Roster]:
    """m3 left the first roster, and is in the second."""
    roster = company.enrolled()
    said = Signed.make(company.identities["m3"].signing, Leaving(roster=roster.hash(), name="m3"))
    made = company.certificate(company.call(2, roster.hash()))
    for name in NAMES:
        company.told(name, "certify", made.encode())
    return said, Roster.decode(made.roster)


def test_a_leaving_replayed_to_a_later_roster_is_refused(company: Company) -> None:
    said, second = replayed(company)
    call = company.call(3, second.hash(), leaving=[said])
    refused = company.say("m0", "reveal", company.proposal(call, REST))
    assert (refused.code, "m3 left another roster" in refused.cause) == ("roster", True)
    fresh = Signed.make(company.identities["m3"].signing, Leaving(roster=second.hash(), name="m3"))
    call = company.call(4, second.hash(), leaving=[fresh])
    assert company.say("m0", "reveal", company.proposal(call, REST)).kind == "ok", "control: of this one"


def test_control_were_it_not_bound_to_a_roster_m3_would_be_put_out_by_its_own_old_word(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, second = replayed(company)
    monkeypatch.setattr(succession, "_left", lambda *_: {"m3"})
    made = company.certificate(company.call(3, second.hash(), leaving=[said]), REST)
    company.told("m0", "certify", made.encode())
    assert company.roster("m0") == Roster.decode(made.roster)


def test_a_leaving_counts_for_who_is_gone_alone(company: Company) -> None:
    roster = company.enrolled()
    said = Signed.make(company.identities["m3"].signing, Leaving(roster=roster.hash(), name="m3"))
    call = company.call(2, roster.hash(), leaving=[said])
    assert "leaves is named twice" in company.say("m0", "reveal", company.proposal(call)).cause
    forged = Signed.make(company.identities["m1"].signing, Leaving(roster=roster.hash(), name="m3"))
    call = company.call(3, roster.hash(), leaving=[forged])
    assert "does not verify" in company.say("m0", "reveal", company.proposal(call, REST)).cause


@pytest.mark.parametrize("registered", [True, False])
def test_nodes_of_who_left_or_was_revoked_stop_no_roster(company: Company, *, registered: bool) -> None:
    """They are there, and answer; without a register nobody knows whose they are before they do."""
    machine = begun(company)
    left, revoked = leaves(company, "m3"), [Revoked(name="m2", reason=WHY)]
    for name in ("m4", "m5"):
        company.add(name)
    second = company.complete(company.enrolment(machine, wanted=True, registered=registered, leaving=[left]))
    assert second.names == ("m0", "m1", "m2", "m4", "m5")
    third = company.complete(
        company.enrolment(machine, wanted=True, registered=registered, leaving=[left], revoked=revoked)
    )
    assert third.names == ("m0", "m1", "m4", "m5")
    fourth = company.complete(
        company.enrolment(machine, wanted=True, registered=registered, leaving=[left], revoked=revoked)
    )
    assert (fourth.names, fourth.revoked) == (third.names, ())


# --- revocation ---


def revoking(company: Company, *names: str, number: int = 2, others: tuple[str, ...] = REST) -> bytes:
    """The proposal of those who stay, as a coordinator makes it."""
    roster = company.roster("m0")
    assert roster is not None
    return company.proposal(company.call(number, roster.hash(), revoked=names), others)


def test_the_others_revoke_a_member_whatever_it_says(company: Company) -> None:
    machine = begun(company)
    first = machine.state.roster
    revoked = [Revoked(name="m3", reason=WHY)]
    again = company.enrolment(machine, wanted=True, revoked=revoked)
    ask = company.until(again, "propose")
    assert set(ask.parts) == set(REST), "who is revoked is not asked"
    made = company.complete(again)
    assert (made.names, made.revoked) == (REST, tuple(revoked))
    assert held_by(company, *REST) == [made] * 3
    assert company.roster("m3") == first
    assert again.seats() == {name: name for name in REST}


def test_people_see_who_is_revoked_who_joins_and_who_leaves_with_the_words(company: Company) -> None:
    machine = begun(company)
    left = leaves(company, "m2")
    for name in ("m4", "m5"):
        company.add(name)
    again = company.enrolment(machine, wanted=True, leaving=[left], revoked=[Revoked(name="m3", reason=WHY)])
    with pytest.raises(CohortError, match="2 of 4 members would revoke"):
        company.until(again, "approve")
    again = company.enrolment(machine, wanted=True, revoked=[Revoked(name="m3", reason=WHY)])
    at_member.join_anew(company.store("m2"))
    ask = company.until(again, "approve")
    cause = company.say("m0", "approve", ask.parts["m0"][0]).cause
    assert f"Of the roster before: revoked: m3 ({WHY}); join: m4, m5." in cause
    waiting = at_member.waiting(company.store("m0"))
    assert waiting is not None
    assert waiting.code() == company.members["m0"].shown_words()
    assert succession.changes(company.roster("m0"), waiting).joins == ("m4", "m5")
    company.complete(again)
    assert at_member.waiting(company.store("m0")) is None


def test_a_wish_that_is_met_asks_for_nothing_more(company: Company) -> None:
    machine = begun(company)
    revoked = [Revoked(name="m3", reason=WHY)]
    company.complete(company.enrolment(machine, wanted=True, revoked=revoked))
    company.add("m4")
    made = company.complete(company.enrolment(machine, wanted=True, revoked=revoked))
    assert (made.names, made.revoked) == ((*REST, "m4"), ())


def test_a_roster_that_one_member_never_signs_gives_way_to_its_revocation(company: Company) -> None:
    """Who has signed the one that waits signs the next; nobody need withdraw."""
    machine = begun(company)
    again = company.enrolment(machine, wanted=True)
    ask = company.until(again, "approve")
    company.approvals(ask.parts["m0"][0], REST)
    company.stopped = {"m3"}
    with pytest.raises(CohortError, match="1 of 4 members have not approved"):
        company.deliver(again, ask)
    assert again.state.approvals
    assert "signed a later roster" in taking_part(company, "m0")
    made = company.complete(company.enrolment(machine, wanted=True, revoked=[Revoked(name="m3")]))
    assert held_by(company, *REST) == [made] * 3
    assert made.number == 3
    assert "signed a later roster" not in taking_part(company, "m0")


@pytest.mark.parametrize("few", [False, True])
def test_too_few_cannot_revoke_and_control_where_fewer_may(
    company: Company, monkeypatch: pytest.MonkeyPatch, *, few: bool
) -> None:
    company.enrolled()
    company.add("m4")
    if few:
        monkeypatch.setattr(succession, "revokers", lambda _: 2)
    said = company.say("m0", "reveal", revoking(company, "m2", "m3", others=("m0", "m1", "m4")))
    assert said.kind == ("ok" if few else "refused")
    assert few or "2 of 4 members would revoke others; 3 must" in said.cause


def by_ghosts(company: Company, before: Roster, *stay: str) -> enrolment.Certificate:
    """A certificate of one colluder (or more) and ghosts, who revoke all others; the coordinator signs it."""
    ghosts = [Identity.create(f"x{i}") for i in range(3)]
    people = [*(company.identities[name] for name in stay), *ghosts]
    plain = roster_of([each.entry() for each in people], keys.public_bytes(company.key), before.number + 1)
    out = tuple(Revoked(name=name) for name in before.names if name not in stay)
    made = plain.model_copy(update={"predecessor": before.hash(), "revoked": out})
    said = [Signed.make(each.signing, Approval(roster=made.hash(), name=each.name)) for each in people]
    ours = Signed.make(company.key, Approval(roster=made.hash(), name="coordinator"))
    return enrolment.Certificate(roster=made.encode(), approvals=tuple(said), coordinator=ours)


def test_colluders_alone_revoke_nobody_and_control(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its signatures hold: what fails is how few of the old roster's they are."""
    before = company.enrolled()
    made = by_ghosts(company, before, "m3")
    with pytest.raises(ProtocolError, match="1 of 4 members would revoke others; 3 must"):
        enrolment.certified(made, before)
    assert company.say("m0", "certify", made.encode()).code == "message"
    monkeypatch.setattr(succession, "revokers", lambda _: 1)
    assert enrolment.certified(made, before).names == ("m3", "x0", "x1", "x2")


def test_who_is_revoked_is_in_the_roster_under_no_name(company: Company) -> None:
    roster = company.enrolled()
    company.add("m4")
    call = company.call(2, roster.hash(), revoked=["m3"])
    assert "m3: revoked, and in the roster" in company.say("m0", "reveal", company.proposal(call)).cause
    mine = company.identities["m3"]
    company.identities["m4"] = Identity("m4", mine.signing, mine.sealing, mine.local)
    company.restart("m4")
    said = revoking(company, "m3", number=3, others=(*REST, "m4"))
    assert "m3 is revoked, and its key is in the roster as m4's" in company.say("m0", "reveal", said).cause


@pytest.mark.parametrize("fewer", [False, True])
def test_two_halves_cannot_be_shown_two_rosters_and_control(
    company: Company, monkeypatch: pytest.MonkeyPatch, *, fewer: bool
) -> None:
    """Each half is told that the other is revoked, with ghosts in its place: two consortia under one coordinator."""
    company.enrolled()
    for name in ("g0", "g1"):
        company.add(name)
    if fewer:
        monkeypatch.setattr(succession, "revokers", lambda members: members // 2)
    halves = {("m0", "m1"): ("m2", "m3"), ("m2", "m3"): ("m0", "m1")}
    for number, (half, other) in enumerate(halves.items(), 2):
        there = ("g0", "g1", *half)
        call = company.call(number, company.roster(half[0]).hash(), revoked=other)  # type: ignore[union-attr]
        if not fewer:
            proposal = company.proposal(call, there)
            assert "2 of 4 members would revoke" in company.say(half[0], "reveal", proposal).cause
            continue
        made = company.certificate(call, there)
        for name in half:
            company.told(name, "certify", made.encode())
    assert len({roster.hash() for roster in held_by(company, *NAMES) if roster}) == (2 if fewer else 1)


# --- keys that change ---


def with_keys_on_disk(company: Company, name: str) -> Keyring:
    company.identities[name].save(company.folder / name)
    return Keyring(name, company.folder / name)


def test_new_keys_take_the_old_ones_place_with_the_roster_that_holds_them(company: Company) -> None:
    keyring, folder = with_keys_on_disk(company, "m3"), company.folder / "m3"
    machine = begun(company)
    first, old = machine.state.roster, (folder / IN_FORCE).read_bytes()
    made = keyring.rotate()
    assert keyring.rotate().entry() == made.entry(), "those of a proposal are kept"
    assert ((folder / FOLLOWING).stat().st_mode & 0o777, made.local) == (
        0o600,
        company.identities["m3"].local,
    )
    assert (folder / IN_FORCE).read_bytes() == old
    again = company.enrolment(machine, wanted=True)
    ask = company.until(again, "approve")
    assert (folder / IN_FORCE).read_bytes() == old, "until everybody has signed"
    assert "with new keys: m3" in company.say("m0", "approve", ask.parts["m0"][0]).cause
    second = company.complete(again)
    assert second.entry("m3") == made.entry()
    assert held_by(company, *NAMES) == [second] * 4
    assert not (folder / FOLLOWING).exists()
    taken = Identity.load("m3", folder)
    assert (taken.entry(), taken.local) == (made.entry(), made.local)
    assert old[:32] not in b"".join(path.read_bytes() for path in folder.iterdir())
    third = company.complete(company.enrolment(machine, wanted=True))
    assert third.entry("m3") == made.entry(), "it goes on without a restart"
    assert first is not None
    assert succession.changes(first, second).rekeyed == ("m3",)


def test_a_process_that_dies_between_store_and_keys_finishes_when_it_comes_up(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring, folder = with_keys_on_disk(company, "m3"), company.folder / "m3"
    machine = begun(company)
    made = keyring.rotate()
    again = company.enrolment(machine, wanted=True)
    with monkeypatch.context() as patch:

        def full(_: Keyring) -> None:
            raise StorageError("The disk is full.", "Free it.")

        patch.setattr(Keyring, "take", full)
        second = company.complete(again)
    assert company.roster("m3") == second
    assert Identity.load("m3", folder).entry() == company.identities["m3"].entry(), "a whole set of keys"
    company.restart("m3")
    assert Identity.load("m3", folder).entry() == made.entry()
    assert not (folder / FOLLOWING).exists()
    company.complete(company.enrolment(machine, wanted=True))


def test_keys_that_are_new_are_joined_with_after_a_restart_too(company: Company) -> None:
    keyring = with_keys_on_disk(company, "m3")
    machine = begun(company)
    keyring.rotate()
    again = company.enrolment(machine, wanted=True)
    company.until(again, "reveal")
    company.restart("m3")
    second = company.complete(again)
    assert second.number == 3, "the nonce was void, not the answer"
    assert second.entry("m3") != company.identities["m3"].entry()


def joins_with(company: Company, call: Signed, rotation: Signed | None) -> bytes:
    """m3's place is taken by a thief's keys; all others join."""
    thief = Identity.create("m3")
    nonce = bytes(32)
    said = enrolment.commitment(nonce, "m3")
    joining = Joining(call=call.digest(), entry=thief.entry(), commitment=said, rotation=rotation)
    others = company.joinings(call, REST)
    return Proposal(call=call, joinings=(*others, Signed.make(thief.signing, joining))).encode()


def of_m3(roster: Roster, signer: Identity, entry: Entry) -> Signed:
    return Signed.make(signer.signing, Rotation(roster=roster.hash(), name="m3", signing=entry.signing))


@pytest.mark.parametrize("who", ["m1", "a stranger"])
def test_nobody_changes_anothers_key(company: Company, who: str) -> None:
    roster = company.enrolled()
    signer = company.identities.get(who) or Identity.create("m3")
    call = company.call(2, roster.hash())
    thief = Identity.create("m3")
    said = of_m3(roster, signer, thief.entry())
    proposal = joins_with(company, call, said)
    refused = company.say("m0", "reveal", proposal)
    assert (refused.code, "does not verify" in refused.cause) == ("roster", True)


def test_control_unchecked_a_thief_takes_its_place(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = company.enrolled()
    monkeypatch.setattr(succession, "_renewed", lambda said, _, wanted: {"m3": wanted["m3"]} if said else {})
    thief = Identity.create("m3")
    call = company.call(2, roster.hash())
    proposal = joins_with(company, call, of_m3(roster, company.identities["m1"], thief.entry()))
    assert company.say("m0", "reveal", proposal).kind == "ok"


def test_a_key_that_changes_without_a_word_of_the_old_one_is_named_when_it_joins(company: Company) -> None:
    machine = begun(company)
    company.identities["m3"] = Identity.create("m3")
    company.restart("m3")
    with pytest.raises(CohortError, match="m3: The key of m3 changed without its own signature"):
        company.until(company.enrolment(machine, wanted=True), "reveal")


# --- a store that is older than two rosters ---


@pytest.mark.parametrize("kept", [True, False])
def test_a_member_set_back_by_two_rosters_is_led_through_each_and_control(
    company: Company, *, kept: bool
) -> None:
    """m2 was revoked in between: nobody could prove the newest to m3 by signatures of those it knows."""
    machine = begun(company)
    shutil.copytree(company.folder / "m3", company.folder / "backup")
    revoked = [Revoked(name="m2", reason=WHY)]
    company.complete(company.enrolment(machine, wanted=True, revoked=revoked))
    company.names = ("m0", "m1", "m3")
    third = company.complete(company.enrolment(machine, wanted=True))
    shutil.rmtree(company.folder / "m3")
    shutil.copytree(company.folder / "backup", company.folder / "m3")
    company.restart("m3")
    if not kept:
        machine.state.certificates = machine.state.certificates[-1:]
    company.complete(company.enrolment(machine))
    assert (company.roster("m3") == third) == kept
