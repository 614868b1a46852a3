"""``fedrepay rules diff``: options and screen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.options import Json
from fedrepay.client.commands.rule_packs import head, load, screen

if TYPE_CHECKING:
    from fedrepay.client.plans.batch_io.rules_diff import Diff
    from fedrepay.shared.rules.pack import Pack

_DIFF = (
    "Find every decision that a changed rule touches.\n\n"
    "Evaluates the plan of each decision under the OLD and the NEW pack and shows those newly blocked or "
    "newly allowed, those newly for a human, stopped or told something, and those of which the pack newly covers a matter or no longer does, with rule, "
    "article and both versions. DECISIONS is what "
    "`fedrepay member recommend` wrote, with DECISIONS.facts.parquet beside it. No fact is shown.\n\n"
    "Dates of the packs are not looked at unless --day is given. A decision without a plan "
    "cannot be compared: what a loosened rule would newly offer, `member recommend` with the new pack says.\n\n"
    "fedrepay rules diff us-fed my-us-fed.toml --decisions decisions.parquet"
)
app = typer.Typer()
_SHOWN = 40


@app.command(help=_DIFF)
def diff(
    old: Annotated[str, typer.Argument(help="The pack as it was: file or built-in.", show_default=False)],
    new: Annotated[
        str, typer.Argument(help="The pack as it shall be: file or built-in.", show_default=False)
    ],
    decisions: Annotated[Path, typer.Option(help="CSV or Parquet of decisions.")],
    day: Annotated[
        str | None,
        typer.Option(help="YYYY-MM-DD: look at the packs' dates as of this day.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all of them here (.csv or .parquet, readable by you alone).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two packs; the help text stands in ``_DIFF``."""
    import json

    from fedrepay.client.plans.batch_io.rules_diff import compare
    from fedrepay.shared.rules.pack import DISCLAIMER

    before, after = load(old), load(new)
    if out is not None:
        _refuse_out(out, decisions)
    found = compare(before, after, decisions, _day(day))
    if out is not None:
        _write(found, out)
    if as_json:
        shown = {
            "disclaimer": DISCLAIMER,
            "old": {"pack": before.id, "version": before.version, "sha256": before.sha256},
            "new": {"pack": after.id, "version": after.version, "sha256": after.sha256},
            "decisions": found.decisions,
            "accounts": found.accounts,
            "without_plan": found.without_plan,
            "touched": [vars(each) for each in found.touched],
        }
        typer.echo(json.dumps(shown, indent=1))
        return
    _show(found, before, after)
    if out is not None:
        typer.echo(f"All {len(found.touched)} written to {out}.")


def _show(found: "Diff", before: "Pack", after: "Pack") -> None:
    from collections import Counter

    from rich.table import Table
    from rich.text import Text

    console = screen()
    head(console, after)
    table = Table("account", "rank", "plan", "change", "rule", "article", "rule version", expand=True)
    for each in found.touched[:_SHOWN]:
        table.add_row(
            Text(each.account),
            str(each.rank),
            f"{each.kind} by {each.channel}",
            each.change + (" (a fact is not known)" if each.unknown else ""),
            Text(each.rule),
            Text(each.article),
            f"{each.old_version or 'none'} → {each.new_version or 'none'}",
        )
    if found.touched:
        console.print(table)
    if len(found.touched) > _SHOWN:
        console.print(f"… and {len(found.touched) - _SHOWN} more: --out FILE, or --json.")
    counts = Counter(each.change for each in found.touched)
    said = ", ".join(f"{count} {change}" for change, count in sorted(counts.items())) or "none touched"
    accounts = len({each.account for each in found.touched})
    console.print(
        f"{before.id} version {before.version} → {after.id} version {after.version}: {said}; "
        f"{accounts} of {found.accounts} accounts, {found.decisions} decisions with a plan, {found.without_plan} without.",
        highlight=False,
        markup=False,
    )


def _write(found: "Diff", out: Path) -> None:
    import os
    from dataclasses import fields

    from fedrepay.client.plans.batch_io.rules_diff import Touched
    from fedrepay.client.scoring.columns import write_columns

    names = [field.name for field in fields(Touched)]
    columns = {name: [getattr(each, name) for each in found.touched] for name in names}
    others = os.umask(0o077)
    try:
        write_columns(columns, out)
    finally:
        os.umask(others)


def _refuse_out(out: Path, decisions: Path) -> None:
    from fedrepay.client.plans.batch_io.rules_diff import facts_of
    from fedrepay.shared.errors import ArgumentError

    if out.suffix not in (".csv", ".parquet"):
        raise ArgumentError(f"--out {out} is neither .csv nor .parquet.", "Choose one of the two.")
    if out.resolve() in (decisions.resolve(), facts_of(decisions).resolve()):
        raise ArgumentError(f"--out {out} would overwrite what it is made from.", "Choose another.")


def _day(text: str | None) -> int | None:
    from datetime import date

    from fedrepay.shared.errors import ArgumentError

    if text is None:
        return None
    try:
        return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError as error:
        raise ArgumentError(f"--day {text} is no date.", "Write YYYY-MM-DD.") from error
