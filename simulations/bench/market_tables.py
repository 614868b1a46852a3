"""The market's other tables: from studies of several markets and draws of noise to Markdown."""

from collections.abc import Sequence

import numpy as np

from fedrepay.simulations.bench.market_targets import Studies, compared, flat, members
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.market import study
from fedrepay.simulations.market.bands import interval
from fedrepay.simulations.market.intervals import Figures
from fedrepay.simulations.report.words_market import TARGET, band_words


def objective(markets: Studies) -> str:
    """First payments and value under several λf, beside own policies."""
    studies = _studies(markets)
    ways: list[tuple[str, Figures]] = [
        (label, _over([study.means(each["members"], way) for each in studies]))
        for label, way in (("(a)", "own"), ("(a′)", "own_affordable"))
    ]
    for place, first in enumerate(studies[0]["objective"]):
        for label, way in (("(b)", "alone"), ("(c)", "shared")):
            row = _over([each["objective"][place][way] for each in studies])
            ways.append((f"{label} λf = {first['lambda_first']:g}", row))
    base = ways[0][1]
    rows = [
        (
            label,
            f"{mean['value']:.4f}",
            f"{mean['first_paid']:.4f} ({100 * (mean['first_paid'] / base['first_paid'] - 1):+.0f} %)",
            f"{mean['kept_90']:.4f} ({100 * (mean['kept_90'] / base['kept_90'] - 1):+.0f} %)",
            f"{100 * mean['plans']:.0f} %",
            f"{100 * mean['affordable']:.1f} %",
        )
        for label, mean in ways
    ]
    heads = (
        "Way",
        "value",
        "first payment, cash-weighted",
        "kept at 90 days, cash-weighted",
        "with a plan",
        "plans truly affordable",
    )
    alone, shared = (
        _over([study.means(each["members"], way) for each in studies]) for way in ("alone", "shared")
    )
    note = _objective_note(ways, alone["first_paid"], shared["first_paid"])
    return (
        "### First payment is another objective than value, `mixed`\n\n" + table(heads, rows) + f"\n\n{note}"
    )


def _objective_note(ways: Sequence[tuple[str, Figures]], alone: float, shared: float) -> str:
    """What the rows say; ``alone`` and ``shared`` are first payments at the settings' own λf."""
    own, within = ways[0][1], ways[1][1]
    best = max(each["value"] for _, each in ways[1:])
    note = (
        "Cash-weighted: each eligible account counts with its balance; members count alike. At the settings' own λf, first "
        f"payments change by {100 * (alone / within['first_paid'] - 1):+.1f} % from (a′) to (b) and by "
        f"{100 * (shared / alone - 1):+.1f} % from (b) to (c). (a) offers {100 * own['plans']:.0f} % of accounts a plan; "
        f"{100 * (1 - own['affordable']):.0f} % of its plans cost more than the debtor truly has"
    )
    if own["value"] <= best:
        return f"{note}."
    return (
        f"{note}. That is how it has the highest value: no choice of λf here buys it back, and none should."
    )


def _studies(markets: Studies) -> list[Figures]:
    """Those of all markets and draws."""
    return [draw for market in markets for draw in market]


def _over(found: Sequence[Figures]) -> Figures:
    """The mean over seeds of each figure."""
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def affordable(markets: Studies) -> str:
    """Plans truly affordable by class of income, the price of caution, what verifying would bring."""
    studies = _studies(markets)
    rows = []
    for name in ("none", "stated", "estimated", "verified"):
        found = [each["affordable_by_class"][name] for each in studies]
        plans, accounts = sum(f["plans"] for f in found), sum(f["accounts"] for f in found)
        right = sum(f["plans"] * (f["affordable"] or 0) for f in found)
        proved = [each["if_verified"][name] for each in studies if name in each["if_verified"]]
        price = (
            "–" if name == "none" else f"{100 * np.mean([each['caution'][name] for each in studies]):+.1f} %"
        )
        gain = "–"
        if proved:
            gain = f"{100 * (sum(p['after'] * p['accounts'] for p in proved) / sum(p['before'] * p['accounts'] for p in proved) - 1):+.0f} %"
        rows.append(
            (
                name,
                f"{accounts // len(markets[0]):,}",
                f"{100 * plans / accounts:.0f} %",
                f"{100 * right / plans:.1f} %" if plans else "–",
                price,
                gain,
            )
        )
    whole = 100 * float(np.mean([each["caution"]["all"] for each in studies]))
    ours = [member["ways"]["shared"]["affordable"] for member in flat(members(markets))]
    short = sum(share is not None and share < TARGET for share in ours)
    heads = (
        "Income",
        "accounts",
        "with a plan",
        "plans truly affordable (target 95 %)",
        "value against level 0.5",
        "value if it were verified",
    )
    note = (
        f"The price of the bound's caution over all accounts: {whole:+.1f} % of value against a bound at the middle of the posterior, or the known surplus if that is less. "
        "Where there is no income form only a token plan, dormancy or a referral is offered. "
        f"Of {len(ours)} members × markets × draws, {short} fall below {100 * TARGET:g} % over all their plans."
    )
    return "### Affordability, `mixed`, (c)\n\n" + table(heads, rows) + f"\n\n{note}\n\n{by_band(markets)}"


def by_band(markets: Studies) -> str:
    """Plans truly affordable by class of income and band of known surplus, with the price of caution there."""
    rows, draws, studies = [], len(markets[0]), _studies(markets)
    for place, cell in enumerate(studies[0]["affordable_by_band"]):
        found = [each["affordable_by_band"][place] for each in studies]
        plans, accounts = (sum(each[name] for each in found) // draws for name in ("plans", "accounts"))
        if not accounts:
            continue
        value, middle = (
            sum(each["accounts"] * (each[name] or 0) for each in found) for name in ("value", "middle")
        )
        rows.append(
            (
                cell["income"],
                band_words(cell["from"], cell["to"]),
                f"{accounts:,}",
                f"{plans:,}",
                _share(markets, place) if plans else "–",
                f"{100 * (value / middle - 1):+.1f} %",
            )
        )
    heads = (
        "Income",
        "known surplus ÷ income",
        "accounts",
        "plans",
        "truly affordable (target 95 %)",
        "price of caution",
    )
    note = (
        "Accounts, and plans of a draw of noise. Levels were fitted and judged on other seeds (`simulations/market/caution_levels.py`). The optimiser is told the law "
        "of the errors; a member's own are not known so well. Intervals: between markets, or of the plans by themselves where that is wider."
    )
    return table(heads, rows) + f"\n\n{note}"


def _share(markets: Studies, place: int) -> str:
    """A cell's share of plans that are truly affordable, and the wider of two intervals at each end.

    Between markets, and of one draw's plans by themselves (Wilson), which is never empty where all or none are affordable.
    """

    def counted(study: Figures) -> Figures:
        cell = study["affordable_by_band"][place]
        right = cell["plans"] * (cell["affordable"] or 0)
        return {"ways": {"right": {"plans": right}, "all": {"plans": cell["plans"]}}}

    cells = [[[counted(draw)] for draw in market] for market in markets]
    share, low, high = (1 + each for each in compared(cells, "right", "all", "plans"))
    plans = sum(each["ways"]["all"]["plans"] for each in flat(cells)) // len(markets[0])
    least, most = interval(share, plans)
    return f"{100 * share:.1f} % [{100 * min(low, least):.1f}, {100 * min(max(high, most), 1.0):.1f}]"


def conditions(found: Sequence[list[dict[str, dict[str, float]]]]) -> str:
    """What each hard condition costs and brings, means over members × seeds."""
    lenders = [each for seed in found for each in seed]
    means = {
        way: {name: float(np.mean([each[way][name] for each in lenders])) for name in lenders[0][way]}
        for way in lenders[0]
    }
    base = means["as shipped"]["value"]
    rows = [
        (
            way,
            f"{each['value']:.4f}",
            f"{100 * (each['value'] / base - 1):+.1f} %",
            f"{100 * each['first_paid']:.1f} %",
            f"{100 * each['clears']:.1f} %",
            f"{100 * each['asks']:.1f} %",
            f"{100 * each['affordable']:.1f} %",
            f"{100 * each['given']:.2f} %",
        )
        for way, each in means.items()
    ]
    heads = (
        *("Left off", "value", "beside shipped", "first payment, by balance", "plans that clear the debt"),
        *("reviews", "truly affordable", "given away, of balance"),
    )
    return (
        "### What doing right costs (`mixed`)\n\n"
        "One condition left off at a time, with the same model: what it costs the member and what the customer has of it. Menus cost "
        "nothing by construction: what a customer takes of one is its first plan. What the model lost with the employment state *sick* is in "
        "every row and was not measured apart.\n\n" + table(heads, rows)
    )


def privacy(privacy: Sequence[list[tuple[str, Figures]]]) -> str:
    """AUC, value, regret and ranking within accounts against ε."""
    rows, means = [], {}
    for place, (label, first) in enumerate(privacy[0]):
        mean = {name: float(np.mean([each[place][1][name] for each in privacy])) for name in first}
        means[label] = mean
        rows.append(
            (
                label,
                f"{mean['auc_first']:.4f} / {mean['auc_kept']:.4f}",
                f"{mean['value']:.4f}",
                f"{100 * mean['regret']:.1f} %",
                f"{mean['within']:.3f}",
            )
        )
    heads = (
        "ε",
        "AUC first / kept",
        "value",
        "regret (uplift short of the oracle's)",
        "pairs of plans within an account ranked right",
    )
    by_auc = max(means, key=lambda each: means[each]["auc_kept"])
    by_regret = min(means, key=lambda each: means[each]["regret"])
    note = "AUC is of other offers of the same lenders: judge a release by regret and by the ranking within accounts."
    if by_auc != by_regret:
        note += f" AUC (kept) is highest at ε = {by_auc.partition(',')[0]}, regret least at ε = {by_regret.partition(',')[0]}."
    return "### Privacy, `mixed`\n\n" + table(heads, rows) + f"\n\n{note}"


def groups(markets: Studies) -> str:
    """Gain by group of debtors."""
    studies = _studies(markets)
    rows = []
    for place, first in enumerate(studies[0]["groups"]):
        found = [each["groups"][place] for each in studies]
        accounts = sum(f["accounts"] for f in found)
        alone, shared, plans = (
            sum(f[name] * f["accounts"] for f in found) / accounts for name in ("alone", "shared", "plans")
        )
        rows.append(
            (
                f"{first['column']}: {first['group']}",
                f"{accounts // len(markets[0]):,}",
                f"{alone:.4f}",
                f"{shared:.4f}",
                f"{shared - alone:+.4f}",
                f"{100 * plans:.0f} %",
            )
        )
    return "### Gain by group of debtors, `mixed`\n\n" + table(
        ("Group", "accounts", "uplift (b)", "uplift (c)", "gain", "with a plan"), rows
    )
