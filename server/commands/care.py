"""``fedrepay coordinator backup``, ``restore`` and ``doctor``: options and screen."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.server.commands.options import Folder, Json, Yes

app = typer.Typer()
_BACKUP = (
    "Write the coordinator into one archive (tar, 0600), also while it serves: database, keys, certificates, terms, settings.\n\n"
    "A database of PostgreSQL is not in it: the command says by which pg_dump that is copied.\n\n"
    "Whoever holds it can be this coordinator: admit members, call rosters and runs. It still reads no update, no sum and "
    "no model, because no key that opens one is here.\n\n"
    "\b\nfedrepay coordinator backup coordinator.tar --folder coordinator"
)
_RESTORE = (
    "Make a coordinator's folder again from an archive of `coordinator backup`; says what members will say to an older database.\n\n"
    "\b\nfedrepay coordinator restore coordinator.tar --folder coordinator"
)
_DOCTOR = (
    "One page to send to whoever helps: versions, ports, certificates' ends, disk, clock, database, members, run. No secret "
    "is on it. '!' marks what somebody should look at.\n\n"
    "\b\nfedrepay coordinator doctor --folder coordinator > page.txt"
)

_ROTATE = (
    "Another signing key for the coordinator, in place of one that somebody may have, or that was lost.\n\n"
    "The key in force signs for the new one, and stays in force until every member has approved the next roster, in which people see "
    "that it rotates and compare words; `coordinator serve` proposes it by itself, between runs. Then the old key's bytes are "
    "overwritten, and members take nothing of it any more.\n\n"
    "--lost makes one without that signature, where coordinator.key is gone and no backup has it. Every member of the roster must "
    "approve; their people are told that nobody vouches for the key, and call you. Members refuse what it signs until then.\n\n"
    "\b\n"
    "fedrepay coordinator rotate-key --folder coordinator\n"
    "fedrepay coordinator rotate-key --lost --folder coordinator"
)


@app.command("rotate-key", help=_ROTATE)
def rotate_key(
    folder: Folder,
    lost: Annotated[bool, typer.Option("--lost", help="The key in force is gone, and cannot sign.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Another key; the help text stands in ``_ROTATE``."""
    import json

    from fedrepay.server.operating import founding
    from fedrepay.server.store import CoordinatorStore

    founding.terms_in(folder)
    if not yes:
        typer.confirm(
            "Every member's people will have to compare words again. Go on?", abort=True, err=as_json
        )
    change = founding.replace_key if lost else founding.rotate_key
    public = change(folder, CoordinatorStore.in_folder(folder)).hex()
    if as_json:
        typer.echo(json.dumps({"signing": public}, indent=1))
        return
    typer.echo(f"The coordinator's new signing key: {public}")
    typer.echo("It counts with the next roster, which `coordinator serve` now proposes.")


@app.command(help=_BACKUP)
def backup(
    out: Annotated[Path, typer.Argument(help="A new file, outside the folder.", show_default=False)],
    folder: Folder,
    as_json: Json = False,
) -> None:
    """Write a backup; the help text stands in ``_BACKUP``."""
    import json

    from fedrepay.server.operating import backup as care

    names, lacks = care.backup(folder, out), care.elsewhere(folder)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "files": names, "lacks": lacks}, indent=1))
        return
    typer.echo(f"{out}: {', '.join(names)}.")
    if lacks:
        typer.echo(lacks)
    typer.echo("Keep it where keys are kept.")


@app.command(help=_RESTORE)
def restore(
    archive: Annotated[Path, typer.Argument(help="Of `coordinator backup`.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Restore a backup; the help text stands in ``_RESTORE``."""
    import json

    from fedrepay.server.operating import backup as care

    names, lacks = care.restore(archive, folder), care.elsewhere(folder)
    if as_json:
        said = {"folder": str(folder), "files": names, "lacks": lacks, "advice": care.ADVICE}
        typer.echo(json.dumps(said, indent=1))
        return
    typer.echo(f"{folder} is restored: {len(names)} files. Before `coordinator serve`:")
    if lacks:
        typer.echo(lacks)
    typer.echo(care.ADVICE)


@app.command(help=_DOCTOR)
def doctor(folder: Folder, as_json: Json = False) -> None:
    """Show the page; the help text stands in ``_DOCTOR``."""
    import json
    from dataclasses import asdict

    from fedrepay.server.operating import health

    lines = health.examine(folder)
    typer.echo(json.dumps([asdict(each) for each in lines], indent=1) if as_json else health.page(lines))
