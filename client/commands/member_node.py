"""``fedrepay member init``, ``approve-roster``, ``serve`` and ``node``: options and screen."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.options import Folder, Json, JsonLines, Socket, show

app = typer.Typer()

_INIT = (
    "Make this institution's keys before it has an invitation; `member join` makes them too, and goes on with these.\n\n"
    "They are made here and never leave this folder (0700, key files 0600). FOLDER/entry.json holds the public ones. "
    "Keep the folder out of backups: a restored copy is refused by the protocol.\n\n"
    "\b\nfedrepay member init bank-a --folder member"
)
_APPROVE = (
    "Approve the consortium's roster by its twelve words, after people at the members compared them by telephone.\n\n"
    "`member roster` shows the words of one that waits for people here; this member takes no part in it before they are "
    "approved. Differing words mean that somebody else is in the roster. Where the coordinator's key is replaced and its old key "
    "has not signed for that, it asks whether you called the operator.\n\n"
    "\b\nfedrepay member approve-roster --folder member zoo abandon … (twelve words)"
)
_OVERRIDE = (
    "Sign a mapping that `check-data` refuses because one customer's row may depend on another's.\n\n"
    "The privacy guarantee then rests on your word for these very bytes of the mapping: a change of the file voids it. "
    "Mapping, reason and signature are written beside it (mine.override for mine.toml); their digest stands in your "
    "ledger, and in the statement and release that the others see.\n\n"
    "\b\n"
    'fedrepay member override-mapping --folder member --mapping mine.toml --reason "rates by branch are public"'
)
_WITHDRAW = (
    "Take this member's signature back from a new roster that somebody never signed; the roster before is in force again.\n\n"
    "People at all members do it together, on one call, or nobody does: some under the old roster and some under the "
    "new one would be two consortia. That roster's number can never be used here again.\n\n"
    "\b\nfedrepay member withdraw-roster --folder member"
)
_SERVE = (
    "Run the member's own process: keys, rows and privacy budget live here and nowhere else.\n\n"
    "It answers one message at a time on a Unix socket that only this user can reach; `member node` relays to it. "
    "Rows are read once, at the start. Ctrl-C or a crash loses nothing: start it again with the same files.\n\n"
    "limits.toml is this member's veto; each line may be left out:\n\n"
    "\b\n"
    "minimum_cohort = 5         # 3 or 4 needs this line\n"
    "epsilon_per_release = 1.0\n"
    "epsilon_per_year = 4.0\n"
    "delta_per_year = 1e-8      # at most 1/(10·members_max·n_max); default min(1e-5, that)\n"
    "allow_unprotected = false  # true takes part in runs without noise\n\n"
    "\b\n"
    "fedrepay member serve --folder member --schema consortium.toml --data accounts.csv --mapping mine.toml"
)
_NODE = (
    "Run the Flower node beside `member serve`: it relays bytes and can read none of them.\n\n"
    "It holds its own key (node.key), the consortium's certificate and the socket's path. A bundle with any code in it "
    "is refused before anything of it is unpacked. In a folder that `member join` made, all options are set.\n\n"
    "\b\n"
    "fedrepay member node --folder member --superlink consortium.example:443 --certificates ca.pem"
)


@app.command(help=_INIT)
def init(
    name: Annotated[str, typer.Argument(help="This member's name in the consortium.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="A new folder for the keys.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Make a member's folder; the help text stands in ``_INIT``."""
    from fedrepay.client.node import setup

    entry = setup.create(name, folder)
    show(
        as_json,
        {"name": entry.name, "entry": str(folder / setup.ENTRY), "signing": entry.signing.hex()},
        f"{folder / setup.ENTRY}: {entry.name}, signing key {entry.signing.hex()}",
        f"Next: fedrepay member join INVITATION --folder {folder}   (the operator's one line)",
    )


@app.command("approve-roster", help=_APPROVE)
def approve_roster(
    words: Annotated[list[str], typer.Argument(help="The twelve words.", show_default=False)],
    folder: Folder,
    yes: Annotated[
        bool, typer.Option("--yes", help="The operator was called, where its key is replaced.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Approve a roster; the help text stands in ``_APPROVE``."""
    import time

    from fedrepay.client.commands.member_consortium import said_yes
    from fedrepay.client.node import setup
    from fedrepay.client.protocol import enrolment, roster_code
    from fedrepay.client.store.member_store import MemberStore
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.trust.succession import KeyChange, changes

    code = roster_code.parse(" ".join(words))
    setup.identity(folder)
    store = MemberStore(folder, time.time)
    pending = enrolment.waiting(store)
    if pending is not None and pending.code() != code:
        raise ArgumentError(
            "These are not the words of the roster that waits here: it was proposed anew, or somebody else is in it.",
            f"Compare again: fedrepay member roster --folder {folder}",
        )
    if pending is not None:
        key = changes(enrolment.held(store), pending).coordinator
        if key == KeyChange.REPLACED:
            said_yes(f"{key.words}. Did you?", "The roster is not approved.", yes=yes)
    store.remember(approved_code=code.encode())
    facts = {"approved": code, "roster": None if pending is None else pending.number}
    show(as_json, facts, "Approved. The roster counts once all its members have approved it.")


@app.command("override-mapping", help=_OVERRIDE)
def override_mapping(
    folder: Folder,
    mapping: Annotated[Path, typer.Option(help="The mapping that the checks refuse.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why it may be used all the same.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Sign a mapping; the help text stands in ``_OVERRIDE``."""
    from fedrepay.client.data.mappings import override
    from fedrepay.client.data.mappings.mapping import load_mapping
    from fedrepay.client.node import setup

    given = load_mapping(mapping)
    made = override.sign(setup.identity(folder).signing, mapping, given.digest, reason)
    show(
        as_json,
        {"override": str(override.path_of(mapping)), "digest": made.digest.hex(), "reason": made.reason},
        f"{override.path_of(mapping)}: signed. Digest {made.digest.hex()}",
        "The other members will see this digest beside your name; be ready to show them the file.",
    )


@app.command("withdraw-roster", help=_WITHDRAW)
def withdraw_roster(folder: Folder, as_json: Json = False) -> None:
    """Withdraw from a roster; the help text stands in ``_WITHDRAW``."""
    import time

    from fedrepay.client.node import setup
    from fedrepay.client.protocol import enrolment
    from fedrepay.client.store.member_store import MemberStore

    setup.identity(folder)
    number = enrolment.withdraw(MemberStore(folder, time.time))
    said = f"Withdrawn from roster {number}; the one before is in force here. Restart `member serve`."
    show(as_json, {"withdrawn": number}, said)


@app.command(help=_SERVE)
def serve(
    folder: Folder,
    schema: Annotated[
        Path | None,
        typer.Option(help="The consortium's schema, its code book beside it.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file; the mapping knows it as the table `data`.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML with one SELECT; without it columns match by name.")
    ] = None,
    limits: Annotated[
        Path | None, typer.Option(help="This member's veto (TOML); default: the strict ones.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Torch module this member trains in local mode: logistic, mlp, or module:Class of its own.",
            show_default=False,
        ),
    ] = None,
    socket: Socket = None,
    as_json: JsonLines = False,
) -> None:
    """Serve a member; the help text stands in ``_SERVE``."""
    import logging
    import signal
    import time

    from threadpoolctl import threadpool_limits

    from fedrepay.client.node import door, house, journal, setup
    from fedrepay.client.store import settings
    from fedrepay.shared.errors import ArgumentError

    journal.to_screen(as_json=as_json)
    log = logging.getLogger("fedrepay.member")
    held = settings.load(folder)
    named = settings.file_of(folder, schema, held.schema_file)
    if named is None:
        raise ArgumentError("No schema is named.", "--schema FILE, or `schema` in member.toml.")
    sources = setup.Sources(
        named,
        settings.file_of(folder, data, held.data),
        settings.file_of(folder, mapping, held.mapping),
        settings.file_of(folder, limits, held.limits),
        model or held.model,
    )
    guest = None if held.node_user is None else door.Guest.named(held.node_user)
    place = socket or settings.file_of(folder, None, held.socket) or folder / door.SOCKET
    with door.held(folder), threadpool_limits(limits=1):  # one thread: members must do the same sums
        member = setup.member(
            folder,
            sources,
            lambda stage, seconds: log.info("%s: %.3f s", stage, seconds),
        )
        errands = house.errands(
            lambda: setup.identity(folder), time.time, member.pull, member.take, member.sent
        )
        handler = house.at_home(journal.noted(member.handle), errands)
        with door.Door(place, handler, guest=guest) as open_door:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_signal: open_door.stop())
            log.info("Serving at %s", open_door.path)
            open_door.serve()
    log.info("Stopped; nothing is lost.")


@app.command(help=_NODE)
def node(
    folder: Folder,
    superlink: Annotated[
        str | None, typer.Option(help="HOST:PORT of the consortium's front.", show_default=False)
    ] = None,
    certificates: Annotated[
        Path | None,
        typer.Option(help="PEM file of the authority behind the front's certificate.", show_default=False),
    ] = None,
    socket: Socket = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Of the node's own API, on loopback; default 9094.", show_default=False
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            help="Address of an HTTP proxy to go through: http://\\[user:password@]host:port.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonLines = False,
) -> None:
    """Run the Flower node; the help text stands in ``_NODE``."""
    from fedrepay.client.node import door, journal
    from fedrepay.client.node.supernode import MemberNode
    from fedrepay.client.store import settings
    from fedrepay.shared.errors import ArgumentError

    held = settings.load(folder)
    address = superlink or held.address
    if address is None:
        raise ArgumentError("No coordinator is named.", "--superlink HOST:PORT, or `address` in member.toml.")
    if proxy is not None:
        settings.check_proxy(proxy)
    if as_json:
        journal.to_screen(as_json=True)
        journal.take_over("flwr")
    MemberNode(
        folder,
        address,
        certificates or folder / "ca.pem",
        socket or settings.file_of(folder, None, held.socket) or folder / door.SOCKET,
        port or held.node_port,
        proxy or held.proxy,
    ).run()
