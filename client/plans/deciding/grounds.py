"""What the words of a reason may stand on: for each code and direction, whether they are true of plan and account.

A part of the model is a difference, and a difference can come from anything: these are the claims in words
(``messages.toml``, ``[reason]``) as conditions on numbers. What is not known grounds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.schema.bins import Values

LEFT = 0.05
"""Part of income that a plan leaves of the known surplus, from which it is a buffer."""
FEW = 0.03
"""Part of income up to which other commitments are few, with at most ``FEW_CREDITORS`` known creditors."""
FEW_CREDITORS = 2
AFTER_PAYDAY = 3
"""Days after a payday up to which a payment falls just after it."""
MOSTLY_KEPT = 0.6
"""Share of promises kept from which most were."""
RECENT = 30
"""Days since a payment that is recent."""
ANSWERS, SILENT = 0.5, 0.25
"""Shares of messages answered: half, and few."""


@dataclass(frozen=True, eq=False)
class Grounds:
    """Whether the words of each code are true, in favour of the plan (``up``) and against it, (m, codes) each."""

    up: Bool
    down: Bool


def grounds(
    names: tuple[str, ...],
    values: Mapping[str, Values],
    income_known: Bool,
    plans: Candidates,
    row: I64,
    arm: I64,
    reference: I64,
) -> Grounds:
    """What is true of m pairs.

    Args:
        names: of the codes, in the order wanted.
        values: account columns as they were given, (n,) each; one that is absent is not known.
        income_known: who has an income form, (n,).
        plans: the candidates, n × P.
        row: the accounts, (m,).
        arm: their plans, (m,).
        reference: their reference plans, (m,).
    """
    pair = _Pairs(values, income_known, plans, row, arm, reference)
    true = {**pair.of_account(), **pair.of_plan()}
    always = (np.ones(len(row), np.bool_),) * 2
    up, down = (np.stack([true.get(name, always)[side] for name in names], axis=1) for side in (0, 1))
    return Grounds(up, down)


class _Pairs:
    """m chosen pairs; comparisons with NaN, what is not known, are false."""

    def __init__(
        self,
        values: Mapping[str, Values],
        income_known: Bool,
        plans: Candidates,
        row: I64,
        arm: I64,
        reference: I64,
    ) -> None:
        self._values, self._plans, self._row = values, plans, row
        self._arm, self._reference = arm, reference
        self._known = income_known[row]
        self._income = np.where(self._known, self._number("income"), np.nan)

    def of_account(self) -> dict[str, tuple[Bool, Bool]]:
        """Codes whose words are about the account alone: (up, down), (m,) each."""
        income = self._income
        promised = self._number("other_plans") + self._number("priority_arrears")
        creditors = self._number("known_creditors")
        few = ((promised <= FEW * income) | (promised == 0)) & ~(creditors > FEW_CREDITORS)
        kept, broken = self._number("kept_ratio_12m"), self._number("broken_plans_24m") > 0
        promises = self._number("promises_12m") > 0
        verified, working = self._text("income_verified"), self._text("employment")
        stage = (self._text("stage") != "") | ~np.isnan(self._number("dpd"))
        work = (working != "") & (working != "unknown")
        return {
            "R02": (few, (promised > 0) | (creditors > 1)),
            "R04": (promises & (kept >= MOSTLY_KEPT), (promises & (kept < 1)) | broken),
            "R09": (verified == "verified", np.isin(verified, ("none", "stated", "estimated"))),
            "R10": (self._number("balance") <= income, self._number("balance") > income),
            "R11": self._contact(),
            "R12": (stage, stage),
            "R14": (self._known, self._known),
            "R15": (work, work),
        }

    def of_plan(self) -> dict[str, tuple[Bool, Bool]]:
        """Codes whose words are about the plan, by itself or beside the reference plan: (up, down), (m,) each."""
        plans, of = self._plans, self._plans.arms
        monthly, other_monthly = self._both(plans.monthly)
        months, other_months = self._both(plans.months)
        kind, other_kind = of.kind[self._arm], of.kind[self._reference]
        due, other_due = self._both(np.broadcast_to(plans.first_due, plans.valid.shape))
        late = self._both(np.broadcast_to(plans.dates.after_payday, plans.valid.shape))[0]
        discount, other_discount = of.discount[self._arm], of.discount[self._reference]
        spared = plans.interest_saved + plans.fees_saved
        left = self._number("surplus") - self._number("other_plans") - self._number("priority_arrears")
        left = left - monthly
        return {
            "R01": (left >= LEFT * self._income, left < LEFT * self._income),
            "R03": (late <= AFTER_PAYDAY, late > AFTER_PAYDAY),
            "R05": (months != other_months,) * 2,
            "R06": (monthly < other_monthly, monthly > other_monthly),
            "R07": (self._both(spared)[0] > 0, self._both(plans.interest)[0] > 0),
            "R08": ((discount > 0) & (discount > other_discount), discount < other_discount),
            "R13": (kind != other_kind,) * 2,
            "R16": (due != other_due,) * 2,
        }

    def _contact(self) -> tuple[Bool, Bool]:
        since, answered = self._number("days_since_payment"), self._number("response_rate")
        logins, calls = self._number("portal_logins_30d"), self._number("inbound_30d")
        there = (since <= RECENT) | (logins > 0) | (calls > 0) | (answered >= ANSWERS)
        silent = (since > RECENT) & ~(logins > 0) & ~(calls > 0)
        return there, silent | (answered < SILENT)

    def _both(self, of: npt.NDArray[np.generic]) -> tuple[F64, F64]:
        """An amount of the plan and of the reference plan."""
        whole = of.astype(np.float64)
        return whole[self._row, self._arm], whole[self._row, self._reference]

    def _number(self, name: str) -> F64:
        if name not in self._values:
            return np.full(len(self._row), np.nan)
        return np.asarray(self._values[name], np.float64)[self._row]

    def _text(self, name: str) -> Objects:
        """Empty where it is not known."""
        if name not in self._values:
            return np.full(len(self._row), "", object)
        found = np.asarray(self._values[name], object)[self._row]
        return np.where(found == None, "", found)  # noqa: E711 - cell by cell
