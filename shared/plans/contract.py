"""Plans for a contract that still runs: its balance is not due, only arrears are.

``CATCH_UP`` pays the arrears beside the contractual instalment, ``EXTEND`` spreads the balance over a longer term,
``REDUCED`` asks for what is affordable for some months, free of interest meanwhile (forbearance as in CONC 7.3.5G and
Directive (EU) 2023/2225, Article 35(2)).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans.interest import level_instalment, repaid, waiting

if TYPE_CHECKING:
    from fedrepay.shared.plans.candidates import Candidates
    from fedrepay.shared.plans.catalogue import Catalogue


STEP, STEP_PART = 500, 0.1
"""What asks for all that is affordable is rounded down to steps of at most these minor units, and of at most this part of it;
where they would be more, it isn't rounded. So a penny more of means never asks for much more."""


@dataclass(frozen=True)
class Contract:
    """What is known of n contracts, (n,) each, NaN where it is not.

    ``arrears`` overdue and ``instalment`` due each month by contract, minor units; ``term_left`` months.
    """

    arrears: F64
    instalment: F64
    term_left: F64

    @property
    def known(self) -> Bool:
        """Whose contractual instalment is known, (n,)."""
        return np.asarray(self.instalment > 0)

    def take(self, index: npt.NDArray[np.integer] | Bool | slice) -> "Contract":
        """The chosen accounts."""
        return Contract(self.arrears[index], self.instalment[index], self.term_left[index])


def all_affordable(catalogue: "Catalogue", bound: I64) -> F64:
    """What a plan asks a month that asks for all that is affordable, minor units, of the bound's shape."""
    step = min(catalogue.rounding, STEP)
    return np.where(step <= STEP_PART * bound, np.floor(bound / step) * step, bound)


def fill(catalogue: "Catalogue", found: "Candidates", runs: Contract) -> None:
    """Fill in the candidates of these kinds; those that change nothing, or rest on what is not known, are not valid."""
    due = np.nan_to_num(runs.instalment)[:, None]
    _catch_up(catalogue, found, runs, due)
    _extend(catalogue, found, runs, due)
    _reduced(catalogue, found, due)


def _catch_up(catalogue: "Catalogue", found: "Candidates", runs: Contract, due: F64) -> None:
    here = found.arms.is_kind("CATCH_UP")
    arrears, n = np.nan_to_num(runs.arrears)[:, None], found.arms.n[here]
    part = np.ceil(arrears / n / catalogue.rounding) * catalogue.rounding
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.where(part > 0, np.ceil(arrears / part), 0)
    total = arrears + count * due  # no more than is owed, nor longer than the contract runs
    ends = ~(count > runs.term_left[:, None])
    found.valid[:, here] = (arrears > 0) & (due > 0) & (total <= found.debts.balance[:, None]) & ends
    found.instalment[:, here] = due + part
    found.count[:, here] = count
    found.principal[:, here] = total


def _extend(catalogue: "Catalogue", found: "Candidates", runs: Contract, due: F64) -> None:
    here = found.arms.is_kind("EXTEND")
    left = np.nan_to_num(runs.term_left)[:, None]
    term = left + found.arms.n[here]
    owed = np.broadcast_to(found.debts.balance[:, None].astype(np.float64), term.shape)
    rate = found.rate[:, here]
    wait = waiting(owed, rate, found.dates.charged[:, here])
    level = level_instalment(owed, rate / 12, np.maximum(term, 1).astype(np.int64), wait)
    instalment = np.ceil(level / catalogue.rounding) * catalogue.rounding
    count, interest, falls = repaid(owed, rate / 12, wait, instalment)
    known = np.isfinite(runs.arrears)[:, None] & (left > 0) & (due > 0)
    found.valid[:, here] = falls & known & (instalment < due) & (owed > 0)
    found.instalment[:, here], found.count[:, here] = instalment, count
    found.principal[:, here], found.interest[:, here] = owed, interest


def _reduced(catalogue: "Catalogue", found: "Candidates", due: F64) -> None:
    here = found.arms.is_kind("REDUCED")
    asked = all_affordable(catalogue, found.debts.bound[:, None])
    owed = found.debts.balance[:, None]
    principal = np.minimum(asked * found.arms.n[here], owed)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.where(asked > 0, np.ceil(principal / asked), 0)
    short = found.debts.bound[:, None] < due
    found.valid[:, here] = short & (asked >= catalogue.smallest_instalment) & (owed > 0)
    found.instalment[:, here], found.count[:, here] = np.minimum(asked, owed), count
    found.principal[:, here] = principal
