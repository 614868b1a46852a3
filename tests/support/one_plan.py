"""One plan in plain numbers: £80 a month twelve times, unless a test says otherwise."""

from typing import Any

from fedrepay.shared.plans.schedule import Plan

_PLAN: dict[str, Any] = {
    "name": "INSTALMENT n12 day14 portal",
    "kind": "INSTALMENT",
    "channel": "portal",
    "frequency": "monthly",
    "human": False,
    "instalment": 8_000,
    "count": 12,
    "principal": 90_000,
    "interest": 0,
    "first_due": 14,
    "nominal": 14,
    "keeps": 0,
    "charged": 14,
    "follows": "catalogue",
    "dormant_months": 0,
    "interest_per_day": 0.0,
    "interest_saved": 0,
    "fees_saved": 0,
    "forgiven": 0,
}


def one_plan(**changes: Any) -> Plan:
    """The plan with what differs."""
    return Plan(**(_PLAN | changes))
