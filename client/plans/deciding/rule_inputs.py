"""What rules read: candidates as plan columns, and facts completed by what the account columns say."""

from collections.abc import Mapping

import numpy as np

from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.rules.columns import PlanColumns
from fedrepay.shared.rules.facts import Column
from fedrepay.shared.schema.bins import Values


def completed(
    values: Mapping[str, Values], given: Mapping[str, Column], contact_minute: int
) -> dict[str, Column]:
    """Facts of n accounts, (n,) each.

    Args:
        values: account columns; ``apr``, ``dpd`` and ``balance`` less ``fees`` are facts too.
        given: what else is known.
        contact_minute: planned, where it is not given.
    """
    balance, fees = (np.asarray(values[name], np.float64) for name in ("balance", "fees"))
    facts: dict[str, Column] = {
        "contact_minute": np.full(len(balance), contact_minute),
        **given,
        "apr": np.asarray(values["apr"], np.float64),
        "balance": np.rint(np.maximum(balance - fees, 0)).astype(np.int64),
    }
    if "dpd" in values:
        facts["dpd"] = np.floor(np.asarray(values["dpd"], np.float64))
    if "collection_costs_charged" in given:  # what stands in the balance counts as the plan's own
        facts["collection_costs_charged"] = np.maximum(given["collection_costs_charged"] - fees, 0)
    return facts


def plan_columns(plans: Candidates) -> PlanColumns:
    """Candidates as rules read them.

    Without an income form the bound is 0: rules on affordability then forbid plans for certain, rather than ask
    a human about a bound that is not known.
    """
    of = plans.arms
    return PlanColumns(
        kind=of.kind,
        channel=of.channel,
        human=of.human,
        discount=of.discount,
        interest_waiver=of.interest_waiver,
        fee_waiver=of.fee_waiver,
        dormant_months=of.dormant_months,
        first_due_days=np.broadcast_to(plans.first_due, plans.valid.shape),
        instalment=plans.instalment,
        monthly=plans.monthly,
        total=plans.total,
        months=plans.months,
        fees=plans.fees,
        interest=plans.interest,
        bound=plans.debts.bound,
    )
