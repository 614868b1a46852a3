"""The facts of an epoch: what an introduction must be, whose hello is taken, and what follows from the seed."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.protocol import epoch as ceremony
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.trust.epoch import Epoch, confirmation_mac, greeted, seed_commitment
from fedrepay.shared.trust.handshake import Declared, Hello, Year
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from support.introduced import HELLOS, SIGNED, called, with_hellos
from support.parties import (
    ALL,
    CALL,
    EPOCH,
    FOUR,
    OTHER,
    PEOPLE,
    ROSTER,
    SEED,
    START,
    YEAR,
    by,
    changed,
    hello,
    introduction,
    told,
)
from support.stood import BODY

# --- the public facts ---


def test_an_epoch_is_what_its_introduction_says() -> None:
    assert (EPOCH.run, EPOCH.colluders, EPOCH.roster) == (7, 1, ROSTER)
    assert (EPOCH.start, EPOCH.terms, EPOCH.hellos) == (START.digest(), CALL.terms, HELLOS)
    assert EPOCH.nonce == keys.digest(b"epoch nonce", *sorted(each.nonce for each in HELLOS.values()))
    said = keys.digest(*(each.encode() for each in SIGNED))
    assert EPOCH.id == keys.digest(b"epoch", ROSTER.hash(), EPOCH.nonce, START.digest(), said)
    assert Epoch.decode(BODY) == EPOCH


def test_who_is_present_makes_the_seed() -> None:
    order = sorted(ALL, key=lambda name: sha256(ROSTER.entry(name).signing).digest())
    assert EPOCH.present == ALL
    assert EPOCH.seeders == tuple(order[:2])
    assert EPOCH.key_hashes == {name: sha256(ROSTER.entry(name).signing).digest() for name in ALL}
    rest = tuple(sorted(order[1:]))
    without = Epoch.of(introduction(rest))
    assert (without.present, without.seeders) == (rest, tuple(order[1:3]))
    with pytest.raises(ProtocolError, match="not present"):
        without.hello(order[0])


def test_an_envelope_is_bound_to_epoch_roster_and_both_names() -> None:
    wanted = keys.digest(b"envelope", EPOCH.nonce, ROSTER.hash(), b"m0", b"m1")
    assert EPOCH.envelope_info("m0", "m1") == wanted


@pytest.mark.parametrize("colluders", [0, 4])
def test_colluders_that_leave_no_two_honest_are_no_epoch(colluders: int) -> None:
    with pytest.raises(ProtocolError, match="colluders do not fit"):
        Epoch.of(called(told(changed(CALL, colluders=colluders))))


def test_as_many_colluders_as_leave_two_honest_are() -> None:
    assert Epoch.of(called(told(changed(CALL, colluders=3)))).colluders == 3


def test_the_roster_itself_is_checked() -> None:
    """Two members of one key are one person."""
    doubled = changed(ROSTER.entry("m1"), signing=ROSTER.entry("m0").signing)
    entries = (ROSTER.entry("m0"), doubled, *ROSTER.members[2:])
    roster = Roster.model_construct(**{**dict(ROSTER), "members": entries})
    start = told(changed(CALL, roster=roster.hash()))
    made = called(start, ("m0", "m2", "m3", "m4"), roster)
    with pytest.raises(ProtocolError, match="signing key"):
        Epoch.of(made)


def test_a_call_is_the_coordinator_s_and_for_this_roster() -> None:
    with pytest.raises(ProtocolError, match="does not verify"):
        Epoch.of(called(by("m0", CALL)))
    with pytest.raises(ProtocolError, match="another roster"):
        Epoch.of(called(told(changed(CALL, roster=OTHER))))


@pytest.mark.parametrize(
    "hellos",
    [SIGNED[::-1], (*SIGNED, SIGNED[-1]), (SIGNED[0], *SIGNED), SIGNED[:3], ()],
    ids=["unsorted", "doubled last", "doubled first", "one too few", "none"],
)
def test_hellos_are_of_a_quorum_in_order_and_once_each(hellos: tuple[Signed, ...]) -> None:
    with pytest.raises(ProtocolError, match="The hellos are not"):
        Epoch.of(with_hellos(*hellos))


def test_a_quorum_is_enough() -> None:
    assert Epoch.of(introduction(FOUR)).present == FOUR


# --- a hello ---


def greet(signed: Signed) -> Hello:
    return greeted(signed, START.digest(), ROSTER)


def declared(runs: int, attempts: int) -> Declared:
    return Declared(year=Year(epsilon=1.0, delta=1e-5, runs=runs, attempts=attempts))


def overriding(length: int) -> Declared:
    return Declared(year=YEAR.year, override=bytes(length))


def test_a_member_s_hello_to_this_call_is_taken() -> None:
    for length in (0, 32):
        assert len(greet(hello("m1", declared=overriding(length))).declared.override) == length
    assert greet(hello("m1")) == HELLOS["m1"]
    assert greet(hello("m1", declared=declared(3, 3))).declared.year.runs == 3


@pytest.mark.parametrize(
    ("signed", "cause"),
    [
        (hello("m1", start=OTHER), "another call"),
        (hello("m1", declared=declared(4, 3)), "cannot come from a ledger"),
        (hello("m1", declared=overriding(1)), "cannot come from a ledger"),
        (hello("m1", declared=overriding(31)), "cannot come from a ledger"),
        (hello("m1", mask=bytes(32)), "The mask key of m1 is of low order"),
        (hello("m1", envelope=bytes(32)), "The envelope key of m1 is of low order"),
        (hello("m1", name="m2"), "does not verify"),
        (hello("m1", name="m9"), "not in the roster"),
        (told(HELLOS["m1"]), "does not verify"),
    ],
    ids=[
        "call",
        "year",
        "override of a byte",
        "override a byte short",
        "mask",
        "envelope",
        "another's name",
        "no member",
        "coordinator",
    ],
)
def test_other_hellos_are_not(signed: Signed, cause: str) -> None:
    with pytest.raises(ProtocolError, match=cause):
        greet(signed)
    others = [each for each in SIGNED if each != SIGNED[1]]
    with pytest.raises(ProtocolError):
        Epoch.of(with_hellos(others[0], signed, *others[1:]))


def test_a_hello_shows_the_public_halves_of_fresh_keys_and_a_commitment() -> None:
    state, signed = ceremony.hello(PEOPLE["m1"], START, CALL, YEAR, SeededEntropy(b"a"))
    said = signed.verified(ROSTER.entry("m1").signing, Hello)
    drawn = (state.nonce, state.envelope, state.mask, state.contribution)
    assert len(set(drawn)) == 4
    assert (state.run, state.start) == (7, START)
    assert said == Hello(
        start=START.digest(),
        name="m1",
        nonce=state.nonce,
        envelope=keys.public_bytes(X25519PrivateKey.from_private_bytes(state.envelope)),
        mask=keys.public_bytes(X25519PrivateKey.from_private_bytes(state.mask)),
        commitment=keys.digest(b"seed contribution", b"m1", state.contribution),
        declared=YEAR,
    )
    assert ceremony.hello(PEOPLE["m1"], START, CALL, YEAR, SeededEntropy(b"b"))[0].nonce != state.nonce


# --- derived from the seed ---


def test_what_is_derived_from_the_seed_stays_what_it_is() -> None:
    """Members of two versions must agree on each."""
    assert seed_commitment(SEED, "m0") == keys.digest(b"seed contribution", b"m0", SEED)
    assert confirmation_mac(SEED, OTHER, EPOCH.id, "m0") == keys.derive(
        SEED, "confirm", OTHER + EPOCH.id + b"m0"
    )
