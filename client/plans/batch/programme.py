"""The linear programme behind a portfolio: many accounts, a few limits that bind them together.

Maximise Σ value·x with x ≥ 0, Σ x ≤ 1 an account, Σ use·x ≤ limit. Its dual has one price a limit and is solved
exactly by cutting planes in the prices alone (Kelley 1960, the dual of Dantzig and Wolfe 1960), each step a small
programme for HiGHS. At the optimal prices every account takes what is best for itself, so one account scored with
them gets the batch's answer; only accounts at an exact tie, as many as there are limits in general position,
need rounding.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import highspy
import numpy as np

from fedrepay.shared.arrays import F64, I64

BLOCKS = 50
"""Accounts are summed in so many blocks, each with cuts of its own: fewer steps."""
MOST_STEPS = 300
CLOSE = 1e-6
"""The dual is solved when its value is so near to its bound, in units of the programme (mean balances)."""
TIE = 1e-7
"""Priced values closer than this, in units of the programme, are the same."""
HIGHEST = (1e2, 1e4, 1e6)
"""Prices are looked for below the first of these, then higher."""
MOST_TRIES = 2000
"""Options tried to reach a floor that rounding left short."""
NONE = -1


@dataclass(frozen=True, eq=False)
class Programme:
    """m options of n accounts under k limits; money in units of the mean balance, so that all numbers are near 1.

    Attributes:
        account: (m,) whose option it is, rising.
        value: (m,) over that of no plan, which uses nothing and is always there.
        use: (m, k) of each limit; negative where the option helps to reach a floor.
        limit: (k,) Σ use may not pass it; negative for a floor.
        accounts: n.
    """

    account: I64
    value: F64
    use: F64
    limit: F64
    accounts: int

    def priced(self, prices: F64) -> F64:
        """Values less what the limits' prices make of the uses, (m,)."""
        return np.asarray(self.value - self.use @ prices)

    def best(self, priced: F64) -> I64:
        """The best option of each account, −1 for no plan, (n,); at a tie the one of more value, then the first."""
        choice = np.full(self.accounts, NONE)
        starts = np.flatnonzero(np.diff(self.account, prepend=-1))
        if not len(starts):
            return choice
        counts = np.diff(starts, append=len(priced))
        most = np.maximum(np.maximum.reduceat(priced, starts), 0.0)
        tied = priced >= np.repeat(most, counts) - TIE
        value = np.where(tied, self.value, -np.inf)
        top = np.maximum.reduceat(value, starts)
        top[(top < 0) & (most <= TIE)] = np.inf  # no plan is at the tie too, and worth more
        at = np.flatnonzero(tied & (value == np.repeat(top, counts)))[::-1]
        choice[self.account[at]] = at
        return choice

    def used(self, choice: I64) -> F64:
        """What choices use of each limit, (k,)."""
        return np.asarray(self.use[choice[choice != NONE]].sum(axis=0))

    def worth(self, values: F64, choice: I64) -> F64:
        """The values of choices, 0 for no plan, (n,)."""
        return np.where(choice == NONE, 0.0, np.append(values, 0.0)[choice])


@dataclass(frozen=True, eq=False)
class Solution:
    """``prices`` (k,) of the limits, ``choice`` (n,) an option or −1, ``bound`` no answer is worth more than."""

    prices: F64
    choice: I64
    bound: float


def solve(programme: Programme) -> Solution:
    """Optimal prices, and choices within the limits wherever those can be met; the same every time."""
    closed = programme.limit == 0
    able = ~(programme.use[:, closed] > 0).any(axis=1)
    some = Programme(
        programme.account[able],
        programme.value[able],
        programme.use[able][:, ~closed],
        programme.limit[~closed],
        programme.accounts,
    )
    for highest in HIGHEST:
        found, bound = _prices(some, highest)
        if (found < 0.9 * highest).all():
            break
    prices = np.zeros(len(closed))
    prices[~closed] = found
    priced = programme.priced(prices)
    for limit in np.flatnonzero(closed):  # as dear as it takes
        uses = programme.use[:, limit] > 0
        prices[limit] = np.max(priced[uses] / programme.use[uses, limit], initial=0.0) * (1 + TIE)
    choice = within(programme, programme.best(programme.priced(prices)), prices)
    return Solution(prices, choice, bound)


def within(programme: Programme, choice: I64, prices: F64) -> I64:
    """Round: move choices to options that use less, those that lose least by it first, until no limit is passed.

    Then floors: accounts that lose least move to options that help, where those fit or where one account of a
    group above its floor can give way. A floor that cannot be met so stays short.

    Args:
        programme: options and limits.
        choice: an option of each account or −1, (n,).
        prices: of the limits, (k,).
    """
    choice, priced = choice.copy(), programme.priced(prices)
    for limit in np.flatnonzero(programme.limit >= 0):
        while (excess := programme.used(choice)[limit] - programme.limit[limit]) > TIE:
            _use_less(programme, choice, priced, int(limit), float(excess))
    for floor in np.flatnonzero(programme.limit < 0):
        _reach(programme, choice, priced, int(floor))
    return choice


def _use_less(programme: Programme, choice: I64, priced: F64, limit: int, excess: float) -> None:
    """One move of each account that is needed, in place."""
    upper = programme.limit >= 0
    held = _held(programme, choice)
    now = held[programme.account]
    less = programme.use[:, limit] < now[:, limit]
    fits = less & (programme.use[:, upper] <= now[:, upper]).all(axis=1)
    other = programme.best(np.where(fits, priced, -np.inf))
    users = np.flatnonzero(held[:, limit] > 0)
    freed = (held - _held(programme, other))[users, limit]
    loss = (programme.worth(priced, choice) - programme.worth(priced, other))[users]
    order = np.argsort(loss / freed, kind="stable")
    enough = int(np.searchsorted(np.cumsum(freed[order]), excess - TIE)) + 1
    moved = users[order[:enough]]
    choice[moved] = other[moved]


def _held(programme: Programme, choice: I64) -> F64:
    """What each account uses of each limit, (n, k)."""
    return np.vstack([programme.use, np.zeros(len(programme.limit))])[choice]


def _reach(programme: Programme, choice: I64, priced: F64, floor: int) -> None:
    """Moves towards one floor, in place."""
    held = _held(programme, choice)
    helps = np.flatnonzero((programme.use[:, floor] < 0) & (held[programme.account, floor] >= 0))
    loss = programme.worth(priced, choice)
    helps = helps[np.argsort(loss[programme.account[helps]] - priced[helps], kind="stable")]
    upper = programme.limit >= 0
    used = held.sum(axis=0)
    for option in helps[:MOST_TRIES]:
        if used[floor] <= programme.limit[floor] + TIE:
            return
        account = programme.account[option]
        if held[account, floor] < 0:
            continue
        then = used + programme.use[option] - held[account]
        if (then > programme.limit + TIE)[upper].any():
            left = then - held <= programme.limit + TIE
            way = left[:, upper].all(axis=1) & (left | (held >= 0)).all(axis=1)
            way[account] = False
            if not way.any():
                continue
            gives = np.where(way, loss, np.inf).argmin()
            then = then - held[gives]
            choice[gives], held[gives], loss[gives] = NONE, 0.0, 0.0
        choice[account], held[account], loss[account], used = (
            option,
            programme.use[option],
            priced[option],
            then,
        )


def _prices(programme: Programme, highest: float) -> tuple[F64, float]:
    """The optimal prices up to ``highest``, (k,), and the value that no answer passes."""
    k, n = len(programme.limit), max(programme.accounts, 1)
    block = np.arange(programme.accounts) * BLOCKS // n
    prices, bound, best, least = np.zeros(k), -np.inf, np.zeros(k), np.inf
    cuts: list[F64] = []
    for _ in range(MOST_STEPS):
        choice = programme.best(programme.priced(prices))
        taken = choice != NONE
        rows, options = block[taken], choice[taken]
        value = np.bincount(rows, programme.value[options], BLOCKS)
        use = [np.bincount(rows, programme.use[options, each], BLOCKS) for each in range(k)]
        cuts.append(np.column_stack([*use, value]))
        dual = float(programme.limit @ prices + programme.worth(programme.priced(prices), choice).sum())
        if dual < least:
            best, least = prices, dual
        if least - bound <= CLOSE:
            break
        prices, bound = _master(programme.limit, cuts, highest)
    return best, least


@contextmanager
def _banner_to_stderr() -> Iterator[None]:
    """HiGHS greets on the process's standard output before it can be told not to; what we print there is data."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _master(limit: F64, cuts: list[F64], highest: float) -> tuple[F64, float]:
    """The prices that the cuts so far allow, and their bound: min limit·λ + Σθ with θ ≥ value − use·λ, θ ≥ 0."""
    k, rows = len(limit), np.concatenate(cuts)
    at, of = np.nonzero(rows[:, :k])
    theta = k + np.tile(np.arange(BLOCKS), len(cuts))
    entries = np.concatenate([rows[at, of], np.ones(len(rows))])
    row, column = np.concatenate([at, np.arange(len(rows))]), np.concatenate([of, theta])
    order = np.lexsort((row, column))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = k + BLOCKS, len(rows)
    lp.col_cost_ = np.concatenate([limit, np.ones(BLOCKS)])
    lp.col_lower_ = np.zeros(k + BLOCKS)
    lp.col_upper_ = np.concatenate([np.full(k, highest), np.full(BLOCKS, highspy.kHighsInf)])
    lp.row_lower_, lp.row_upper_ = rows[:, k], np.full(len(rows), highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=k + BLOCKS))])
    lp.a_matrix_.index_, lp.a_matrix_.value_ = row[order], entries[order]
    with _banner_to_stderr():
        highs = highspy.Highs()
    for name, value in (("output_flag", False), ("threads", 1), ("random_seed", 0)):
        highs.setOptionValue(name, value)
    highs.passModel(lp)
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise AssertionError(f"HiGHS: {highs.getModelStatus()}; a bounded master always has an optimum")
    return np.asarray(highs.getSolution().col_value)[:k], float(highs.getObjectiveValue())
