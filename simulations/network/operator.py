"""The operator's side of a network on this machine: SuperLink, SuperExec and front, by the operator's own commands."""

import sys
from dataclasses import dataclass
from pathlib import Path

from fedrepay.server.admission import certificates
from fedrepay.server.network import superlink
from fedrepay.server.network.superlink import Control
from fedrepay.server.operating import settings
from fedrepay.server.operating.settings import CoordinatorSettings
from fedrepay.shared.errors import NetworkError
from fedrepay.shared.files import write_atomically
from fedrepay.simulations.network.processes import Processes, Running, free_ports, listens

FEDREPAY = (sys.executable, "-m", "fedrepay")


@dataclass
class Operator:
    """A running SuperLink with its front.

    Args:
        folder: the coordinator's; certificates and secret are made there on first use.
        processes: where its processes belong.
    """

    folder: Path
    processes: Processes

    def __post_init__(self) -> None:
        self.port, self.front_port, *others = free_ports(5)
        if not self.authority.exists():
            certificates.create(self.folder, [])
            superlink.make_secret(self.folder)
        front, service, metrics = others  # nobody listens there: no member asks for more than Flower's side
        placed = CoordinatorSettings(
            host="127.0.0.1",
            port=self.front_port,
            superlink=self.port,
            front=front,
            service=service,
            metrics=metrics,
        )
        write_atomically(self.folder / settings.FILE, settings.write(placed))

    @property
    def authority(self) -> Path:
        """ca.pem, for members."""
        return self.folder / certificates.AUTHORITY

    @property
    def superlink_address(self) -> str:
        """HOST:PORT that only this machine should reach."""
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """HOST:PORT of the front."""
        return f"127.0.0.1:{self.front_port}"

    def start(self) -> Control:
        """Start all three and wait until they answer.

        Raises:
            NetworkError: one of them ended, or does not answer.
        """
        self.start_superlink()
        self.start_executor()
        self.processes.start("front", [*FEDREPAY, "coordinator", "front", "--folder", self.folder])
        control = Control(self.superlink_address, self.authority)
        self.processes.until("the SuperLink answers", lambda: _answers(control))
        self.processes.until("the front listens", lambda: listens(self.front_port))
        return control

    def start_superlink(self) -> Running:
        """The SuperLink."""
        return self._flower("superlink")

    def start_executor(self) -> Running:
        """What starts ServerApps."""
        return self._flower("superexec")

    def _flower(self, name: str) -> Running:
        command = superlink.commands(self.folder, self.port)[name]
        return self.processes.start(name, command, superlink.environment(self.folder.resolve()))


def _answers(control: Control) -> bool:
    try:
        control.online()
    except NetworkError:
        return False
    return True
