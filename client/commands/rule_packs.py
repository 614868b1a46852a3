"""A rule pack on the command line: which file it is, and how it is introduced."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.shared.rules.pack import Pack

PackName = Annotated[
    str, typer.Argument(help="A pack's TOML file, or the name of a built-in.", show_default=False)
]


def load(pack: str) -> "Pack":
    """A pack by its file or a built-in's name; errors as ``load_pack``'s."""
    from fedrepay.shared.rules.pack import load_pack

    return load_pack(path_of(pack))


def path_of(pack: str) -> Path:
    """A built-in's file by its name, anything else as a file."""
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.rules.pack import builtin_names, builtin_path

    if pack in builtin_names():
        return builtin_path(pack)
    path = Path(pack)
    if not path.exists() and path.suffix != ".toml":
        raise ArgumentError(
            f"{pack} is neither a file nor a built-in pack.", f"Built in are {', '.join(builtin_names())}."
        )
    return path


def named(pack: "Pack") -> dict[str, object]:
    """Which pack it is, for machines."""
    return {
        "pack": pack.id,
        "version": pack.version,
        "title": pack.title,
        "sha256": pack.sha256,
        "disclaimer": pack.disclaimer,
    }


def head(console: "Console", pack: "Pack") -> None:
    """What a pack is, and that it is no advice."""
    from fedrepay.shared.rules.words import applies, covers, iso

    console.print(
        f"{pack.title}: {pack.id}, version {pack.version}", style="bold", markup=False, highlight=False
    )
    console.print(pack.disclaimer, style="yellow", markup=False)
    only = applies(pack.applies_to)
    console.print(
        f"{pack.citation.rstrip('.')}. Jurisdiction {pack.jurisdiction}{f', where {only}' if only else ''}; in force "
        f"{iso(pack.effective_from, 'always')} to {iso(pack.effective_to, 'no end')}.",
        markup=False,
        highlight=False,
    )
    console.print(covers(pack), markup=False, highlight=False)


def screen() -> "Console":
    """Where it is shown."""
    from rich.console import Console

    return Console()
