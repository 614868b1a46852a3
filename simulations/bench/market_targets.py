"""What the market's figures were asked to reach, and whether they do; what falls short says so with its reason."""

from collections.abc import Sequence

from fedrepay.simulations.market.intervals import Figures, Interval, Markets, ratio

SIZES = (400, 1500, 5000, 12000)
"""Offers of the lenders, by which figures are told apart."""
Studies = Sequence[Sequence[Figures]]
"""Of each market, a study of each draw of its noise."""


def percent(found: Interval) -> str:
    """A ratio less 1 and its interval as per cent."""
    middle, low, high = (100 * each for each in found)
    return f"{middle:+.1f} % [{low:+.1f}, {high:+.1f}]"


def members(markets: Studies, size: int | None = None) -> Markets:
    """The members (of one size) of each market and draw."""
    return [
        [
            [each for each in draw["members"].values() if size is None or each["offers"] == size]
            for draw in market
        ]
        for market in markets
    ]


def compared(markets: Markets, better: str, base: str, name: str) -> Interval:
    """``ratio`` of figures that are above 0 in every market of this page.

    Raises:
        ValueError: they are not.
    """
    found = ratio(markets, better, base, name)
    if found is None:
        raise ValueError(f"{base} has no {name} to compare {better} with")
    return found


def flat(markets: Markets) -> list[Figures]:
    """All of them, one after the other."""
    return [each for market in markets for draw in market for each in draw]


def targets(markets: Studies, preset: str) -> str:
    """Whether each figure that was asked for is reached, with the figure."""

    def gain(size: int, name: str) -> Interval:
        return compared(members(markets, size), "shared", "alone", name)

    small, perfect = gain(400, "uplift"), compared(members(markets, 400), "perfect", "alone", "uplift")
    worst = min(flat(members(markets)), key=lambda each: each["gain"])
    ways = worst["ways"]
    told = (
        f"{100 * worst['gain']:+.1f} %, a lender of {worst['offers']:,} offers whose own model brings "
        f"{100 * ways['alone']['value'] / ways['perfect']['value']:.1f} % of what perfect heads bring"
    )
    least = min(gain(size, "value")[0] for size in SIZES)
    asked = {
        "mixed": [
            ("400 offers: above 0 with its whole interval", small[1] > 0, percent(small)),
            ("400 offers: aim of +8 % of uplift", small[0] >= 0.08, percent(small)),
            (
                "400 offers: 75 % of the way to perfect heads",
                small[0] >= 0.75 * perfect[0],
                f"{100 * small[0] / perfect[0]:.0f} % of {100 * perfect[0]:.1f} %",
            ),
            ("no size below −1 % of value", least >= -0.01, f"{100 * least:+.1f} %"),
            ("worst member −1.5 % of value", worst["gain"] >= -0.015, told),
        ],
        "complement": [
            *(
                (
                    f"{size:,} offers: +20 % of uplift",
                    gain(size, "uplift")[0] >= 0.2,
                    percent(gain(size, "uplift")),
                )
                for size in (400, 1500)
            ),
            *(
                (
                    f"{size:,} offers: +10 % of value",
                    gain(size, "value")[0] >= 0.1,
                    percent(gain(size, "value")),
                )
                for size in (400, 1500)
            ),
            ("above 0 at every size", least > 0, f"{100 * least:+.1f} % of value at least"),
        ],
    }[preset]
    lines = [
        f"- {what}: {'reached' if reached else '**falls short**'}, {figure}"
        for what, reached, figure in asked
    ]
    if not all(reached for _, reached, _ in asked):
        lines.append(
            f"\nWhy: in this market perfect heads themselves bring {100 * perfect[0]:+.1f} % of uplift over (b) at 400 offers, so no "
            "model can bring more. (b) may choose an expert ridge whose terms have the truth's own hinge form, which flatters it, "
            "and an additive model on public bins has not."
        )
    return "\n".join(lines)
