"""``fedrepay member run``, ``status``, ``roster`` and ``preflight``: options and screen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.options import Folder, Json, JsonLines, show

if TYPE_CHECKING:
    from fedrepay.client.consortium.overview import Overview, RosterSeen

app = typer.Typer()
_WRONG = 10
_RUN = (
    "Run this member: its own process (`serve`), its Flower node (`node`), and the link that makes rosters, pulls releases and "
    "renews the certificate. One process to start and one to stop; what dies is started again.\n\n"
    "All settings stand in FOLDER/member.toml. Only connections to the coordinator's one port go out; none come in.\n\n"
    "\b\nfedrepay member run --folder member"
)
_STATUS = (
    "How this member stands: connected or not and why, the roster, the last run and whom it waits for, the release in use, and "
    "what waits for people here: words to compare, terms to accept.\n\n"
    "\b\nfedrepay member status --folder member"
)
_ROSTER = (
    "Who is in the roster that this member takes part in; and of a proposed one who would join, leave, be revoked or has new "
    "keys, the coordinator too, with the twelve words to compare before `approve-roster`.\n\n"
    "\b\nfedrepay member roster --folder member"
)
_PREFLIGHT = (
    "Look at everything between here and a coordinator, before joining or when something does not connect: name, port, proxy, "
    "TLS (and who inspects it), certificate, clock, disk, Python, free port. Exit code 10 if anything is wrong.\n\n"
    "Ends with a page for the people who run the firewall. Nothing secret is sent.\n\n"
    "\b\n"
    "fedrepay member preflight consortium.example\n"
    "fedrepay member preflight consortium.example:443 --folder member --proxy http://user:password@proxy:3128"
)


@app.command(help=_RUN)
def run(folder: Folder, as_json: JsonLines = False) -> None:
    """Run the member; the help text stands in ``_RUN``."""
    import logging
    import time

    from fedrepay.client.consortium import running
    from fedrepay.client.node import journal
    from fedrepay.client.store import settings
    from fedrepay.shared.supervision import supervise

    journal.to_screen(as_json=as_json)
    log = logging.getLogger("fedrepay.run")
    if (user := settings.load(folder).node_user) is not None:
        log.info("The node is %s's: that user runs `fedrepay member node`.", user)
    children = running.children(folder, as_json=as_json)
    with running.alone(folder):
        watch = running.watcher(folder, time.time)
        supervise(children, lambda line: log.info("%s", line), time.monotonic, watch=watch)


@app.command(hidden=True)
def link(folder: Folder, as_json: JsonLines = False) -> None:
    """Keep the link to the coordinator up; `member run` starts it."""
    from fedrepay.client.consortium import link as links
    from fedrepay.client.consortium import running
    from fedrepay.client.node import journal

    journal.to_screen(as_json=as_json)
    links.serve(folder, running.socket_of(folder))


@app.command(help=_STATUS)
def status(folder: Folder, as_json: Json = False) -> None:
    """Show how the member stands; the help text stands in ``_STATUS``."""
    import time
    from dataclasses import asdict

    from fedrepay.client.consortium import overview

    found = overview.seen(folder, time.time())
    show(as_json, asdict(found), *_lines(found))


def _lines(found: "Overview") -> list[str]:
    from datetime import UTC, datetime

    def day(at: float | None) -> str:
        return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes")

    state = "connected" if found.connected else "not connected"
    broken = (
        f", and its {' and '.join(found.down)} does not run: it takes part in no run now"
        if found.down
        else ""
    )
    lines = [f"{found.name} at {found.address}: {state}{broken}."]
    if found.cause:
        lines += [f"  {found.cause} {found.remedy}"]
    for each in found.processes:
        again = f", started again {each.restarts} times" if each.restarts else ""
        ended = f"; last it {each.last}" if each.last else ""
        runs = "runs" if each.runs else "is dead, and waits to be started again,"
        lines += [f"  {each.name} {runs} since {day(each.since)}{again}{ended}"]
    if found.certificate_ends is not None:
        lines += [
            f"Certificate until {day(found.certificate_ends)}{'; it renews itself' if found.connected else ''}."
        ]
    lines += [
        f"Roster {found.roster}: {', '.join(found.in_roster)}." if found.roster else "In no roster yet."
    ]
    if found.left:
        lines += ["This member has left."]
    if found.lost:
        lines += [found.lost]
    if found.run:
        whom = f"; waits for {', '.join(found.waiting_for)}" if found.waiting_for else ""
        lines += [f"Run {found.run}: {found.run_state}{whom}."]
    held = ", ".join(map(str, found.releases)) or "none"
    lines += [f"Releases held: {held}; in use: {found.in_use or 'none'}."]
    if found.approve and found.approved:
        lines += ["You approved the words of the next roster: it counts once all its members have."]
    elif found.approve:
        lines += ["A roster waits for your yes. Compare its words with the others: `fedrepay member roster`."]
    if found.coordinator_key:
        lines += [f"  In it, {found.coordinator_key.words}."]
    if found.new_terms:
        lines += ["New terms wait for your yes: `fedrepay member accept-terms`."]
    return lines


@app.command(help=_ROSTER)
def roster(folder: Folder, as_json: Json = False) -> None:
    """Show the rosters; the help text stands in ``_ROSTER``."""
    from dataclasses import asdict

    from fedrepay.client.consortium import overview

    held, pending = overview.rosters(folder)
    facts = {
        "held": None if held is None else asdict(held),
        "proposed": None if pending is None else asdict(pending),
    }
    lines = ["In no roster yet."] if held is None else [f"Roster {held.number}: {', '.join(held.members)}."]
    lines += ["No other roster waits for a yes here."] if pending is None else _proposed(folder, pending)
    show(as_json, facts, *lines)


def _proposed(folder: Path, pending: "RosterSeen") -> list[str]:
    lines = [f"Roster {pending.number} is proposed: {', '.join(pending.members)}."]
    revoked = tuple(f"{name} ({reason})" for name, reason in pending.revoked)
    told = {
        "Would join": pending.joins,
        "Would leave": pending.leaves,
        "Revoked": revoked,
        "With new keys": pending.rekeyed,
    }
    lines += [f"  {what}: {', '.join(names)}." for what, names in told.items() if names]
    if pending.coordinator_key:
        lines += [f"  In it, {pending.coordinator_key.words}."]
    return [
        *lines,
        "Compare these words with the other members by telephone; differing words mean that somebody else is in it:",
        f"  {pending.words}",
        f"Then: fedrepay member approve-roster --folder {folder} WORD …   (the twelve that you heard)",
    ]


@app.command(help=_PREFLIGHT)
def preflight(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the coordinator.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option(help="This member's folder, if there is one.", show_default=False)
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            help="Address of an HTTP proxy to go through: http://\\[user:password@]host:port.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at the way to a coordinator; the help text stands in ``_PREFLIGHT``."""
    from dataclasses import asdict

    from fedrepay.client.consortium import preflight as looking

    way = looking.route(host, folder, proxy)
    found = looking.look(way)
    page = looking.firewall(way)
    facts = {"checks": [asdict(each) for each in found], "firewall": page}
    show(as_json, facts, *(each.line() for each in found), "", page)
    if any(each.state == looking.WRONG for each in found):
        raise typer.Exit(_WRONG)
