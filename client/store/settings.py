"""What this member's people set for its own commands: ``member.toml`` in its folder. It never leaves."""

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import Part, parse_toml, read_bytes, write_atomically
from fedrepay.shared.trust.agreement import Address
from fedrepay.shared.trust.fields import Name

FILE = "member.toml"
NODE_PORT = 9094
_REMEDY = "docs/member.md, *Settings*, has the lines."


class MemberSettings(Part):
    """The settings; each line may be left out, and an option of a command counts before the line.

    ``schema``, ``data``, ``mapping`` and ``limits`` are files, from the member's folder on where they are not absolute.
    """

    name: Name | None = None
    address: Address | None = None  # HOST:PORT of the coordinator
    auto: bool = False  # a new release comes into use by itself
    schema_file: Annotated[str | None, Field(alias="schema")] = None
    data: str | None = None
    mapping: str | None = None
    limits: str | None = None
    model: str | None = None  # torch module of local mode
    proxy: str | None = None  # http://[user:password@]host:port
    node_port: Annotated[int, Field(ge=1, le=65535)] = NODE_PORT  # of the node's own API, on loopback
    node_user: str | None = None  # who runs `member node`, if it is another user than `member serve`'s
    socket: str | None = (
        None  # of `member serve`; where node_user is set, in a folder that this user can enter
    )


def check_proxy(url: str) -> None:
    """An address of an HTTP proxy that both gRPC and the node would use.

    Raises:
        ArgumentError: it is none; its password is not shown.
    """
    remedy = "A proxy is http://[user:password@]host:port."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ArgumentError("`proxy` is no address of a proxy.", remedy) from None
    if parts.scheme == "https":
        raise ArgumentError(
            "`proxy` begins with https://, which gRPC ignores without a word: it would connect directly.",
            f"{remedy} What passes through it is TLS all the same.",
        )
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path.strip("/") or parts.query:
        raise ArgumentError("`proxy` is no address of a proxy.", remedy)


def shown_proxy(url: str) -> str:
    """A proxy without its password."""
    parts = urlsplit(url)
    return f"http://{parts.hostname}:{parts.port}"


def load(folder: Path) -> MemberSettings:
    """The settings of a member's folder; without a file, the strict ones.

    Raises:
        ArgumentError: the file cannot be read, or lines in it are unknown or of another type: all of them at once.
    """
    path = folder / FILE
    if not path.exists():
        return MemberSettings()
    data = read_bytes(path, ArgumentError, _REMEDY)
    made = parse_toml(data, str(path), MemberSettings, ArgumentError, _REMEDY)
    if made.proxy is not None:
        check_proxy(
            made.proxy
        )  # not the model's: its errors show what is wrong, and this may hold a password
    return made


def file_of(folder: Path, option: Path | None, line: str | None) -> Path | None:
    """A file as an option names it, else as a line of the settings does; None where neither does.

    Args:
        folder: the member's.
        option: of the command.
        line: of the settings.
    """
    return option if option is not None or line is None else folder / line


_TEXT = """\
# Settings of this member's own commands; they never leave. Files are named from this folder on, or absolute.
name = {name}
address = {address}  # HOST:PORT of the coordinator
schema = {schema}
{data}
{mapping}
limits = {limits}  # this member's veto
{proxy}
auto = {auto}              # true: a new private release comes into use by itself
node_port = {node_port}          # of the node's own API, on loopback; where it is taken, a free one
{model}
{node_user}
{socket}
"""


def write(folder: Path, settings: MemberSettings) -> None:
    """Write the settings as a commented file (0600: a proxy's password may stand in it).

    Raises:
        StorageError: it cannot be written.
    """
    facts = {
        "name": _quoted(settings.name or ""),
        "address": _quoted(settings.address or ""),
        "schema": _quoted(settings.schema_file or "schema.toml"),
        "data": _line("data", settings.data, "accounts.csv", "the mapping knows it as the table `data`"),
        "mapping": _line(
            "mapping", settings.mapping, "mine.toml", "one SELECT that makes the schema's columns"
        ),
        "limits": _quoted(settings.limits or "limits.toml"),
        "proxy": _line("proxy", settings.proxy, "http://user:password@proxy:3128", "for all that goes out"),
        "auto": str(settings.auto).lower(),
        "node_port": settings.node_port,
        "model": _line(
            "model", settings.model, "logistic", "torch module that this member trains in local mode"
        ),
        "node_user": _line(
            "node_user", settings.node_user, "fedrepay-node", "who runs `member node`, if another user"
        ),
        "socket": _line(
            "socket", settings.socket, "/run/fedrepay/member.sock", "then: in a folder outside of this one"
        ),
    }
    write_atomically(folder / FILE, _TEXT.format(**facts).encode(), mode=0o600)


def _line(name: str, value: str | None, example: str, meaning: str) -> str:
    mark = "# " if value is None else ""
    return f"{mark}{name} = {_quoted(example if value is None else value)}  # {meaning}"


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
