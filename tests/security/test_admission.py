"""Attacks on coming in: an invitation replayed, stolen, expired or guessed; names and keys of others; terms that changed.

Each is refused; beside it stands the request that differs in that one thing alone, and is taken.
"""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fedrepay.server.admission import requests
from fedrepay.server.admission.answers import DAY, UNKNOWN
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.joining import VERSION, Invitation
from fedrepay.shared.trust.message import Signed
from support.newcomers import TERMS, Desk, Newcomer


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def state(desk: Desk, name: str = "bank-a") -> Any:
    found = desk.registry.member(name)
    assert found is not None
    return found


def refused(desk: Desk, signed: Signed) -> str:
    answer = desk.registry.join(signed, desk.issue)
    assert (answer.state, answer.certificate) == ("refused", b"")
    return answer.cause


def test_an_invitation_used_with_other_keys_is_refused_and_told(desk: Desk) -> None:
    invitation, honest = desk.invite("bank-a"), Newcomer("bank-a")
    assert desk.registry.join(honest.asks(invitation)).state == "waiting", "control: the first is taken"
    before = state(desk).words
    assert "re-keyed" in refused(desk, Newcomer("bank-a").asks(invitation))
    assert state(desk).words == before
    (note,) = state(desk).notes
    assert "re-keyed" in note


def test_who_steals_an_invitation_first_is_found_out_by_its_words_and_by_the_owner(desk: Desk) -> None:
    """The thief is taken in as waiting; its words are not those that the institution's people read out."""
    invitation, owner, thief = desk.invite("bank-a"), Newcomer("bank-a"), Newcomer("bank-a")
    assert desk.registry.join(thief.asks(invitation)).state == "waiting"
    assert "re-keyed" in refused(desk, owner.asks(invitation)), "the owner is told"
    assert state(desk).notes, "and so is the operator"
    other = Desk(desk.folder / "other")
    other.registry.join(owner.asks(other.invite("bank-a")))
    assert state(desk).words != state(other).words


def test_another_secret_tells_nobody_whether_a_name_exists(desk: Desk) -> None:
    invitation = desk.invite("bank-a")
    wrong = Invitation(**invitation.model_dump() | {"secret": bytes(16)})
    known = desk.registry.join(Newcomer("bank-a").asks(wrong))
    unknown = desk.registry.join(Newcomer("bank-b").asks(wrong))
    assert known == unknown
    assert known.cause == UNKNOWN
    assert state(desk).notes == ()
    assert desk.registry.join(Newcomer("bank-a").asks(invitation)).state == "waiting", "control"


def test_the_secret_of_one_name_does_not_serve_for_another(desk: Desk) -> None:
    first, second = desk.invite("bank-a"), desk.invite("bank-b")
    assert refused(desk, Newcomer("bank-b").asks(first)) == UNKNOWN
    assert desk.registry.join(Newcomer("bank-b").asks(second)).state == "waiting", "control"


def test_an_invitation_expires(desk: Desk) -> None:
    invitation = desk.invite("bank-a", days=2)
    desk.now += 2 * DAY
    assert "expired" in refused(desk, Newcomer("bank-a").asks(invitation))
    assert state(desk).state == "invited"
    desk.now -= 1
    assert desk.registry.join(Newcomer("bank-a").asks(invitation)).state == "waiting", "control"


def test_an_invitation_that_was_replaced_is_unknown(desk: Desk) -> None:
    old, new = desk.invite("bank-a"), desk.invite("bank-a")
    assert refused(desk, Newcomer("bank-a").asks(old)) == UNKNOWN
    assert desk.registry.join(Newcomer("bank-a").asks(new)).state == "waiting", "control"


def test_a_request_is_signed_with_the_key_it_names(desk: Desk) -> None:
    invitation, who = desk.invite("bank-a"), Newcomer("bank-a")
    assert "does not verify" in refused(desk, who.asks(invitation, signer=Newcomer("x").signing))
    assert state(desk).state == "invited"
    assert desk.registry.join(who.asks(invitation)).state == "waiting", "control"


@pytest.mark.parametrize("taken", ["signing", "sealing", "node", "tls"])
def test_nobody_joins_with_a_key_of_another(desk: Desk, taken: str) -> None:
    victim, thief = Newcomer("bank-a"), Newcomer("bank-b")
    desk.registry.join(victim.asks(desk.invite("bank-a")))
    setattr(thief, taken, getattr(victim, taken))
    invitation = desk.invite("bank-b")
    assert "in use" in refused(desk, thief.asks(invitation))
    (note,) = state(desk, "bank-b").notes
    assert "of bank-a too" in note
    assert desk.registry.join(Newcomer("bank-b").asks(invitation)).state == "waiting", "control"


def test_a_certificate_is_not_renewed_for_a_key_of_another(desk: Desk) -> None:
    victim, thief = desk.admitted("bank-a"), desk.admitted("bank-b")
    with pytest.raises(ProtocolError, match="in use"):
        desk.registry.renew("bank-b", victim.csr(), desk.issue)
    assert state(desk, "bank-b").notes
    assert desk.registry.renew("bank-b", thief.csr(), desk.issue), "control"


def test_terms_that_changed_meanwhile_are_accepted_anew(desk: Desk) -> None:
    invitation, who = desk.invite("bank-a"), Newcomer("bank-a")
    changed = agreement.write(TERMS) + b"# one comment more\n"
    (desk.folder / agreement.FILE).write_bytes(changed)
    assert "other terms" in refused(desk, who.asks(invitation))
    assert state(desk).state == "invited", "its invitation is not used up"
    again = who.asks(invitation, agreed=agreement.hashed(changed))
    assert desk.registry.join(again).state == "waiting", "control"


@pytest.mark.parametrize(("theirs", "who"), [(VERSION + 1, "operator"), (VERSION + 9, "operator")])
def test_another_version_is_named_with_ours_and_who_must_upgrade(desk: Desk, theirs: int, who: str) -> None:
    answer = desk.registry.join(Newcomer("bank-a").asks(desk.invite("bank-a"), version=theirs))
    assert answer.state == "refused"
    assert f"version {theirs}" in answer.cause
    assert f"version {VERSION}" in answer.cause
    assert who in answer.remedy


def test_an_older_member_is_told_to_upgrade(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "VERSION", VERSION + 1)
    answer = desk.registry.join(Newcomer("bank-a").asks(desk.invite("bank-a")))
    assert "at the member" in answer.remedy


def test_keys_of_no_use_are_refused(desk: Desk) -> None:
    invitation, who = desk.invite("bank-a"), Newcomer("bank-a")
    low_order = bytes(32)
    for changed in (
        {"entry": who.entry(sealing=low_order)},
        {"entry": who.entry(node=b"")},
        {"request": b"no request"},
        {"request": who.csr(ec.generate_private_key(ec.SECP384R1()))},
        {"entry": who.entry(sealing=who.entry().signing)},
    ):
        refused(desk, who.asks(invitation, **changed))
    assert state(desk).state == "invited"
    assert desk.registry.join(who.asks(invitation)).state == "waiting", "control"


def test_bytes_that_are_no_request_are_refused(desk: Desk) -> None:
    who = Newcomer("bank-a")
    for body in (b"", b"garbage", who.entry().encode(), bytes(1 << 17)):
        refused(desk, Signed(body=body, signature=bytes(64)))


def test_the_coordinators_name_is_nobodys(desk: Desk) -> None:
    invitation = desk.invite("bank-a")
    stolen = Newcomer("coordinator")
    assert "coordinator" in refused(desk, stolen.asks(invitation))
