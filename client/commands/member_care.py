"""``fedrepay member releases``, ``use``, ``rollback``, ``budget`` and ``limits``: options and screen; the work is in ``care/``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.options import Folder

if TYPE_CHECKING:
    from fedrepay.client.scoring.in_use import Releases

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Number = Annotated[int, typer.Argument(help="The release's number.", show_default=False)]
_RELEASES = (
    "The releases this member holds: number, when it was stored, what it claims, who signed, which is in use.\n\n"
    "Old ones stay: `use` and `rollback` choose among them, `export` writes one as a folder.\n\n"
    "\b\n"
    "fedrepay member releases --folder member\n"
    "fedrepay member releases export 3 --folder member --out release-3"
)
_EXPORT = (
    "Write a release as the folder that `member score --release` and `member recommend --release` take.\n\n"
    "Its signatures are checked first; a file that stands in the folder is never replaced.\n\n"
    "\b\nfedrepay member releases export 3 --folder member --out release-3"
)
_USE = (
    "Put a release in use: this member's own yes to it. `score` and `recommend` with --member and without --release take it.\n\n"
    "A new release changes nothing here before somebody says so; `auto = true` in FOLDER/member.toml says so beforehand, for every "
    "new release that claims privacy. A number below the one in use is asked about.\n\n"
    "\b\nfedrepay member use 3 --folder member"
)
_ROLLBACK = (
    "Go back to the release that was in use before this one; said twice it goes back twice.\n\n"
    "With `auto = true` the release gone back to stays in use until a newer one than any held now is stored.\n\n"
    "\b\nfedrepay member rollback --folder member"
)
app = typer.Typer()
releases_app = typer.Typer(invoke_without_command=True, help=_RELEASES)
app.add_typer(releases_app, name="releases")


def moment(at: float) -> str:
    """A moment as machines read it, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def day(at: float) -> str:
    """A moment as people read it, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _found(folder: Path) -> "Releases":
    from fedrepay.client.scoring.in_use import Releases

    return Releases.of(folder)


@releases_app.callback()
def releases(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option(help="The member's folder, made by `member join`.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the releases; the help text stands in ``_RELEASES``."""
    if context.invoked_subcommand is not None:
        return
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from fedrepay.client.care.releases import listed
    from fedrepay.shared.errors import ArgumentError

    if folder is None:
        raise ArgumentError("--folder is missing.", "fedrepay member releases --folder FOLDER")
    found = _found(folder)
    held = listed(found)
    if as_json:
        history = [
            {"number": each.number, "at": moment(each.at), "said": each.said} for each in found.store.uses()
        ]
        lines = [asdict(each) | {"stored_at": moment(each.stored_at)} for each in held]
        typer.echo(json.dumps({"auto": found.auto, "releases": lines, "history": history}, indent=1))
        return
    console = Console()
    if not held:
        console.print("This member holds no release yet.")
        return
    table = Table("release", "stored", "mode", "privacy", "signed", "roster", "", expand=True)
    for each in held:
        marks = [*(["in use"] if each.in_use else []), *(["SIMULATED"] if each.simulated else [])]
        marks += [f"NOT PRIVATE: {each.not_private}"] if each.not_private else []
        signed = f"{each.signatures} of {each.members}"
        cells = (
            str(each.number),
            day(each.stored_at),
            each.mode,
            each.privacy,
            signed,
            str(each.roster),
            "; ".join(marks),
        )
        table.add_row(*cells)
    console.print(table)
    if not any(each.in_use for each in held):
        console.print("None is in use: `fedrepay member use N` is this member's own yes.", style="yellow")
    if found.auto:
        console.print("auto = true: the next private release comes into use by itself.", markup=False)


@releases_app.command("export", help=_EXPORT)
def export(
    number: Number,
    folder: Folder,
    out: Annotated[Path, typer.Option(help="A folder; made where there is none.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write a release; the help text stands in ``_EXPORT``."""
    from fedrepay.client.care import releases as care

    care.export(_found(folder), number, out)
    if as_json:
        _json({"number": number, "out": str(out)})
    else:
        typer.echo(f"Release {number} written to {out}.")


@app.command(help=_USE)
def use(
    number: Number,
    folder: Folder,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before an older release is used.")] = False,
    unprotected: Annotated[
        bool, typer.Option("--unprotected", help="Use a release that is not private. For tests only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a release in use; the help text stands in ``_USE``."""
    from fedrepay.client.care.releases import put_in_use
    from fedrepay.shared.errors import ArgumentError

    found = _found(folder)
    now = found.current()
    older = number in found.held and now is not None and number < now.number
    if older and not yes and not _confirmed(f"Release {number} is older than the one in use. Use it?"):
        raise ArgumentError(f"Release {number} was not put in use.", "Say yes, or --yes.")
    changed = put_in_use(found, number, unprotected=unprotected)
    if as_json:
        _json({"in_use": number, "before": None if now is None else now.number, "changed": changed})
    else:
        typer.echo(f"Release {number} is in use{'' if changed else ' already'}.")


@app.command(help=_ROLLBACK)
def rollback(folder: Folder, as_json: Json = False) -> None:
    """Go back to the release used before; the help text stands in ``_ROLLBACK``."""
    found = _found(folder)
    now = found.current()
    back = found.rollback()
    if as_json:
        _json({"in_use": back, "before": None if now is None else now.number, "changed": True})
    else:
        typer.echo(f"Release {back} is in use again.")


def _confirmed(question: str) -> bool:
    """A person's yes; nobody there is a no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


def _json(facts: dict[str, object]) -> None:
    import json

    typer.echo(json.dumps(facts, indent=1))
