"""A pack tests itself: each case is one account and one plan at a boundary, and what must come out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.shared.plans.kinds import CHANNELS, KINDS
from fedrepay.shared.rules.columns import PlanColumns
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.rules.masks import RulesVerdict, evaluate
from fedrepay.shared.rules.pack import Case, CasePlan, Pack

if TYPE_CHECKING:
    from fedrepay.shared.rules.facts import Column


@dataclass(frozen=True)
class CaseResult:
    """A case, and in words what came out otherwise; nothing if it passed."""

    case: Case
    wrong: tuple[str, ...]


def run_cases(pack: Pack) -> tuple[CaseResult, ...]:
    """Evaluate every case of a pack on its own day (default: the pack's first, or its last).

    Raises:
        DataError: a fact of a case is outside its bounds.
    """
    return tuple(CaseResult(case, _compared(pack, case)) for case in pack.cases)


def plan_columns(plan: CasePlan) -> PlanColumns:
    """One plan for one account."""
    pairs = {
        name: np.array([[getattr(plan, name)]], np.int64)
        for name in ("first_due_days", "instalment", "monthly", "total", "fees", "interest")
    }
    return PlanColumns(
        kind=np.array([KINDS.index(plan.kind)], np.uint8),
        channel=np.array([CHANNELS.index(plan.channel)], np.uint8),
        human=np.array([plan.human]),
        discount=np.array([plan.discount]),
        interest_waiver=np.array([plan.interest_waiver]),
        fee_waiver=np.array([plan.fee_waiver]),
        dormant_months=np.array([plan.dormant_months], np.int64),
        months=np.array([[plan.months]], np.float64),
        bound=np.array([plan.bound], np.int64),
        **pairs,
    )


def _compared(pack: Pack, case: Case) -> tuple[str, ...]:
    day = next((each for each in (case.day, pack.effective_from, pack.effective_to) if each is not None), 0)
    given = {**pack.base.facts, **case.facts}
    facts: dict[str, Column] = {
        name: np.array([value]) for name, value in given.items() if name not in case.unknown
    }
    verdict = evaluate([pack], FactTable(facts, 1), plan_columns(pack.plan_of(case)), day)
    came = _outcome(verdict)
    wanted = case.expect.model_dump(exclude_unset=True)
    return tuple(
        f"{name}: {came[name]!r}, expected {value!r}" for name, value in wanted.items() if came[name] != value
    )


def _outcome(verdict: RulesVerdict) -> dict[str, object]:
    def named(index: int) -> str:
        return "" if index < 0 else verdict.rules[index].rule

    return {
        "blocked": named(int(verdict.blocked[0, 0])),
        "human": named(int(verdict.human[0])),
        "stop": named(int(verdict.stop[0])),
        "notices": tuple(named(int(each)) for each in np.flatnonzero(verdict.notices[0])),
        "unknown": bool(verdict.unknown[0]),
        "retention_days": int(verdict.retention_days[0]),
    }
