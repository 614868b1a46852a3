"""``fedrepay member join``, ``accept-terms``, ``pull``, ``leave`` and ``rotate-keys``: options and screen."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.options import Folder, Json, Yes, show

if TYPE_CHECKING:
    from fedrepay.client.consortium.joining import Offered
    from fedrepay.shared.trust.agreement import ConsortiumTerms

app = typer.Typer()
_JOIN = (
    "Join a consortium with the one line that its operator gave you; no file is copied by hand.\n\n"
    "Checks that who answers is the consortium of the invitation, before anything is sent; shows what it agrees on and "
    "asks; makes this member's keys here, which never leave; writes schema, limits and settings into FOLDER; and shows twelve "
    "words. People read them to the operator by telephone, who then admits this member. Waits for that.\n\n"
    "Ctrl-C loses nothing: the same command goes on. A member whose certificate counts no more (it has ended, or the coordinator "
    "lost its database) joins again with a new invitation and its same FOLDER. A saved identity.key and node.key in an empty "
    "FOLDER come in again as who they were. --refounded, with the same FOLDER, is for a consortium whose operator lost its whole "
    "folder, authority and key included: keys, limits, ledger and roster stay, and only a roster that follows yours is taken.\n\n"
    "\b\n"
    "fedrepay member join fedrepay1.… --folder member --data accounts.csv --mapping mine.toml"
)
_ACCEPT = (
    "Show the consortium's new terms, and accept them: until then this member takes part in no run under them.\n\n"
    "\b\nfedrepay member accept-terms --folder member"
)
_PULL = (
    "Take in releases that were made while this member was away. `member run` does it by itself within a minute.\n\n"
    "Nothing is believed of who hands them over: a quorum's signatures, and the roster, say what a release is.\n\n"
    "\b\nfedrepay member pull --folder member"
)
_LEAVE = (
    "Leave the consortium: signed here, shown to the others, and in force at once; this member takes part in nothing more.\n\n"
    "What it contributed before stays in the releases it was part of; ledger, releases and keys stay in FOLDER.\n\n"
    "\b\nfedrepay member leave --folder member"
)
_ROTATE = (
    "Make new long-term keys, announced under the old ones. They come into force with the next roster, whose words people "
    "compare; until then the old ones count. Type `member pull` first: a release that is not here yet was sealed to the old ones.\n\n"
    "The TLS certificate renews itself and needs nothing of this.\n\n"
    "\b\nfedrepay member rotate-keys --folder member"
)


def said_yes(question: str, no: str, *, yes: bool) -> None:
    """A person's yes, or --yes; nobody at the screen is an error, never a wait.

    Raises:
        ArgumentError: there is nobody to ask.
        TermsError: no.
    """
    from fedrepay.shared.errors import ArgumentError, TermsError

    if yes:
        return
    if not sys.stdin.isatty():
        raise ArgumentError(f"{question} Nobody is here to say so.", "Say yes beforehand: --yes.")
    if not typer.confirm(question, err=True):
        raise TermsError(no, "Nothing was sent.")


def _terms(terms: "ConsortiumTerms") -> None:
    from fedrepay.shared.text import printable
    from fedrepay.shared.trust.agreement import six_lines

    for number, line in enumerate(six_lines(terms), 1):
        typer.echo(f"  {number}. {printable(line, 500)}", err=True)


@app.command(help=_JOIN)
def join(
    token: Annotated[str, typer.Argument(help="The invitation.", show_default=False)],
    folder: Annotated[
        Path, typer.Option(help="This member's folder; made where there is none.", show_default=False)
    ],
    data: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file; the mapping knows it as the table `data`.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML with one SELECT; without it columns match by name.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="First digits of a schema's hash, where the consortium has several.")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            help="Address of an HTTP proxy to go through: http://\\[user:password@]host:port.",
            show_default=False,
        ),
    ] = None,
    refounded: Annotated[
        bool,
        typer.Option(
            "--refounded", help="Its operator, called on a known number, has another authority now."
        ),
    ] = False,
    yes: Yes = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Come back at once; the same command asks again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join a consortium; the help text stands in ``_JOIN``."""
    import time

    from fedrepay.client.consortium import joining, requests
    from fedrepay.client.store import settings
    from fedrepay.shared.trust.joining import Invitation

    invitation = Invitation.read(token)
    if proxy is not None:
        settings.check_proxy(proxy)
    way = proxy or settings.load(folder).proxy
    following = f"fedrepay member run --folder {folder}"
    own = joining.Brought(schema, data, mapping, proxy)
    if joining.look(folder, invitation, time.time(), refounded=refounded) and requests.counts(folder):
        joining.bring(folder, invitation, own)
        facts = {"name": invitation.name, "state": "admitted", "next": following}
        show(
            as_json, facts, f"{folder} is {invitation.name} of this consortium already.", f"Next: {following}"
        )
        return
    offered = joining.meet(invitation, way)
    signed = joining.stored(folder, offered)
    if signed is None:
        _ask(offered, folder, yes=yes)
        signed = joining.prepare(folder, offered, own)
    else:
        joining.bring(folder, invitation, own)
    words = joining.words(signed, invitation.authority)
    answer = joining.ask(folder, offered, signed, way)
    if answer.state == "waiting":
        typer.echo(f"Read these words to the operator, who must see the same:\n\n  {words}\n", err=True)
    if answer.state == "waiting" and not no_wait:
        typer.echo("Waiting to be admitted; Ctrl-C loses nothing, the same command goes on.", err=True)
        request = signed

        def say(line: str) -> None:
            typer.echo(line, err=True)

        answer = joining.wait(lambda: joining.ask(folder, offered, request, way), time.sleep, say)
    facts = {"name": invitation.name, "state": answer.state, "words": words, "next": following}
    if answer.state == "admitted":
        lines = (f"{invitation.name} is admitted.", *_lacks(folder, offered), f"Next: {following}")
    else:
        lines = ("Not admitted yet: the same command asks again.",)
    show(as_json, facts, *lines)


def _ask(offered: "Offered", folder: Path, *, yes: bool) -> None:
    from fedrepay.client.consortium import first_limits
    from fedrepay.shared.text import printable

    typer.echo(f"{printable(offered.terms.name)} invites {offered.invitation.name}:", err=True)
    _terms(offered.terms)
    if (least := first_limits.least_cohort(folder)) > offered.terms.minimum_cohort:
        typer.echo(
            f"  Your own limits ask for {least} members and the terms allow {offered.terms.minimum_cohort}: where your people "
            f"want that too, lower minimum_cohort in {folder / first_limits.FILE}, or such runs are refused.",
            err=True,
        )
    said_yes("Does this institution accept these terms?", "The terms were not accepted.", yes=yes)


def _lacks(folder: Path, offered: "Offered") -> tuple[str, ...]:
    """What people have to do before `member run` is of use."""
    from fedrepay.client.consortium import first_limits
    from fedrepay.client.store import settings

    held, lines = settings.load(folder), []
    if not (held.data or held.mapping):
        lines += [f"First set `data` (and `mapping`) in {folder / settings.FILE}."]
    if (least := first_limits.least_cohort(folder)) > offered.terms.minimum_cohort:
        least_said = f"Runs of fewer than {least} members are refused here, and the terms allow {offered.terms.minimum_cohort}"
        lines += [f"{least_said}: minimum_cohort in {folder / first_limits.FILE}."]
    return (*lines, f"Try your rows: fedrepay member check-data --folder {folder}")


@app.command("accept-terms", help=_ACCEPT)
def accept_terms(folder: Folder, yes: Yes = False, as_json: Json = False) -> None:
    """Accept new terms; the help text stands in ``_ACCEPT``."""
    from fedrepay.client.consortium import own_calls
    from fedrepay.shared.trust import agreement

    found = own_calls.new_terms(folder)
    if found is None:
        show(as_json, {"accepted": None}, "No other terms wait for a yes.")
        return
    typer.echo("The consortium's new terms:", err=True)
    _terms(found.terms)
    if found.before is not None:
        typer.echo("Accepted before:", err=True)
        _terms(found.before)
    said_yes("Does this institution accept the new terms?", "The new terms were not accepted.", yes=yes)
    own_calls.accept(folder, found)
    digest = agreement.hashed(found.data).hex()
    show(as_json, {"accepted": digest}, f"Accepted: {digest[:16]}…. Your limits stay as they are.")


@app.command(help=_PULL)
def pull(folder: Folder, as_json: Json = False) -> None:
    """Pull releases; the help text stands in ``_PULL``."""
    from fedrepay.client.consortium import own_calls

    came = own_calls.pull(folder)
    said = f"Came in: {', '.join(map(str, came))}." if came else "Nothing new."
    show(as_json, {"releases": list(came)}, said)


@app.command(help=_LEAVE)
def leave(folder: Folder, yes: Yes = False, as_json: Json = False) -> None:
    """Leave; the help text stands in ``_LEAVE``."""
    from fedrepay.client.consortium import own_calls

    said_yes("Does this institution leave the consortium?", "This member stays.", yes=yes)
    name = own_calls.leave(folder)
    show(as_json, {"name": name, "left": True}, f"{name} has left; the others see it with their next roster.")


@app.command("rotate-keys", help=_ROTATE)
def rotate_keys(folder: Folder, as_json: Json = False) -> None:
    """Announce new keys; the help text stands in ``_ROTATE``."""
    from fedrepay.client.consortium import own_calls

    fresh = own_calls.rotate(folder).hex()
    show(
        as_json,
        {"signing": fresh},
        f"Announced: {fresh}. They come into force with the next roster, which people compare: `fedrepay member roster`, then "
        "`fedrepay member approve-roster`.",
    )
