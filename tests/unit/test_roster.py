"""The roster: its hash, its twelve words, and the numbers that follow from it."""

import pytest
from mnemonic import Mnemonic

from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.roster import Entry, Roster, check_size, default_colluders, minimum_cohort

COORDINATOR = b"c" * 32


def entry(name: str, **changes: bytes) -> Entry:
    seed = keys.digest(name.encode())
    made = Entry(name=name, signing=seed, sealing=keys.digest(seed), node=b"")
    return made.model_copy(update=changes)


ENTRIES = [entry(name) for name in ("ada", "bob", "cyd", "dan")]
ROSTER = Roster.of(ENTRIES, COORDINATOR)
WORDS = "play rebel switch oxygen battle melt hollow describe embody uphold float motion"


def test_the_words_of_a_roster_stay_what_they_are() -> None:
    """Institutions compare them by telephone across versions: a change here is a change of the protocol."""
    assert ROSTER.code() == WORDS


def test_the_words_are_128_bits_of_the_hash_with_their_check_bits() -> None:
    words = Mnemonic("english")
    assert len(ROSTER.code().split()) == 12
    assert words.check(ROSTER.code())
    assert bytes(words.to_entropy(ROSTER.code())) == ROSTER.hash()[:16]


def test_the_words_do_not_depend_on_who_said_hello_first() -> None:
    assert Roster.of(ENTRIES[::-1], COORDINATOR).code() == ROSTER.code()
    assert Roster.decode(ROSTER.encode()).code() == ROSTER.code()


def test_everything_in_a_roster_changes_its_words() -> None:
    other = bytes(range(32))
    rosters = [
        Roster.of([*ENTRIES, entry("eve")], COORDINATOR),
        Roster.of(ENTRIES[:-1], COORDINATOR),
        Roster.of(ENTRIES, other),
        Roster.of([*ENTRIES[:-1], entry("dan").model_copy(update={"name": "don"})], COORDINATOR),
        Roster.of([*ENTRIES[:-1], entry("dan", signing=other)], COORDINATOR),
        Roster.of([*ENTRIES[:-1], entry("dan", sealing=other)], COORDINATOR),
        Roster.of([*ENTRIES[:-1], entry("dan", node=b"1")], COORDINATOR),
    ]
    codes = {roster.code() for roster in [ROSTER, *rosters]}
    assert len(codes) == len(rosters) + 1


@pytest.mark.parametrize(
    "members",
    [
        [*ENTRIES, ENTRIES[0]],
        [*ENTRIES, entry("eve", signing=ENTRIES[0].signing)],
        [*ENTRIES, entry("eve", sealing=ENTRIES[0].sealing)],
        [*ENTRIES, entry("eve", signing=COORDINATOR)],
    ],
    ids=["a member", "a signing key", "a sealing key", "the coordinator's key"],
)
def test_nobody_is_in_a_roster_twice(members: list[Entry]) -> None:
    with pytest.raises(ProtocolError):
        Roster.of(members, COORDINATOR)


def test_a_roster_that_is_not_sorted_is_refused() -> None:
    ROSTER.check()
    with pytest.raises(ProtocolError):
        ROSTER.model_copy(update={"members": ROSTER.members[::-1]}).check()


def test_a_roster_of_two_cannot_be_read() -> None:
    with pytest.raises(ProtocolError):
        Roster.decode(ROSTER.model_copy(update={"members": ROSTER.members[:2]}).encode())


def test_only_members_are_found() -> None:
    assert ROSTER.entry("bob") == ENTRIES[1]
    with pytest.raises(ProtocolError):
        ROSTER.entry("eve")


def test_seeders_are_the_lowest_key_hashes_whatever_the_names() -> None:
    order = sorted(ENTRIES, key=lambda each: keys.key_hash(each.signing))
    assert ROSTER.by_key_hash() == tuple(each.name for each in order)
    assert ROSTER.seeders(2) == tuple(each.name for each in order[:3])
    assert ROSTER.by_key_hash(("ada", "dan")) == tuple(e.name for e in order if e.name in ("ada", "dan"))


@pytest.mark.parametrize(
    ("members", "colluders", "least"),
    [(3, 1, 3), (4, 1, 3), (5, 1, 3), (5, 3, 5), (6, 1, 4), (20, 2, 11), (50, 5, 26)],
)
def test_a_cohort_is_more_than_half_and_leaves_two_honest(members: int, colluders: int, least: int) -> None:
    assert minimum_cohort(members, colluders) == least
    assert 2 * least > members
    assert least - colluders >= 2


def test_colluders_are_a_tenth_and_never_none() -> None:
    assert [default_colluders(k) for k in (3, 5, 10, 11, 20, 50)] == [1, 1, 1, 2, 2, 5]


@pytest.mark.parametrize(("members", "colluders"), [(2, 1), (1501, 1), (3, 0), (3, 2), (10, 9), (10, -1)])
def test_impossible_sizes_are_refused(members: int, colluders: int) -> None:
    with pytest.raises(ArgumentError):
        check_size(members, colluders)


@pytest.mark.parametrize(("members", "colluders"), [(3, 1), (1500, 150), (10, 8)])
def test_possible_sizes_are_not(members: int, colluders: int) -> None:
    check_size(members, colluders)
