"""The market's tables of gains: what learning together brings, by size of member and by market, ratios to (b) in the same run."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedrepay.simulations.bench.market_targets import (
    SIZES,
    Studies,
    compared,
    flat,
    members,
    percent,
    targets,
)
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.market.intervals import Markets
from fedrepay.simulations.market.lenders import Preset

WAYS = (
    "own",
    "own_affordable",
    "alone",
    "additive",
    "expert",
    "alone_value",
    "trees",
    "shared",
    "shared_own",
    "perfect",
    "oracle",
)


def values(markets: Studies, preset: str) -> str:
    """Value by size of member in one market."""
    heads: tuple[str, ...] = (
        *("Offers", "a", "a′", "b", "own GAM", "own expert", "b°", "LightGBM", "c", "c′", "h", "d"),
        *("c/b value", "c/b uplift", "c/b° uplift", "h/b uplift", "c/LightGBM uplift", "of the way to h"),
    )
    rows: list[tuple[str, ...]] = []
    for size in SIZES:
        here = members(markets, size)
        whole, trees = (_having(here, ways) for ways in (("additive", "expert", "alone_value"), ("trees",)))
        means = [
            float(np.mean([each["ways"][way]["value"] for each in flat(trees if way == "trees" else whole)]))
            for way in WAYS
        ]
        uplift = compared(here, "shared", "alone", "uplift")
        perfect = compared(here, "perfect", "alone", "uplift")
        rows.append(
            (
                f"{size:,}",
                *(f"{mean:.4f}" for mean in means),
                percent(compared(here, "shared", "alone", "value")),
                percent(uplift),
                percent(compared(whole, "shared", "alone_value", "uplift")),
                f"{100 * perfect[0]:+.1f} %",
                f"{100 * compared(trees, 'shared', 'trees', 'uplift')[0]:+.1f} %",
                f"{100 * uplift[0] / perfect[0]:.0f} %",
            )
        )
    section = f"### Value by size of member, `{preset}`\n\n" + table(heads, rows)
    return f"{section}\n\n{targets(markets, preset)}"


def _having(markets: Markets, ways: Sequence[str]) -> Markets:
    """The members that have all of these ways, of the markets in which any has."""
    found = [
        [[each for each in draw if all(way in each["ways"] for way in ways)] for draw in market]
        for market in markets
    ]
    return [market for market in found if any(market)]


def small(alone: Studies, beside: Studies) -> str:
    """Lenders of few offers among themselves, and beside the large ones."""
    rows = []
    for label, markets in (
        ("eight lenders of 400 offers alone", alone),
        ("the same beside 12 larger ones", beside),
    ):
        here = members(markets, SIZES[0])
        values = [
            float(np.mean([each["ways"][way]["value"] for each in flat(here)])) for way in ("alone", "shared")
        ]
        ratios = [percent(compared(here, "shared", "alone", name)) for name in ("value", "uplift")]
        rows.append((label, *(f"{each:.4f}" for each in values), *ratios, _regret(here)))
    heads = ("Lenders", "b", "c", "c/b value", "c/b uplift", "regret of (c)")
    note = "The same eight lenders, offers and new accounts in both rows."
    return f"### Small lenders without large ones, `mixed`\n\n{table(heads, rows)}\n\n{note}"


def _regret(here: Markets, way: str = "shared") -> str:
    """The part of the oracle's uplift that a way misses, with its interval."""
    middle, low, high = compared(here, way, "oracle", "uplift")
    return f"{-100 * middle:.1f} % [{-100 * high:.1f}, {-100 * low:.1f}]"


def gains_map(of: Mapping[Preset, Studies]) -> str:
    """Where learning together gains and where it loses: size of member × market."""
    heads = (
        "Market",
        *(f"{size:,} offers, c/b uplift" for size in SIZES),
        "c′/b, 12,000",
        "regret of (b)",
        "regret of (c)",
        "worst member, value",
        "members × draws below −1 %",
    )
    rows = []
    for preset, markets in of.items():
        whole = members(markets)
        gains = [each["gain"] for each in flat(whole)]
        rows.append(
            (
                f"`{preset}`",
                *(percent(compared(members(markets, size), "shared", "alone", "uplift")) for size in SIZES),
                percent(compared(members(markets, SIZES[-1]), "shared_own", "alone", "uplift")),
                _regret(whole, "alone"),
                _regret(whole),
                f"{100 * min(gains):+.1f} %",
                f"{sum(gain < -0.01 for gain in gains)} of {len(gains)}",
            )
        )
    note = (
        "Where a whole interval is below 0, learning together loses; where it holds 0, these markets cannot tell. Each interval is by itself: of "
        "so many, one or two miss by chance."
    )
    return "### Where it gains and where it loses\n\n" + table(heads, rows) + f"\n\n{note}"
