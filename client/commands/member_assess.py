"""``fedrepay member assess``: options and screen; the work is in ``care/``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.member_care import Json

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.client.care.assessing import Assessment

_HELP = (
    "What your own data can say alone, before you join anybody: nothing is sent, and no ε is spent.\n\n"
    "Rows and customers, the rate of each good outcome, how well a model of your own ranks your own customers (AUC, cross-validated "
    "by customer: 0.5 is a coin, 1 is perfect), each with a 95 % interval over customers; and where your rows say nothing: bins "
    "of the schema with few or no customers, plan kinds that you never offered, and never offered to whom. These figures are yours "
    "and have no noise: show them to nobody who may not see your rows.\n\n"
    "\b\n"
    "fedrepay member assess --schema consortium.toml --data accounts.csv --mapping mine.toml"
)
app = typer.Typer()


@app.command(help=_HELP)
def assess(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="The member's folder, where there is one: its settings, override and bars count.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="The consortium's schema, its code book beside it; default: `schema` in member.toml.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet file; default: `data` in member.toml.", show_default=False),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="TOML with one SELECT; default: `mapping` in member.toml, else columns match by name.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Assess a member's rows; the help text stands in ``_HELP``."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from fedrepay.client.care import assessing
    from fedrepay.client.crypto.identity import Identity
    from fedrepay.client.node import setup
    from fedrepay.client.scoring import in_use
    from fedrepay.client.store import settings
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.schema import codebook

    identity, barred = Identity.create("nobody"), frozenset[bytes]()
    if folder is not None:
        identity, barred = setup.identity(folder), in_use.opened(folder).barred()
        own = settings.load(folder)
        schema = settings.file_of(folder, schema, own.schema_file)
        data = settings.file_of(folder, data, own.data)
        mapping = settings.file_of(folder, mapping, own.mapping)
    if schema is None:
        raise ArgumentError("Nothing says which schema is meant.", "Give --schema FILE.")
    book = codebook.load(schema)
    table, _ = setup.rows(book, setup.Sources(schema, data, mapping, None), identity, barred)
    found = assessing.assess(book, table)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        _show(Console(), found)


def _show(console: "Console", found: "Assessment") -> None:
    from rich.table import Table
    from rich.text import Text

    from fedrepay.client.care.assessing import FEW

    console.print(f"{found.rows:,} rows of {found.customers:,} customers.", highlight=False)
    table = Table("outcome", "rows", "customers", "good", "own model's AUC", "", expand=True)
    for each in found.outcomes:
        cells = (each.name, f"{each.rows:,}", f"{each.customers:,}")
        figures = (_with(each.rate, each.rate_interval), _with(each.auc, each.auc_interval))
        table.add_row(*cells, *figures, Text(each.reason or ""))
    console.print(table)
    if found.thin:
        thin = Table("column", "bin", "rows", "customers", title=f"Fewer than {FEW} customers", expand=True)
        for one in found.thin:
            name = f"{one.column}{' (plan)' if one.plan else ''}"
            thin.add_row(Text(name), Text(one.label), f"{one.rows:,}", f"{one.customers:,}")
        console.print(thin)
    if found.never_offered:
        told = f"Never offered: {', '.join(found.never_offered)}."
        console.print(told, style="yellow", markup=False, highlight=False)
    for column, label, kind in found.never_together:
        console.print(f"{column} {label}: {kind} was never offered there.", markup=False, highlight=False)
    if found.pairs_missing > len(found.never_together):
        console.print(f"… {found.pairs_missing:,} such pairs in all.", highlight=False)
    console.print(
        "Nothing was sent. Intervals: 95 %, over customers; docs/member.md says what they leave out."
    )


def _with(value: float | None, interval: tuple[float, float] | None) -> str:
    return (
        "–" if value is None or interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
    )
