"""The debt market as a simulation: lenders' tables, a consortium on them, and what its release is worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedrepay.client.data.reading.table import Table, load_mapping, read_table
from fedrepay.client.plans.deciding.settings import BatchCaps, Settings, load_settings
from fedrepay.client.scoring.columns import write_columns
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.market import models, records, tables
from fedrepay.simulations.market.cases import cases
from fedrepay.simulations.market.intervals import mean, ratio
from fedrepay.simulations.market.lenders import SIZES, Lender
from fedrepay.simulations.market.market import Market
from fedrepay.simulations.market.study import Choices, Figures, mean_of, study
from fedrepay.simulations.rows.run_figures import (
    TELLS_ROWS,
    completed_mechanisms,
    curves,
    export_release,
    opened_sum_attack,
    run_arguments,
    run_figures,
)
from fedrepay.simulations.run.arguments import MarketArguments
from fedrepay.simulations.run.consortium import Consortium, Party
from fedrepay.simulations.run.folder import Folder, make_private
from fedrepay.simulations.run.terms import check_parties

OUTSIDE = ["market", "the attack's comparison with the truth", *TELLS_ROWS]
WAYS = ("own", "own_affordable", "alone", "shared", "shared_own", "perfect", "oracle")


@dataclass(frozen=True, eq=False)
class PreparedMarket:
    """Lenders with their training rows, read from their own tables."""

    book: CodeBook
    lenders: tuple[Lender, ...]
    parties: tuple[Party, ...]


def settings_of(arguments: MarketArguments) -> Settings:
    """The member's settings for decisions; raises CatalogueError."""
    found, _ = load_settings(None if arguments.settings is None else Path(arguments.settings))
    return found


def without_effect(settings: Settings) -> tuple[str, ...]:
    """Settings that were given and that judging against the truth leaves out: each account is judged by itself."""
    given = {
        "packs": bool(settings.packs),
        "caps": settings.caps != BatchCaps(),
        "exploration": settings.exploration > 0,
    }
    return tuple(name for name, is_given in given.items() if is_given)


def market_of(arguments: MarketArguments) -> Market:
    """The market that is played.

    Raises:
        ArgumentError: the arguments are outside their ranges.
    """
    members = arguments.members or len(SIZES)
    return Market(arguments.preset, members, arguments.scale, arguments.seed)


def prepare(arguments: MarketArguments, market: Market, folder: Folder) -> PreparedMarket:
    """Write each lender's own tables into the folder and read them as that member would; beside them new accounts.

    Raises:
        StorageError: the tables cannot be written.
    """
    book = records.book()
    make_private(folder.market)
    make_private(folder.accounts)
    for each in market.lenders:
        place = folder.accounts / each.name
        if not (place / tables.MAPPING).exists():
            market.write_accounts(each.name, place, arguments.accounts)
    parties = tuple(Party(each.name, _read(book, market, each.name, folder)) for each in market.lenders)
    check_parties(arguments, book, parties)
    return PreparedMarket(book, market.lenders, parties)


def _read(book: CodeBook, market: Market, lender: str, folder: Folder) -> Table:
    place = folder.market / lender
    if not (place / tables.MAPPING).exists():
        market.write_records(lender, place)
    table, findings = read_table(book, None, load_mapping(place / tables.MAPPING), need_outcome=True)
    findings.raise_if_refused()
    return table


def measure(
    arguments: MarketArguments,
    market: PreparedMarket,
    settings: Settings,
    consortium: Consortium,
    seconds: dict[str, float],
    *,
    resumed: bool,
    note: Callable[[str], None],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """metrics.json and the report's further details."""
    release = export_release(consortium)
    mechanisms = completed_mechanisms(consortium, len(release.sums))
    choices: Choices = {}
    given = cases(
        market.lenders,
        {party.name: party.train for party in market.parties},
        arguments.seed,
        settings,
        arguments.accounts,
        trees=arguments.baselines,
        redraws=arguments.redraws,
        note=note,
    )
    found = study(given, models.FittedAdditive(release.weights), note=note, choices=choices)
    _write_choices(choices, consortium.folder)
    metrics: dict[str, Any] = {
        "market": market_figures(found, arguments.preset),
        **run_figures(consortium, release, seconds, resumed=resumed),
        "seed": arguments.seed,
        "arguments": run_arguments(arguments, consortium)
        | {
            "market": arguments.preset,
            "scale": arguments.scale,
            "accounts": arguments.accounts,
            "redraws": arguments.redraws,
            "settings": arguments.settings,
        },
        "settings": settings.model_dump(mode="json"),
        "outside_the_guarantee": OUTSIDE,
    }
    heads = [outcome.name for outcome in market.book.schema.outcomes]
    details = {
        "title": market.book.schema.title,
        "heads": {name: curves(market.book, release, mechanisms, head) for head, name in enumerate(heads)},
        "attack": opened_sum_attack(consortium, release, mechanisms),
    }
    return metrics, details


def _write_choices(choices: Choices, folder: Folder) -> None:
    """``choices.parquet``: what each way chose for each new account, and what truly came of it."""
    columns: dict[str, list[object]] = {
        name: np.concatenate(parts).tolist() for name, parts in choices.items()
    }
    write_columns(columns, folder.choices)


def market_figures(found: Figures, preset: str) -> Figures:
    """The ``market`` part of metrics.json: means over members, and each member's own."""
    members = found["members"]
    whole = list(members.values())

    def of(name: str) -> Figures:
        return {
            way: mean_of(members, way, name)
            for way in (*WAYS, "trees")
            if mean_of(members, way, name) is not None
        }

    return {
        "preset": preset,
        "value": of("value"),
        "uplift": of("uplift"),
        "first_paid": of("first_paid"),
        "kept_90": of("kept_90"),
        "plans": of("plans"),
        "gain": _gain(whole, "value") | _gain(whole, "uplift") | _money(whole),
        "affordable_share": mean_of(members, "shared", "affordable"),
        "affordable_share_own": mean_of(members, "own", "affordable"),
        "affordable_by_class": found["affordable_by_class"],
        "affordable_by_band": found["affordable_by_band"],
        "caution": found["caution"],
        "if_verified": found["if_verified"],
        "judged": found["judged"],
        "groups": found["groups"],
        "members": members,
    }


def _money(members: Sequence[Figures]) -> Figures:
    """The gain in minor units of money an account, mean over members, with its interval over them."""
    values = [
        (each["ways"]["shared"]["value"] - each["ways"]["alone"]["value"]) * each["balance"]
        for each in members
    ]
    money, *interval = mean(values)
    return {"money": money, "money_interval": interval}


def _gain(members: Sequence[Figures], name: str) -> Figures:
    """The gain in one figure with its interval over this market's members; None where own models add nothing."""
    found = ratio([[members]], "shared", "alone", name)
    return {
        name: None if found is None else found[0],
        f"{name}_interval": None if found is None else found[1:],
    }
