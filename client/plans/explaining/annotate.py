"""What stands beside a decision: who takes over, reasons, and the nearest change that would help."""

import math

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.handover import HandedOver, hand_over
from fedrepay.client.plans.deciding.judged import NONE, Judged
from fedrepay.client.plans.deciding.safeguards import safeguards
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.explaining.messages import money
from fedrepay.client.plans.explaining.reasons import MOST, STEP, Reasons, text
from fedrepay.shared.arrays import I64, U16, Bool, Objects
from fedrepay.shared.plans.catalogue import Arms, Catalogue
from fedrepay.shared.rules.facts import Column

MINUTES_A_DAY = 1440
Columns = dict[str, npt.NDArray[np.generic]]


def handed(
    settings: Settings, judged: Judged, known: Columns, facts: dict[str, Column], today: int
) -> HandedOver:
    """Which accounts go to a human, and by when.

    Args:
        settings: the member's.
        judged: its candidates, before limits of a batch.
        known: account columns and what else is known beside them, (n,) each.
        facts: for rules.
        today: day since 1970-01-01; hours count from the time of contact that settings name.
    """
    verdict, rows = judged.verdict, np.arange(len(judged.why))
    asked = verdict.human != NONE
    unknown = judged.human & (verdict.unknown | ~asked)
    driver = facts.get("vulnerability_driver")
    held = safeguards(facts, len(rows))
    best = np.where(judged.offers, judged.score, -np.inf).argmax(axis=1)
    sure = np.abs(2 * judged.kept[rows, best] - 1)
    said: Columns = {
        **known,
        "rule": (asked & ~unknown).astype(np.float64),
        "unknown_fact": unknown.astype(np.float64),
        "protected": (held.person & (verdict.stop == NONE)).astype(np.float64),
        "vulnerable": held.care.astype(np.float64),
        "confidence": np.where(judged.offers.any(axis=1), sure, np.nan),
    }
    if driver is not None:
        needs = np.array([each not in (None, "", "none") for each in driver], np.bool_)
        said["vulnerable"] = (held.care | needs).astype(np.float64)
    now = today * MINUTES_A_DAY + settings.contact_minute
    return hand_over(settings.handover, said, len(rows), now)


def reference_of(arms: Arms) -> int:
    """The member's reference plan: the first plan in instalments of its catalogue, or else its first plan."""
    found = np.flatnonzero(arms.is_kind("INSTALMENT"))
    return int(found[0]) if len(found) else 0


def reason_texts(reasons: Reasons, codes: U16, reference: U16) -> list[Objects]:
    """Up to four reasons of each chosen pair as text, (m,) each, strongest first.

    Args:
        reasons: of the release.
        codes: of the chosen pairs, (m, blocks).
        reference: of the same accounts with the reference plan.
    """
    place, part = reasons.top(codes, reference)
    made = np.empty(place.shape, dtype=object)
    for row, (places, parts) in enumerate(zip(place.tolist(), part.tolist(), strict=True)):
        made[row] = [text(each, strength) for each, strength in zip(places, parts, strict=True)]
    return [made[:, rank] for rank in range(MOST)]


def alike(arms: Arms) -> Bool:
    """Which arms differ in amount and first date only, (P, P)."""
    same = np.ones((len(arms.kind), len(arms.kind)), np.bool_)
    for name in ("kind", "frequency", "discount", "interest_waiver", "fee_waiver", "channel", "human"):
        values = getattr(arms, name)
        same &= values[:, None] == values
    return same


def counterfactuals(judged: Judged, catalogue: Catalogue, similar: Bool, arm: I64) -> Objects:
    """The least lower instalment among each account's candidates that lifts P(kept) to the next round 5 %, (n,) text.

    Args:
        judged: n accounts; a change that a rule forbids is none.
        catalogue: for its currency.
        similar: ``alike``.
        arm: the chosen one of each account, or −1, (n,).
    """
    plans, rows, at = judged.plans, np.arange(len(arm)), np.maximum(arm, 0)
    kept, monthly = judged.kept, plans.monthly
    target = STEP * (np.floor(np.round(kept[rows, at] / STEP, 9)) + 1)
    open_ = (arm != NONE) & plans.arms.is_kind("INSTALMENT", "SETTLEMENT")[at] & (target < 1)
    helps = similar[at] & plans.valid & (monthly < monthly[rows, at][:, None]) & (kept >= target[:, None])
    helps &= open_[:, None] & (judged.blocked == NONE)
    nearest = np.where(helps, monthly, -1).argmax(axis=1)
    found = np.full(len(arm), None, dtype=object)
    for row in np.flatnonzero(helps[rows, nearest]):
        other = int(nearest[row])
        less = int(plans.instalment[row, at[row]] - plans.instalment[row, other])
        percent = math.floor(100 * kept[row, other] + 1e-9)
        found[row] = (
            f"{money('en', catalogue.currency, less)} lower, {int(plans.count[row, other])} payments, "
            f"keeps to {percent} %"
        )
    return found
