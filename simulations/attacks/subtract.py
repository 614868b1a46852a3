"""What the other members can read in the opened Gram matrix: a cross-tabulation of the market (``rows/coalitions.py``)."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fedrepay.shared.errors import ArgumentError
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.uniform import as_wide_as_stated
from fedrepay.simulations.rows import coalitions

if TYPE_CHECKING:
    from fedrepay.simulations.attacks.tools.opened_market import OpenedMarket


def _read(market: "OpenedMarket") -> tuple[dict[str, Any], dict[str, Any]]:
    """What one rival reads, and what all others read together: rows of :func:`coalitions.read`."""
    found = coalitions.read(
        market.book, market.opened, market.contributions, market.share_variance, market.colluders
    )
    return found["rows"][0], found["rows"][-1]


def _rows(market: "OpenedMarket", title: str) -> tuple[list[Row], bool, bool]:
    """Figures of one market with its noise and without; whether it held, whether the control bites."""
    off = market.without_noise()
    (one, most), (one_off, most_off) = _read(market), _read(off)
    noise = market.noise()
    rows = [
        Row(
            f"{title}, one rival: error of each of {one['cells']} counts of the others together",
            f"± {one['noise_sd_customers']:.1f} customers (found: {np.sqrt(noise.mean()):.2f} of that)",
            f"± {one_off['noise_sd_customers']:.0f}: exact",
        ),
        Row(
            "· one institution's book guessed from it: error (from the rival's own book alone)",
            f"{_part(one['relative_error'])} ({_part(one['relative_error_without_sum'])})",
            _part(one_off["relative_error"]),
        ),
        Row(
            "· all other members: error of the last one's counts",
            f"± {most['noise_sd_customers']:.1f} customers, {_part(most['relative_error'])}",
            f"exact, {_part(most_off['relative_error'])}",
        ),
    ]
    held = as_wide_as_stated(noise) and one["noise_sd_customers"] > 1
    return rows, held, most_off["cells_within_10pct"] == one_off["group_cells_within_10pct"] == 1


def _part(error: float | None) -> str:
    return "—" if error is None else f"{error:.1%}"


def run(options: AttackOptions) -> AttackFinding:
    """Markets of 3, 5 and 20 members; a run's release where one is given."""
    from fedrepay.simulations.attacks.tools.opened_market import played, recorded  # noqa: PLC0415 - the report needs neither

    sizes = (3, 5) if options.quick else (3, 5, 20)
    markets = {
        f"K = {size}": market
        for size, market in zip(sizes, played(options.seed, sizes, quick=options.quick), strict=True)
    }
    if options.release is not None:
        given = recorded(options.release)
        if given.share_variance == 0:
            raise ArgumentError(
                f"{options.release} was made without noise.", "There is no defence to attack."
            )
        markets[f"your release, K = {len(given.contributions)}"] = given
    judged = [_rows(market, title) for title, market in markets.items()]
    noise = np.concatenate([market.noise() for market in markets.values()])
    return AttackFinding(
        attack="subtract",
        threat="B18",
        adversary=(
            "A rival in the consortium, or all the other members together, take their own part off the opened Gram matrix; they "
            "want the others' books: how many customers fall in each bin of each feature."
        ),
        defence="the noise of differential privacy at ε = 1; off is mode none.",
        rows=tuple(row for rows, _, _ in judged for row in rows),
        held=all(held for _, held, _ in judged) and as_wide_as_stated(noise),
        bites=all(bites for _, _, bites in judged),
        note=(
            "Held means: each count is off by the stated noise, wider than a customer. It hides customers; an institution's "
            "totals are hidden by the number of members alone, which is why five is the least by default in a network."
        ),
    )
