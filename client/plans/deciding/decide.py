"""One decision an account: the best three plans by score among those allowed, or what else is right."""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b, sha256

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.judged import NONE, SELF_CURE, Judged, Why
from fedrepay.shared.arrays import F64, I32, U8, Bool
from fedrepay.shared.plans.kinds import OFFERS

TOP = 3
"""Plans shown for each account."""
NUDGE = 0.4
"""P(first payment) of the best plan without a discount, from which a nudge will do."""


class Decision(IntEnum):
    """What an account gets."""

    OFFER = 0
    TOKEN = 1
    DORMANT = 2
    REFER = 3
    HUMAN = 4  # the plans beside it are proposals for the case worker
    NONE = 5  # no plan: a likely self-curer, or collection must stop


TIERS = ("T1", "T2", "T3", "T4", "T5")
"""Self-cure, nudge, plan, hardship, specialist care (docs/domain.md section 1)."""
HANDOFFS = (
    "",
    "REQUESTED",
    "DATE_CHANGES",
    "CONTRADICTION",
    "LOW_CONFIDENCE",
    "RULE",
    "UNKNOWN_FACT",
    "OUT_OF_BOUNDS",
    "VULNERABLE",
    "PROTECTED",
)
"""Why a human takes over; the first is nobody."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """One decision for each of n accounts.

    ``code`` of ``Decision``; ``top`` (n, 3) arms by score or −1 (for HUMAN: proposals); ``tier`` into ``TIERS``;
    ``handoff`` into ``HANDOFFS``; ``propensity`` of the first arm under exploration, 1 without.
    """

    code: U8
    top: I32
    tier: U8
    handoff: U8
    propensity: F64


def decide(
    judged: Judged, handoff: U8 | None = None, *, exploration: float = 0.0, batch_id: str = ""
) -> Chosen:
    """One decision an account; the same every time.

    Args:
        judged: candidates with their scores, limits of a batch included.
        handoff: into ``HANDOFFS``, why a human takes over, (n,).
        exploration: ε, the share of offers drawn evenly from the allowed plans.
        batch_id: the draw depends on it and on the account, on nothing else.
    """
    offers, stop = judged.offers, judged.stop
    handoff = np.zeros(len(stop), np.uint8) if handoff is None else handoff
    human = judged.human | (handoff > 0)
    top = best_three(judged, offers)
    offer = top[:, 0] != NONE
    code = np.where(offer, Decision.OFFER, Decision.NONE).astype(np.uint8)
    poor = ~offer & ~_can_pay(judged) & ~stop
    if poor.any():
        instead, arm = _instead(judged)
        code[poor], top[poor, 0] = instead[poor], arm[poor]
    propensity = np.ones(len(code))
    if exploration > 0:
        drawn = offer & ~human & ~stop
        top, propensity = _explored(judged, top, np.flatnonzero(drawn), exploration, batch_id)
    code[human] = Decision.HUMAN
    code[stop] = np.where(human[stop], Decision.HUMAN, Decision.NONE)
    top[stop] = NONE
    return Chosen(code, top, _tiers(judged, code), handoff, propensity)


def best_three(judged: Judged, among: Bool) -> I32:
    """The best three candidates of each account by score, or −1, (n, 3).

    Three that differ only in channel, first date or waivers help nobody: each (kind, number of instalments) enters
    once, with its best plan, and only if there are fewer than three of these do others fill up. Ties go to
    the arm that stands first in the catalogue.
    """
    masked = np.where(among, judged.score, -np.inf)
    group = judged.plans.arms.kind.astype(np.int64) * 64 + judged.plans.count
    rows = np.arange(len(masked))
    top = np.full((len(masked), TOP), NONE, np.int32)
    open_ = masked.copy()
    for place in range(TOP):
        if place:  # where all groups are taken, the rest fills up
            empty = ~np.isfinite(open_.max(axis=1, initial=-np.inf))
            open_[empty] = masked[empty]
        arm = open_.argmax(axis=1)
        found = np.isfinite(open_[rows, arm])
        top[found, place] = arm[found]
        same = group == group[rows, arm][:, None]
        open_[same] = -np.inf
        masked[rows, arm] = -np.inf
    scores = np.where(top == NONE, -np.inf, judged.score[rows[:, None], top])
    order = np.lexsort((top, -scores), axis=1)
    return np.take_along_axis(top, order, axis=1)


def _instead(judged: Judged) -> tuple[U8, I32]:
    """What each account would get if no real plan is affordable, and its arm or −1; (n,) each.

    Ask for an income form where there is none; pause after illness or job loss; else a token plan.
    """
    cases, arms = judged.cases, judged.plans.arms
    plain = ("TOKEN", "DORMANT", "REFER")
    orders = (
        (~cases.income_known, ("REFER", "TOKEN")),
        (cases.income_known & cases.hardship, ("DORMANT", "TOKEN", "REFER")),
        (cases.income_known & ~cases.hardship, plain),
    )
    code = np.full(len(judged.why), Decision.NONE, np.uint8)
    arm = np.full(len(judged.why), NONE, np.int32)
    for kind in plain:
        place = np.flatnonzero(arms.is_kind(kind))
        place = place[np.argsort(arms.dormant_months[place], kind="stable")]  # 12 months before 24
        may = judged.why[:, place] == Why.OK
        first = (
            np.append(place, NONE)[np.where(may.any(axis=1), may.argmax(axis=1), -1)] if len(place) else arm
        )
        for where, order in orders:
            if kind not in order:
                continue
            # a later kind takes the place of an earlier one only where the order says so
            better = [Decision[each] for each in order[: order.index(kind)]]
            take = where & (first != NONE) & ~np.isin(code, better)
            code[take], arm[take] = Decision[kind], first[take]
    return code, arm


def _explored(
    judged: Judged, top: I32, rows: npt.NDArray[np.intp], exploration: float, batch_id: str
) -> tuple[I32, F64]:
    """Draw some accounts' first plan evenly from the allowed ones; returns plans and propensities."""
    top, propensity = top.copy(), np.ones(len(top))
    key = sha256(batch_id.encode()).digest()
    for row in rows:
        arms = np.flatnonzero(judged.offers[row])
        digest = blake2b(str(judged.cases.names[row]).encode(), key=key, digest_size=16).digest()
        explore, which = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:]))
        best = int(top[row, 0])
        arm = int(arms[int(which * len(arms))]) if explore < exploration else best
        propensity[row] = exploration / len(arms) + (1 - exploration) * (arm == best)
        others = [each for each in top[row].tolist() if each not in (arm, NONE)]
        top[row] = [*([arm, *others][:TOP]), *[NONE] * TOP][:TOP]
    return top, propensity


def _tiers(judged: Judged, code: U8) -> U8:
    """T5 a human, T4 no affordable plan, T1 self-cure, T2 a nudge will do, T3 a plan; (n,)."""
    offers = judged.offers & ~(judged.plans.arms.discount > 0)
    masked = np.where(offers, judged.score, -np.inf)
    arm, rows = masked.argmax(axis=1), np.arange(len(code))
    has = offers.any(axis=1)
    kept, first = judged.kept[rows, arm] * has, judged.first[rows, arm] * has
    needless = (judged.why == Why.NO_GAIN).any(axis=1) & ~(judged.why == Why.BUDGET).any(axis=1)
    tier = np.full(len(code), 2, np.uint8)
    tier[has & (first >= NUDGE)] = 1
    tier[(has & (kept >= SELF_CURE)) | ((code == Decision.NONE) & needless)] = 0
    tier[~_can_pay(judged)] = 3
    tier[(code == Decision.REFER) & ~judged.cases.income_known] = 1  # only the income form is missing
    tier[(code == Decision.HUMAN) | judged.stop] = 4
    return tier


def _can_pay(judged: Judged) -> Bool:
    """Whose bound allows a real plan, allowed or not, (n,)."""
    return np.asarray(
        (judged.affordable & judged.plans.valid & judged.plans.arms.is_kind(*OFFERS)).any(axis=1)
    )
