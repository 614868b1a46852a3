"""Why a plan, in codes of fixed meaning.

A reason is what one part of the additive model adds to the log-odds that the plan is kept, against the member's
reference plan for the same account (parts that know the plan) or the consortium's average (parts that do not).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import F64, I8, U16, Bool
from fedrepay.shared.plans.catalogue import Arms
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
    "R99": "OTHER",
}
"""Fixed meanings: a code is never used for anything else. Rules have the codes P…, from their packs."""
NAMES = tuple(CODES)

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
    "first_due": "R03",
    "kept_ratio_12m": "R04",
    "promises_12m": "R04",
    "broken_plans_24m": "R04",
    "episodes_24m": "R04",
    "months": "R05",
    "n": "R05",
    "count": "R05",
    "monthly": "R06",
    "instalment": "R06",
    "instalment_share": "R06",
    "frequency": "R06",
    "interest_waiver": "R07",
    "fee_waiver": "R07",
    "apr": "R07",
    "discount": "R08",
    "income_verified": "R09",
    "statement_age_d": "R09",
    "income_cv": "R09",
    "balance": "R10",
    "balance_months_income": "R10",
    "arrears_share": "R10",
    "days_since_payment": "R11",
    "portal_logins_30d": "R11",
    "inbound_30d": "R11",
    "response_rate": "R11",
    "channel": "R11",
    "date_changes_90d": "R11",
    "stage": "R12",
    "dpd": "R12",
    "product": "R12",
    "kind": "R13",
    "income": "R14",
    "ln_income_vs_median": "R14",
    "ln_income_vs_national_median": "R14",
    "benefit_share": "R14",
    "employment": "R15",
}
"""Which code a column speaks for; a column that is not here is ``R99``."""


@dataclass(frozen=True)
class Reasons:
    """How blocks of one release speak for codes: ``effects`` a block, ``average`` (blocks,), ``share`` (blocks, codes).

    ``knows_plan`` (blocks,): the block reads a plan column.
    """

    effects: tuple[F64, ...]
    average: F64
    share: F64
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
        blocks = book.blocks[:-1]
        share = np.zeros((len(blocks), len(NAMES)))
        for row, block in enumerate(blocks):
            for name in block.columns:  # a cross speaks in equal parts for its two columns
                share[row, NAMES.index(CODE_OF.get(name, "R99"))] += 1 / len(block.columns)
        roles = {column.name: column.role for column in book.schema.columns}
        plan = [any(roles[name] == "plan" for name in block.columns) for block in blocks]
        return cls(
            tuple(towards * each for each in effects[: len(blocks)]),
            towards * np.asarray(average[: len(blocks)], np.float64),
            share,
            np.array(plan, np.bool_),
        )

    def parts(self, codes: U16, reference: U16 | None = None) -> F64:
        """What each code adds to the log-odds that the plan is kept, (n, codes); they sum to the whole difference.

        Args:
            codes: of the chosen pairs, (n, blocks) (``PairCodes.of``).
            reference: of the same accounts with the member's reference plan; without it, the average.
        """
        mine = self._effects(codes)
        other = np.broadcast_to(self.average, mine.shape)
        if reference is not None:
            other = np.where(self.knows_plan, self._effects(reference), other)
        return np.asarray((mine - other) @ self.share)

    def top(self, codes: U16, reference: U16 | None = None, least: float = 0.02) -> tuple[I8, F64]:
        """Up to four codes of each pair, places in ``NAMES`` or −1, and their parts, (n, 4) each, strongest first.

        Args:
            codes: of the chosen pairs, (n, blocks).
            reference: of their reference plans.
            least: log-odds below which a part is no reason.
        """
        parts = self.parts(codes, reference)
        order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :MOST]
        strength = np.take_along_axis(parts, order, axis=1)
        weak = np.abs(strength) < least
        return np.where(weak, NONE, order).astype(np.int8), np.where(weak, 0.0, strength)

    def _effects(self, codes: U16) -> F64:
        return np.stack([effect[codes[:, place]] for place, effect in enumerate(self.effects)], axis=1)


def reference_of(arms: Arms) -> int:
    """The member's reference plan: the first plan in instalments of its catalogue, or else its first plan."""
    found = np.flatnonzero(arms.is_kind("INSTALMENT"))
    return int(found[0]) if len(found) else 0
