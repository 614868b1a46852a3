"""``fedrepay coordinator init``, ``serve`` and the processes of the latter: options and screen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrepay.server.commands.options import Folder, Json, JsonLines, at_keyboard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedrepay.server.operating.founding import Founded

app = typer.Typer()
_INIT = (
    "Make a coordinator: asks what the consortium agrees on, and writes a folder with its keys, certificates and files.\n\n"
    "terms.toml is what every member sees and accepts before it joins; coordinator.toml says where processes listen. "
    "nginx.conf and haproxy.cfg are for a public port that another program holds. Every answer is also an option; "
    "--yes takes the default of what is not given. Institutions that are named are invited: one line for each, shown once, "
    "good for 7 days (`coordinator invite` makes others). Nothing is left half-made.\n\n"
    "\b\n"
    "fedrepay coordinator init --folder coordinator\n"
    "fedrepay coordinator init --folder coordinator --name 'Debt learners' --address consortium.example:443 \\\n"
    "  --schema consortium.toml --invite bank-a --invite bank-b --invite bank-c --yes"
)
_SERVE = (
    "Run the coordinator: Flower's SuperLink and SuperExec, the gRPC service and the front, all supervised.\n\n"
    "One process to start and one to stop: what dies is started again, and said so; Ctrl-C, SIGTERM or a closed "
    "terminal ends all of it. `train` and the other commands are typed in another terminal.\n\n"
    "\b\nfedrepay coordinator serve --folder coordinator"
)
_FRONT = (
    "Run the front alone, as `coordinator serve` does: TLS for the members, and nothing but what they need.\n\n"
    "\b\nfedrepay coordinator front --folder coordinator"
)
_SERVICE = "Run the gRPC service alone, as `coordinator serve` does.\n\n\b\nfedrepay coordinator service --folder coordinator"
_QUESTIONS = {
    "name": ("What is the consortium called?", None),
    "address": ("HOST:PORT that members will call?", None),
    "schema": ("Its schema's file (code book beside it)?", None),
    "minimum_cohort": ("No attempt of a run has fewer members than?", 5),
    "colluders": ("How many members may collude with the coordinator? 0: a tenth of them, at least 1", 0),
    "epsilon_per_release": ("The largest ε of one customer for one release?", 1.0),
    "epsilon_per_year": ("And for all releases of 365 days?", 4.0),
    "least_age_days": ("Outcomes are learned from no earlier than how many days after the offer?", 90),
    "modes": ("Which runs may be (distributed, local, none; separated by blanks)?", "distributed"),
}


@app.command(help=_INIT)
def init(
    folder: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Of the consortium.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT that members call.", show_default=False)
    ] = None,
    schema: Annotated[
        list[Path] | None,
        typer.Option(
            help="A schema that may be learned on, its code book beside it (repeatable).", show_default=False
        ),
    ] = None,
    minimum_cohort: Annotated[
        int | None, typer.Option(help="No attempt has fewer members; default 5.", show_default=False)
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(help="Default 0: a tenth of the members, at least 1.", show_default=False),
    ] = None,
    epsilon_per_release: Annotated[
        float | None,
        typer.Option(help="Largest ε of one customer for one release; default 1.", show_default=False),
    ] = None,
    epsilon_per_year: Annotated[
        float | None, typer.Option(help="And for 365 days; default 4.", show_default=False)
    ] = None,
    least_age_days: Annotated[
        int | None, typer.Option(help="Least age of outcomes; default 90.", show_default=False)
    ] = None,
    modes: Annotated[
        list[str] | None,
        typer.Option("--mode", help="A mode that runs may have (repeatable); default distributed."),
    ] = None,
    invite: Annotated[
        list[str] | None,
        typer.Option(help="Name of an institution to invite (repeatable).", show_default=False),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Another name or address by which members reach the front (repeatable)."),
    ] = None,
    bind: Annotated[str, typer.Option(help="Address that the public port is bound to.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Public port; default: that of --address.", show_default=False),
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="nginx or HAProxy holds the public port.")
    ] = False,
    superlink: Annotated[int, typer.Option(help="Port of the SuperLink, on loopback.")] = 9093,
    front: Annotated[int, typer.Option(help="Port of the front behind a proxy, on loopback.")] = 8443,
    service: Annotated[int, typer.Option(help="Port of the gRPC service, on loopback.")] = 50051,
    metrics: Annotated[int, typer.Option(help="Port for Prometheus, on loopback.")] = 9464,
    database: Annotated[
        str,
        typer.Option(
            help="URL of a PostgreSQL database, without a password; default: a file of the folder, or the database of "
            "FEDREPAY_DATABASE_URL.",
            show_default=False,
        ),
    ] = "",
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Write a unit that runs `coordinator serve`.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Take the default of what is not given.")] = False,
    as_json: Json = False,
) -> None:
    """Make a coordinator; the help text stands in ``_INIT``."""
    import json

    from fedrepay.server.database import where
    from fedrepay.server.operating import founding
    from fedrepay.server.operating.settings import settings_of
    from fedrepay.shared.schema import codebook

    given: dict[str, Any] = {
        "name": name,
        "address": address,
        "schema": schema or None,
        "minimum_cohort": minimum_cohort,
        "colluders": colluders,
        "epsilon_per_release": epsilon_per_release,
        "epsilon_per_year": epsilon_per_year,
        "least_age_days": least_age_days,
        "modes": modes or None,
    }
    founding.check_new(folder)
    facts = _answered(given, yes=yes)
    books = [codebook.load(Path(each)) for each in facts.pop("schema")]
    terms = founding.terms_of(facts, books)
    chosen = settings_of(
        {
            "host": bind,
            "port": port or int(terms.address.rpartition(":")[2]),
            "behind_proxy": behind_proxy,
            "superlink": superlink,
            "front": front,
            "service": service,
            "metrics": metrics,
            "database": database or where.given_without_password(),
        }
    )
    names = _invited(invite, yes=yes)
    made = founding.found(folder, terms, chosen, books, host or [], systemd=systemd, invite=names)
    if as_json:
        said = {
            "folder": str(folder),
            "authority": made.authority.hex(),
            "files": made.files,
            "terms": made.terms.model_dump(),
            "invitations": {each.name: each.token() for each in made.invitations},
        }
        typer.echo(json.dumps(said, indent=1))
        return
    _show(folder, made)


def _answered(given: dict[str, Any], *, yes: bool) -> dict[str, Any]:
    """What was given, asked, or taken by default, as the terms have it."""
    from fedrepay.shared.errors import ArgumentError

    open_ = [key for key, value in given.items() if value is None]
    must = [key for key in open_ if _QUESTIONS[key][1] is None]
    if open_ and not yes and not at_keyboard():
        options = ", ".join(_option(key) for key in open_)
        raise ArgumentError(
            f"Nobody is at the keyboard to be asked; not given: {options}.",
            "Give them as options, or add --yes for the defaults.",
        )
    if must and yes:
        options = ", ".join(_option(key) for key in must)
        raise ArgumentError(f"{options}: there is no default.", "Give what is missing, or leave --yes out.")
    answers = dict(given)
    for key in open_:
        words, default = _QUESTIONS[key]
        answers[key] = default if yes else typer.prompt(words, default=default, type=_kind(default))
    if isinstance(answers["schema"], str):
        answers["schema"] = answers["schema"].split()
    if isinstance(answers["modes"], str):
        answers["modes"] = answers["modes"].split()
    answers["modes"] = tuple(answers["modes"])
    answers["colluders"] = answers["colluders"] or None
    return answers


def _invited(given: list[str] | None, *, yes: bool) -> list[str]:
    """Names of who is invited at once; none is an answer too."""
    if given is not None or yes or not at_keyboard():
        return given or []
    said: str = typer.prompt(
        "Whom do you invite (names, separated by blanks)?", default="", show_default=False
    )
    return said.split()


def _kind(default: Any) -> type:
    return str if default is None else type(default)


def _option(key: str) -> str:
    return "--mode" if key == "modes" else "--" + key.replace("_", "-")


def _show(folder: Path, made: "Founded") -> None:
    from fedrepay.shared.trust import agreement

    for line in agreement.six_lines(made.terms):
        typer.echo(f"  {line}")
    typer.echo(f"\n{folder} is made. SHA-256 of its authority: {made.authority.hex()}")
    if made.invitations:
        typer.echo("\nInvitations, one line for each institution's people; they are shown this once:")
        for each in made.invitations:
            typer.echo(f"{each.name}: {each.token()}")
        typer.echo("")
    typer.echo("Next:")
    for number, line in enumerate(_next(folder, made), 1):
        typer.echo(f"  {number}. {line}")
    typer.echo(f"Keep copies: fedrepay coordinator backup FILE --folder {folder}")


def _next(folder: Path, made: "Founded") -> "Iterator[str]":
    from fedrepay.server.operating import founding
    from fedrepay.shared.trust import agreement

    yield f"Read {folder / agreement.FILE}: it is what every member accepts."
    if founding.UNIT in made.files:
        yield f"systemctl link {(folder / founding.UNIT).absolute()}, then start it."
    else:
        yield f"fedrepay coordinator serve --folder {folder}"
    if not made.invitations:
        yield f"fedrepay coordinator invite NAME … --folder {folder}   (one line for each institution)"
    yield f"fedrepay coordinator admit --folder {folder}   (shows the words of whoever waits, for people to compare)"
    yield f"fedrepay coordinator train --folder {folder}"


@app.command(help=_SERVE)
def serve(folder: Folder, as_json: JsonLines = False) -> None:
    """Run the coordinator; the help text stands in ``_SERVE``."""
    import json
    import time

    from fedrepay.server.operating import children

    def say(line: str) -> None:
        typer.echo(
            json.dumps({"at": time.time(), "said": line})
            if as_json
            else f"{time.strftime('%H:%M:%S')} {line}"
        )

    children.serve(folder, say)


@app.command(hidden=True, help=_FRONT)
def front(
    folder: Folder,
    max_body: Annotated[int, typer.Option(min=1, help="Largest object that a node may send, in MB.")] = 264,
) -> None:
    """Run the front; the help text stands in ``_FRONT``."""
    from fedrepay.server.operating import children

    children.run_front(folder, max_body << 20)


@app.command(hidden=True, help=_SERVICE)
def service(folder: Folder) -> None:
    """Run the service; the help text stands in ``_SERVICE``."""
    from fedrepay.server.operating import children

    children.run_service(folder)
