"""One decision an account: a menu of at most three plans, or what else is right."""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b, sha256

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.judged import NONE, Judged, Why
from fedrepay.client.plans.deciding.menu import menu
from fedrepay.client.plans.deciding.need import in_need, remaining
from fedrepay.shared.arrays import F64, I32, U8, Bool


class Decision(IntEnum):
    """What an account gets."""

    OFFER = 0
    TOKEN = 1
    REVIEW = 2  # what is affordable, looked at again after some months
    REFER = 3
    HUMAN = 4  # the plans beside it are proposals for the case worker
    NONE = 5  # no plan: a likely self-curer, nothing is due, or collection must stop


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
    "UNCOVERED",
    "OUT_OF_BOUNDS",
    "VULNERABLE",
    "PROTECTED",
    "PAUSE",
    "WRITE_OFF",
    "NO_PLAN",
)
"""Why a human takes over; the first is nobody."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """One decision for each of n accounts.

    ``code`` of ``Decision``; ``top`` (n, 3) the menu's arms, the recommended one first, or −1 (for HUMAN: proposals);
    ``tier`` into ``TIERS``; ``handoff`` into ``HANDOFFS``; ``propensity`` of the menu under exploration, 1 without.
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
        judged: candidates with their scores, caps of a batch included.
        handoff: into ``HANDOFFS``, why a human takes over, (n,).
        exploration: ε, the share of offers drawn evenly from the allowed plans.
        batch_id: the draw depends on it and on the account, on nothing else.
    """
    stop, trifle = judged.stop, judged.cases.column("trifle")
    handoff = np.zeros(len(stop), np.uint8) if handoff is None else handoff
    human = judged.human | (handoff > 0)
    top = menu(judged, best(judged))
    offer = top[:, 0] != NONE
    need = in_need(judged, judged.why)
    arm = remaining(judged, judged.why, need)
    instead = ~offer & (arm != NONE)
    top[instead, 0] = arm[instead]
    code = np.where(offer, Decision.OFFER, Decision.NONE).astype(np.uint8)
    code[instead] = _codes(judged)[arm[instead]]
    propensity = np.ones(len(code))
    if exploration > 0:
        drawn = offer & ~human & ~stop
        top, propensity = _explored(judged, top, np.flatnonzero(drawn), exploration, batch_id)
    code[human] = Decision.HUMAN
    code[stop] = np.where(human[stop], Decision.HUMAN, Decision.NONE)
    top[stop | trifle] = NONE
    return Chosen(code, top, _tiers(judged, code, top[:, 0], need), handoff, propensity)


def best(judged: Judged) -> I32:
    """The plan of highest score among those that may be offered, or −1, (n,); ties go to the catalogue's order."""
    masked = np.where(judged.offers, judged.score, -np.inf)
    arm = masked.argmax(axis=1)
    found = np.isfinite(masked[np.arange(len(masked)), arm])
    return np.where(found, arm, NONE).astype(np.int32)


def _codes(judged: Judged) -> U8:
    """What each arm makes of a decision, (P,); a pause is always a person's to decide."""
    arms = judged.plans.arms
    code = np.full(len(arms.kind), Decision.OFFER, np.uint8)
    for name in ("TOKEN", "REVIEW", "REFER"):
        code[arms.is_kind(name)] = Decision[name]
    code[arms.is_kind("DORMANT")] = Decision.HUMAN
    return code


def _explored(
    judged: Judged, top: I32, rows: npt.NDArray[np.intp], exploration: float, batch_id: str
) -> tuple[I32, F64]:
    """Draw some accounts' first plan evenly from the allowed ones, its menu with it; menus and their propensities."""
    first, propensity = top[:, 0].copy(), np.ones(len(top))
    key = sha256(batch_id.encode()).digest()
    for row in rows:
        arms = np.flatnonzero(judged.offers[row])
        digest = blake2b(str(judged.cases.names[row]).encode(), key=key, digest_size=16).digest()
        explore, which = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:]))
        greedy = int(first[row])
        first[row] = int(arms[int(which * len(arms))]) if explore < exploration else greedy
        propensity[row] = exploration / len(arms) + (1 - exploration) * (int(first[row]) == greedy)
    shown = top.copy()
    shown[rows] = menu(judged, first)[rows]
    return shown, propensity


def _tiers(judged: Judged, code: U8, shown: I32, need: Bool) -> U8:
    """T5 a human, T4 no affordable plan, T1 self-cure, T2 a nudge will do, T3 a plan; (n,)."""
    offers = judged.offers & ~(judged.plans.arms.discount > 0)
    masked = np.where(offers, judged.score, -np.inf)
    arm, rows = masked.argmax(axis=1), np.arange(len(code))
    has = offers.any(axis=1)
    kept, first = judged.kept[rows, arm] * has, judged.first[rows, arm] * has
    needless = (judged.why == Why.NO_GAIN).any(axis=1) & ~(judged.why == Why.CAP).any(axis=1)
    needless |= judged.cases.column("idle") | (judged.plans.debts.balance <= 0)
    tier = np.full(len(code), 2, np.uint8)
    tier[has & (first >= judged.borders.nudge)] = 1
    tier[(has & (kept >= judged.borders.self_cure)) | ((code == Decision.NONE) & needless)] = 0
    caught_up = judged.plans.arms.is_kind("CATCH_UP")[np.maximum(shown, 0)] & (shown != NONE)
    tier[need & ~caught_up] = 3
    tier[(code == Decision.REFER) & ~judged.cases.income_known] = 1  # only the income form is missing
    tier[(code == Decision.HUMAN) | judged.stop] = 4
    return tier
