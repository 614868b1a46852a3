"""A coordinator that puts members of its own into the roster, or into two rosters at once.

A ghost is a member like any other: it holds the group key, and its masks with an honest member cancel its own. Enough
of them make a cohort in which one honest institution stands alone. What stops it is that people hear each other say
twelve words and miss whoever nobody speaks for, and that nothing can be chosen any more once the words are known
(``two_rosters``).
"""

from contextlib import nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fedrepay.client.protocol.enrolling import MemberEnrolment
from fedrepay.shared.errors import WordsError
from fedrepay.shared.trust.roster import Roster
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools import two_rosters
from fedrepay.simulations.attacks.tools.haunted import Haunted, Read, Telephone
from fedrepay.simulations.attacks.tools.switch import switched

HONEST = ("m0", "m1", "m2", "m3")
GHOSTS = 5
PROPOSALS, PROPOSALS_QUICK = 50, 10
SAME = " ".join(["abandon"] * 11 + ["about"])


def one_roster(folder: Path, *, compared: bool) -> Read:
    """Ghosts beside honest members; all honest ones but one are called away, and a ghost opens the sum.

    Args:
        folder: for the stores.
        compared: whether people compare words in one call, or approve what the coordinator tells them.
    """
    call = Telephone() if compared else None
    world = Haunted(folder, len(HONEST) + GHOSTS, rounds=2, honest=HONEST, call=call)
    return world.read(away=HONEST[1:])


def isolated(folder: Path, *, agreeing: bool) -> Read:
    """One member among ghosts in one roster, all others with its ghost in another; all real people are in one call.

    Args:
        folder: for the stores.
        agreeing: whether both rosters have the same words, as after 2^64 hashes.
    """
    call = Telephone()
    with switched(Roster, "code", lambda _roster: SAME) if agreeing else nullcontext():
        alone, others = (
            Haunted(folder / honest[0], two_rosters.SIZE, rounds=2, honest=honest, call=call)
            for honest in (two_rosters.ALONE, two_rosters.OTHERS)
        )
        for world in (alone, others):  # first each hears its own words, then all have spoken
            with suppress(WordsError):
                world.enrol()
        return alone.read()


def run(options: AttackOptions) -> AttackFinding:
    """One roster, two rosters, and what it costs to make their words agree."""
    proposals = PROPOSALS_QUICK if options.quick else PROPOSALS
    with TemporaryDirectory() as name:
        folder = Path(name)
        on, off = (one_roster(folder / str(each), compared=each) for each in (True, False))
        apart, alike = (isolated(folder / f"two-{each}", agreeing=each) for each in (False, True))
        asked = two_rosters.propose(folder / "asked", proposals)
        with switched(MemberEnrolment, "reveal", two_rosters.reveal_always):
            careless = two_rosters.propose(folder / "careless", 1)
    over_keys, chosen = two_rosters.over_keys_alone(), careless.chosen
    harvested = "—" if chosen is None else f"2^{chosen.power:.1f}"
    table = (
        Row(
            "one roster: honest members that upload to a cohort with ghosts",
            str(on.uploads),
            str(off.uploads),
        ),
        Row("· their refusals", ", ".join(on.refused) or "none", ", ".join(off.refused) or "none"),
        Row("· institutions whose update a ghost opens alone", _read(on), _read(off)),
        Row("· noise around it, in the run's promised variance", "—", _noise(off)),
        Row(
            "two rosters: institutions among ghosts alone, whose update is read",
            _read(apart),
            f"{_read(alike)}, once the words agree",
        ),
        Row("· noise around it, in the run's promised variance", "—", _noise(alike)),
        Row(
            f"· hashes until the first {two_rosters.WORDS} of 12 words agree",
            f"none helps: a pair of proposals is a try; {asked.alike} of {asked.pairs:,} agree",
            f"2^{over_keys.power:.1f} (words over keys alone), {harvested} (nonces given twice): 2^64 for all 12",
        ),
        Row(
            f"· of {two_rosters.SIZE} real members: reveal to a second list, or after a restart",
            f"{asked.second}, {asked.restarted} ({', '.join(asked.refused)})",
            f"{careless.second}",
        ),
    )
    return AttackFinding(
        attack="ghost",
        threat="B3",
        adversary=(
            f"The coordinator adds {GHOSTS} members of its own to a roster of {len(HONEST)}, says that all honest members but "
            "one are away, and lets a ghost open the sum; or it puts one member among ghosts and its ghost among the others. "
            "It wants that institution's update."
        ),
        defence=(
            "people hear twelve words from everybody in the roster (off: they take the coordinator's word), and the words "
            "cover nonces that are revealed once, to one list (off: they cover keys alone, or nonces are revealed again)."
        ),
        rows=table,
        held=not (on.uploads or apart.uploads or on.alone or apart.alone)
        and (asked.alike, asked.second, asked.restarted) == (0, 0, 0),
        bites=off.alone and alike.alone and chosen is not None and careless.second == two_rosters.SIZE,
        note=(
            "Each try costs a live answer of an honest member on either side: 2^31 of them a side leave a chance of 2^-66 for twelve "
            "words. Nobody else may speak for an institution in the call: people must know whom they hear."
        ),
    )


def _read(read: Read) -> str:
    return "1" if read.noise is not None else "0"


def _noise(read: Read) -> str:
    return "—" if read.noise is None else f"{read.noise:.2f} (its own share: {read.stated:.2f})"
