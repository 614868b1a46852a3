"""``fedrepay rules``: options and screen for the compliance officer; the work is in ``shared/rules``."""

from typing import Annotated

import typer

from fedrepay.client.commands import rules_diff
from fedrepay.client.commands.options import Json, show
from fedrepay.client.commands.rule_packs import PackName, head, load, named, path_of, screen

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
app = typer.Typer()
app.add_typer(rules_diff.app)


@app.command(help=_CHECK)
def check(pack: PackName, as_json: Json = False) -> None:
    """Check a pack; the help text stands in ``_CHECK``."""
    from rich.table import Table
    from rich.text import Text

    from fedrepay.shared.rules import words

    checked = load(pack)
    if as_json:
        rules = [
            {
                "id": each.id,
                "version": each.version,
                "kind": each.kind,
                "article": each.article,
                "checked": each.checked,
                "does": words.demands(each),
                "only_where": words.applies(each.applies_to),
            }
            for each in checked.rules
        ]
        show(
            as_json,
            named(checked) | {"file": str(path_of(pack)), "rules": rules, "cases": len(checked.cases)},
        )
        return
    console = screen()
    head(console, checked)
    console.print(f"File: {path_of(pack)}", markup=False, highlight=False, soft_wrap=True)
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
    pack: PackName,
    rule: Annotated[
        str | None, typer.Argument(help="A rule's id; all without it.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain a pack; the help text stands in ``_EXPLAIN``."""
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.rules import words
    from fedrepay.shared.rules.facts import FACTS

    checked = load(pack)
    wanted = [each for each in checked.rules if rule in (None, each.id)]
    if not wanted:
        raise ArgumentError(
            f"Pack {checked.id} has no rule {rule}.",
            f"It has {', '.join(each.id for each in checked.rules)}.",
        )
    if as_json:
        rules = [
            {
                "id": each.id,
                "text": each.text,
                "source": f"{each.article}; {checked.citation}",
                "demands": words.demands(each),
                "only_where": words.applies((*checked.applies_to, *each.applies_to)),
                "note": each.note,
                "checked": each.checked,
                "needs": list(words.needs(checked, each)),
            }
            for each in wanted
        ]
        show(as_json, named(checked) | {"rules": rules})
        return
    console = screen()
    head(console, checked)
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
def run_tests(pack: PackName, as_json: Json = False) -> None:
    """Run a pack's cases; the help text stands in ``_TEST``."""
    from fedrepay.shared.errors import RuleError
    from fedrepay.shared.rules.cases import run_cases

    checked = load(pack)
    if not checked.cases:
        raise RuleError(
            f"Pack {checked.id} has no cases.", "Write [[cases]]; see `fedrepay rules test --help`."
        )
    results = run_cases(checked)
    failed = [result.case.name for result in results if result.wrong]
    console = screen()
    if as_json:
        cases = [{"name": each.case.name, "wrong": list(each.wrong)} for each in results]
        show(as_json, named(checked) | {"cases": cases, "failed": len(failed)})
    else:
        head(console, checked)
    for result in () if as_json else results:
        console.print("FAIL" if result.wrong else "pass", style="red" if result.wrong else "green", end=" ")
        console.print("; ".join((result.case.name, *result.wrong)), markup=False, highlight=False)
    if failed:
        raise RuleError(
            f"{len(failed)} of {len(results)} cases of pack {checked.id} failed: {'; '.join(failed)}.",
            "Mend the rule, or the case if the rule is right.",
        )
    if not as_json:
        console.print(f"All {len(results)} cases passed.")
