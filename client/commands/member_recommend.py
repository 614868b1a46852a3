"""``fedrepay member recommend``: options and screen; the work is in ``plans/``."""

from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.member_score import Mapping, Member, RosterCode, mapped

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from rich.console import Console

    from fedrepay.client.plans.batch_io.recommend import Job, Loaded, Progress, Recommended

app = typer.Typer()
_HELP = (
    "Recommend repayment plans for your own accounts, on your own machine.\n\n"
    "Up to three plans an account that the debtor can afford, that your rule packs allow and that bring most, "
    "each with reasons; or what is affordable until a review, a token plan, a referral or a human. Writes one row per account and rank "
    "(docs/plans.md explains each column), rows with a wrong cell to OUT.rejects, and the facts that rules used to "
    "OUT.facts.parquet, which only you may read. The same batch id with the same inputs is written once, with other inputs "
    "it is refused; what else stands at OUT is only written over with --replace.\n\n"
    "A release needs --member, your own state folder, or --roster-code, the twelve words that your institution compared: "
    "anybody can make a roster and sign with it. One of `fedrepay simulate` needs neither; whatever is made with it says "
    "SIMULATED, letters too.\n\n"
    "Without --release the one in use at --member is taken (`fedrepay member use`).\n\n"
    "\b\n"
    "fedrepay member recommend --release release --member member --accounts accounts.csv \\\n"
    "  --catalogue catalogue.toml --settings settings.toml --batch-id 2026-01-31 --out plans.parquet\n"
    "fedrepay member recommend … --explain ACCOUNT"
)


@app.command("recommend", help=_HELP)
def recommend(
    accounts: Annotated[Path, typer.Option(help="CSV or Parquet file of accounts.")],
    catalogue: Annotated[Path, typer.Option(help="TOML: the plans you may offer.")],
    release: Annotated[
        Path | None,
        typer.Option(
            help="Folder (or .safetensors file) of an opened, signed release; default: the one in use at --member.",
            show_default=False,
        ),
    ] = None,
    mapping: Mapping = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML: prices, weights λ, affordability, rule packs.")
    ] = None,
    own: Annotated[
        Path | None,
        typer.Option(
            help="Mapping of your past offers: fits your own part of the model here; it never leaves.",
            show_default=False,
        ),
    ] = None,
    batch_id: Annotated[str, typer.Option(help="Name of the batch.", show_default=False)] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write (.csv or .parquet).")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over other files that stand at --out.")
    ] = False,
    explain: Annotated[str | None, typer.Option(help="Show the decision for this account instead.")] = None,
    today: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD: which rules are in force; default today, in UTC.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that decide; by default one for each 20,000 accounts, no more than there are processors, "
            "nor 8. The files are the same however many there are.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    member: Member = None,
    roster_code: RosterCode = None,
    unprotected: Annotated[
        bool, typer.Option("--unprotected", help="Use a release that is not private. For tests only.")
    ] = False,
) -> None:
    """Recommend plans; the help text stands in ``_HELP``."""
    from rich.console import Console

    from fedrepay.client.plans.batch_io.recommend import Job, load, recommend_file
    from fedrepay.client.scoring.trust import Trust
    from fedrepay.shared.errors import ArgumentError

    if (out is None) == (explain is None):
        raise ArgumentError("Give --out FILE or --explain ACCOUNT, one of the two.", "See --help.")
    if out is not None and not batch_id:
        raise ArgumentError("--out needs --batch-id TEXT.", "Name the batch, say by its date.")
    job = Job(
        release,
        accounts,
        catalogue,
        mapped(member, mapping),
        settings,
        _day(today),
        unprotected,
        own,
        Trust(member, roster_code),
    )
    console = Console(stderr=True)
    loaded = load(job)
    _warn(console, loaded)
    if out is not None:
        with _progress(console) as told:
            result = recommend_file(job, loaded, out, batch_id, told, replace=replace, processes=processes)
        _show(console, loaded, result, out, as_json=as_json)
    elif explain is not None:
        _explain(job, loaded, explain, batch_id, as_json=as_json)


def _explain(job: "Job", loaded: "Loaded", account: str, batch_id: str, *, as_json: bool) -> None:
    from fedrepay.client.plans.batch_io.recommend import decide_one
    from fedrepay.client.plans.explaining.explain import explain
    from fedrepay.shared.text import printable

    batch, today = decide_one(job, loaded, account, batch_id)
    found = explain(loaded.engine, batch, today=today, versions=loaded.hashes)
    if as_json:
        import json

        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        lines = found.lines(loaded.engine.settings.language)  # cells of the file are among them
        typer.echo("\n".join(printable(line, None, keep="\n") for line in lines))


def _day(text: str | None) -> date | None:
    from fedrepay.shared.errors import ArgumentError

    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentError(f"--today {text} is no date.", "Write YYYY-MM-DD.") from error


def _warn(console: "Console", loaded: "Loaded") -> None:
    from fedrepay.client.scoring.trust import SIMULATED, WARNING
    from fedrepay.shared.privacy.statement import headline

    made = loaded.checked.release
    if loaded.checked.origin == SIMULATED:
        console.print(f"[bold red]{WARNING}[/]")
    if loaded.checked.not_private:
        words = f"THIS RELEASE IS NOT PRIVATE: {loaded.checked.not_private}"
        console.print(words, style="bold red", markup=False)
    console.print(
        f"Release {made.number} signed by {loaded.checked.signatures} of {len(made.roster.names)} members."
    )
    console.print(f"Privacy: {headline(made.statement)}.", markup=False)
    console.print(f"Roster code: [bold]{made.roster.code()}[/]")
    packs = loaded.engine.packs
    if packs:
        shown = ", ".join(f"{pack.id} {pack.version}" for pack in packs)
        console.print(f"Rule packs (templates, not legal advice): {shown}.", markup=False)
    else:
        console.print(
            "[bold red]No rule pack: nothing is checked against any law.[/] Name them in --settings."
        )


@contextmanager
def _progress(console: "Console") -> "Iterator[Progress]":
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("accounts", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _given(given: "Counter[str]", currency: str) -> "Iterator[str]":
    """What the batch gives away, and for what."""
    from fedrepay.client.plans.explaining.messages import money

    def amount(name: str) -> str:
        return money("en", currency, given[name])

    yield (
        f"Given away by {given['plans']:,} offers: interest {amount('interest')}, fees {amount('fees')}, "
        f"debt {amount('discounts')} in {given['discounted']:,} discounts."
    )
    if given["discounted"]:
        yield f"The discounts are expected to bring {amount('gained')} more than the best plans without one."


def _show(console: "Console", loaded: "Loaded", result: "Recommended", out: Path, *, as_json: bool) -> None:
    from rich.table import Table

    value = loaded.engine.settings.value
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(
            json.dumps(
                {
                    "out": str(out),
                    "done_before": result.done_before,
                    "accounts": result.accounts,
                    "rejected": result.rejected,
                    "today": result.today.isoformat(),
                    **{name: dict(sorted(each.items())) for name, each in result.counts.items()},
                    "caps_used": result.used,
                    "caps_prices": None if result.prices is None else json.loads(result.prices),
                    "not_known": result.not_known,
                    "outside": result.outside,
                    "alike": result.alike,
                    "replaced": result.replaced,
                    "verifying": {name: asdict(each) for name, each in result.verifying.items()},
                    "settings": loaded.engine.settings.model_dump(mode="json"),
                    "hashes": loaded.hashes,
                },
                indent=1,
            )
        )
        return
    if result.done_before:
        console.print(f"This batch stands in {out} already, from the same inputs; nothing was written.")
        return
    table = Table("income", "decision", "accounts")
    for name, count in sorted(result.counts["by_income"].items()):
        known, _, decision = name.partition(": ")
        table.add_row(known, decision, f"{count:,}")
    console.print(table)
    console.print(
        f"Score = E[NPV] ÷ balance + {value.lambda_first:g}·P(first payment) − contact cost − "
        f"{value.lambda_complaint:g}·P(complaint) + {value.lambda_sustained:g}·P(kept at 90 days) − "
        f"{value.lambda_given:g}·forgiven; affordability, rules and relief are limits, never prices.",
        markup=False,
        highlight=False,
    )
    console.print(
        f"{result.accounts:,} accounts written to {out}; {result.rejected:,} rejected.", highlight=False
    )
    if result.replaced:
        console.print(
            f"Written over: batch {', '.join(result.replaced)}.",
            style="yellow",
            markup=False,
            highlight=False,
        )
    for line in _given(result.counts["given"], loaded.engine.catalogue.currency):
        console.print(line, markup=False, highlight=False)
    if result.counts["uncovered"]:
        missing = ", ".join(f"{name} {count:,}" for name, count in result.counts["uncovered"].most_common())
        console.print(f"[yellow]No pack covers, accounts (to a person): {missing}.[/]", highlight=False)
    if result.outside:
        from fedrepay.client.plans.deciding.outside import MONEY

        shown = ", ".join(
            f"{name} {count:,}{' (to a person)' * (name in MONEY)}" for name, count in result.outside.items()
        )
        console.print(f"[yellow]Outside what the model knows, accounts: {shown}.[/]", highlight=False)
    if result.alike:
        console.print(
            f"[yellow]{result.alike:,} rows are of customers whose ids differ only in spelling.[/] Ids that differ "
            "in case, blanks or Unicode form are one person here, those that differ in leading zeros are not.",
            highlight=False,
        )
    for name, each in result.verifying.items():
        console.print(
            f"Asking {each.accounts:,} of income {name} for {'a form' if name == 'none' else 'a proof'}: "
            f"{each.plans_now:,} have a plan now, {each.plans_then:,.0f} may be expected to.",
            highlight=False,
        )
    if result.not_known:
        console.print(
            f"[yellow]No such column, so nobody is spared for it: {', '.join(result.not_known)}.[/] See docs/plans.md, Accounts.",
            highlight=False,
        )
    if result.findings:
        console.print(f"[yellow]Why: {out}.rejects[/]")
