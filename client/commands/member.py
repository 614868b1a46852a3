"""``fedrepay member check-data``: options and screen; the work is in ``check.py``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands import (
    member_assess,
    member_budget,
    member_care,
    member_catalogue,
    member_consortium,
    member_local,
    member_node,
    member_recommend,
    member_running,
    member_score,
    member_upkeep,
)

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.client.data.checking.check import Report
    from fedrepay.client.data.mappings.mapping import Mapping
    from fedrepay.client.data.reading.findings import Group
    from fedrepay.client.plans.batch_io.check_accounts import AccountsReport
    from fedrepay.shared.schema.codebook import CodeBook

app = typer.Typer()
app.add_typer(member_consortium.app)
app.add_typer(member_running.app)
app.add_typer(member_node.app)
app.add_typer(member_local.app)
app.add_typer(member_score.app)
app.add_typer(member_recommend.app)
app.add_typer(member_assess.app)
app.add_typer(member_care.app)
app.add_typer(member_budget.app)
app.add_typer(member_upkeep.app)
app.add_typer(member_catalogue.app, name="catalogue")

_REFUSED = 4
_HELP = (
    "Check your own rows against the schema: everything wrong at once, before any run.\n\n"
    "Shows what would be refused, dropped or clipped (file, row, column, value, bound), how each column is encoded, "
    "and which features you cover. A row that cannot be read is dropped and counted; the file is refused where all of "
    "it is wrong, or where one customer's row could depend on another's. Nothing leaves this machine. "
    "Exit code 4: refused.\n\n"
    "A mapping is a TOML file that turns your tables into the schema's columns:\n\n"
    "\b\n"
    'currency = "EUR"\n'
    'absent = \\["income"]   # features you do not have; the schema must allow it\n'
    'extra = \\["branch"]    # columns beside the schema\'s, for splits of a simulation\n'
    'keys = {customer = \\["id"]}  # which columns of your tables name customers, accounts, offers\n'
    'sql = """SELECT _row, id AS customer, CAST(cents AS DOUBLE) / 100 AS balance FROM data"""\n'
    "\\[tables]              # more files, beside the mapping\n"
    'payments = "payments.parquet"\n\n'
    "A table \\[outcomes] with SELECTs of offers and payments derives first_paid and kept_90 (docs/plans.md).\n\n"
    "--for recommend checks accounts to decide about instead: what `member recommend` would refuse, read at a bound of the "
    "schema, or give to a person by what the file alone says (rule packs may give it more).\n\n"
    "\b\n"
    "fedrepay member check-data --folder member   # what `member run` would read\n"
    "fedrepay member check-data --data accounts.csv --schema consortium.toml --mapping mine.toml"
)


@app.callback()
def member() -> None:
    """What a member institution does with its own data."""


@app.command("check-data", help=_HELP)
def check_data(
    schema: Annotated[
        Path | None,
        typer.Option(
            help="The consortium's schema, its code book beside it; default: the one of --folder.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file; the mapping knows it as the table `data`.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML with one SELECT; without it columns match by name.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="column:NAME, as in `simulate --split`: the file holds several members' rows, and n_max is each one's."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="The member's folder: schema, data and mapping are those of its member.toml where they are not given, and its "
            "signed override of the mapping counts (`override-mapping`)."
        ),
    ] = None,
    purpose: Annotated[
        str, typer.Option("--for", help="What the rows are for: training, or recommend.")
    ] = "training",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check a member's file; the help text stands in ``_HELP``."""
    from rich.console import Console

    from fedrepay.client.data.checking.check import check
    from fedrepay.client.data.mappings import override
    from fedrepay.client.data.reading.table import load_mapping
    from fedrepay.client.node import setup
    from fedrepay.client.store import settings
    from fedrepay.shared import keys
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.schema import codebook

    if split is not None and not split.removeprefix("column:"):
        raise ArgumentError("--split names no column.", "Give --split column:NAME.")
    if purpose not in ("training", "recommend"):
        raise ArgumentError(f"--for {purpose} is neither training nor recommend.", "Give one of the two.")
    if folder is not None and purpose == "training":
        held = settings.load(folder)
        schema = settings.file_of(folder, schema, held.schema_file)
        if (
            data is None and mapping is None
        ):  # one of the two alone may be meant: a mapping names its own tables
            data = settings.file_of(folder, None, held.data)
            mapping = settings.file_of(folder, None, held.mapping)
    if schema is None:
        raise ArgumentError("No schema is named.", "--schema FILE, or --folder of a member that has joined.")
    mapped = None if mapping is None else load_mapping(mapping)
    if purpose == "recommend":
        if data is None or split is not None or folder is not None:
            raise ArgumentError(
                "--for recommend reads --data, and knows no --split and no --folder.", "See --help."
            )
        _check_accounts(codebook.load(schema), data, mapped, as_json=as_json)
        return
    digest = b""
    if mapped is not None and mapping is not None and folder is not None:
        signed = override.load(keys.public_bytes(setup.identity(folder).signing), mapping, mapped)
        digest = b"" if signed is None else signed.digest
    report = check(
        codebook.load(schema),
        data,
        mapped,
        override=digest,
        split=None if split is None else split.removeprefix("column:"),
    )
    if as_json:
        import json

        typer.echo(json.dumps(report.as_json(), indent=1, default=str))
    else:
        _show(Console(), report)
    if report.refused:
        raise typer.Exit(_REFUSED)


def _check_accounts(book: "CodeBook", data: Path, mapping: "Mapping | None", *, as_json: bool) -> None:
    from rich.console import Console

    from fedrepay.client.plans.batch_io.check_accounts import check_accounts

    report = check_accounts(book, data, mapping)
    if as_json:
        import json

        typer.echo(json.dumps(report.as_json(), indent=1, default=str))
    else:
        _show_accounts(Console(), report)
    if report.refused:
        raise typer.Exit(_REFUSED)


def _show_accounts(console: "Console", report: "AccountsReport") -> None:
    def told(words: str, counts: dict[str, int]) -> None:
        if counts:
            shown = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            console.print(f"{words}: {shown}.", style="yellow", markup=False, highlight=False)

    _findings(console, report.groups)
    console.print(f"{report.usable:,} of {report.rows:,} accounts can be decided.", highlight=False)
    told("Outside what the model knows, accounts", report.outside)
    told("To a person by what the file alone says, accounts", report.handed)
    if report.facts:
        console.print(f"Facts for rules: {', '.join(report.facts)}.", markup=False, highlight=False)
    if report.not_known:
        missing = ", ".join(report.not_known)
        console.print(f"No such column, so nobody is spared for it: {missing}.", style="yellow", markup=False)
    if report.refused:
        console.print("[bold red]Refused.[/] Mend the rows or the mapping, then check again.")
    else:
        console.print("[bold green]Accepted.[/]")


def _findings(console: "Console", groups: "tuple[Group, ...]") -> None:
    from rich.table import Table
    from rich.text import Text

    from fedrepay.client.data.checking.check import examples
    from fedrepay.shared.text import printable

    if not groups:
        return
    table = Table("file", "row", "column", "value", "must be", "rows", "", title="Findings", expand=True)
    for group in groups:
        mark = Text(group.effect, "bold red" if group.fatal else "yellow")
        shown = examples(group) or [(None, "")]
        table.add_row(
            Text(Path(group.file).name),
            Text("\n".join("all" if row is None else str(row) for row, _ in shown)),
            Text(printable(group.column)),
            Text("\n".join(printable(value) for _, value in shown)),
            Text(group.bound),
            Text("" if group.rows is None else f"{group.count:,}"),
            mark,
        )
    console.print(table)


def _show(console: "Console", report: "Report") -> None:
    from rich.table import Table
    from rich.text import Text

    _findings(console, report.groups)
    if report.usable:
        table = Table("column", "bins", "rows in each bin", title="How your rows are encoded", expand=True)
        for each in report.encodings:
            pairs = [f"{label}: {count:,}" for label, count in zip(each.labels, each.counts, strict=True)]
            table.add_row(Text(each.block), Text(str(len(pairs))), Text(" · ".join(pairs)))
        console.print(table)
    console.print(
        f"{report.usable:,} of {report.rows:,} rows can be used; {report.customers:,} customers "
        f"(unit of privacy: {report.unit}).",
        highlight=False,
    )
    console.print(f"Features covered: {', '.join(report.covered)}.", highlight=False, markup=False)
    if report.not_matured:
        console.print(
            f"Left out: {report.not_matured:,} offers, not matured yet or censored before.", markup=False
        )
    if report.absent:
        console.print(f"Declared absent: {', '.join(report.absent)}.", style="yellow", markup=False)
    if report.currency:
        console.print(f"Currency of your amounts: {report.currency}.", markup=False)
    if report.public_tables:
        told = f"Tables without any customer's data, by your word: {', '.join(report.public_tables)}."
        console.print(told, style="yellow", markup=False)
    if report.alike:
        told = f"{report.alike:,} rows are of customers whose ids differ only in spelling: each counts as a customer."
        console.print(told, style="yellow", markup=False)
    if report.dropped:
        share = f"{report.dropped:,} of {report.rows:,}"
        console.print(f"Dropped by findings of their own: {share} rows.", style="yellow", markup=False)
    if report.refused:
        console.print("[bold red]Refused.[/] Mend the rows or the mapping, then check again.")
    else:
        console.print("[bold green]Accepted.[/]")
