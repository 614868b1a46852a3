"""Consortia with a coordinator's ghosts in them, and the people who compare twelve words."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from fedrepay.client.learning import contribution
from fedrepay.client.protocol.member import Member
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol.state import Event
from fedrepay.shared.errors import CohortError, TermsError, WordsError
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Certificate
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.tools.adversary import opened, say
from fedrepay.simulations.run.world import World, rows

HALF = (1 << 63).to_bytes(8, "little")  # the middle of the sampler's range: no noise
_SHOWN = re.compile(r"the words of the roster of (.+): ((?:[a-z]+ ){11}[a-z]+)\.$")


class Silent:
    """A ghost's entropy: real keys, and noise that is always 0, so that it dilutes the honest members' noise."""

    private = True

    def draw(self, n: int) -> bytes:
        """Random bytes for a key; the middle word for every draw of noise."""
        return os.urandom(n) if n == 32 else HALF * (n // 8) + HALF[: n % 8]


@dataclass
class Telephone:
    """One call, in which people at members say what names and words they are shown."""

    said: dict[str, tuple[frozenset[str], str]] = field(default_factory=dict)

    def agree(self, shown: Mapping[str, tuple[frozenset[str], str]]) -> None:
        """People join with what they are shown.

        Raises:
            WordsError: the words differ, or nobody in the call speaks for a name in a roster.
        """
        self.said |= shown
        listed = frozenset[str]().union(*(names for names, _ in self.said.values()))
        if len({words for _, words in self.said.values()}) != 1:
            raise WordsError("The words differ.", "Somebody else is in the roster.")
        if missing := listed - set(self.said):
            raise WordsError(f"Nobody here speaks for {', '.join(sorted(missing))}.", "Ask who that is.")


@dataclass
class Haunted(World):
    """A consortium in which only ``honest`` are real members: the others are the coordinator's ghosts.

    Attributes:
        honest: names of the real members.
        call: where their people compare; None: they approve what they are shown, as the coordinator tells them.
    """

    honest: tuple[str, ...] = ()
    call: Telephone | None = None

    @property
    def ghosts(self) -> list[str]:
        """The others."""
        return [name for name in self.names if name not in self.honest]

    def begin(self) -> None:
        """Nothing yet: the roster is made when it is asked for (``enrol``)."""

    def member(self, name: str) -> Member:
        """Ghosts have no customers and draw no noise."""
        if name in self.honest:
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

    def shown(self) -> dict[str, tuple[frozenset[str], str]]:
        """What each honest member's log shows to its people: the names in the roster, and its words."""
        found = {}
        for kind, name, reply in self.replies:
            told = _SHOWN.search(reply.cause)
            if kind == Kind.APPROVE and name in self.honest and told is not None:
                found[name] = (frozenset(told[1].split(", ")), told[2])
        return found

    def compare(self) -> None:
        """People in one call, or none; ghosts approve whatever the coordinator wants.

        Raises:
            WordsError: as :meth:`Telephone.agree`.
        """
        for name in self.ghosts:
            self.members[name].approve_roster(self.members[name].shown_words())
        shown = self.shown()
        if self.call is not None:
            self.call.agree(shown)
        for name, (_, words) in shown.items():
            self.members[name].approve_roster(words)

    def forge(self) -> None:
        """A certificate in which a ghost signs for everybody, sent to all."""
        state = self.enrolment.state
        nodes = sorted(state.joinings, key=state.member)
        roster = enrolment.roster_of(state.proposal, [state.revealed[node] for node in nodes])
        approvals = []
        for name in roster.names:
            signer = self.identities[self.ghosts[0] if name in self.honest else name]
            approvals.append(Signed.make(signer.signing, Approval(roster=roster.hash(), name=name)))
        ours = Signed.make(self.key, Approval(roster=roster.hash(), name="coordinator"))
        made = Certificate(roster=roster.encode(), approvals=tuple(approvals), coordinator=ours)
        body = made.encode()
        for name in self.names:
            self.replies.append((Kind.CERTIFY, name, say(self, name, Kind.CERTIFY, body)))
        state.apply(Event("roster", "", body))

    def read(self, away: Sequence[str] = ()) -> "Read":
        """Make the roster, or go on without its people's approval; call members away; let a ghost open the first sum."""
        with suppress(WordsError):
            self.enrol()
        if self.enrolment.state.roster is None:
            self.forge()
        self.coordinator = self.new_coordinator()
        ghost, (victim, *_) = self.ghosts[-1], [name for name in self.honest if name not in away]

        def withheld(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
            return None if kind == Kind.PREPARE and name in away else (shared, own)

        with suppress(CohortError, TermsError):
            for ask in self.steps(withheld):
                if ask.kind == Kind.PREPARE and self.coordinator.state.sums:
                    say(self, ghost, Kind.PREPARE, *ask.parts[ghost])  # with round 0's sum
                    break
        return Read.of(self, ghost, victim)


@dataclass(frozen=True)
class Read:
    """What came of one haunted consortium.

    Attributes:
        uploads: the honest members' that the coordinator got.
        refused: codes of the honest members' refusals once the roster stood, or was forged.
        noise: mean square of what stands around the victim's own Gram matrix in what a ghost opened, in the
            variance that the whole run's noise should have; None where no ghost opened anything.
        stated: what the victim's own share alone would be, in the same unit.
    """

    uploads: int
    refused: tuple[str, ...]
    noise: float | None
    stated: float

    @property
    def alone(self) -> bool:
        """One institution's update was read, under hardly more than its own share of noise."""
        return self.noise is not None and self.noise < 3 * self.stated < 1

    @classmethod
    def of(cls, world: Haunted, ghost: str, victim: str) -> "Read":
        """Compare what a ghost has opened with what the victim brought."""
        sent = {n for kind, n, reply in world.replies if (kind, reply.kind) == (Kind.ROUND, "ok")}
        refused = {
            reply.code
            for kind, name, reply in world.replies
            if name in world.honest and reply.kind == "refused" and kind != Kind.APPROVE
        }
        uploads, codes = len(sent & set(world.honest)), tuple(sorted(refused))
        found = opened(world, ghost)
        if not found:
            return cls(uploads, codes, None, 0.0)
        values = np.frombuffer(found[0], "<i8")
        own = contribution.gram(rows(world.book, int(victim[1:])))
        charged = [each for each in world.store(victim).ledger() if each.attempt == 0]
        mechanism = Mechanism(**charged[0].event[0])
        noise = float(np.mean((values - own).astype(np.float64) ** 2)) / mechanism.variance
        return cls(uploads, codes, noise, mechanism.share_variance / mechanism.variance)
