"""Why a plan, in codes of fixed meaning.

A reason is what one part of the additive model adds to the log-odds that the plan is kept, against the member's
reference plan for the same account (parts that know the plan) or the consortium's average (parts that do not). It is
given by its code only where the code's words are true of this plan and account (``grounds.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrepay.client.plans.deciding.grounds import Grounds
from fedrepay.shared.arrays import F64, I8, I64, U16, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.schema import bins
from fedrepay.shared.schema.codebook import CodeBook

MOST = 4
NONE = -1

CODES = {
    "R01": "AFFORD_BUFFER",
    "R02": "OTHER_COMMITMENTS",
    "R03": "PAYDAY_ALIGNED",
    "R04": "KEPT_HISTORY",
    "R05": "PLAN_LENGTH",
    "R06": "INSTALMENT_SIZE",
    "R07": "INTEREST_WAIVED",
    "R08": "DISCOUNT",
    "R09": "INCOME_CERTAINTY",
    "R10": "BALANCE_SIZE",
    "R11": "CONTACT_HISTORY",
    "R12": "STAGE",
    "R13": "PLAN_KIND",
    "R14": "INCOME_LEVEL",
    "R15": "WORK",
    "R16": "FIRST_DATE",
    "R99": "OTHER",
}
"""Fixed meanings: a code is never used for anything else. Rules have the codes P…, from their packs."""
NAMES = tuple(CODES)
OTHER = NAMES.index("R99")
"""Takes what columns without a code add, and what no code can say truly."""

CODE_OF = {
    "headroom": "R01",
    "surplus": "R01",
    "surplus_ratio": "R01",
    "essential_ratio": "R01",
    "other_plans": "R02",
    "other_plans_ratio": "R02",
    "priority_arrears": "R02",
    "known_creditors": "R02",
    "days_after_payday": "R03",
    "days_to_payday": "R03",
    "first_due": "R16",
    "kept_ratio_12m": "R04",
    "promises_12m": "R04",
    "broken_plans_24m": "R04",
    "months": "R05",
    "n": "R05",
    "count": "R05",
    "monthly": "R06",
    "instalment": "R06",
    "instalment_share": "R06",
    "interest_waiver": "R07",
    "fee_waiver": "R07",
    "apr": "R07",
    "discount": "R08",
    "income_verified": "R09",
    "balance": "R10",
    "balance_months_income": "R10",
    "days_since_payment": "R11",
    "portal_logins_30d": "R11",
    "inbound_30d": "R11",
    "response_rate": "R11",
    "stage": "R12",
    "dpd": "R12",
    "kind": "R13",
    "income": "R14",
    "ln_income_vs_median": "R14",
    "ln_income_vs_national_median": "R14",
    "employment": "R15",
}
"""Which code a column speaks for, so that its words are about that column; a column that is not here is ``R99``."""


@dataclass(frozen=True)
class Reasons:
    """How blocks of one release speak for codes: ``effects`` a block, ``average`` (blocks,).

    ``codes`` of each block's one or two columns, places in ``NAMES``; ``widths`` (blocks,) bins of a cross's second
    column; ``knows_plan`` (blocks,) the block reads a plan column.
    """

    effects: tuple[F64, ...]
    average: F64
    codes: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    knows_plan: Bool

    @classmethod
    def of(
        cls, book: CodeBook, effects: Sequence[F64], average: Sequence[float], towards: float
    ) -> "Reasons":
        """Prepare reasons.

        Args:
            book: the release's.
            effects: log-odds of each bin of each block of the head ``kept_90`` (``score.block_effects``).
            average: the mean effect of each block over the consortium (``score.Reasons.average``).
            towards: 1 where outcome 1 is the good one, else −1.
        """
        layouts = bins.layouts(book.schema)
        roles = {column.name: column.role for column in book.schema.columns}
        return cls(
            tuple(towards * each for each in effects[: len(layouts)]),
            towards * np.asarray(average[: len(layouts)], np.float64),
            tuple(tuple(NAMES.index(CODE_OF.get(name, "R99")) for name in each.columns) for each in layouts),
            tuple(len(each.sides[-1].labels) for each in layouts),
            np.array([any(roles[name] == "plan" for name in each.columns) for each in layouts], np.bool_),
        )

    def parts(self, codes: U16, reference: U16) -> F64:
        """What each code adds to the log-odds that the plan is kept, (n, codes); they sum to the whole difference.

        A cross that knows the plan speaks for a column by what that column's bin changes, averaged over both orders in
        which its two columns can move from the reference plan's bins (their Shapley values): nothing where the bin is
        the same. One that does not know the plan speaks in equal parts for its columns.

        Args:
            codes: of the chosen pairs, (n, blocks) (``PairCodes.of``).
            reference: of the same accounts with their reference plans.
        """
        found = np.zeros((len(codes), len(NAMES)))
        for place, (effect, of) in enumerate(zip(self.effects, self.codes, strict=True)):
            mine, other = (each[:, place].astype(np.int64) for each in (codes, reference))
            if not self.knows_plan[place]:
                for code in of:
                    found[:, code] += (effect[mine] - self.average[place]) / len(of)
                continue
            first = effect[mine] - effect[other]
            if len(of) == 2:
                width = self.widths[place]
                other_second = mine - mine % width + other % width
                other_first = other - other % width + mine % width
                second = (first + effect[other_first] - effect[other_second]) / 2
                found[:, of[1]] += second
                first = first - second
            found[:, of[0]] += first
        return found

    def top(self, codes: U16, reference: U16, grounds: Grounds, least: float = 0.02) -> tuple[I8, F64]:
        """The four strongest codes of each pair, places in ``NAMES`` or −1, and their parts, (n, 4) each.

        The strongest first, ``R99`` last among them, for it says least.

        Args:
            codes: of the chosen pairs, (n, blocks).
            reference: of their reference plans.
            grounds: what is true of the pairs: a part whose words are not goes to ``R99``, so that the sum stays.
            least: log-odds below which a part is no reason.
        """
        parts = self.parts(codes, reference)
        untrue = np.where(parts > 0, ~grounds.up, ~grounds.down)
        untrue[:, OTHER] = False
        parts[:, OTHER] += np.where(untrue, parts, 0.0).sum(axis=1)
        parts[untrue] = 0.0
        place = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :MOST]
        strength = np.take_along_axis(parts, place, axis=1)
        weak = np.abs(strength) < least
        named = np.where(weak, NONE, place).astype(np.int8), np.where(weak, 0.0, strength)
        order = np.argsort(np.where(weak, 2, place == OTHER), axis=1, kind="stable")
        return np.take_along_axis(named[0], order, axis=1), np.take_along_axis(named[1], order, axis=1)


def reference_of(plans: Candidates) -> I64:
    """The member's reference plan for each account, (n,) arms.

    The first plan in instalments of its catalogue that exists for the debt, or else the first that collects; 0 where
    none does.
    """
    of = plans.arms
    preferred = plans.valid * (2 * of.is_kind("INSTALMENT") + of.pays)
    return np.asarray(preferred.argmax(axis=1), np.int64)
