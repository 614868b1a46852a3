"""``fedrepay rules``: options and screen for the compliance officer; the work is in ``shared/rules``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.client.plans.batch_io.rules_diff import Diff
    from fedrepay.shared.rules.pack import Pack

_CHECK = (
    "Check a rule pack and show its rules.\n\n"
    "A pack is TOML: id, jurisdiction (a country, or EU for every member state), version, title, citation, "
    'template = true, disclaimer = "A template, not legal advice.", effective_from and effective_to where '
    "known (both days included), applies_to, then one \\[\\[rules]] for each rule.\n\n"
    "covers = \\[{matters = \\[…], applies_to = \\[conditions]}] says which of conduct, contact, cost and automated_decision the pack covers, "
    "and for whom; what no pack given covers goes to a person.\n\n"
    "A rule has id, version, article, text, checked (false: written from memory), applies_to = \\[conditions], "
    "and parameters = {kind = …}; kinds are contact_cap, quiet_hours, channel_consent, fee_cap, "
    "interest_freeze, cost_cap, term_cap, affordability, moratorium, special_category_human, notice, retention, "
    "stop_collection. A condition is {fact = …, is = true | one_of = \\[…] | at_least = …, at_most = …}.\n\n"
    "fedrepay rules check us-fed"
)
_EXPLAIN = (
    "Say in plain words what a pack, or one rule of it, demands, blocks and needs to know.\n\n"
    "A fact that a rule needs and that is not known never allows anything: the rule blocks, and a human "
    "decides.\n\n"
    "fedrepay rules explain nl cost-scale"
)
_TEST = (
    "Run the cases that stand in a pack: facts, a plan, and what must come out.\n\n"
    "Exit code 3 if one fails. Each built-in pack ships cases on both sides of every boundary.\n\n"
    "\b\n"
    "\\[base.facts]            # what all cases share; \\[base.plan] likewise\n"
    'jurisdiction = "US"\n'
    "\\[\\[cases]]\n"
    'name = "the 8th call"\n'
    "facts = { calls_7d = 7 }\n"
    'plan = { channel = "call" }\n'
    'expect = { blocked = "calls-7-in-7-days" }   # "" means allowed\n\n'
    'expect may also name human, stop, notices, unknown and retention_days; `unknown = \\["calls_7d"]` beside '
    "facts takes a fact away.\n\n"
    "fedrepay rules test us-fed"
)
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
_Pack = Annotated[
    str, typer.Argument(help="A pack's TOML file, or the name of a built-in.", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command(help=_CHECK)
def check(pack: _Pack) -> None:
    """Check a pack; the help text stands in ``_CHECK``."""
    from rich.table import Table
    from rich.text import Text

    from fedrepay.shared.rules import words

    checked = _load(pack)
    console = _console()
    _head(console, checked)
    console.print(f"File: {_path(pack)}", markup=False, highlight=False, soft_wrap=True)
    table = Table(expand=True)
    table.add_column("rule, version, kind", ratio=3, overflow="fold")
    table.add_column("article", ratio=3, overflow="fold")
    table.add_column("checked", width=7)
    table.add_column("what it does", ratio=6)
    for rule in checked.rules:
        only = words.applies(rule.applies_to)
        table.add_row(
            Text(f"{rule.id}\nversion {rule.version}, {rule.kind}"),
            Text(rule.article),
            "yes" if rule.checked else "[red]NO[/]",
            Text(words.demands(rule) + (f" Only where {only}." if only else "")),
        )
    console.print(table)
    console.print(
        f"{len(checked.rules)} rules, {len(checked.cases)} cases. sha256 {checked.sha256}", highlight=False
    )


@app.command(help=_EXPLAIN)
def explain(
    pack: _Pack,
    rule: Annotated[
        str | None, typer.Argument(help="A rule's id; all without it.", show_default=False)
    ] = None,
) -> None:
    """Explain a pack; the help text stands in ``_EXPLAIN``."""
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.rules import words
    from fedrepay.shared.rules.facts import FACTS

    checked = _load(pack)
    wanted = [each for each in checked.rules if rule in (None, each.id)]
    if not wanted:
        raise ArgumentError(
            f"Pack {checked.id} has no rule {rule}.",
            f"It has {', '.join(each.id for each in checked.rules)}.",
        )
    console = _console()
    _head(console, checked)
    for each in wanted:
        console.print(f"\n{each.id} (version {each.version}, {each.kind})", style="bold", markup=False)
        console.print(each.text, markup=False)
        console.print(f"Source: {each.article}; {checked.citation}", markup=False)
        console.print(words.demands(each), markup=False)
        only = words.applies((*checked.applies_to, *each.applies_to))
        if only:
            console.print(f"Only where {only}.", markup=False)
        if each.note:
            console.print(f"Note: {each.note}", markup=False)
        if not each.checked:
            console.print("Not checked against the source.", style="yellow")
        console.print("Needs to know, or else a human decides:")
        for name in words.needs(checked, each):
            mark = " (restricted)" if FACTS[name].restricted else ""
            console.print(f"  {name}: {FACTS[name].words}{mark}", markup=False, highlight=False)


@app.command("test", help=_TEST)
def test_pack(pack: _Pack) -> None:
    """Run a pack's cases; the help text stands in ``_TEST``."""
    from fedrepay.shared.errors import RuleError
    from fedrepay.shared.rules.cases import run_cases

    checked = _load(pack)
    console = _console()
    _head(console, checked)
    if not checked.cases:
        raise RuleError(
            f"Pack {checked.id} has no cases.", "Write [[cases]]; see `fedrepay rules test --help`."
        )
    results = run_cases(checked)
    for result in results:
        console.print("FAIL" if result.wrong else "pass", style="red" if result.wrong else "green", end=" ")
        console.print("; ".join((result.case.name, *result.wrong)), markup=False, highlight=False)
    failed = [result.case.name for result in results if result.wrong]
    if failed:
        raise RuleError(
            f"{len(failed)} of {len(results)} cases of pack {checked.id} failed: {'; '.join(failed)}.",
            "Mend the rule, or the case if the rule is right.",
        )
    console.print(f"All {len(results)} cases passed.")


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
    as_json: _Json = False,
) -> None:
    """Compare two packs; the help text stands in ``_DIFF``."""
    import json

    from fedrepay.client.plans.batch_io.rules_diff import compare
    from fedrepay.shared.rules.pack import DISCLAIMER

    before, after = _load(old), _load(new)
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

    console = _console()
    _head(console, after)
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


def _load(pack: str) -> "Pack":
    from fedrepay.shared.rules.pack import load_pack

    return load_pack(_path(pack))


def _path(pack: str) -> Path:
    """A built-in's file by its name, anything else as a file."""
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.rules.pack import builtin_names, builtin_path

    if pack in builtin_names():
        return builtin_path(pack)
    path = Path(pack)
    if not path.exists() and path.suffix != ".toml":
        raise ArgumentError(
            f"{pack} is neither a file nor a built-in pack.", f"Built in are {', '.join(builtin_names())}."
        )
    return path


def _head(console: "Console", pack: "Pack") -> None:
    from fedrepay.shared.rules.words import applies, covers, iso

    console.print(
        f"{pack.title}: {pack.id}, version {pack.version}", style="bold", markup=False, highlight=False
    )
    console.print(pack.disclaimer, style="yellow", markup=False)
    only = applies(pack.applies_to)
    console.print(
        f"{pack.citation.rstrip('.')}. Jurisdiction {pack.jurisdiction}{f', where {only}' if only else ''}; in force "
        f"{iso(pack.effective_from, 'always')} to {iso(pack.effective_to, 'no end')}.",
        markup=False,
        highlight=False,
    )
    console.print(covers(pack), markup=False, highlight=False)


def _console() -> "Console":
    from rich.console import Console

    return Console()
