"""Flower's SuperLink: how it is started, and what the operator asks of it.

The Control API is internal to Flower 1.41.0 (pinned); its command line would cost a second a call.
"""

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedrepay.server.admission import certificates
from fedrepay.shared.errors import ArgumentError, NetworkError, StorageError
from fedrepay.shared.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET, DATABASE, HOME = "superexec.secret", "superlink.sqlite", "flower"
SETTINGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
}
_SECONDS = 10.0


def make_secret(folder: Path) -> None:
    """The secret between SuperLink and SuperExec (0600), made once.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / SECRET
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_hex(32).encode())
    except OSError as error:
        raise StorageError.unwritten(path, error, "Choose another folder.") from error


def commands(folder: Path, port: int) -> dict[str, list[str]]:
    """The two commands that an operator runs beside the front, by name; both on loopback.

    ``--isolation process`` with a secret: a ServerApp survives the SuperLink, and nobody else can take its task.

    Raises:
        ArgumentError: Flower's programs are not installed.
    """
    ca, secret = str(folder / certificates.AUTHORITY), str(folder / SECRET)
    superlink = [
        _found("flower-superlink"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--ssl-ca-certfile", ca, "--ssl-certfile", str(folder / certificates.CERTIFICATE)),
        *("--ssl-keyfile", str(folder / certificates.KEY)),
        *("--isolation", "process", "--superexec-auth-secret-file", secret),
        *("--enable-supernode-auth", "--database", str(folder / DATABASE)),
        "--disable-runtime-dependency-installation",
    ]
    executor = [
        _found("flower-superexec"),
        *("--runtime-api-address", f"127.0.0.1:{port}", "--root-certificates", ca),
        *("--superexec-auth-secret-file", secret),
    ]
    return {"superlink": superlink, "superexec": executor}


def environment(folder: Path) -> dict[str, str]:
    """What both commands need in their environment: no telemetry, a home of their own, our own programs first."""
    return SETTINGS | {"FLWR_HOME": str(folder / HOME), "PATH": _path()}


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _found(program: str) -> str:
    """Of this Python, or on PATH (``pip install --user``, Debian's /usr/local/bin).

    Raises:
        ArgumentError: nowhere.
    """
    found = shutil.which(program, path=_path())
    if found is None:
        raise ArgumentError(
            f"{program} is neither beside {sys.executable} nor on PATH.",
            "It comes with flwr: pip install 'fedrepay[coordinator]', and put its folder of programs on PATH.",
        )
    return found


@dataclass(frozen=True)
class RunSeen:
    """What the SuperLink says about a Flower run."""

    status: str  # pending, starting, running, finished
    outcome: str  # of a finished one: completed, failed, stopped
    details: str
    bytes_sent: int
    bytes_received: int


class Control:
    """The operator's side of a SuperLink.

    Args:
        address: HOST:PORT on loopback.
        ca: PEM file of the authority that signed its certificate.

    Raises:
        NetworkError: from every call, if it does not answer or refuses.
    """

    def __init__(self, address: str, ca: Path) -> None:
        from flwr.supercore.control import ControlHttpClient  # noqa: PLC0415 - heavy

        self._address = address
        try:
            trusted = ca.read_bytes()
        except OSError as error:
            raise NetworkError(f"{ca} cannot be read: {error.strerror}.", "Check the folder.") from error
        self._client = ControlHttpClient.from_server_address(address, False, trusted, interceptors=[])  # noqa: FBT003

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def register(self, public_key: bytes, name: str) -> int:
        """Let a node in: its id.

        Args:
            public_key: of ``node.pub`` (OpenSSH).
            name: shown by Flower's own tools.

        Raises:
            ArgumentError: it is no such key.
            NetworkError: also if the key was ever registered before.
        """
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_ssh_public_key  # noqa: PLC0415
        from flwr.proto.control_pb2 import RegisterNodeRequest  # noqa: PLC0415
        from flwr.supercore.primitives.asymmetric import public_key_to_bytes  # noqa: PLC0415

        try:
            key: Any = load_ssh_public_key(public_key)
        except (ValueError, UnsupportedAlgorithm):  # their text quotes the file, which may be a private key
            raise ArgumentError(
                f"What was given for {name} is no public key (OpenSSH).",
                "Name node.pub of `fedrepay member init`.",
            ) from None
        request = RegisterNodeRequest(public_key=public_key_to_bytes(key), name=name)
        return int(self._call(self._client.RegisterNode, request).node_id)

    def online(self) -> tuple[int, ...]:
        """The nodes that are connected now."""
        from flwr.proto.control_pb2 import ListNodesRequest  # noqa: PLC0415

        nodes = self._call(self._client.ListNodes, ListNodesRequest()).nodes_info
        return tuple(sorted(int(node.node_id) for node in nodes if node.status == "online"))

    def start(self, bundle: bytes, config: Mapping[str, str | int]) -> int:
        """Start a Flower run: its id."""
        from flwr.common.serde import user_config_to_proto  # noqa: PLC0415
        from flwr.proto.control_pb2 import StartRunRequest  # noqa: PLC0415
        from flwr.proto.fab_pb2 import Fab  # noqa: PLC0415

        fab = Fab(hash_str=hashlib.sha256(bundle).hexdigest(), content=bundle)
        request = StartRunRequest(fab=fab, override_config=user_config_to_proto(dict(config)))
        answer = self._call(self._client.StartRun, request)
        if not answer.HasField("run_id"):
            raise NetworkError(
                f"The SuperLink started no run: {printable(answer.note) or 'no reason given'}.",
                "See its log.",
            )
        return int(answer.run_id)

    def runs(self, run_id: int | None = None) -> dict[int, RunSeen]:
        """All Flower runs, or one."""
        from flwr.proto.control_pb2 import ListRunsRequest  # noqa: PLC0415

        found = self._call(self._client.ListRuns, ListRunsRequest(run_id=run_id)).run_dict
        return {
            int(number): RunSeen(
                run.status.status, run.status.sub_status, run.status.details, run.bytes_sent, run.bytes_recv
            )
            for number, run in found.items()
        }

    def stop(self, run_id: int) -> None:
        """Stop a Flower run; the fedrepay run it carries stays where it is."""
        from flwr.proto.control_pb2 import StopRunRequest  # noqa: PLC0415

        self._call(self._client.StopRun, StopRunRequest(run_id=run_id))

    def _call(self, call: "Callable[[Any], Any]", request: Any) -> Any:
        import httpx  # noqa: PLC0415

        try:
            return call(request)
        except httpx.HTTPStatusError as error:
            raise NetworkError(
                f"The SuperLink at {self._address} refuses: {printable(error.response.text, 300)}.",
                "See its log.",
            ) from error
        except httpx.HTTPError as error:
            raise NetworkError(
                f"No SuperLink answers at {self._address}: {error}.",
                "`fedrepay coordinator serve` starts it.",
            ) from error
