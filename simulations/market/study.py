"""A release judged on every lender's case: what each way of choosing plans is worth, figures a member, and together."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding import personal
from fedrepay.client.plans.deciding.settings import CLASSES
from fedrepay.simulations.market import bands, evaluate
from fedrepay.simulations.market.cases import LenderCase
from fedrepay.simulations.market.evaluate import Ground
from fedrepay.simulations.market.intervals import gain
from fedrepay.simulations.market.models import FittedAdditive
from fedrepay.simulations.market.records import book
from fedrepay.simulations.market.value import Worth, together

if TYPE_CHECKING:
    from fedrepay.shared.arrays import F64

Figures = dict[str, Any]
Choices = dict[str, list[npt.NDArray[np.generic]]]
_GROUPS = ("income_verified", "employment", "stage")


def figures(worth: Worth) -> Figures:
    """One way at one member: means per eligible account; first and kept also weighted by balance."""
    return {
        "value": float(worth.value.mean()),
        "uplift": float(worth.uplift.mean()),
        "first_paid": worth.weighted("first"),
        "kept_90": worth.weighted("kept"),
        "plans": float(worth.offered.mean()),
        "affordable": float(worth.affordable[worth.offered].mean()) if worth.offered.any() else None,
    }


def study(
    cases: Sequence[LenderCase],
    shared: FittedAdditive,
    *,
    lambdas: Sequence[float] = (),
    note: Callable[[str], None] = lambda _text: None,
    choices: Choices | None = None,
) -> Figures:
    """Compare all ways at every lender.

    Args:
        cases: the lenders.
        shared: the released model.
        lambdas: weights λf of the first payment to try beside the settings' own.
        note: told which lender is next.
        choices: gets what each way chose for each account, and what came of it, column by column.

    Returns:
        ``members`` by name, ``groups`` of debtors, ``affordable_by_class``, ``affordable_by_band``, ``caution``, ``if_verified``,
        ``judged`` (regret, share of plan pairs within an account ranked right) and ``objective``: for each λf the
        figures alone and shared, means over members.
    """
    members: Figures = {}
    worths: list[tuple[Ground, dict[str, Worth]]] = []
    caution: list[dict[str, float]] = []
    verified: list[dict[str, tuple[float, float, int]]] = []
    tried: list[list[tuple[Figures, Figures]]] = []
    ranked: list[tuple[int, int]] = []
    for case in cases:
        note(f"What {case.lender.name} would do with the others")
        part = personal.fit(book(), case.table, shared.weights, seed=case.seed)
        found = case.before | evaluate.after(case.ground, shared, part)
        members[case.lender.name] = {
            "offers": case.lender.offers,
            "ways": {name: figures(each) for name, each in found.items()},
            "balance": float(found["shared"].balance.mean()),
            "gain": float(found["shared"].value.mean() / found["alone"].value.mean() - 1),
            "gain_interval": gain(found["shared"], found["alone"], case.redrawn, len(cases)),
            "own_part": [each.weights is not None for each in part.heads],
        }
        bold = case.middle.worth(shared.predict(case.middle.scored))
        caution.append(evaluate.price_of_caution(case.ground, found["shared"], bold))
        verified.append(_if_verified(case, shared, found["shared"]))
        ranked.append(evaluate.ranked_right(case.ground, shared.predict(case.ground.scored)))
        if choices is not None:
            _keep(choices, case.lender.name, case.ground, found)
        tried.append([_at(case, shared, weight) for weight in lambdas])
        worths.append((case.ground, {name: found[name] for name in ("alone", "shared")} | {"middle": bold}))
    return {
        "members": members,
        "groups": _groups(worths),
        "affordable_by_class": _by_class(worths),
        "affordable_by_band": _by_band(worths),
        "caution": {
            name: float(np.mean([each[name] for each in caution if name in each]))
            for name in ("all", *CLASSES[1:])
            if any(name in each for each in caution)
        },
        "if_verified": _verified(verified),
        "judged": {
            "regret": 1 - _total(members, "shared") / _total(members, "oracle"),
            "ranked_right": sum(right for right, _ in ranked) / max(sum(pairs for _, pairs in ranked), 1),
        },
        "objective": [
            {
                "lambda_first": weight,
                **{
                    way: _mean([row[place][side] for row in tried])
                    for side, way in enumerate(("alone", "shared"))
                },
            }
            for place, weight in enumerate(lambdas)
        ],
    }


def _if_verified(
    case: LenderCase, shared: FittedAdditive, before: Worth
) -> dict[str, tuple[float, float, int]]:
    """What proving an income would bring: (value before, value after, accounts) for classes none and stated."""
    found = {}
    for name, each in case.proved.items():
        came = each.ground.worth(shared.predict(each.ground.scored))
        found[name] = (float(before.value[each.here].mean()), float(came.value.mean()), len(each.here))
    return found


def _total(members: Figures, way: str) -> float:
    return sum(float(each["ways"][way]["uplift"]) for each in members.values())


def _keep(choices: Choices, name: str, ground: Ground, found: dict[str, Worth]) -> None:
    """One row an account and way, so that every figure can be worked out again."""
    names = np.array([*ground.plans.arms.names, "no plan"], object)  # NO_PLAN is −1: the last
    n = len(ground.accounts)
    for way, each in found.items():
        columns = {
            "member": np.full(n, name, object),
            "way": np.full(n, way, object),
            "account": np.arange(n),
            "plan": names[each.arm],
            "balance": each.balance,
            "value": each.value,
            "uplift": each.uplift,
            "first_paid": each.first,
            "kept_90": each.kept,
            "offered": each.offered,
            "affordable": each.affordable,
        }
        for column, values in columns.items():
            choices.setdefault(column, []).append(values)


def _at(case: LenderCase, shared: FittedAdditive, weight: float) -> tuple[Figures, Figures]:
    """Figures of the member's own model and of the shared one at another λf."""
    ground, best = case.ground, case.own.best
    value = ground.settings.value.model_copy(update={"lambda_first": weight})
    at = ground.settings.model_copy(update={"value": value})
    together = ground.worth(shared.predict(ground.scored), at)
    alone = ground.worth(best.predict(ground.scored), at) if best else case.before["own_affordable"]
    return figures(alone), figures(together)


def _mean(rows: Sequence[Figures]) -> Figures:
    """The mean of each figure, over those that have it."""
    known = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def _groups(worths: Sequence[tuple[Ground, dict[str, Worth]]]) -> list[Figures]:
    """Gain of each group of debtors: uplift alone and shared, accounts with a plan."""
    found: list[Figures] = []
    alone = np.concatenate([each["alone"].uplift for _, each in worths])
    shared = np.concatenate([each["shared"].uplift for _, each in worths])
    offered = np.concatenate([each["shared"].offered for _, each in worths])
    for column in _GROUPS:
        values = np.concatenate([ground.accounts.columns[column].astype(str) for ground, _ in worths])
        for group in sorted(set(values)):
            here = values == group
            found.append(
                {
                    "column": column,
                    "group": group,
                    "accounts": int(here.sum()),
                    "alone": float(alone[here].mean()),
                    "shared": float(shared[here].mean()),
                    "plans": float(offered[here].mean()),
                }
            )
    return found


def _by_class(worths: Sequence[tuple[Ground, dict[str, Worth]]]) -> Figures:
    """Of the plans the shared model's optimiser offered, how many are truly affordable, by class of income."""
    known = np.concatenate([ground.accounts.columns["income_verified"] for ground, _ in worths])
    shared = [each["shared"] for _, each in worths]
    offered = np.concatenate([each.offered for each in shared])
    right = np.concatenate([each.affordable for each in shared])
    value = np.concatenate([each.value for each in shared])
    found: Figures = {}
    for name in CLASSES:
        here = known == name
        plans = here & offered
        found[name] = {
            "accounts": int(here.sum()),
            "plans": int(plans.sum()),
            "affordable": float(right[plans].mean()) if plans.any() else None,
            "value": float(value[here].mean()) if here.any() else None,
        }
    return found


def _by_band(worths: Sequence[tuple[Ground, dict[str, Worth]]]) -> list[Figures]:
    """The same by class and band of known surplus, and the value at the middle of what is believed (``middle``)."""
    known = np.concatenate([ground.accounts.columns["income_verified"] for ground, _ in worths])
    band = np.concatenate([bands.band_of(ground.accounts) for ground, _ in worths])
    shared, middle = (together([each[name] for _, each in worths]) for name in ("shared", "middle"))
    bold = bands.cells(known, band, middle)
    return [
        each | {"middle": other["value"]}
        for each, other in zip(bands.cells(known, band, shared), bold, strict=True)
    ]


def _verified(found: Sequence[dict[str, tuple[float, float, int]]]) -> Figures:
    """Value before and after proving an income, of accounts without one and of stated ones."""
    out: Figures = {}
    for name in ("none", "stated"):
        parts: F64 = np.array([each[name] for each in found if name in each])
        if len(parts):
            before, after = (np.average(parts[:, place], weights=parts[:, 2]) for place in (0, 1))
            out[name] = {"accounts": int(parts[:, 2].sum()), "before": float(before), "after": float(after)}
    return out


def mean_of(members: Figures, way: str, name: str) -> float | None:
    """Mean over members of one figure of one way; None where no member has it."""
    found = [each["ways"][way][name] for each in members.values() if way in each["ways"]]
    known = [each for each in found if each is not None]
    return float(np.mean(known)) if known else None


def means(members: Figures, way: str) -> Figures:
    """All figures of one way, means over members."""
    return _mean([each["ways"][way] for each in members.values()])
