"""What a decision must know of accounts beside their plans: what is due, what is idle, who has no work."""

from collections.abc import Mapping

import numpy as np

from fedrepay.client.plans.deciding.judged import Cases
from fedrepay.client.plans.deciding.settings import Relief
from fedrepay.shared.arrays import F64, Bool, Objects
from fedrepay.shared.plans.candidates import Debts
from fedrepay.shared.plans.contract import Contract
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.schema.bins import Values

HARDSHIP = ("not_working",)
"""Values of the column ``employment`` that lead to a pause being proposed where no plan is affordable."""
TERMINATED = ("pre_charge_off", "charged_off", "purchased")
"""Stages in which the whole balance is due."""
OF_CONTRACT = ("arrears", "contractual_instalment", "term_left")
"""Facts of a contract that still runs."""


def running_contract(facts: FactTable) -> Contract | None:
    """What is known of n contracts that still run; None where of none."""
    if not any(name in facts.columns for name in OF_CONTRACT):
        return None
    arrears, instalment, left = (_known(facts, name) for name in OF_CONTRACT)
    return Contract(arrears, instalment, left)


def case_flags(
    names: Objects,
    values: Mapping[str, Values],
    debts: Debts,
    income_known: Bool,
    rests: Bool,
    relief: Relief,
    smallest: int,
    outside: Bool,
) -> Cases:
    """The flags of n accounts.

    A balance is due unless its contract still runs: its instalment is known, or arrears that are less than the balance, or it
    is not a day late. Of a contract that runs, what is due are its arrears; where there are none and its instalment is within the bound, or no income is known
    that would deny it, nothing has to be done.

    Args:
        names: of the accounts.
        values: account columns; ``stage``, ``dpd`` and ``employment`` where the schema has them.
        debts: with bound and contract.
        income_known: there is an income form.
        rests: collection rests whatever the packs say.
        relief: the member's, for what it writes off.
        smallest: the catalogue's smallest instalment, minor units.
        outside: an amount lies outside the schema's bounds.
    """
    n = len(names)
    ended = _is(values, "stage", TERMINATED, n)
    late = np.asarray(values["dpd"], np.float64) != 0 if "dpd" in values else np.ones(n, np.bool_)
    runs = debts.contract or Contract(*np.full((3, n), np.nan))
    running = runs.known | ((runs.arrears > 0) & (runs.arrears < debts.balance))
    due = ended | np.where(running, runs.arrears >= debts.balance, late)
    keeps = runs.known & (runs.instalment <= debts.bound)
    overdue = late | (runs.arrears > 0)
    return Cases(
        names,
        income_known,
        _is(values, "employment", HARDSHIP, n),
        rests,
        outside=outside,
        due=due,
        able=income_known & (np.minimum(smallest, np.maximum(debts.balance, 1)) <= debts.bound),
        idle=np.asarray(~due & ~overdue & (keeps | ~runs.known | ~income_known)),
        trifle=debts.balance <= relief.write_off_below,
    )


def _known(facts: FactTable, name: str) -> F64:
    values, known = facts.read(name)
    return np.where(known, np.asarray(values, np.float64), np.nan)


def _is(values: Mapping[str, Values], name: str, among: tuple[str, ...], n: int) -> Bool:
    return np.isin(values[name], among) if name in values else np.zeros(n, np.bool_)
