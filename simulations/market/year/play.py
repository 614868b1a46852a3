"""Twelve months of a debt market in several worlds at once, judged against its truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.simulations.market import models
from fedrepay.simulations.market.lenders import Lender
from fedrepay.simulations.market.market import Market
from fedrepay.simulations.market.study import figures
from fedrepay.simulations.market.value import Worth
from fedrepay.simulations.market.year import months as calendar
from fedrepay.simulations.market.year.months import MATURING, Month
from fedrepay.simulations.market.year.plan import YearPlan
from fedrepay.simulations.market.year.presets import market_of
from fedrepay.simulations.market.year.worlds import Tables, worlds

Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PlayedYear:
    """What came of a year: ``worths`` is by world, month (from 0) and lender, beside what perfect heads and the oracle bring."""

    plan: YearPlan
    lenders: tuple[Lender, ...]
    past: dict[str, int]
    worths: dict[str, list[dict[str, Figures]]] = field(default_factory=dict)


def play(
    plan: YearPlan, settings: Settings | None = None, note: Callable[[str], None] = lambda _text: None
) -> PlayedYear:
    """Play a year in all its worlds.

    In the first month a release of the past is at hand; in month m every window up to month m − ``MATURING`` has closed.

    Args:
        plan: which year.
        settings: the members' for decisions.
        note: told what is done next.
    """
    market = Market(market_of(plan.preset), plan.members, plan.scale, plan.seed)
    chosen, encoder = settings or Settings(), models.encoder()
    played = worlds(plan.seed, plan.draw, plan.epsilon, plan.borne)
    if plan.only:
        played = {name: played[name] for name in plan.only}
    note("The lenders' past")
    past = calendar.past(plan.preset, market.lenders, plan.seed)
    found = PlayedYear(plan, market.lenders, {name: len(each.codes) for name, each in past.items()})
    for name, world in played.items():
        note(f"The past, {name}")
        world.learn(past)
    waiting: list[dict[str, Tables]] = []
    for number in range(1, plan.months + 1):
        month = calendar.draw(plan.preset, market.lenders, number, plan.seed, chosen, encoder)
        closes = len(waiting) >= MATURING
        offered: dict[str, Tables] = {}
        for name, world in played.items():
            note(f"Month {number} of {plan.months}, {name}")
            if closes:
                world.learn(waiting[0][name])
            worth = world.choose(month)
            offered[name] = month.offered(worth)
            found.worths.setdefault(name, []).append(_of_month(worth))
        waiting = [*waiting[1 if closes else 0 :], offered]
        found.worths.setdefault("perfect", []).append(_of_month(month.perfect))
        found.worths.setdefault("oracle", []).append(_of_month(_oracle(month)))
    return found


def _oracle(month: Month) -> dict[str, Worth]:
    return {name: each.oracle for name, each in month.grounds.items()}


def _of_month(worth: Mapping[str, Worth]) -> dict[str, Figures]:
    """Figures of each lender; ``money`` is what its accounts bring, minor units, ``real`` its real plans."""
    return {
        name: figures(each)
        | {
            "accounts": len(each.value),
            "money": float((each.value * each.balance).sum()),
            "real": int(each.offered.sum()),
        }
        for name, each in worth.items()
    }


def sizes(lenders: Sequence[Lender]) -> dict[int, list[str]]:
    """Names of lenders by how many offers they make in a year, fewest first."""
    found: dict[int, list[str]] = {}
    for each in sorted(lenders, key=lambda lender: lender.offers):
        found.setdefault(each.offers, []).append(each.name)
    return found


def mean(month: Mapping[str, Figures], name: str, of: Sequence[str] | None = None) -> float:
    """Mean over lenders of one figure of a month, each counting alike; over those that have it."""
    known = [each[name] for lender, each in month.items() if of is None or lender in of]
    return float(np.mean([each for each in known if each is not None]))
