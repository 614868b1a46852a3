"""The roster: its hash, its twelve words, and the numbers that follow from it."""

import pytest
from mnemonic import Mnemonic

from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry, Revoked, Roster, check_size, default_colluders
from support.adversary import roster_of

COORDINATOR = b"c" * 32


def entry(name: str, **changes: bytes) -> Entry:
    seed = keys.digest(name.encode())
    made = Entry(name=name, signing=seed, sealing=keys.digest(seed), node=b"")
    return made.model_copy(update=changes)


ENTRIES = [entry(name) for name in ("ada", "bob", "cyd", "dan")]
ROSTER = roster_of(ENTRIES, COORDINATOR)


def changed(roster: Roster, **changes: object) -> Roster:
    """Another roster: ``model_copy`` would take over the hash that this one has remembered."""
    fields = {name: getattr(roster, name) for name in Roster.model_fields}
    return Roster.model_construct(**{**fields, **changes})


WORDS = "meadow tube purity floor gown impose inch pet gas laundry predict prosper"


def test_the_words_of_a_roster_stay_what_they_are() -> None:
    """Institutions compare them by telephone across versions: a change here is a change of the protocol."""
    assert ROSTER.code() == WORDS


def test_the_words_are_128_bits_of_the_hash_with_their_check_bits() -> None:
    words = Mnemonic("english")
    assert len(ROSTER.code().split()) == 12
    assert words.check(ROSTER.code())
    assert bytes(words.to_entropy(ROSTER.code())) == ROSTER.hash()[:16]


def test_the_words_come_back_with_the_bytes() -> None:
    assert Roster.decode(ROSTER.encode()).code() == ROSTER.code()


def other_nonces() -> list[tuple[bytes, ...]]:
    """Each member's nonce in turn drawn anew: the words do not stand before the last of them is known."""
    fresh = bytes(range(32))
    return [(*ROSTER.nonces[:at], fresh, *ROSTER.nonces[at + 1 :]) for at in range(len(ROSTER.nonces))]


def test_everything_in_a_roster_changes_its_words() -> None:
    other = bytes(range(32))
    rosters = [
        roster_of([*ENTRIES, entry("eve")], COORDINATOR),
        roster_of(ENTRIES[:-1], COORDINATOR),
        roster_of(ENTRIES, other),
        roster_of([*ENTRIES[:-1], entry("dan").model_copy(update={"name": "don"})], COORDINATOR),
        roster_of([*ENTRIES[:-1], entry("dan", signing=other)], COORDINATOR),
        roster_of([*ENTRIES[:-1], entry("dan", sealing=other)], COORDINATOR),
        roster_of([*ENTRIES[:-1], entry("dan", node=b"1")], COORDINATOR),
        changed(ROSTER, number=2),
        changed(ROSTER, predecessor=other),
        changed(ROSTER, released=1),
        changed(ROSTER, release=other),
        changed(ROSTER, revoked=(Revoked(name="eve"),)),
        changed(ROSTER, revoked=(Revoked(name="eve", reason="why"),)),
        changed(ROSTER, handover=Signed(body=b"", signature=bytes(64))),
        changed(ROSTER, handover=Signed(body=b"1", signature=bytes(64))),
        *(changed(ROSTER, nonces=nonces) for nonces in other_nonces()),
    ]
    plain = ("members", "coordinator", "nonces", "number", "predecessor", "released", "release")
    assert {*plain, "revoked", "handover"} == set(Roster.model_fields)
    codes = {roster.code() for roster in [ROSTER, *rosters]}
    assert len(codes) == len(rosters) + 1


@pytest.mark.parametrize(
    "members",
    [
        [*ENTRIES, ENTRIES[0]],
        [*ENTRIES, entry("eve", signing=ENTRIES[0].signing)],
        [*ENTRIES, entry("eve", signing=COORDINATOR)],
    ],
    ids=["a member", "a signing key", "the coordinator's key"],
)
def test_nobody_is_in_a_roster_twice(members: list[Entry]) -> None:
    with pytest.raises(ProtocolError):
        roster_of(members, COORDINATOR).check()


def test_nobody_is_called_as_the_coordinator_is() -> None:
    """In a verdict its name stands for the coordinator itself; a name beside it is anybody's."""
    roster_of([*ENTRIES, entry("coordinators")], COORDINATOR).check()
    with pytest.raises(ProtocolError, match="A member is called 'coordinator'"):
        roster_of([*ENTRIES, entry("coordinator")], COORDINATOR).check()


def test_whoever_bears_anothers_signing_key_is_named_with_the_other() -> None:
    with pytest.raises(ProtocolError, match="eve has the signing key of ada"):
        roster_of([*ENTRIES, entry("eve", signing=ENTRIES[0].signing)], COORDINATOR).check()


def test_a_copied_sealing_key_stops_no_roster() -> None:
    """It harms its copier alone (tests/security/test_enrolment.py), so nobody can block a roster with it."""
    roster_of([*ENTRIES, entry("eve", sealing=ENTRIES[0].sealing)], COORDINATOR).check()


@pytest.mark.parametrize("nonces", [ROSTER.nonces[:-1], (*ROSTER.nonces, bytes(32))], ids=["fewer", "more"])
def test_a_roster_has_one_nonce_a_member(nonces: tuple[bytes, ...]) -> None:
    with pytest.raises(ProtocolError):
        changed(ROSTER, nonces=nonces).check()


def test_a_roster_that_is_not_sorted_is_refused() -> None:
    ROSTER.check()
    with pytest.raises(ProtocolError):
        changed(ROSTER, members=ROSTER.members[::-1]).check()


def test_a_roster_of_two_cannot_be_read() -> None:
    with pytest.raises(ProtocolError):
        Roster.decode(changed(ROSTER, members=ROSTER.members[:2]).encode())


def test_only_members_are_found() -> None:
    assert ROSTER.entry("bob") == ENTRIES[1]
    with pytest.raises(ProtocolError):
        ROSTER.entry("eve")


def test_the_order_is_that_of_the_key_hashes_whatever_the_names() -> None:
    order = sorted(ENTRIES, key=lambda each: keys.key_hash(each.signing))
    assert ROSTER.by_key_hash() == tuple(each.name for each in order)
    assert ROSTER.by_key_hash(("ada", "dan")) == tuple(e.name for e in order if e.name in ("ada", "dan"))


def test_colluders_are_a_tenth_and_never_none() -> None:
    assert [default_colluders(k) for k in (3, 5, 10, 11, 20, 50)] == [1, 1, 1, 2, 2, 5]


@pytest.mark.parametrize(("members", "colluders"), [(2, 1), (1501, 1), (3, 0), (3, 2), (10, 9), (10, -1)])
def test_impossible_sizes_are_refused(members: int, colluders: int) -> None:
    with pytest.raises(ArgumentError):
        check_size(members, colluders)


@pytest.mark.parametrize(("members", "colluders"), [(3, 1), (1500, 150), (10, 8)])
def test_possible_sizes_are_not(members: int, colluders: int) -> None:
    check_size(members, colluders)
