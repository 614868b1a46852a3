"""A coordinator that puts members of its own into the roster.

A ghost is a member like any other: it holds the group key, and its masks with an honest member cancel its own. Enough
of them make a cohort in which one honest institution stands alone. What stops it is that people compare twelve words of
the roster by another way than the coordinator's.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fedrepay.client.learning import contribution
from fedrepay.client.limits import Limits
from fedrepay.client.member import Member
from fedrepay.server.state import Event
from fedrepay.shared.errors import CohortError
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.roster import Roster
from fedrepay.simulations.attacks.adversary import opened, say
from fedrepay.simulations.attacks.base import Finding, Options, Row
from fedrepay.simulations.attacks.live import World, rows

HONEST = 4
GHOSTS = 5
VICTIM = "m0"
HALF = (1 << 63).to_bytes(8, "little")  # the middle of the sampler's range: no noise


class Silent:
    """A ghost's entropy: real keys, and noise that is always 0, so that it dilutes the honest members' noise."""

    private = True

    def draw(self, n: int) -> bytes:
        """Random bytes for a key; the middle word for every draw of noise."""
        return os.urandom(n) if n == 32 else HALF * (n // 8) + HALF[: n % 8]


class Haunted(World):
    """A consortium of ``HONEST`` members to whose roster the coordinator has added ``GHOSTS`` of its own."""

    def member(self, name: str) -> Member:
        """Ghosts have no customers and draw no noise."""
        if int(name[1:]) < HONEST:
            return super().member(name)
        nobody = rows(self.book, 0, 0)
        limits = Limits(minimum_cohort=3, epsilon_per_release=100, epsilon_per_year=100)
        return Member(
            self.identities[name],
            self.store(name),
            self.book,
            lambda: (nobody, bytes([255]) * 32),
            limits,
            lambda: 1.8e9,
            Silent(),
        )

    def honest_code(self) -> str:
        """The twelve words of the roster that the people at the honest members have compared."""
        entries = [self.identities[name].entry() for name in self.names[:HONEST]]
        return Roster.of(entries, keys.public_bytes(self.key)).code()


@dataclass(frozen=True)
class Played:
    """What came of one haunted consortium.

    Attributes:
        uploads: the honest members' that the coordinator got.
        refused: codes of the honest members' refusals.
        noise: mean square of what stands around the victim's own Gram matrix in what a ghost opened, in the
            variance that the whole run's noise should have; None where no ghost opened anything.
        stated: what the victim's own share alone would be, in the same unit.
    """

    uploads: int
    refused: str
    noise: float | None
    stated: float


def play(folder: Path, *, compared: bool) -> Played:
    """Start a run with ghosts; call all honest members but one away, and open the victim's sum.

    Args:
        folder: for the stores.
        compared: whether the honest members' people have compared the roster code.
    """
    world = Haunted(folder, size=HONEST + GHOSTS, rounds=2)
    if compared:
        for name in world.names[:HONEST]:
            world.members[name].approve_roster(world.honest_code())
    away = world.names[:HONEST]
    away.remove(VICTIM)
    ghost = world.names[-1]
    with suppress(CohortError):
        for ask in world.steps():
            if ask.kind == "ping" and not world.coordinator.state.away:
                world.take([Event("away", name, b"said to be away") for name in away])
            if ask.kind == "round" and world.coordinator.state.sums:
                say(world, ghost, "round", *ask.parts[ghost])  # with round 0's sum
                break
    honest = set(world.names[:HONEST])
    sent = {n for kind, n, reply in world.replies if (kind, reply.kind) == ("round", "ok")} & honest
    refused = {code for n, code in world.refusals() if n in honest}
    found = opened(world, ghost)
    if not found:
        return Played(len(sent), ", ".join(sorted(refused)), None, 0.0)
    values = np.frombuffer(found[0], "<i8")
    own = contribution.gram(rows(world.book, int(VICTIM[1:])))
    charged = [each for each in world.store(VICTIM).ledger() if each.attempt == 0]
    mechanism = Mechanism(**charged[0].event[0])
    noise = float(np.mean((values - own).astype(np.float64) ** 2)) / mechanism.variance
    return Played(len(sent), ", ".join(sorted(refused)), noise, mechanism.share_variance / mechanism.variance)


def run(_options: Options) -> Finding:
    """With the roster code compared, and with the coordinator's code taken on trust."""
    with TemporaryDirectory() as folder:
        on = play(Path(folder) / "on", compared=True)
        off = play(Path(folder) / "off", compared=False)
    read = off.noise is not None
    return Finding(
        attack="ghost",
        threat="B3",
        adversary=(
            f"The coordinator adds {GHOSTS} members of its own to a roster of {HONEST}, says that all honest members but one "
            "are away, and lets a ghost open the sum; it wants that institution's update."
        ),
        defence="people compare the roster's twelve words; off, they type in what the coordinator tells them.",
        rows=(
            Row("honest members that upload to a cohort with ghosts", str(on.uploads), str(off.uploads)),
            Row("their refusals", on.refused or "none", off.refused or "none"),
            Row(
                "institutions whose update a ghost opens alone",
                "0" if on.noise is None else "1",
                "1" if read else "0",
            ),
            Row(
                "· noise around it, in the run's promised variance",
                "—",
                f"{off.noise:.2f} (its own share: {off.stated:.2f})" if off.noise is not None else "—",
            ),
        ),
        held=on.uploads == 0 and on.noise is None,
        bites=off.uploads > 0 and off.noise is not None and off.noise < 0.6,
        note="Customers of that institution keep the protection of its own share only; the promise was for all shares.",
    )
