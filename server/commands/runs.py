"""``fedrepay coordinator train`` and ``abandon``: options and screen."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.server.commands.options import Folder

app = typer.Typer()
SuperLink = Annotated[str, typer.Option(help="HOST:PORT of the SuperLink, on loopback.")]
_ADDRESS = "127.0.0.1:9093"
_ABANDON = (
    "Give the unfinished run up: where its epoch has ended (a changed sum, a restored member), or nobody wants it.\n\n"
    "What it has spent stays in every ledger and statement. Members forget its secrets when the next run calls. "
    "docs/refusals.md says which refusal needs this.\n\n"
    "\b\nfedrepay coordinator abandon --folder coordinator"
)
_TRAIN = (
    "Start a run over the network, or carry an interrupted one on; its progress is shown until it is done.\n\n"
    "The first time, members make a roster: people at the members compare its twelve words by telephone and approve "
    "them; then the same command goes on. Every member is asked for the run's terms before anything is spent, and one "
    "no ends it there. A run needs a quorum of the roster, not everybody.\n\n"
    "An unfinished run goes on whatever the options say. Ctrl-C leaves it where it is. After a run that is done, "
    "--new-run starts another, which costs every customer its ε again.\n\n"
    "\b\nfedrepay coordinator train --folder coordinator --schema consortium.toml --members 8 --epsilon 1\n"
    "fedrepay coordinator train --folder coordinator --schema consortium.toml --members 8 --mode local --terms net.toml"
)


@app.command(help=_ABANDON)
def abandon(
    folder: Folder,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Abandon a run; the help text stands in ``_ABANDON``."""
    from fedrepay.server.network.app import alone
    from fedrepay.server.network.runs import abandon as give_up
    from fedrepay.server.store import CoordinatorStore

    if not yes:
        typer.confirm("What this run has spent stays spent. Abandon it?", abort=True)
    with alone(folder, 1.0):  # no ServerApp carries it at this moment
        number = give_up(CoordinatorStore.in_folder(folder))
    typer.echo(f"Run {number} is abandoned. `fedrepay coordinator train --new-run` starts the next.")


@app.command(help=_TRAIN)
def train(
    folder: Folder,
    members: Annotated[int, typer.Option(min=3, help="How many members must be there.", show_default=False)],
    schema: Annotated[
        Path, typer.Option(help="The consortium's schema, its code book beside it.", show_default=False)
    ],
    superlink: SuperLink = _ADDRESS,
    epsilon: Annotated[
        float | None,
        typer.Option(help="ε of one customer for the whole release; default 1.", show_default=False),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="δ; default min(1e-5, 1/(10·members_max·n_max)).", show_default=False),
    ] = None,
    colluders: Annotated[int | None, typer.Option(help="Default max(1, ⌈K/10⌉).", show_default=False)] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="distributed, local (a torch module, all noise at each member; with --terms), or none (unprotected; "
            "members must allow it)."
        ),
    ] = "distributed",
    terms: Annotated[
        Path | None,
        typer.Option(help="Of --mode local: made by `fedrepay member local-terms`.", show_default=False),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Secure sums; default 5.", show_default=False)] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a member has for an answer.")] = 600.0,
    new_run: Annotated[
        bool, typer.Option("--new-run", help="Start another run after one that is done or abandoned.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Leave this member out of the run; absence is no revocation (repeatable)."),
    ] = None,
    new_roster: Annotated[
        bool,
        typer.Option(
            "--new-roster", help="Make a new roster of the nodes that are online; people compare words."
        ),
    ] = False,
) -> None:
    """Start or carry on a run; the help text stands in ``_TRAIN``."""
    from rich.console import Console

    from fedrepay.server.admission.certificates import AUTHORITY
    from fedrepay.server.network.runs import RunWishes, next_run
    from fedrepay.server.network.superlink import Control
    from fedrepay.server.network.training import train as carry
    from fedrepay.shared.schema import codebook
    from fedrepay.shared.text import printable
    from fedrepay.shared.trust import local_run

    console = Console(stderr=True)
    stated = None if terms is None else local_run.read(terms)
    wishes = RunWishes(epsilon, delta, colluders, mode, rounds, timeout, stated, new_run)
    begun, resumed = next_run(folder, codebook.load(schema), members, wishes)
    console.print(
        f"Run {begun.run}{' goes on' if resumed else ''}: mode {begun.mode}, ε = {begun.epsilon:g} and δ = {begun.delta:g} "
        f"for every customer, {begun.rounds} sums, {begun.colluders} colluders.",
        highlight=False,
    )
    try:
        seen = carry(
            Control(superlink, folder / AUTHORITY),
            folder,
            members,
            lambda event: console.print(
                printable(f"{event.kind} {event.name}".strip()), highlight=False, markup=False
            ),
            options=_options(without or [], new_roster=new_roster),
        )
    except KeyboardInterrupt:
        console.print("Stopped looking. Nothing is lost: the same command goes on.")
        raise typer.Exit(130) from None
    console.print(
        f"Done. Sent {seen.bytes_sent:,} and received {seen.bytes_received:,} bytes.", highlight=False
    )


def _options(without: list[str], *, new_roster: bool) -> dict[str, str | int]:
    """What the bundle's configuration carries of these."""
    named: dict[str, str | int] = {"without": " ".join(without)} if without else {}
    return named | ({"new-roster": True} if new_roster else {})
