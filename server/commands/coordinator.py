"""``fedrepay coordinator``: options and screen of the operator's commands."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
Folder = Annotated[
    Path, typer.Option(help="The coordinator's folder, made by `coordinator init`.", show_default=False)
]
SuperLink = Annotated[str, typer.Option(help="HOST:PORT of the SuperLink, on loopback.")]
_ADDRESS = "127.0.0.1:9093"

_INIT = (
    "Make a coordinator: its signing key, a certificate authority of its own, the front's certificate, and the "
    "secret between Flower's processes.\n\n"
    "Shows the commands of Flower's SuperLink to run beside `coordinator front`. Give ca.pem to the members.\n\n"
    "\b\nfedrepay coordinator init --folder coordinator --host consortium.example"
)
_REGISTER = (
    "Let a member's node in, by the node.pub that `fedrepay member init` made. A key is registered once, for ever: "
    "Flower takes no key again that was taken away. The front reads it in FOLDER/nodes: remove it there, and the node "
    "is shut out at once.\n\n"
    "\b\nfedrepay coordinator register bank-a bank-a/node.pub --folder coordinator"
)
_FRONT = (
    "Run the front: TLS for the members' nodes, and nothing but what a registered node needs.\n\n"
    "The SuperLink behind it stays on loopback, since its port also takes orders from anybody.\n\n"
    "\b\nfedrepay coordinator front --folder coordinator --host 0.0.0.0 --port 443"
)
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


@app.callback()
def coordinator() -> None:
    """What the consortium's operator does."""


@app.command(help=_INIT)
def init(
    folder: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address that members know the front by (repeatable).")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the SuperLink, on loopback.")] = 9093,
) -> None:
    """Make a coordinator; the help text stands in ``_INIT``."""
    import shlex

    from fedrepay.server.admission import certificates
    from fedrepay.server.network import superlink
    from fedrepay.server.store import load_key
    from fedrepay.shared import keys
    from fedrepay.shared.errors import ArgumentError

    if (folder / certificates.AUTHORITY).exists():
        raise ArgumentError(f"{folder} holds a coordinator already.", "Choose another --folder.")
    key = load_key(folder)
    certificates.create(folder, host or [])
    superlink.make_secret(folder)
    typer.echo(f"Coordinator's signing key: {keys.public_bytes(key).hex()}")
    typer.echo(f"For the members: {folder / certificates.AUTHORITY}\nBeside `coordinator front`, run:")
    settings = superlink.SETTINGS | {"FLWR_HOME": str(folder / superlink.HOME)}
    named = " ".join(shlex.quote(f"{name}={value}") for name, value in settings.items())
    for command in superlink.commands(folder, port).values():
        # the SuperExec finds Flower's ServerApp program by PATH alone
        typer.echo(
            f'  env {named} PATH={shlex.quote(str(Path(command[0]).parent))}:"$PATH" {shlex.join(command)}'
        )


@app.command(help=_REGISTER)
def register(
    name: Annotated[str, typer.Argument(help="The member's name.", show_default=False)],
    key: Annotated[Path, typer.Argument(help="Its node.pub.", show_default=False)],
    folder: Folder,
    superlink: SuperLink = _ADDRESS,
) -> None:
    """Let a node in; the help text stands in ``_REGISTER``."""
    from fedrepay.server.admission.certificates import AUTHORITY
    from fedrepay.server.front import nodes
    from fedrepay.server.network.superlink import Control
    from fedrepay.shared.errors import ArgumentError

    try:
        public = key.read_bytes()
    except OSError as error:
        raise ArgumentError(
            f"{key} cannot be read: {error.strerror}.", "Name the member's node.pub."
        ) from error
    node = nodes.register(folder, Control(superlink, folder / AUTHORITY), public, name)
    typer.echo(f"{name} is node {node}.")


@app.command(help=_FRONT)
def front(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8443,
    superlink: SuperLink = _ADDRESS,
    max_body: Annotated[int, typer.Option(min=1, help="Largest object that a node may send, in MB.")] = 264,
) -> None:
    """Run the front; the help text stands in ``_FRONT``."""
    from fedrepay.server.admission import certificates
    from fedrepay.server.front import front as fleet_front
    from fedrepay.shared.errors import ArgumentError

    authority = folder / certificates.AUTHORITY
    if not authority.is_file():
        raise ArgumentError(f"{authority} is not there.", "`fedrepay coordinator init` makes it.")
    tls = (authority, folder / certificates.CERTIFICATE, folder / certificates.KEY)
    typer.echo(f"The front: https://{host}:{port}, before the SuperLink at {superlink}.")
    fleet_front.run(f"https://{superlink}", folder, host, port, tls, max_body << 20)


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
