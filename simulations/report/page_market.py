"""What the template of the debt market's report is given."""

from typing import Any

from fedrepay.simulations.report import charts_market, tables_market, words_market
from fedrepay.simulations.report.learned import pictures

Figures = dict[str, Any]


def market_page(metrics: Figures, details: Figures) -> Figures:
    """The names that ``market.html`` uses.

    Args:
        metrics: the contents of ``metrics.json`` with ``market``.
        details: ``title``, ``heads`` (curves by head), ``attack`` (or None).
    """
    market, settings = metrics["market"], metrics["settings"]
    value, affordability = settings["value"], settings["affordability"]
    rows = tables_market.members(market)
    ways = tables_market.ways(market)
    return {
        "market": market,
        "outcome": words_market.outcome(metrics),
        "money": words_market.money(market),
        "target": words_market.TARGET,
        "preset": words_market.PRESETS[market["preset"]],
        "rows": rows,
        "sizes": tables_market.sizes(rows),
        "losers": sorted((each for each in rows if each["gain"] < 0), key=lambda each: each["gain"]),
        "judged": all(each["gain_interval"] is not None for each in rows),
        "losses": words_market.losses(market),
        "gains": charts_market.gains(
            [
                charts_market.Gain(
                    each["name"],
                    each["offers"],
                    each["alone"],
                    each["shared"],
                    each["gain"],
                    each["gain_interval"],
                )
                for each in rows
            ]
        ),
        "ways": ways,
        "ladder": charts_market.ladder([(each["label"], each["value"], each["uplift"]) for each in ways]),
        "member_ways": tables_market.member_ways(market),
        "own_policy": words_market.own_policy(market),
        "steps": words_market.steps(market, value["lambda_first"]),
        "first_payments": words_market.first_payments(market, value["lambda_first"]),
        "way_to_perfect": words_market.way_to_perfect(market),
        "prices": value,
        "classes": tables_market.classes(market, affordability),
        "cells": tables_market.cells(market),
        "verified": tables_market.verified(market),
        "groups": tables_market.groups(market),
        "heads": [
            (words_market.HEADS.get(name, name), *pictures(curves))
            for name, curves in details["heads"].items()
        ],
    }
