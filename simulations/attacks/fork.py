"""Two forks of one run: a coordinator that shows each half of the honest members a run of their own.

One configuration of an attempt for the cohort {A, B, X}, another for {C, D, X}, X being a colluder that answers both; or
two introductions of one epoch with these as the members present. Every honest member does as it should in its own fork.
More than half of K = 5 are in each, so a quorum of more than half lets both go on, and one run ends in two releases. With
⌊(K + c)/2⌋ + 1 two forks share more than c members: an honest one stands in both, and follows one of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fedrepay.client.protocol import guard
from fedrepay.client.veto import limits
from fedrepay.server.protocol import attempts, ceremony, coordinator
from fedrepay.server.protocol import release as closing
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, ProtocolError
from fedrepay.shared.trust import epoch, release
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.adversary import fork
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.run.world import World

MEMBERS = 5
COLLUDER = "m4"
Names = tuple[str, ...]
Quorum = Callable[[int, int], int]
HALVES: tuple[Names, Names] = (("m0", "m1", COLLUDER), ("m2", "m3", COLLUDER))
LARGER: tuple[Names, Names] = (("m0", "m1", "m2", COLLUDER), ("m1", "m2", "m3", COLLUDER))
"""As large as the product's quorum of 4: m1 and m2 are honest and stand in both."""


def more_than_half(members: int, colluders: int) -> int:
    """A quorum by which two forks may share a colluder and nobody else."""
    return max(colluders + 2, members // 2 + 1)


@contextmanager
def members_ask_for(least: Quorum) -> Iterator[None]:
    """Members, and whoever checks a release, ask for this quorum; the coordinator for no more than half."""
    with ExitStack() as stack:
        for module in (coordinator, attempts, closing):
            stack.enter_context(switched(module, "quorum", more_than_half))
        for module in (guard, limits, epoch, release):
            stack.enter_context(switched(module, "quorum", least))
        yield


def two_configurations(world: World, cohort: Names) -> None:
    """The ceremony is over; those outside the cohort are said to be away, so that the first attempt is without them."""
    away = sorted(set(world.names) - set(cohort))
    world.take([Event("away", name, b"said to be away") for name in away])


def two_introductions(world: World, cohort: Names) -> None:
    """All have said hello; those outside the cohort are said not to be there, and the others are introduced."""
    said = {name: world.coordinator.state.answers[Kind.HELLO][name] for name in cohort}
    start = ceremony.start(world.coordinator.terms, world.roster, world.key)
    body = ceremony.introduction(start, world.roster, said).encode()
    world.take([Event("introduction", "", body)])
    with suppress(ProtocolError):  # the coordinator's own code looks, too
        world.deliver(Ask(Kind.INTRODUCE, dict.fromkeys(cohort, (body, b""))))


Story = Callable[[World, Names], None]


@dataclass(frozen=True)
class Forked:
    """What came of one run in two forks.

    Attributes:
        sums: completed sums of each fork.
        refusals: codes of what honest members refused.
        releases: different releases that honest members hold, each signed by enough.
    """

    sums: tuple[int, ...]
    refusals: tuple[str, ...]
    releases: int


def play(folder: Path, story: Story, cohorts: Sequence[Names], *, over: bool = False) -> Forked:
    """Lead each cohort through a fork of its own; an honest member has one store, the colluder one for each.

    Args:
        folder: for the stores.
        story: what each fork's members are told.
        cohorts: who is in each.
        over: whether the first fork waits after its first sum, and the second calls its own first attempt lost, so that
            members of both are led over in its second.
    """
    world = World(folder / "world", MEMBERS, rounds=2)
    if story is two_introductions:
        world.deliver(world.until(Kind.HELLO))
    else:
        world.until(Kind.PREPARE)
    heard, twins = len(world.replies), []
    for number, cohort in enumerate(cohorts):
        twin = fork(world, folder / f"fork-{number}")
        twin.members |= {name: world.members[name] for name in world.names if name != COLLUDER}
        twins.append(twin)
        story(twin, cohort)
    if over:
        _carry(twins[0], cohorts[0], 1)
        machine = twins[1].coordinator
        twins[1].take(machine._attempts.open(machine.epoch, dict.fromkeys(cohorts[1], 0), ""))  # noqa: SLF001 - nobody is asked
        twins[1].take([Event("void", "", b"")])
        _carry(twins[1], cohorts[1])
        _carry(twins[0], cohorts[0])
    else:
        for twin, cohort in zip(twins, cohorts, strict=True):
            _carry(twin, cohort)
    refused = {
        reply.code
        for twin in twins
        for _, name, reply in twin.replies[heard:]
        if reply.kind == "refused" and name != COLLUDER
    }
    held = [world.store(name).release() for name in world.names if name != COLLUDER]
    return Forked(
        tuple(len(twin.coordinator.state.sums) for twin in twins),
        tuple(sorted(refused)),
        len({keys.digest(each[1]) for each in held if each is not None}),
    )


def _carry(world: World, cohort: Names, sums: int | None = None) -> None:
    """Go on with this fork's members alone, until it has so many sums, is over or is stopped."""
    state = world.coordinator.state

    def among(_kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        return (shared, own) if name in cohort else None

    with suppress(CohortError, ProtocolError):
        while len(state.sums) != sums and (ask := world.coordinator.ask()) is not None:
            world.deliver(ask, among)
            world.take(world.coordinator.finish(ask))


def run(_options: AttackOptions) -> AttackFinding:
    """Both ways to part a run, in halves and in parts as large as the quorum."""
    with TemporaryDirectory() as name:
        folder, on, off = Path(name), {}, {}
        for story in (two_configurations, two_introductions):
            with members_ask_for(quorum):
                on[story] = [
                    play(folder / f"on-{story.__name__}-{len(cohorts[0])}", story, cohorts)
                    for cohorts in (HALVES, LARGER)
                ]
            with members_ask_for(more_than_half):
                off[story] = play(folder / f"off-{story.__name__}", story, HALVES)
        with members_ask_for(quorum):
            over = play(folder / "over", two_configurations, LARGER, over=True)
    rows = []
    for story, what in (
        (two_configurations, "one attempt, two configurations"),
        (two_introductions, "one epoch, two introductions"),
    ):
        halves, larger = on[story]
        rows += [
            Row(
                f"{what}: releases of one run, two forks of 3 of {MEMBERS}",
                str(halves.releases),
                str(off[story].releases),
            ),
            Row("· the same, two forks of 4, which share honest members", str(larger.releases), "—"),
            Row(
                "· refusals of honest members",
                ", ".join(sorted({*halves.refusals, *larger.refusals})) or "none",
                ", ".join(off[story].refusals) or "none",
            ),
        ]
    rows.insert(2, Row("· the same, those two led over after a sum of the first", str(over.releases), "—"))
    return AttackFinding(
        attack="fork",
        threat="B22",
        adversary=(
            f"The coordinator of {MEMBERS} members and one of them show each half of the others a run of its own; they want "
            "two releases of one run, each signed by enough."
        ),
        defence="the quorum is (K + c)/2, rounded down, plus 1; off, more than half.",
        rows=tuple(rows),
        held=all(halves.releases == 0 and larger.releases <= 1 for halves, larger in on.values())
        and over.releases <= 1,
        bites=all(each.releases == 2 for each in off.values()),
        note="The coordinator may still choose which members one run is made of, and stop every run.",
    )
