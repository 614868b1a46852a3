"""What doing right costs and brings: each condition left off alone, then all of them, on the market's truth.

The model is the same throughout, so that the difference is the condition's. Menus cost nothing by construction: what a
customer takes from one is its first plan (``client/plans/deciding/menu.py``).
"""

from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.plans.deciding.objective import score
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.deciding.settings import Caution, Settings
from fedrepay.shared.arrays import I64
from fedrepay.shared.plans.money import plan_value
from fedrepay.shared.plans.schedule import forgiven
from fedrepay.simulations.market import evaluate
from fedrepay.simulations.market.evaluate import Ground
from fedrepay.simulations.market.models import FittedAdditive, Heads
from fedrepay.simulations.market.value import NO_PLAN, Worth, choose, worth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BEFORE = {"stated": 0.945, "estimated": 0.93, "verified": 0.91}
"""Levels of the bound that held 95 % in the mean, and not in every band."""
Figures = dict[str, float]


def prices(encoder: PairEncoder, the_ground: Ground, shared: FittedAdditive, seed: int) -> dict[str, Figures]:
    """Figures of one lender's new accounts, by what is left off.

    Args:
        encoder: of the market's pairs.
        the_ground: with the settings as shipped.
        shared: the released model.
        seed: of the market.
    """
    bold_settings = with_levels_before(the_ground.settings)
    bold = evaluate.ground(encoder, the_ground.lender, seed, 0, bold_settings, the_ground.accounts)
    settings, heads = the_ground.settings, shared.predict(the_ground.scored)
    unpriced = settings.model_copy(update={"value": settings.value.model_copy(update={"lambda_given": 0.0})})
    before = shared.predict(bold.scored)
    ways: Mapping[str, tuple[Ground, Callable[[], I64]]] = {
        "as shipped": (the_ground, lambda: _chosen(the_ground, settings, heads)),
        "waivers by score, not by relief": (the_ground, lambda: _free(the_ground, settings, heads)),
        "tokens in place of reviews": (
            the_ground,
            lambda: _tokens(the_ground, _chosen(the_ground, settings, heads)),
        ),
        "what is forgiven has no price": (the_ground, lambda: _chosen(the_ground, unpriced, heads)),
        "levels that hold in the mean only": (bold, lambda: _chosen(bold, settings, before)),
        "all of these": (bold, lambda: _tokens(bold, _free(bold, unpriced, before))),
    }
    return {name: _figures(ground, choice()) for name, (ground, choice) in ways.items()}


def with_levels_before(settings: Settings) -> Settings:
    """The settings with the levels ``BEFORE``."""
    usual = settings.affordability
    changed = {
        name: getattr(usual, name).model_copy(update={"level": level}) for name, level in BEFORE.items()
    }
    caution: Caution = usual.model_copy(update=changed)
    return settings.model_copy(update={"affordability": caution})


def _chosen(ground: Ground, settings: Settings, heads: Heads) -> I64:
    return choose(settings, ground.accounts, ground.plans, heads, ground.within)


def _free(ground: Ground, settings: Settings, heads: Heads) -> I64:
    """The choice where the optimiser may waive what it likes: the best of its choices among the plans of each part."""
    none = settings.relief.model_copy(update={"most_rate": 1.0, "most_cost": 1.0})
    open_ = settings.model_copy(update={"relief": none})
    plans, arms, rows = ground.plans, ground.plans.arms, np.arange(len(ground.accounts))
    scores = score(settings.value, plans, *heads, plan_value(settings.value.prices, plans, *heads))
    found = _chosen(ground, open_, heads)
    for part in sorted(set(arms.interest_waiver[arms.is_offer].tolist())):
        only = ground.within & ((arms.interest_waiver == part) | ~arms.is_offer)
        arm = choose(open_, ground.accounts, plans, heads, only)
        offered = (arm != NO_PLAN) & arms.is_offer[arm]
        held = (found != NO_PLAN) & arms.is_offer[found]
        better = offered & (~held | (scores[rows, arm] > scores[rows, found]))
        found = np.where(better, arm, found)
    return found


def _tokens(ground: Ground, arm: I64) -> I64:
    """The same with a token where a review stands."""
    kinds = ground.plans.arms
    token = int(np.flatnonzero(kinds.is_kind("TOKEN"))[0])
    return np.where((arm != NO_PLAN) & kinds.is_kind("REVIEW")[arm], token, arm)


def _figures(ground: Ground, arm: I64) -> Figures:
    plans, rows, has = ground.plans, np.arange(len(arm)), arm != NO_PLAN
    came: Worth = worth(ground.accounts, plans, ground.truth, arm)
    given = (plans.interest_saved + forgiven(plans))[rows, arm] * (has & plans.arms.is_offer[arm])
    clears = has & plans.arms.is_offer[arm]
    return {
        "value": float(came.value.mean()),
        "first_paid": came.weighted("first"),
        "clears": float(clears.mean()),
        "asks": float((came.offered & ~clears).mean()),
        "affordable": float(came.affordable[came.offered].mean()),
        "given": float(given.sum() / came.balance.sum()),
    }
