"""What the debt market's report says, in sentences that follow the figures."""

from collections.abc import Callable, Sequence
from typing import Any

from fedrepay.simulations.report.words import NONE, percent, protection

Figures = dict[str, Any]

TARGET = 0.95
"""Of the offered plans, so many are to be truly affordable in each class of income and band of known surplus."""

WAYS = {
    "own": ("Own policy until now", "what each member offered, affordable or not"),
    "own_affordable": ("Own policy, affordable plans only", "the same taste, kept within the bound"),
    "alone": ("Optimiser, own model", "the better of two own models, without privacy"),
    "trees": ("Optimiser, own LightGBM", "trees on own records, without privacy"),
    "shared": ("Optimiser, shared model", "learned together, with the run's privacy"),
    "shared_own": ("Shared model and own part", "adjusted to own records, which stay home"),
    "perfect": ("Optimiser, true probabilities", "no model can know them"),
    "oracle": ("Oracle", "the plan of highest true value within the bound"),
}
"""Label and explanation of each way of choosing plans, from own policy to oracle."""
OWN_MODELS = {
    "additive": "Own additive model",
    "expert": "Own expert model",
    "alone_value": "Own expert model, λ chosen for value",
}

HEADS = {"first_paid": "First payment", "kept_90": "Kept at 90 days"}

CLASSES = {
    "none": "no income form",
    "stated": "stated by the debtor",
    "estimated": "estimated by a bureau",
    "verified": "verified by documents",
}

COLUMNS = {
    "income_verified": "How the income is known",
    "employment": "Employment",
    "stage": "Stage of the debt",
}

PRESETS = {
    "mixed": (
        "lenders differ in size, accounts and policy, while debtors answer plans alike everywhere",
        "A loss here is what privacy's noise and a cautious common model cost a member whose own records say enough, or chance.",
    ),
    "complement": (
        "each lender has only ever offered a part of the catalogue, and learns of the rest from others",
        "A loss here is what privacy's noise costs on plans that the member knew well already, or chance.",
    ),
    "alike": (
        "lenders have the same kind of accounts, and debtors answer plans alike everywhere",
        "A loss here is what privacy's noise and a cautious common model cost a member whose own records say enough, or chance.",
    ),
    "unlike": (
        "debtors of each lender answer plans by slopes of their own",
        "One common model cannot be right for all of them; yet in the three such markets of the benchmarks members of no size lost on average; a loss may be chance.",
    ),
    "opposed": (
        "debtors of every second lender want what the others' debtors dislike",
        "The common model averages opposites: losses are to be expected, of large members above all.",
    ),
    "confounded": (
        "agents acted on what they heard, and the records do not say what that was",
        "All models learn from misleading records here; pooling more of them does not correct that.",
    ),
    "otherworld": (
        "debtors answer plans by another law than the models assume",
        "All models are wrong in form here; a loss shows where the common one is further off.",
    ),
}
"""What each market is, and what a loss in it means."""


def change(value: float | None, digits: int = 1) -> str:
    """A relative change in per cent with its sign, unless it is shown as zero."""
    if value is None:
        return NONE
    shown = f"{100 * value:+.{digits}f}"
    return (shown[1:] if float(shown) == 0 else shown.replace("-", "−")) + "\u00a0%"


def change_span(value: Sequence[float] | None, digits: int = 1) -> str:
    """Both ends of an interval of a relative change; nothing where there is none."""
    return "" if value is None else f"[{change(value[0], digits)}, {change(value[1], digits)}]"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of two shares, in points of per cent."""
    return NONE if value is None else change(value, digits).replace("%", "points")


def pounds(value: float | None) -> str:
    """Money in whole pounds."""
    return NONE if value is None else f"{'−' if round(value) < 0 else ''}£{abs(round(value)):,}"


def per_1000(value: float, balance: float) -> float:
    """Pounds per 1,000 accounts of a part of the balance, whose mean is in pence."""
    return value * balance * 10


FILTERS: dict[str, Callable[..., str]] = {
    "change": change,
    "change_span": change_span,
    "points": points,
    "pounds": pounds,
}


def money(market: Figures) -> Figures:
    """The gain in pounds per 1,000 accounts, mean over members.

    Returns:
        ``gain``, ``interval`` (over members) and the mean ``balance``, in pounds.
    """
    members, gain = list(market["members"].values()), market["gain"]
    balance = sum(each["balance"] for each in members) / len(members)
    return {
        "gain": 10 * gain["money"],
        "interval": [10 * end for end in gain["money_interval"]],
        "balance": balance / 100,
    }


def outcome(metrics: Figures) -> list[str]:
    """What learning together brought, and at what privacy; the headline first."""
    market = metrics["market"]
    gain, value, worth = market["gain"], market["value"], money(market)
    low, high = gain["value_interval"]
    size, chance = change(abs(gain["value"])).lstrip("+"), low <= 0 <= high
    if size == change(0.0):
        size, chance = "as much as", False
    else:
        size += " more than" if gain["value"] > 0 else " less than"
    end = "; with these members, that may be chance." if chance else " in this market."
    headline = f"Learning together brings members {size} models of their own{end}"
    said = (
        f"Plans chosen with the shared model bring {percent(value['shared'], 2)} of the balance, plans chosen with each "
        f"member's own model, which pays for no privacy, {percent(value['alone'], 2)}: {change(gain['value'])} of value "
        f"{change_span(gain['value_interval'])}. For an average member that is {pounds(worth['gain'])} per 1,000 accounts "
        f"[{pounds(worth['interval'][0])}, {pounds(worth['interval'][1])}], which owe {pounds(worth['balance'])} each."
    )
    if gain["uplift"] is not None:
        uplift = f"{change(gain['uplift'])} {change_span(gain['uplift_interval'])}"
        said += f" Of what plans add over no plan, the uplift, it is {uplift}."
    return [headline, said, f"{one_run()} {by_member(market)}", protection(metrics)]


def one_run() -> str:
    """What the intervals of a run's means leave out."""
    return (
        "Intervals are over these members: this is one market and one draw of noise, and another of either moves the "
        "figures by more."
    )


def by_member(market: Figures) -> str:
    """How many members gain, lose and cannot be told, or that a run without redrawn records cannot say."""
    members = list(market["members"].values())
    intervals = [each["gain_interval"] for each in members if each["gain_interval"] is not None]
    if not intervals:
        more = sum(each["gain"] > 0 for each in members)
        return (
            f"{more or 'None'} of {len(members)} members have more with the shared model. Which of them would with other records of "
            "their own is not told: --redraws 10 asks."
        )
    gaining, losing = sum(a > 0 for a, _ in intervals), sum(b < 0 for _, b in intervals)
    return (
        f"On their own accounts {gaining or 'none'} of {len(intervals)} members gain, {losing or 'none'} lose, and "
        f"{len(intervals) - gaining - losing or 'none'} cannot be told (95\u00a0%, all of them at once; their own models fitted to other "
        "records as well)."
    )


def own_policy(market: Figures) -> str:
    """Whether own policies look better than the shared model, and why."""
    own, kept, shared = (market["value"][way] for way in ("own", "own_affordable", "shared"))
    fair, ours = market["affordable_share_own"], market["affordable_share"]
    if own <= shared:
        return (
            f"The members' own policies until now bring {percent(own, 2)} of the balance, less than the shared model's "
            f"{percent(shared, 2)}; {percent(fair)} of the plans they offer are truly affordable, against {percent(ours)}."
        )
    said = (
        f"The members' own policies until now have a higher value, {percent(own, 2)}, than the shared model, "
        f"{percent(shared, 2)}. "
    )
    if kept <= shared and fair is not None and ours is not None and fair < ours:
        return said + (
            f"They do not choose better: they offer plans that people cannot afford. Only {percent(fair)} of their plans "
            f"are truly affordable, against {percent(ours)}, and what such plans bring is taken from what debtors need to "
            f"live. Kept to affordable plans, the same policies bring {percent(kept, 2)}, less than the shared model."
        )
    return said + (
        f"Affordability does not explain all of it: kept to affordable plans they bring {percent(kept, 2)}, and "
        f"{percent(fair)} of the plans they offer are truly affordable, against {percent(ours)}."
    )


def steps(market: Figures, lambda_first: float) -> list[tuple[str, float, float]]:
    """Where first payments and kept plans change between own policies and the shared model.

    Returns:
        (what changes, difference of first payments, of plans kept at 90 days), in shares of the balances.
    """
    ways = (
        ("own", "own_affordable", "keeping to affordable plans"),
        ("own_affordable", "alone", f"the optimiser with λf = {lambda_first:g} and a model of its own"),
        ("alone", "shared", "learning together"),
    )
    first, kept = market["first_paid"], market["kept_90"]
    return [(what, first[b] - first[a], kept[b] - kept[a]) for a, b, what in ways]


def first_payments(market: Figures, lambda_first: float) -> str:
    """Why first payments differ from what they were: affordability and λf, or learning together."""
    first = market["first_paid"]
    before, after = first["own"], first["shared"]
    together = after - first["alone"]
    rest = after - before - together
    verb = "rise" if after > before else "fall"
    said = (
        f"First payments {verb} from {percent(before)} to {percent(after)} of the balances ({points(after - before)}). "
        f"Of that, {points(rest)} come from keeping to affordable plans and from the optimiser's weight on a first payment "
        f"(λf = {lambda_first:g}), which every member could have without the others; learning together brings "
        f"{points(together)}."
    )
    if abs(rest) > abs(together):
        return said + " So this change is not an effect of federation."
    return said


def way_to_perfect(market: Figures) -> str:
    """How far the shared model goes from own models to true probabilities."""
    alone, shared, perfect = (market["value"][way] for way in ("alone", "shared", "perfect"))
    if perfect <= alone:
        return "Own models choose as well as true probabilities would: there is nothing to gain by a better model here."
    return (
        f"Of the way from own models to the true probabilities, learning together goes "
        f"{percent((shared - alone) / (perfect - alone), 0)}."
    )


def losses(market: Figures) -> str:
    """How many members lose, and how surely."""
    members = market["members"].values()
    below = [each for each in members if each["gain"] < 0]
    if not below:
        return "No member's plans bring less with the shared model than with a model of its own in this run."
    said = f"{len(below)} of {len(members)} members get less from the shared model than from a model of their own"
    if any(each["gain_interval"] is None for each in below):
        return f"{said} in this run."
    told = sum(each["gain_interval"][1] < 0 for each in below)
    return f"{said}, {told or 'none'} of them with their whole 95 % interval (of all members at once)."


def band_words(low: float | None, high: float | None) -> str:
    """A band of known surplus over income in words; None has no end on that side."""
    if low is None:
        return f"below {100 * (high or 0):g} %"
    return f"{100 * low:g} % and more" if high is None else f"{100 * low:g} to {100 * high:g} %"
