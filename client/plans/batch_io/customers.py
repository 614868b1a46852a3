"""One customer, several accounts: one affordability bound, and what is known of the person on any of them.

A row that is refused is still a row of the person: what it says of them holds on their other accounts, and a person looks
at these, as nobody knows what the refused cells would have said.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.checking.spellings import folded
from fedrepay.client.plans.deciding.cases import case_flags
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.safeguards import DRIVER, PAUSES, safeguards
from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.plans.contract import Contract
from fedrepay.shared.schema.bins import Values

OF_THE_PERSON = ("adviser_engaged", "contact_refused", "health_data", "deceased", "insolvent")
"""Facts that hold for all accounts of a customer when they hold for one; a dispute is about one debt.

So do days of a pause, and a driver of vulnerability. A breathing space is of the person and all qualifying debts
(SI 2020/1311): the strictest day holds on all accounts, also where another says −1.
"""
ASKED = "human_requested"
"""Beside the accounts: the person who asked for somebody on one of them asked on all."""
MEANS = ("income", "surplus", "other_plans", "priority_arrears", "income_verified")
"""Columns that say what the person can pay, the same on all accounts."""
UNREAD, DIFFERS = "person_unread", "person_differs"
"""Columns beside the accounts, 1 or 0: a row of the person is refused; their accounts differ in ``MEANS``."""
_FAR = np.int64(2**50)
_ULPS = 1 + 4 * float(np.finfo(np.float64).eps)


def groups(customers: Objects) -> I64 | None:
    """The customer's number of each row, (n,), whatever the case, blanks and Unicode form; None where nobody has two.

    A row whose customer could not be read (None) is of somebody by themselves.
    """
    names = customers.tolist()
    spelt = {name: folded(str(name)) for name in set(names) if name is not None}
    of: dict[str, int] = {}
    found = [
        len(names) + row if name is None else of.setdefault(spelt[name], row)
        for row, name in enumerate(names)
    ]
    _, numbers, counts = np.unique(found, return_inverse=True, return_counts=True)
    return None if counts.max(initial=0) < 2 else np.asarray(numbers, np.int64)


def differs(of: I64, values: Mapping[str, Values]) -> Bool:
    """Whose accounts do not say the same of what they can pay, (n,): no account's figures are then taken for the person's."""
    found = np.zeros(len(of), np.bool_)
    for name in MEANS:
        _, cell = np.unique(values[name].astype(str), return_inverse=True)
        low, high = np.full(int(of.max(initial=0)) + 1, len(of)), np.full(int(of.max(initial=0)) + 1, -1)
        np.minimum.at(low, of, cell)
        np.maximum.at(high, of, cell)
        found |= (low < high)[of]
    return found


def divided(engine: Engine, accounts: Accounts) -> Accounts:
    """The accounts with each one's part of its person's bound: plans on all of them stay within it together.

    What falls due each month under a contract that still runs comes first, the smallest first, as far as it fits. Of the
    rest every account that asks for something, the smallest first, gets a smallest instalment as far as that goes, and what is then
    left is divided among these by what is owed. What rests, owes nothing or so little that it is proposed for
    writing off, or is not overdue under its contract asks for nothing. Of a person with a refused row nothing is divided.
    """
    of = accounts.person
    if of is None:
        return accounts
    facts = engine.facts(accounts)
    debts, known = engine.debts(accounts.values, facts)
    balance = np.rint(np.maximum(np.asarray(accounts.raw["balance"], np.float64), 0)).astype(np.int64)
    rests = safeguards(facts).rests
    rich = replace(debts, bound=np.full(len(of), _FAR))  # so that who is idle is so by what is due alone
    smallest = engine.catalogue.smallest_instalment
    relief, beyond = engine.settings.relief, np.zeros(len(of), np.bool_)
    cases = case_flags(accounts.names, accounts.values, rich, known, rests, relief, smallest, beyond)
    due, idle = cases.column("due"), cases.column("idle")
    runs = debts.contract or Contract(*np.full((3, len(of)), np.nan))
    lost = np.asarray(accounts.beside.get(UNREAD, np.zeros(len(of))) == 1, np.bool_)
    room = np.full(int(of.max()) + 1, _FAR)
    np.minimum.at(room, of, np.where(lost, 0, debts.bound))
    owing = ~rests & (balance > 0) & ~cases.column("trifle")
    runs_on = owing & ~due & runs.known & (runs.instalment > 0)
    falls_due = np.minimum(runs.instalment, balance)  # the last one may be less
    contract = np.ceil(np.where(runs_on, falls_due, 0)).astype(np.int64)
    held = runs_on & _fits(of, contract, contract, runs_on, room)
    left = room - _sums(of, contract * held, len(room))
    asks = owing & (~idle | (runs_on & ~held))
    late = np.isfinite(runs.arrears) & (runs.arrears > 0)
    owed = np.where(runs_on, np.where(late, np.minimum(runs.arrears, balance), contract), balance)
    least = np.where(held, 0, np.minimum(smallest, balance))
    served = asks & _fits(of, least, owed, asks, left)
    left -= _sums(of, least * served, len(room))
    share = contract * held + least * served + np.floor(left[of] * _parts(of, owed, served)).astype(np.int64)
    bound = np.maximum(debts.bound, 1)
    part = np.where(debts.bound > 0, share / bound * _ULPS, _parts(of, owed, asks))
    alone = (np.bincount(of)[of] == 1) & ~lost
    return replace(accounts, part=np.where(alone, 1.0, np.where(lost, 0.0, part)))


def _fits(of: I64, amount: I64, order: npt.NDArray[Any], among: Bool, room: I64) -> Bool:
    """Whose amount, taken in order from its person's room (per person), is still within it, (n,)."""
    rows = np.flatnonzero(among)
    rows = rows[np.lexsort((order[rows], of[rows]))]
    summed = np.cumsum(amount[rows])
    first = np.searchsorted(of[rows], of[rows])
    found = np.zeros(len(of), np.bool_)
    found[rows] = summed - (summed - amount[rows])[first] <= room[of[rows]]
    return found


def _sums(of: I64, amount: I64, people: int) -> I64:
    found = np.zeros(people, np.int64)
    np.add.at(found, of, amount)
    return found


def _parts(of: I64, owed: F64, among: Bool) -> F64:
    """Each account's part of what its person owes on these accounts, (n,); 0 elsewhere."""
    mine = np.where(among, owed, 0.0)
    total = np.bincount(of, mine)[of]
    return np.asarray(mine / np.where(total > 0, total, 1.0))


def spread(of: I64, facts: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The facts, (n,) each, with what is known of a person on one account known on all of them."""
    found = dict(facts)
    for name in OF_THE_PERSON:
        if name in found:
            yes = np.bincount(of, found[name] == 1)[of] > 0
            found[name] = np.where(yes, 1.0, found[name])
    for name, last in PAUSES.items():
        if name in found:
            days = np.asarray(found[name], np.float64)
            least = np.full(int(of.max(initial=0)) + 1, np.inf)
            np.fmin.at(least, of, np.where(days >= 0, days, np.nan))
            soonest = least[of]
            over = np.isnan(days) & (
                soonest > last
            )  # a pause that ended elsewhere says nothing of one not known here
            found[name] = np.where(np.isfinite(soonest) & ~over, soonest, days)
    if DRIVER in found:
        driver = found[DRIVER].copy()
        known = np.array([each not in (None, "", "none") for each in driver], np.bool_)
        first = {int(of[row]): driver[row] for row in np.flatnonzero(known)[::-1]}
        for row in np.flatnonzero(~known):
            driver[row] = first.get(int(of[row]), driver[row])
        found[DRIVER] = driver
    return found
