"""``python -m fedrepay.simulations.market.caution_levels``: the levels of the affordability bound, fitted and judged.

For each class of income the least level at which every band of known surplus (``bands.py``) keeps the target and a margin
on the fit seeds; then what these levels do on the judge seeds, which the fit has never
seen. Plans are chosen by the optimiser with the released model of each seed's own market.

A level a class and no level a band: where little is left the share is the level, whatever the level is above; where
much is left a lower level would do, and a line says what that would bring. **The optimiser knows the law of the
errors** (``Caution``'s and ``people.ERRORS`` are the same numbers). Where they are larger than a member believes,
fewer plans are affordable: the last line.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.objective import affordable
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.deciding.settings import CLASSES, Caution, Settings
from fedrepay.shared.plans.candidates import candidates
from fedrepay.simulations.market import bands, evaluate, models, records
from fedrepay.simulations.market import truth as market_truth
from fedrepay.simulations.market.bands import Figures
from fedrepay.simulations.market.lenders import SIZES, Lender, lenders
from fedrepay.simulations.market.models import FittedAdditive
from fedrepay.simulations.market.people import NewAccounts
from fedrepay.simulations.market.value import NO_PLAN, Worth, choose, together, worth
from fedrepay.simulations.report.words_market import TARGET, band_words

FIT, JUDGE = (101, 102, 103, 104, 105, 106), (401, 402, 403, 404)
GRID = (0.9, 0.955, 0.96, 0.965, 0.97)
MIDDLE = 0.5
MARGIN = 0.0075
"""Above the target, so that other seeds keep it too: half a 95 % interval of 3,000 plans."""
LEAST = 1_000
"""Plans below which a cell decides nothing: chance would ask for a level of its own."""
WRONG = 1.25
"""How much larger the errors are than believed, in the last table."""

Levels = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class OneSeed:
    """One seed's lenders with new accounts and the model they have learned together."""

    lenders: tuple[Lender, ...]
    accounts: tuple[NewAccounts, ...]
    shared: FittedAdditive

    @property
    def known(self) -> npt.NDArray[np.generic]:
        """The class of each income, (n,)."""
        return np.concatenate([each.columns["income_verified"] for each in self.accounts])

    @property
    def band(self) -> npt.NDArray[np.intp]:
        """The band of each account, (n,)."""
        return np.concatenate([bands.band_of(each) for each in self.accounts])


def market(seed: int, accounts: int, sizes: Sequence[int] = SIZES) -> OneSeed:
    """Draw a ``mixed`` market: lenders' records, a private model of them, so many new accounts of each."""
    whole = lenders("mixed", seed, sizes)
    tables = [records.training_table(records.record(each, seed)) for each in whole]
    new = tuple(evaluate.new_accounts(each, seed, accounts) for each in whole)
    return OneSeed(whole, new, models.shared(tables, 1.0, 2, seed))


def with_levels(levels: Levels, errors: float = 1.0) -> Caution:
    """The shipped caution with other levels, and with errors so many times as large as believed."""
    usual = Caution()
    changed = {
        name: getattr(usual, name).model_copy(
            update={"level": levels[name], "error": getattr(usual, name).error / errors}
        )
        for name in CLASSES[1:]
    }
    return usual.model_copy(update=changed)


def chosen(encoder: PairEncoder, given: OneSeed, caution: Caution) -> Worth:
    """What the optimiser picks for all accounts of a market under a caution, and what comes of it."""
    found = []
    rules, arms = records.catalogue()
    for lender, new in zip(given.lenders, given.accounts, strict=True):
        plans = candidates(rules, arms, new.debts(evaluate.bound(caution, new)))
        within = affordable(plans)
        heads = given.shared.predict(models.scored(encoder, new, plans))
        arm = choose(Settings(), new, plans, heads, within)
        only = np.zeros_like(plans.valid)
        rows = np.flatnonzero(arm != NO_PLAN)
        only[rows, arm[rows]] = True  # the truth of the others is not asked for
        truth = market_truth.outcome(lender.effects, new.debtors, replace(plans, valid=plans.valid & only))
        found.append(worth(new, plans, truth, arm))
    return together(found)


@dataclass(frozen=True, eq=False)
class Seeds:
    """Some seeds' markets as one; ``at`` gives the cells under some levels."""

    encoder: PairEncoder
    markets: tuple[OneSeed, ...]

    def at(self, levels: Levels, errors: float = 1.0) -> list[Figures]:
        """The cells under these levels."""
        came = together([chosen(self.encoder, each, with_levels(levels, errors)) for each in self.markets])
        known, band = (
            np.concatenate([getattr(each, name) for each in self.markets]) for name in ("known", "band")
        )
        return bands.cells(known, band, came)


def fit(tried: Mapping[float, list[Figures]]) -> dict[str, float]:
    """The least level of each class at which every cell holds, from the cells under each level of the grid.

    Raises:
        ValueError: no level of the grid does.
    """
    found = {}
    for name in CLASSES[1:]:
        holds = [
            level
            for level, cells in sorted(tried.items())
            if all(_holds(each) for each in cells if each["income"] == name)
        ]
        if not holds:
            raise ValueError(f"{name}: no level of the grid keeps {TARGET:.0%} in every band")
        found[name] = holds[0]
    return found


def _holds(cell: Figures) -> bool:
    return bool(cell["plans"] < LEAST or cell["affordable"] >= TARGET + MARGIN)


def by_band(tried: Mapping[float, list[Figures]], place: int) -> float:
    """The value one cell would have at the least level that holds there."""
    for _, cells in sorted(tried.items()):
        if _holds(cells[place]) and cells[place]["plans"]:
            return float(cells[place]["value"])
    return float(tried[max(tried)][place]["value"])


def table(cells: Sequence[Figures], middle: Sequence[Figures], levels: Levels) -> str:
    """The cells as Markdown: plans, affordable share, its interval, value and its price against the middle."""
    lines = [
        "| Income | known surplus ÷ income | accounts | plans | affordable | 95 % interval | value | at level 0.5 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell, bold in zip(cells, middle, strict=True):
        share = "–" if cell["affordable"] is None else f"{100 * cell['affordable']:.1f} %"
        low, high = cell["interval"] or (0.0, 0.0)
        span = f"{100 * low:.1f}–{100 * high:.1f}" if cell["plans"] else "–"
        lines.append(
            f"| {cell['income']} ({levels[cell['income']]:g}) | {band_words(cell['from'], cell['to'])} | {cell['accounts']:,} | {cell['plans']:,} | {share} "
            f"| {span} | {cell['value']:.4f} | {bold['value']:.4f} |"
        )
    return "\n".join(lines)


def price(cells: Sequence[Figures], base: Sequence[Figures], name: str | None = None) -> float:
    """Value over another value, less 1, of one class or of all with an income form."""
    here = [place for place, each in enumerate(cells) if name in (None, each["income"])]

    def total(of: Sequence[Figures]) -> float:
        return sum(float(of[place]["value"] or 0) * int(of[place]["accounts"]) for place in here)

    return total(cells) / total(base) - 1


def shares(cells: Sequence[Figures]) -> str:
    """The affordable share of all plans and the lowest of a cell with enough of them."""
    plans = sum(each["plans"] for each in cells)
    right = sum(each["plans"] * (each["affordable"] or 0) for each in cells)
    lowest = min((each["affordable"] for each in cells if each["plans"] >= LEAST), default=float("nan"))
    return f"{100 * right / plans:.1f} % of {plans:,} plans affordable, lowest cell {100 * lowest:.1f} %"


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> dict[str, float]:
    """Fit, judge and print; returns the levels."""
    asked = argparse.ArgumentParser(prog="python -m fedrepay.simulations.market.caution_levels")
    asked.add_argument("--fit", type=int, nargs="+", default=FIT)
    asked.add_argument("--judge", type=int, nargs="+", default=JUDGE)
    asked.add_argument(
        "--accounts", type=int, default=3_000, help="new accounts of each of 20 lenders a seed"
    )
    given = asked.parse_args(arguments)
    if set(given.fit) & set(given.judge):
        asked.error("levels must not be judged on seeds they were fitted on")
    encoder = models.encoder()

    def drawn(numbers: Sequence[int]) -> Seeds:
        return Seeds(encoder, tuple(market(seed, given.accounts) for seed in numbers))

    say(f"## Fitted on seeds {', '.join(map(str, given.fit))}\n")
    seeds = drawn(given.fit)
    tried = {level: seeds.at(dict.fromkeys(CLASSES[1:], level)) for level in (MIDDLE, *GRID)}
    middle = tried.pop(MIDDLE)
    levels = fit(tried)
    cells = [tried[levels[each["income"]]][place] for place, each in enumerate(middle)]
    told(cells, middle, levels, say)
    best = [{**each, "value": by_band(tried, place)} for place, each in enumerate(cells)]
    say(
        f"The least level of the grid in each band by itself would bring {100 * price(best, cells):+.2f} % of value.\n"
    )
    say(f"## Judged on seeds {', '.join(map(str, given.judge))}\n")
    seeds = drawn(given.judge)
    cells, middle = seeds.at(levels), seeds.at(dict.fromkeys(CLASSES[1:], MIDDLE))
    told(cells, middle, levels, say)
    usual = seeds.at({name: float(getattr(Caution(), name).level) for name in CLASSES[1:]})
    say(f"At the levels as shipped: {shares(usual)}; value {100 * price(cells, usual):+.1f} % against them.")
    say(f"With errors {WRONG:g} times as large as the settings say: {shares(seeds.at(levels, WRONG))}.")
    return levels


def told(
    cells: Sequence[Figures], middle: Sequence[Figures], levels: Levels, say: Callable[[str], None]
) -> None:
    """Print the cells under some levels, and the price of caution against the middle of what is believed."""
    say(f"{table(cells, middle, levels)}\n\n{shares(cells)}; at level 0.5 {shares(middle)}.")
    prices = {known or "all": 100 * price(cells, middle, known) for known in (None, *CLASSES[1:])}
    say(
        "Value against level 0.5: "
        + ", ".join(f"{name} {each:+.1f} %" for name, each in prices.items())
        + ".\n"
    )


if __name__ == "__main__":
    main()
