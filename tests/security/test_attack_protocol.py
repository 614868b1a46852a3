"""The attacks on ceremony, masks, quorum and roster: each defence on, off and alone, and the tools' own controls."""

import os
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.enrolling import MemberEnrolment
from fedrepay.shared.errors import WordsError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.roster import Roster, quorum
from fedrepay.simulations.attacks import fork, ghost, isolate
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions
from fedrepay.simulations.attacks.tools import two_rosters
from fedrepay.simulations.attacks.tools.haunted import Silent, Telephone
from fedrepay.simulations.attacks.tools.switch import switched

QUICK = AttackOptions(quick=True)


def rows_of(finding: AttackFinding) -> dict[str, tuple[str, str]]:
    return {row.what: (row.on, row.off) for row in finding.rows}


# --- members led apart ---


def test_members_led_apart_add_up_to_uniform_numbers_and_unbound_masks_to_one_of_them() -> None:
    finding = isolate.run(QUICK)
    assert (finding.held, finding.bites, finding.threat) == (True, True, "B21")
    figures = rows_of(finding)
    assert figures["different sums of one round that honest members opened"] == ("2", "2")
    on, off = figures["mode none: values of one institution's own function that were read"]
    assert on.startswith("0 of 8 (uniform mod t")
    assert off == "8 of 8, exactly"


def test_with_noise_the_victims_function_is_read_under_the_noise_of_two_sums(tmp_path: Path) -> None:
    led = isolate.play(tmp_path, "distributed", bound=False)
    assert led.everything
    assert led.noise > 0
    assert not led.nothing


# --- two forks ---


def test_one_run_has_one_release_and_with_more_than_half_it_has_two() -> None:
    finding = fork.run(QUICK)
    assert (finding.held, finding.bites, finding.threat) == (True, True, "B22")
    for what in ("one attempt, two configurations", "one epoch, two introductions"):
        assert rows_of(finding)[f"{what}: releases of one run, two forks of 3 of 5"] == ("0", "2")
    assert [row.on for row in finding.rows if row.what.startswith("· the same")] == ["1", "1", "1"]


def test_two_forks_of_the_quorum_share_an_honest_member() -> None:
    sizes = [(members, colluders) for members in range(3, 200) for colluders in range(1, members - 1)]
    assert all(2 * quorum(*size) - size[0] > size[1] for size in sizes)


def test_control_more_than_half_shares_none() -> None:
    assert 2 * fork.more_than_half(5, 1) - 5 == 1


# --- ghosts ---


def test_ghosts_in_one_roster_or_two_read_nothing_where_people_compare() -> None:
    finding = ghost.run(QUICK)
    assert (finding.held, finding.bites, finding.threat) == (True, True, "B3")
    figures = rows_of(finding)
    assert figures["one roster: honest members that upload to a cohort with ghosts"] == ("0", "1")
    assert figures["· institutions whose update a ghost opens alone"] == ("0", "1")
    assert figures["two rosters: institutions among ghosts alone, whose update is read"] == (
        "0",
        "1, once the words agree",
    )
    assert figures["· of 5 real members: reveal to a second list, or after a restart"] == ("0, 0 (void)", "5")


def test_a_ghost_draws_no_noise_and_has_keys_of_its_own() -> None:
    from fedrepay.shared.privacy.noise import DiscreteGaussian

    assert not DiscreteGaussian(9e6).sample(64, Silent()).any()
    assert Silent().draw(32) != Silent().draw(32)


def test_people_miss_whoever_nobody_speaks_for_and_notice_other_words() -> None:
    names = frozenset({"a", "b", "c"})
    with pytest.raises(WordsError, match="speaks for c"):
        Telephone().agree({"a": (names, "zoo"), "b": (names, "zoo")})
    with pytest.raises(WordsError, match="differ"):
        Telephone().agree({"a": (names, "zoo"), "b": (names, "zoo"), "c": (names, "abandon")})
    Telephone().agree(dict.fromkeys("abc", (names, "zoo")))


def test_a_collision_is_one_of_the_rosters_own_hashes() -> None:
    entries = tuple(Identity.create(f"m{i}").entry() for i in range(3))
    rosters = [
        Roster(
            number=number,
            predecessor=enrolment.FIRST,
            members=entries,
            coordinator=os.urandom(32),
            released=0,
            release=bytes(32),
            nonces=tuple(os.urandom(32) for _ in range(3)),
        )
        for number in (1, 2)
    ]
    found = two_rosters.collide(rosters[0], rosters[0].nonces[2], rosters[1], rosters[1].nonces[2])
    changed = [
        each.model_copy(update={"nonces": (*each.nonces[:2], chosen)})
        for each, chosen in zip(rosters, (found.left, found.right), strict=True)
    ]
    said = [Roster.decode(each.encode()).code().split()[: two_rosters.WORDS] for each in changed]
    assert said[0] == said[1]
    assert found.hashes < 1 << 21


def test_a_nonce_is_given_to_one_list_and_void_after_a_restart(tmp_path: Path) -> None:
    asked = two_rosters.propose(tmp_path / "on", 3)
    assert (asked.pairs, asked.alike, asked.second, asked.restarted) == (9, 0, 0, 0)
    assert (asked.refused, asked.chosen) == (("void",), None)
    with switched(MemberEnrolment, "reveal", two_rosters.reveal_always):
        careless = two_rosters.propose(tmp_path / "off", 1)
    assert careless.second == two_rosters.SIZE
    assert careless.chosen is not None
