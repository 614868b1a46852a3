"""``fedrepay coordinator train``, ``abandon``, ``status``, ``releases``, ``report`` and ``verify``: options and screen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.server.commands.options import Folder, Json, Yes

if TYPE_CHECKING:
    from fedrepay.server.operating.progress import CoordinatorStatus

app = typer.Typer()
_ABANDON = (
    "Give the unfinished run up: where its epoch has ended (a changed sum, a restored member), or nobody wants it.\n\n"
    "What it has spent stays in every ledger and statement. Members forget its secrets when the next run calls. "
    "docs/refusals.md says which refusal needs this.\n\n"
    "\b\nfedrepay coordinator abandon --folder coordinator"
)
_TRAIN = (
    "Start a run, or carry an interrupted one on; its progress is shown until it is done. `coordinator serve` must be up.\n\n"
    "Waits for a roster whose words people at the members have approved. Every member is asked for the run's terms before "
    "anything is spent, and one no ends it there. A run needs a quorum of the roster, not everybody.\n\n"
    "--dry-run asks and computes, and spends nothing: what the run costs a customer this year, who would refuse and by which "
    "limit, what members would learn of each other.\n\n"
    "An unfinished run goes on as it was begun; options that it ignores are named. Ctrl-C leaves it where it is, and another "
    "terminal may carry it on. After a run that is done, --new-run starts another, which costs every customer its ε again.\n\n"
    "\b\nfedrepay coordinator train --folder coordinator --dry-run\n"
    "fedrepay coordinator train --folder coordinator --epsilon 0.5\n"
    "fedrepay coordinator train --folder coordinator --mode local --terms net.toml"
)
_STATUS = (
    "Where everything stands: a roster's making and who has not approved it; the run's stage, who is waited for by name and "
    "since when, refusals by code, bytes, time left.\n\n"
    "Read from the database alone: it tells the truth also while nothing runs. --watch shows it again and again.\n\n"
    "\b\nfedrepay coordinator status --folder coordinator --watch"
)
_RELEASES = (
    "Every release: number, when, SHA-256, and who signed. Members pull them; the coordinator can open none.\n\n"
    "\b\nfedrepay coordinator releases --folder coordinator"
)
_REPORT = (
    "What the operator may know of a run: members, sizes, times, attempts, refusals, terms, who signed; the newest by default.\n\n"
    "\b\nfedrepay coordinator report 3 --folder coordinator > run-3.txt"
)
_VERIFY = (
    "Look again at everything in the database that somebody signed, and name what does not verify. Exit code 6: something does not.\n\n"
    "\b\nfedrepay coordinator verify --folder coordinator"
)


@app.command(help=_ABANDON)
def abandon(folder: Folder, yes: Yes = False, as_json: Json = False) -> None:
    """Abandon a run; the help text stands in ``_ABANDON``."""
    import json

    from fedrepay.server.network.runs import abandon as give_up
    from fedrepay.server.store import CoordinatorStore

    if not yes:
        typer.confirm("What this run has spent stays spent. Abandon it?", abort=True, err=as_json)
    store = CoordinatorStore.in_folder(folder)
    with store.alone(1.0):  # no ServerApp carries it at this moment
        number = give_up(store)
    if as_json:
        typer.echo(json.dumps({"abandoned": number}))
        return
    typer.echo(f"Run {number} is abandoned. `fedrepay coordinator train --new-run` starts the next.")


@app.command(help=_TRAIN)
def train(
    folder: Folder,
    members: Annotated[
        int | None,
        typer.Option(min=3, help="How many must be there; default: all of the roster.", show_default=False),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="The schema, its code book beside it; default: the folder's.", show_default=False),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="ε of one customer for the whole release; default 1, or what the terms allow.",
            show_default=False,
        ),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="δ; default min(1e-5, 1/(10·members_max·n_max)).", show_default=False),
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(help="Default: what the terms say, or max(1, ⌈K/10⌉).", show_default=False),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="distributed (the default), local (a torch module, all noise at each member; with --terms), or none "
            "(unprotected; members must allow it).",
            show_default=False,
        ),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(help="Of --mode local: made by `fedrepay member local-terms`.", show_default=False),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Secure sums; default 5.", show_default=False)] = None,
    learner: Annotated[
        str | None,
        typer.Option(
            help="dp-newton (default), dp-surrogate (better where few bins decide much, docs/protocol.md) or dp-gd "
            "(default beyond 512 bins).",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds a member has for an answer; default 600.", show_default=False),
    ] = None,
    new_run: Annotated[
        bool, typer.Option("--new-run", help="Start another run after one that is done or abandoned.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Leave this member out of the run; absence is no revocation (repeatable)."),
    ] = None,
    new_roster: Annotated[
        bool,
        typer.Option("--new-roster", help="Wait for a roster of everybody who is admitted, and nobody else."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost, and who would refuse; spend nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start or carry on a run; the help text stands in ``_TRAIN``."""
    import json

    from rich.console import Console

    from fedrepay.server.network.runs import RunWishes
    from fedrepay.server.operating import running
    from fedrepay.server.operating.narration import Narrator, ending
    from fedrepay.server.operating.running import TrainWishes
    from fedrepay.server.store import CoordinatorStore
    from fedrepay.shared.text import printable
    from fedrepay.shared.trust import local_run

    console = Console(stderr=True)

    def show(line: str) -> None:
        console.print(printable(line, None), highlight=False, markup=False)

    stated = None if terms is None else local_run.read(terms)
    wishes = RunWishes(epsilon, delta, colluders, mode, rounds, timeout, stated, new_run, learner=learner)
    asked = TrainWishes(schema, members, tuple(dict.fromkeys(without or ())), new_roster)
    if dry_run:
        made = running.rehearse(folder, asked, wishes)
        typer.echo(made.as_json() if as_json else "\n".join(made.lines()))
        return
    try:
        begun = running.begin(folder, asked, wishes, show)
        run = begun.terms
        show(
            f"Run {run.run}{' goes on' if begun.resumed else ''}: mode {run.mode}, ε = {run.epsilon:g} and δ = {run.delta:g} "
            f"for every customer, {run.rounds} sums, {run.colluders} colluders."
        )
        if begun.ignored:
            show(
                f"It goes on as it was begun; these change nothing: {', '.join(begun.ignored)}. To use them, abandon it first."
            )
        seen = running.carry(folder, begun, asked, Narrator(run.rounds, show).tell, show)
    except KeyboardInterrupt:
        console.print("Stopped looking. Nothing is lost: the same command goes on.")
        raise typer.Exit(130) from None
    number, digest, lines = ending(CoordinatorStore.in_folder(folder), folder)
    if as_json:
        sizes = {"bytes_sent": seen.bytes_sent, "bytes_received": seen.bytes_received}
        typer.echo(json.dumps({"run": number, "release": digest} | sizes, indent=1))
        return
    for line in lines:
        show(line)


@app.command(help=_STATUS)
def status(
    folder: Folder,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show where everything stands; the help text stands in ``_STATUS``."""
    import json
    import time

    from rich.console import Console

    from fedrepay.server.admission.registry import Registry
    from fedrepay.server.keyring import key_of
    from fedrepay.server.operating import founding, progress, words
    from fedrepay.server.store import CoordinatorStore

    founding.terms_in(folder)
    store, registry, key = CoordinatorStore.in_folder(folder), Registry(folder), key_of(folder)

    def look() -> "CoordinatorStatus":
        return progress.status(store, registry.members(), key)

    if not watch:
        seen = look()
        typer.echo(json.dumps(seen.as_json(), indent=1) if as_json else "\n".join(words.lines(seen)))
        return
    console = Console()
    try:
        while True:
            seen = look()
            if as_json:
                typer.echo(json.dumps(seen.as_json()))
            else:
                console.clear()
                console.print("\n".join(words.lines(seen)), markup=False, highlight=False)
            time.sleep(2)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command(help=_RELEASES)
def releases(folder: Folder, as_json: Json = False) -> None:
    """Show the releases; the help text stands in ``_RELEASES``."""
    import json
    from dataclasses import asdict

    from fedrepay.server.operating import founding, report
    from fedrepay.server.store import CoordinatorStore

    founding.terms_in(folder)
    found = report.releases(CoordinatorStore.in_folder(folder))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=1))
        return
    for each in found:
        typer.echo(
            f"{each.number}: {report.when(each.at)}, SHA-256 {each.release}, {each.size:,} bytes sealed, "
            f"signed by {', '.join(each.signed)}"
        )
    if not found:
        typer.echo("No release yet.")


@app.command("report", help=_REPORT)
def report_run(
    folder: Folder,
    run: Annotated[
        int | None, typer.Argument(help="Number of the run; default the newest.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Report a run; the help text stands in ``_REPORT``."""
    from fedrepay.server.operating import founding, report
    from fedrepay.server.store import CoordinatorStore

    founding.terms_in(folder)
    made = report.report(CoordinatorStore.in_folder(folder), run)
    typer.echo(made.as_json() if as_json else made.page())


@app.command(help=_VERIFY)
def verify(folder: Folder, as_json: Json = False) -> None:
    """Verify the database; the help text stands in ``_VERIFY``."""
    import json
    from dataclasses import asdict

    from fedrepay.server.admission.registry import Registry
    from fedrepay.server.keyring import key_of
    from fedrepay.server.operating import founding, verifying
    from fedrepay.server.store import CoordinatorStore
    from fedrepay.shared import keys
    from fedrepay.shared.errors import ProtocolError

    founding.terms_in(folder)
    public = keys.public_bytes(key_of(folder))
    found = verifying.verify(CoordinatorStore.in_folder(folder), Registry(folder), public)
    wrong = [each for each in found if each.wrong]
    if as_json:
        typer.echo(
            json.dumps({"verified": len(found) - len(wrong), "wrong": [asdict(w) for w in wrong]}, indent=1)
        )
    else:
        for each in wrong:
            typer.echo(f"{f'{each.what} {each.name}'.rstrip()}: {each.wrong}")
        typer.echo(f"{len(found) - len(wrong)} signatures verify, {len(wrong)} do not.")
    if wrong:
        raise typer.Exit(ProtocolError.exit_code)
