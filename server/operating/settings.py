"""Where the coordinator's processes listen: ``coordinator.toml`` in its folder, commented. Nobody else needs to know it."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from fedrepay.server.database import where
from fedrepay.shared.errors import ArgumentError, NetworkError
from fedrepay.shared.files import Part, fitted, parse_toml, read_bytes

FILE = where.SETTINGS
LOOPBACK = "127.0.0.1"
_REMEDY = "`fedrepay coordinator init` writes such a file."
Port = Annotated[int, Field(ge=1, le=65535)]


class CoordinatorSettings(Part):
    """Ports and hosts of a coordinator.

    Attributes:
        host: address that the public port is bound to.
        port: the one public port.
        behind_proxy: whether nginx or HAProxy holds the public port; the front then listens at ``front`` on loopback.
        front: the front's port on loopback, behind a proxy.
        superlink: of Flower's SuperLink, on loopback.
        service: of the gRPC service, on loopback.
        metrics: of Prometheus' page, on loopback.
        database: PostgreSQL's URL without a password; empty: a SQLite file of the folder.
    """

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")] = "0.0.0.0"  # noqa: S104 - members call it
    port: Port = 443
    behind_proxy: bool = False
    front: Port = 8443
    superlink: Port = 9093
    service: Port = 50051
    metrics: Port = 9464
    database: str = ""

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        if value.startswith("-"):
            raise ValueError("an address begins with no dash")
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        ports = [port for _, _, port in self.places()]
        if len(set(ports)) != len(ports):
            raise ValueError("every port has one process: these are not all different")
        return self

    @property
    def superlink_address(self) -> str:
        """HOST:PORT of the SuperLink."""
        return f"{LOOPBACK}:{self.superlink}"

    @property
    def front_place(self) -> tuple[str, int]:
        """Host and port at which the front listens."""
        return (LOOPBACK, self.front) if self.behind_proxy else (self.host, self.port)

    def places(self) -> tuple[tuple[str, str, int], ...]:
        """(process, host, port) of everything that listens."""
        return (
            ("superlink", LOOPBACK, self.superlink),
            ("front", *self.front_place),
            ("service", LOOPBACK, self.service),
            ("metrics", LOOPBACK, self.metrics),
        )


def settings_of(facts: Mapping[str, object]) -> CoordinatorSettings:
    """Settings from options.

    Raises:
        ArgumentError: one is out of bounds, or two processes would have one port.
    """
    where.checked(str(facts.get("database", "")), "--database")
    return fitted(dict(facts), "coordinator init", CoordinatorSettings, ArgumentError, "Choose others.")


def load(folder: Path) -> CoordinatorSettings:
    """The settings of a coordinator's folder.

    Raises:
        ArgumentError: there are none, or they are wrong: all of it at once.
    """
    path = folder / FILE
    data = read_bytes(path, ArgumentError, "Name a folder that `fedrepay coordinator init` made.")
    where.stated(folder)  # its errors do not repeat the value, which may hold a password
    return parse_toml(data, str(path), CoordinatorSettings, ArgumentError, _REMEDY)


_TEXT = """\
# Where this coordinator's processes listen. Members know the public address alone (terms.toml); after a change here,
# stop `fedrepay coordinator serve` and start it again.
host = "{host}"            # address that the public port is bound to; 0.0.0.0 is every one
port = {port}                # the one port that members call
behind_proxy = {behind_proxy}      # true where nginx or HAProxy holds the public port (nginx.conf, haproxy.cfg)

# On this machine alone (127.0.0.1). None of these may be reached from outside.
front = {front}              # the front, behind a proxy
superlink = {superlink}          # Flower's SuperLink: its port takes orders from anybody
service = {service}           # gRPC; ends its own TLS
metrics = {metrics}            # for Prometheus

# Runs, rosters and members. Empty: coordinator.sqlite of this folder. Or a PostgreSQL database of its own, without a
# password here: that stands in FEDREPAY_DATABASE_URL (a whole URL, which goes before this one) or in ~/.pgpass.
database = "{database}"          # postgresql://USER@HOST:5432/NAME?sslmode=verify-full
"""


def write(settings: CoordinatorSettings) -> bytes:
    """The settings as a commented TOML file."""
    facts = settings.model_dump() | {"behind_proxy": str(settings.behind_proxy).lower()}
    return _TEXT.format(**facts).encode()


def check_free(settings: CoordinatorSettings) -> None:
    """Every port can be listened at now.

    Raises:
        NetworkError: one is taken, or its address is not this machine's; naming whose it would be.
    """
    for name, host, port in settings.places():
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            raise NetworkError(
                f"The {name} cannot listen at {host}:{port}: {error.strerror}.",
                f"Stop what has the port (perhaps another `coordinator serve`), or choose another in {FILE}.",
            ) from error


def listens(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((LOOPBACK if host == "0.0.0.0" else host, port), timeout=1):  # noqa: S104
            return True
    except OSError:
        return False
