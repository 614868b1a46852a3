"""Every step of an epoch's beginning at a member: what is checked, and what is answered."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.protocol import epoch as ceremony
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.trust.epoch import Epoch, confirmation_mac
from fedrepay.shared.trust.handshake import Acceptance, Confirmation, Envelope, Envelopes
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from support.introduced import HELLOS, SIGNED, called, with_hellos
from support.parties import (
    ALL,
    CALL,
    EPOCH,
    FOUR,
    GREETINGS,
    KEY,
    ORDER,
    OTHER,
    PEOPLE,
    ROSTER,
    STRANGER,
    by,
    changed,
    hello,
    introduction,
    told,
)
from support.stood import BODY, Stood, stood


@pytest.fixture(scope="module")
def it() -> Stood:
    return stood()


# --- the introduction ---


def introduced(
    state: EpochState = GREETINGS["m0"][0], body: bytes = BODY, roster: Roster = ROSTER
) -> tuple[EpochState, Signed]:
    return ceremony.introduce(PEOPLE["m0"], state, body, roster)


def test_a_member_accepts_the_introduction_that_holds_its_own_hello() -> None:
    state, signed = introduced()
    assert state == changed(GREETINGS["m0"][0], introduction=BODY)
    assert state.epoch() == EPOCH
    said = signed.verified(ROSTER.entry("m0").signing, Acceptance)
    assert said == Acceptance(roster_hash=ROSTER.hash(), epoch=EPOCH.id, name="m0")


def test_there_is_no_epoch_before_the_introduction() -> None:
    with pytest.raises(Refusal, match="not been told"):
        GREETINGS["m0"][0].epoch()


@pytest.mark.parametrize(
    ("case", "code", "cause"),
    [
        ({"state": changed(GREETINGS["m0"][0], start=told(changed(CALL, run=8)))}, "epoch", "another call"),
        ({"roster": changed(ROSTER, released=1)}, "roster", "another roster"),
        ({"body": introduction(ALL[1:]).encode()}, "roster", "own hello"),
        ({"body": with_hellos(hello("m0", nonce=OTHER), *SIGNED[1:]).encode()}, "roster", "own hello"),
    ],
    ids=["call", "roster", "left out", "another hello"],
)
def test_another_introduction_is_refused(case: dict[str, Any], code: str, cause: str) -> None:
    with pytest.raises(Refusal, match=cause) as refused:
        introduced(**case)
    assert refused.value.code == code


def test_who_signed_two_hellos_for_one_call_is_named() -> None:
    other = Epoch.of(with_hellos(SIGNED[0], hello("m1", nonce=OTHER), *SIGNED[2:]))
    assert ceremony.two_introductions(EPOCH, other).startswith("m1 signed two hellos")
    assert ceremony.two_introductions(EPOCH, Epoch.of(introduction(FOUR))).startswith("The coordinator")
    later = Epoch.of(called(told(changed(CALL, run=8))))
    assert ceremony.two_introductions(EPOCH, later).startswith("The coordinator")


# --- acceptances ---


def replaced(signed: dict[str, Signed], **others: Signed) -> tuple[Signed, ...]:
    return tuple((signed | others).values())


def test_everybody_s_acceptance_is_enough_and_no_less(it: Stood) -> None:
    ceremony.check_acceptances(EPOCH, tuple(it.acceptances.values()))
    ceremony.check_acceptances(EPOCH, tuple(it.acceptances.values())[::-1])
    with pytest.raises(Refusal, match="No acceptance by m0"):
        ceremony.check_acceptances(EPOCH, tuple(it.acceptances.values())[1:])


def acceptance(signer: str = "m1", **fields: Any) -> Signed:
    said = {"roster_hash": ROSTER.hash(), "epoch": EPOCH.id, "name": "m1"} | fields
    return by(signer, Acceptance.model_validate(said))


@pytest.mark.parametrize(
    ("signed", "cause"),
    [
        (acceptance(roster_hash=OTHER), "accepted another epoch"),
        (acceptance(epoch=OTHER), "accepted another epoch"),
        (acceptance("m0", name="m0"), "doubled or from outside"),
        (
            Signed.make(STRANGER.signing, Acceptance(roster_hash=ROSTER.hash(), epoch=EPOCH.id, name="m9")),
            "outside",
        ),
    ],
    ids=["roster", "epoch", "doubled", "outside"],
)
def test_another_acceptance_is_refused(signed: Signed, cause: str, it: Stood) -> None:
    with pytest.raises(Refusal, match=cause):
        ceremony.check_acceptances(EPOCH, replaced(it.acceptances, m1=signed))


def test_an_acceptance_is_its_member_s(it: Stood) -> None:
    with pytest.raises(ProtocolError, match="does not verify"):
        ceremony.check_acceptances(EPOCH, replaced(it.acceptances, m1=acceptance("m2")))


# --- the seed ---


def test_only_seeders_send_and_to_everybody_the_same(it: Stood) -> None:
    for seeder, sent in it.envelopes.items():
        for name, signed in zip(ALL, sent.signed, strict=True):
            said = signed.verified(ROSTER.entry(seeder).signing, Envelope)
            facts = (said.epoch_nonce, said.roster_hash, said.sender, said.recipient)
            assert facts == (EPOCH.nonce, ROSTER.hash(), seeder, name)
            key = X25519PrivateKey.from_private_bytes(it.states[name].envelope)
            opened = keys.hpke_open(key, said.sealed, EPOCH.envelope_info(seeder, name))
            assert opened == it.states[seeder].contribution
    other = ORDER[2]
    with pytest.raises(Refusal, match="not among the seeders"):
        ceremony.envelopes(PEOPLE[other], it.states[other])


def test_all_derive_one_seed_from_the_contributions_and_the_roster(it: Stood) -> None:
    sent = sorted(it.states[name].contribution for name in EPOCH.seeders)
    wanted = keys.derive(b"".join(sent) + ROSTER.hash(), "group-seed", EPOCH.id)
    for name in ALL:
        assert ceremony.group_seed(PEOPLE[name], it.states[name], it.received(name)) == wanted


def resealed(it: Stood, signer: str = "", sent: bytes = b"", **fields: Any) -> tuple[Signed, ...]:
    """m0's envelopes, the first seeder's with other fields or contents."""
    first, second = Envelopes.decode(it.received("m0")).signed
    said = changed(Envelope.decode(first.body), **fields)
    if sent:
        info = EPOCH.envelope_info(EPOCH.seeders[0], "m0")
        said = changed(said, sealed=keys.hpke_seal(HELLOS["m0"].envelope, sent, info))
    return by(signer or EPOCH.seeders[0], said), second


def seeded(it: Stood, *signed: Signed) -> bytes:
    return ceremony.group_seed(PEOPLE["m0"], it.states["m0"], Envelopes(signed=signed).encode())


@pytest.mark.parametrize("fields", [{"epoch_nonce": OTHER}, {"roster_hash": OTHER}, {"recipient": "m1"}])
def test_an_envelope_for_another_epoch_or_member_is_refused(fields: dict[str, Any], it: Stood) -> None:
    with pytest.raises(Refusal, match="another epoch or member"):
        seeded(it, *resealed(it, **fields))


def test_envelopes_are_one_of_each_seeder_and_of_nobody_else(it: Stood) -> None:
    first, second = resealed(it)
    assert seeded(it, second, first) == it.seed
    with pytest.raises(Refusal, match="is missing"):
        seeded(it, first)
    with pytest.raises(Refusal, match="sent two"):
        seeded(it, first, second, first)
    other = ORDER[2]
    with pytest.raises(Refusal, match="no seeder"):
        seeded(it, *resealed(it, other, sender=other), first)
    with pytest.raises(ProtocolError, match="does not verify"):
        seeded(it, *resealed(it, other))


def test_a_seeder_sends_what_it_committed_to_and_what_opens(it: Stood) -> None:
    with pytest.raises(Refusal, match="another contribution"):
        seeded(it, *resealed(it, sent=OTHER))
    with pytest.raises(Refusal, match="does not open"):
        seeded(it, *resealed(it, sealed=b"rubbish"))


# --- confirmations ---


def test_a_member_confirms_the_seed(it: Stood) -> None:
    state, signed = ceremony.confirm(PEOPLE["m0"], it.states["m0"], it.seed)
    assert state.seed == it.seed
    said = signed.verified(ROSTER.entry("m0").signing, Confirmation)
    mac = confirmation_mac(it.seed, EPOCH.id, ROSTER.hash(), "m0")
    assert said == Confirmation(epoch=EPOCH.id, name="m0", mac=mac)
    assert ceremony.confirm(PEOPLE["m0"], state, it.seed)[0] == state


def confirmed(it: Stood, **others: Signed) -> None:
    ceremony.check_confirmations(EPOCH, it.seed, replaced(it.confirmations, **others))


def test_everybody_s_confirmation_is_enough_and_no_less(it: Stood) -> None:
    confirmed(it)
    few = tuple(it.confirmations.values())[1:]
    with pytest.raises(Refusal, match="No confirmation by m0"):
        ceremony.check_confirmations(EPOCH, it.seed, few)


def test_another_confirmation_is_refused(it: Stood) -> None:
    mine = Confirmation.decode(it.confirmations["m1"].body)
    for fields in ({"epoch": OTHER}, {"mac": OTHER}):
        with pytest.raises(Refusal, match="m1 confirmed another seed"):
            confirmed(it, m1=by("m1", changed(mine, **fields)))
    with pytest.raises(Refusal, match="doubled or from outside"):
        confirmed(it, m1=it.confirmations["m0"])
    with pytest.raises(Refusal, match="doubled or from outside"):
        confirmed(it, m1=Signed.make(STRANGER.signing, changed(mine, name="m9")))
    with pytest.raises(ProtocolError, match="does not verify"):
        confirmed(it, m1=Signed.make(KEY, mine))
