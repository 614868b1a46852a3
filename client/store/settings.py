"""What this member's people set for its own commands: ``member.toml`` in its folder. It never leaves."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import Part, parse_toml, read_bytes

FILE = "member.toml"
_REMEDY = "docs/member.md, *Settings*, has the lines."


class MemberSettings(Part):
    """The settings; each line may be left out, and an option of a command counts before the line.

    ``schema``, ``data``, ``mapping`` and ``limits`` are files, from the member's folder on where they are not absolute.
    """

    auto: bool = False  # a new release comes into use by itself
    schema_file: Annotated[str | None, Field(alias="schema")] = None
    data: str | None = None
    mapping: str | None = None
    limits: str | None = None
    model: str | None = None  # torch module of local mode
    proxy: str | None = None


def load(folder: Path) -> MemberSettings:
    """The settings of a member's folder; without a file, the strict ones.

    Raises:
        ArgumentError: the file cannot be read, or lines in it are unknown or of another type: all of them at once.
    """
    path = folder / FILE
    if not path.exists():
        return MemberSettings()
    data = read_bytes(path, ArgumentError, _REMEDY)
    return parse_toml(data, str(path), MemberSettings, ArgumentError, _REMEDY)


def file_of(folder: Path, option: Path | None, line: str | None) -> Path | None:
    """A file as an option names it, else as a line of the settings does; None where neither does.

    Args:
        folder: the member's.
        option: of the command.
        line: of the settings.
    """
    return option if option is not None or line is None else folder / line
