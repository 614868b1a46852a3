"""One sentence an account that says why it gets what it gets."""

from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import Batch
from fedrepay.client.plans.deciding.judged import NONE, Why
from fedrepay.client.plans.explaining.messages import money, say
from fedrepay.shared.plans.kinds import CONTRACT, KINDS


def because(batch: Batch, row: int, currency: str, language: str = "en") -> str:
    """Why an account gets what it gets; nothing in it tells a restricted fact.

    Args:
        batch: decided accounts.
        row: which of them.
        currency: of the catalogue.
        language: en or zh.
    """
    judged, chosen = batch.judged, batch.decisions
    arm, handed = int(chosen.top[row, 0]), HANDOFFS[int(chosen.handoff[row])]
    return say(
        language,
        "because",
        _key(batch, row),
        bound=money(language, currency, int(judged.plans.debts.bound[row])),
        waived=f"{100 * judged.plans.arms.interest_waiver[arm]:.0f}" if arm != NONE else "",
        reason=say(language, "handover", handed) if handed else "",
    )


def _key(batch: Batch, row: int) -> str:
    judged, chosen = batch.judged, batch.decisions
    code, arm = Decision(int(chosen.code[row])), int(chosen.top[row, 0])
    if code == Decision.HUMAN:
        return "HUMAN"
    if code == Decision.NONE:
        return _none(batch, row)
    nothing = judged.plans.debts.bound[row] <= 0
    if not judged.cases.income_known[row]:
        return "INCOME" if code == Decision.REFER else "TOKEN_UNKNOWN"
    if nothing and batch.accounts.part is not None and batch.accounts.part[row] <= 0:
        return "ELSEWHERE"
    if code == Decision.REFER:
        return "ADVICE" if nothing else "ADVICE_LITTLE"
    kind: str = KINDS[int(judged.plans.arms.kind[arm])]
    if kind == "REVIEW":
        whole = judged.plans.arms.is_offer & ~(judged.plans.arms.discount > 0)
        there = judged.plans.valid[row] & judged.affordable[row] & whole
        return "REVIEW_BARRED" if there.any() else kind
    if code != Decision.OFFER or kind in CONTRACT:
        return kind
    if judged.plans.arms.discount[arm] > 0:
        return "CLEARS_DISCOUNT"
    return "CLEARS_WAIVED" if judged.plans.interest_saved[row, arm] > 0 else "CLEARS"


def _none(batch: Batch, row: int) -> str:
    judged = batch.judged
    if judged.plans.debts.balance[row] <= 0:
        return "NOTHING_OWED"
    if judged.stop[row]:
        return "RESTS"
    if judged.cases.column("idle")[row]:
        return "NOTHING_DUE"
    return "CAPPED" if (judged.why[row] == Why.CAP).any() else "NO_GAIN"
