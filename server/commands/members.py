"""``fedrepay coordinator invite``, ``members``, ``admit`` and ``revoke``: options and screen."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrepay.server.commands.options import Folder, Json, Yes, at_keyboard

if TYPE_CHECKING:
    from fedrepay.server.admission.tables import MemberSeen

app = typer.Typer()
_INVITE = (
    "Invite institutions: one line for each, to be given to its people by a channel of your own.\n\n"
    "It is good once, and for some days. It names the address and the authority, and a secret of which a hash is kept. "
    "Invited again, the older line is void.\n\n"
    "\b\nfedrepay coordinator invite bank-a bank-b --folder coordinator"
)
_MEMBERS = (
    "Who is invited, waits, is in, away, has left or was revoked; with twelve words over the keys of each.\n\n"
    "The words are those that the institution's own screen shows. Compare them by telephone before `admit`.\n\n"
    "\b\nfedrepay coordinator members --folder coordinator"
)
_ADMIT = (
    "Let members in that wait: shows each one's words and asks whether people compared them.\n\n"
    "Issues a certificate of 30 days, which renews itself, and lets its node pass the front. Once more changes nothing.\n\n"
    "\b\nfedrepay coordinator admit --folder coordinator          # whoever waits, one after the other\n"
    "fedrepay coordinator admit bank-a --folder coordinator"
)
_REVOKE = (
    "Shut a member out at once: its certificates, its node and its keys count no more, from its next call on.\n\n"
    "The roster that people approved is another matter: the next one leaves it out. If it only lost its keys, revoke it, "
    "then invite it anew.\n\n"
    "\b\nfedrepay coordinator revoke bank-a --reason 'keys lost' --folder coordinator"
)
Names = Annotated[list[str], typer.Argument(help="Names of members.", show_default=False)]


@app.command(help=_INVITE)
def invite(
    names: Names,
    folder: Folder,
    days: Annotated[float, typer.Option(help="For which it is good; at most 90.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Invite institutions; the help text stands in ``_INVITE``."""
    import json

    from fedrepay.server.admission.registry import Registry
    from fedrepay.server.operating import admitting, founding

    terms, _ = founding.terms_in(folder)
    made = admitting.invite(folder, Registry(folder), terms.address, names, days)
    if as_json:
        typer.echo(json.dumps({each.name: each.token() for each in made}, indent=1))
        return
    for each in made:
        typer.echo(f"{each.name}: {each.token()}" if len(made) > 1 else each.token())


@app.command(help=_MEMBERS)
def members(folder: Folder, as_json: Json = False) -> None:
    """Show the members; the help text stands in ``_MEMBERS``."""
    import json
    import time

    from rich.console import Console
    from rich.table import Table

    from fedrepay.server.admission.registry import Registry
    from fedrepay.server.operating import admitting, founding
    from fedrepay.server.operating.report import when
    from fedrepay.server.operating.words import lasted
    from fedrepay.shared.text import printable

    founding.terms_in(folder)
    now, registry = time.time(), Registry(folder)
    found = registry.members()
    if as_json:
        typer.echo(json.dumps([_facts(each, now) for each in found], indent=1))
        return
    table = Table("member", "state", "last seen", "certificate ends", "words", "notes")
    for each in found:
        facts = _facts(each, now)
        table.add_row(
            each.name,
            facts["state"],
            f"{lasted(now - each.seen)} ago" if each.seen else "never",
            when(each.ends) if each.certificates else "",
            each.words,
            printable("\n".join(each.notes), None, keep="\n"),
        )
    Console().print(table)
    if lost := admitting.forgotten(folder, registry):
        typer.echo(admitting.FORGOTTEN.format(names=", ".join(lost)))


@app.command(help=_ADMIT)
def admit(
    folder: Folder,
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of members; default: all that wait.", show_default=False)
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Admit members; the help text stands in ``_ADMIT``."""
    import json
    import time

    from fedrepay.server.admission.registry import Registry
    from fedrepay.server.operating import admitting, founding
    from fedrepay.server.operating.report import when
    from fedrepay.shared.errors import ArgumentError

    founding.terms_in(folder)
    registry = Registry(folder)
    waiting = [each.name for each in registry.members() if each.state == "waiting"]
    if not names and not waiting:
        raise ArgumentError(
            "Nobody waits to be admitted.", "`fedrepay coordinator members` shows who is where."
        )
    if not names and yes:
        raise ArgumentError(
            f"--yes is for members that are named: {', '.join(waiting)} wait.",
            "Name those whose words people compared.",
        )
    done = []
    for name in dict.fromkeys(names or waiting):
        seen = registry.member(name)
        words = "" if seen is None else seen.words
        if seen is not None and seen.state == "waiting" and not yes:
            if not at_keyboard():
                raise ArgumentError(
                    f"Nobody is at the keyboard to say whether the words of {name} were compared.",
                    "Compare them (`fedrepay coordinator members`), then say --yes.",
                )
            typer.echo(f"{name}: {words}", err=as_json)
            for note in seen.notes:
                typer.echo(f"  note: {note}", err=as_json)
            typer.confirm("Do its people read out the same words?", abort=True, err=as_json)
        done.append(admitting.admit(folder, registry, name, words or None))
    if as_json:
        typer.echo(json.dumps([_facts(each, time.time()) for each in done], indent=1))
        return
    for each in done:
        typer.echo(f"{each.name} is in; its certificate ends {when(each.ends)}.")


@app.command(help=_REVOKE)
def revoke(
    name: Annotated[str, typer.Argument(help="The member's name.", show_default=False)],
    folder: Folder,
    reason: Annotated[str, typer.Option(help="Why; the operator's own note.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Revoke a member; the help text stands in ``_REVOKE``."""
    import json
    import time

    from fedrepay.server.admission.registry import Registry

    seen = Registry(folder).revoke(name, reason)
    if as_json:
        typer.echo(json.dumps(_facts(seen, time.time()), indent=1))
        return
    typer.echo(f"{name} is shut out: certificates, keys and node count no more.")


def _facts(seen: "MemberSeen", now: float) -> dict[str, Any]:
    from fedrepay.server.operating.admitting import standing

    return {
        "name": seen.name,
        "state": standing(seen, now),
        "words": seen.words,
        "seen": seen.seen or None,
        "certificate_ends": seen.ends if seen.certificates else None,
        "certificates": [each.hex() for each in seen.certificates],
        "invited": seen.invited,
        "invitation_expires": seen.expires if seen.state == "invited" else None,
        "joined": seen.joined or None,
        "reason": seen.reason,
        "notes": list(seen.notes),
    }
