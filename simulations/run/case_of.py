"""Which case the options of ``fedrepay simulate`` ask for: the debt market, or a table of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedrepay.shared.errors import ArgumentError
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA_MANY, Arguments, MarketArguments

SHIPPED_NAME = "uci"
MOST_OF_SHIPPED = 256  # members_max of the shipped schema
Options = Mapping[str, Any]


def arguments_of(
    data: str | None, members: int | None, *, rows: Options, market: Options, both: Options
) -> Arguments | MarketArguments:
    """The arguments of the case that is asked for; a default stands for every option that was not given.

    Args:
        data: a file of rows, ``uci``, or None for the market.
        members: how many, where given.
        rows: options that only a table of rows has, by field of ``Arguments``; None where not given.
        market: options that only the market has, by field of ``MarketArguments``; None where not given.
        both: options of both.

    Raises:
        ArgumentError: an option of the other case, named with what to do about it.
    """
    if data is None:
        _refuse(rows, "goes with --data FILE.", "Name the table too, or leave it out to play the market.")
        return MarketArguments(**both, **_given(market), **_given({"members": members}))
    _refuse(market, "belongs to the market and does not go with --data.", "Leave one of the two out.")
    if data == SHIPPED_NAME:
        of_file = {"schema": rows["schema"], "mapping": rows["mapping"]}
        _refuse(
            of_file,
            f"does not go with --data {SHIPPED_NAME}.",
            "The shipped table has its own: leave it out.",
        )
        many = members is not None and members > MOST_OF_SHIPPED
        files: dict[str, Any] = {"schema": str(SHIPPED_SCHEMA_MANY)} if many else {}
    elif rows["schema"] is None:
        raise ArgumentError("--data FILE needs --schema.", "`fedrepay schema init FILE` drafts one.")
    else:
        files = {"data": data, "mapping": None if rows["mapping"] is None else str(rows["mapping"])}
    if str(rows["split"]).startswith("column:"):
        _refuse({"members": members}, "does not go with --split column:NAME.", "Its values are the members.")
        files["members"] = None
    named = {name: value for name, value in rows.items() if name != "mapping"} | {"members": members}
    return Arguments(**both, **files, **_given(named))


def _given(options: Options) -> dict[str, Any]:
    """Options that were given, paths as text."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value is not None
    }


def _refuse(options: Options, why: str, remedy: str) -> None:
    """Refuse options that were given and do not belong here."""
    for name in _given(options):
        option = "--market" if name == "preset" else f"--{name.replace('_', '-')}"
        raise ArgumentError(f"{option} {why}", remedy)
