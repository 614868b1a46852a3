"""What goes wrong, and when: one seeded stream decides, and a limit cuts it short to find the fewest faults."""

import random
from collections import Counter
from dataclasses import dataclass, field

from fedrepay.client.store.member_store import WRITES as MEMBER_WRITES
from fedrepay.server.store import WRITES as COORDINATOR_WRITES
from fedrepay.shared.errors import Code
from support.faultworld.lies import ANYTHING, HABITS, NEED

COMMIT, COMMITTED = MOMENTS = ("commit", "committed")
WIRE = (
    *("request lost", "request repeated", "request reordered", "request late", "request truncated"),
    *("request flipped", "request misdelivered", "old request again"),
    *("reply lost", "reply repeated", "reply reordered", "reply late", "reply truncated", "reply flipped"),
    "stray reply",
)
PROCESS = ("member killed", "member disk full", "coordinator killed", "coordinator disk full")
STATE = ("member restored", "coordinator restored", "coordinator lost", "clock jumped")
LIES = ("member lies",)
KINDS = (*WIRE, *PROCESS, *STATE, *LIES)
OFTEN = {"stray reply": 20.0, **dict.fromkeys(PROCESS, 0.4), **dict.fromkeys((*STATE, *LIES), 0.5)} | {
    "coordinator lost": 0.1
}
"""Rates beside the others': what is asked at every write is met often, what needs a late answer seldom."""
TARGETS = tuple(
    (who, point, moment)
    for who, points in (("member", MEMBER_WRITES), ("coordinator", COORDINATOR_WRITES))
    for point in points
    for moment in MOMENTS
)
"""Every place where a process can die: each world has one of its own, in turn, beside what chance brings."""
NEEDS: dict[str, dict[str, float]] = {
    "remember blocked": {"request flipped": 0.1, "member restored": 0.1},
    "charge rolled-back": {"member restored": 0.3},
    "note": {},
    "append before": {"coordinator lost": 0.03},
    "append seat": {"coordinator lost": 0.03},
    "append floor": {"coordinator restored": 0.03},
    "append retry": {"member killed": 0.1, "coordinator killed": 0.1},
    "append unwritten": {"member lies": 0.8},
    **{
        f"append {event}": {"member lies": 0.1}
        for event in ("declined", "need", "failed", "verdict", "dismissed", "abandoned")
    },
    **{f"append {event}": {"member lies": 0.3} for event in ("disputed", "complaint", "ended")},
}
"""Write points that are reached only after other faults."""
HABIT = {
    "append declined": ANYTHING,
    "append need": NEED,
    "append complaint": Code.CANARY,
    "append unwritten": Code.RELEASE,
    **{f"append {event}": Code.TAG for event in ("failed", "disputed", "verdict", "dismissed", "ended")},
}
"""What liars must say for a write point to be reached."""
OF_ROUNDS = {
    *("remember blocked", "charge rolled-back"),
    *(
        f"append {event}"
        for event in ("need", "retry", "failed", "disputed", "verdict", "dismissed", "complaint", "ended")
    ),
}
"""Write points that are reached only if nothing fails before the first sum is asked for."""
LAST = {"note"}
"""Write points that are reached only by a member that was away when the last sum's cohort was asked for."""
LATE = {"append unwritten"}
"""Write points that are reached only if nothing fails before the release is written."""


class Killed(BaseException):
    """The process is gone: nothing in the product catches this."""


@dataclass
class Faults:
    """Rates differ from world to world and most kinds are off in one, so that rare mixtures are met.

    Args:
        seed: decides everything.
        limit: faults after so many do not happen; all else stays as it was up to there.
        rates: instead of the seed's own, for a control that needs a certain fault.
    """

    seed: int
    limit: int | None = None
    rates: dict[str, float] | None = None
    calm: bool = False
    happened: list[str] = field(default_factory=list)
    killed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    reached: set[tuple[str, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"faults {self.seed}")
        on = {kind for kind in KINDS if self.dice.random() < 0.4}
        drawn = {kind: 10 ** self.dice.uniform(-2, -0.8) for kind in KINDS}
        forced = self.rates is not None
        if self.rates is None:
            self.rates = {kind: rate * OFTEN.get(kind, 1.0) for kind, rate in drawn.items() if kind in on}
        self.target = TARGETS[self.seed % len(TARGETS)]
        if self.target[1] in NEEDS and not forced:
            # what else goes wrong would mostly end the run before
            rare = self.target[1] in {*HABIT, *LAST}
            self.rates = {kind: rate * (0.2 if rare else 1.0) for kind, rate in self.rates.items()}
            self.rates |= NEEDS[self.target[1]]
        self.begin = self.dice.choice((0, 15, 30, 45, 60, 65, 70, 75, 85, 95))  # messages that pass unharmed
        self.most = self.dice.randrange(6, 50)
        # times the target is passed before the process dies there: what is met once in a world, at once
        self.wait = self.dice.choice((0, 0, 1, 2, 5))
        if self.target[1] in NEEDS:
            self.wait = 0
        self.habit = HABIT.get(self.target[1], self.dice.choice(HABITS))
        self.steps = 0

    def happens(self, kind: str) -> bool:
        """Whether this fault happens here and now."""
        assert self.rates is not None
        hit = self.dice.random() < self.rates.get(kind, 0.0)
        return hit and self.steps >= self.begin and self.note(kind)

    def note(self, kind: str) -> bool:
        """Count a fault, unless there were enough."""
        most = self.most if self.limit is None else min(self.limit, self.most)
        if self.calm or len(self.happened) >= most:
            return False
        self.happened.append(kind)
        return True

    def dies(self, who: str, point: str, moment: str) -> bool:
        """Whether the process dies at this write."""
        here = (who, point, moment)
        self.reached.add(here)
        if here == self.target:
            self.wait -= 1
            if self.wait == -1 and self.note(f"{who} killed"):
                self.killed[here] += 1
                return True
        if self.happens(f"{who} killed"):
            self.killed[here] += 1
            return True
        return False

    def damaged(self, data: bytes, how: str) -> bytes:
        """The same bytes cut short, or with one bit changed."""
        if not data:
            return b"\x00"
        at = int(self.dice.random() * len(data))
        if how == "truncated":
            return data[:at]
        changed = bytearray(data)
        changed[at] ^= 1 << self.dice.randrange(8)
        return bytes(changed)
