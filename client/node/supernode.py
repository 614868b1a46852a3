"""The Flower node of a member: a SuperNode, and an executor that is warm and lets no code in.

Three processes, one member. This one holds no key of the protocol and watches two children: Flower's own
SuperNode (``--isolation process``), and Flower's SuperExec with an executor of ours. Flower has no hook for
either, so seven of its names are replaced, in these processes alone (Flower 1.41.0 is pinned):

- ``install_from_fab`` of ``run_clientapp``: the bundle is checked (``bundle``) and never unpacked;
- ``get_load_client_app_fn`` there: our installed app is what runs. Flower would load one from a folder whose name the
  SuperLink gives beside the bundle, and take whatever is there already;
- ``get_executor`` of ``run_superexec``: a fork of this warm process takes each message, which is 1.2 s less;
- ``time`` of ``start_client_internal``: literal pauses of 3 s and 0.5 s become a tenth of that while messages come;
- ``time`` of ``run_superexec``: it looks for a task when the SuperNode has taken a message, not ten times a second (``looking.Bell``);
- the first pause of ``pull_objects``, 1 s, at both ends of the node;
- ``_pull_and_store_message`` there: a reply that waits is pushed without another message (``looking.receive``).
"""

import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from fedrepay.client.crypto import node_key
from fedrepay.client.node import bundle, clock, looking, ports, proxy, relay
from fedrepay.shared.errors import ArgumentError, NetworkError, StorageError
from fedrepay.shared.private import private_file, private_folder
from fedrepay.shared.trust.bundle import CLIENT_APP

HOME, SECRET = "flower", "flower/superexec.secret"
SETTINGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "1",  # where no bell wakes it
}
FIRST_PULL = 0.1  # seconds
_LOOK = 1.0  # seconds
_LONGEST = 6 * 3600  # seconds for a message
_ENDING = 20.0  # seconds for a child to end on its own


@dataclass(frozen=True)
class MemberNode:
    """Where a member's node is and whom it talks to.

    Args:
        folder: the node's folder with ``node.key``; it need not be the member's own.
        superlink: HOST:PORT of the consortium's front.
        certificates: PEM file of the authority that signed the front's certificate.
        socket: of ``fedrepay member serve``.
        port: of the SuperNode's own Runtime API, on loopback; one a node. Another, where somebody has it.
        proxy: the HTTP proxy to go through; the environment's are never used.
        check: which bundles a run may come with; anything but the default is for benchmarks.
        app: MODULE:NAME of the ClientApp that answers, whatever the bundle names.
    """

    folder: Path
    superlink: str
    certificates: Path
    socket: Path
    port: int
    proxy: str | None = None
    check: Callable[[bytes], None] = bundle.check
    app: str = CLIENT_APP

    def run(self) -> None:
        """Relay messages until SIGTERM or Ctrl-C.

        Raises:
            ArgumentError: no key, no certificates.
            StorageError: the folder cannot be written, or is another user's.
            NetworkError: the SuperNode or the executor ended; Flower's log above says why.
        """
        for path in (self.folder / node_key.PRIVATE, self.certificates):
            if not path.is_file():
                raise ArgumentError(f"{path} is not there.", "`fedrepay member init` makes the node's keys.")
        home = self.folder.resolve() / HOME
        secret = secrets.token_bytes(32)
        try:
            private_folder(self.folder)
            private_file(self.folder / node_key.PRIVATE)
            private_folder(home)
            private_file(self.folder / SECRET)
            (self.folder / SECRET).write_bytes(secret.hex().encode())
        except OSError as error:
            raise StorageError(
                f"The node's folder {self.folder} cannot be written: {error.strerror}.",
                "Check rights and disk.",
            ) from error
        os.environ.update(SETTINGS | {"FLWR_HOME": str(home)})
        proxy.only(self.proxy)
        replaced = _Replaced(self.check, self.app)
        port = ports.usable(self.port)
        address = f"{ports.LOOPBACK}:{port}"
        bell = looking.Bell()
        told = _listen()  # before the forks: a signal between them must not leave a child behind
        children = {"SuperNode": _fork(partial(self._supernode, replaced, port, bell))}
        if _listens(port, children["SuperNode"], told):
            children["executor"] = _fork(partial(_execute, replaced, address, secret.hex().encode(), bell))
        ended = _watch(children, told)
        if ended:
            if wrong := clock.told(clock.off(self.superlink, self.certificates, self.proxy)):
                raise NetworkError(f"The member's {ended} ended by itself. {wrong}", "Set the clock (NTP).")
            raise NetworkError(
                f"The member's {ended} ended by itself.",
                "Flower's log above has the reason (reference: key not registered, wrong certificates).",
            )

    def _supernode(self, replaced: "_Replaced", port: int, bell: looking.Bell) -> None:
        replaced.utils.start_parent_process_monitor(os.getppid())
        pace = looking.Pace(time.monotonic, time.sleep)
        replaced.client.time = _sleeping(pace.sleep)  # type: ignore[attr-defined]
        replaced.client.pull_objects = partial(  # type: ignore[attr-defined]
            replaced.client.pull_objects, initial_backoff=FIRST_PULL
        )
        replaced.client._pull_and_store_message = partial(  # type: ignore[attr-defined]  # noqa: SLF001 - Flower has no hook
            looking.receive,
            replaced.client._pull_and_store_message,  # noqa: SLF001
            pace,
            bell,
        )
        member = f"{relay.UNIX}{self.socket.resolve()}"
        sys.argv = [
            "flower-supernode",
            *("--superlink", self.superlink, "--root-certificates", str(self.certificates)),
            *("--auth-supernode-private-key", str(self.folder / node_key.PRIVATE)),
            *("--isolation", "process", "--superexec-auth-secret-file", str(self.folder / SECRET)),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--node-config", f'member="{member}"'),
        ]
        replaced.cli.flower_supernode()


class _Replaced:
    """Flower's modules, imported once before the forks, and what stands in for parts of them."""

    def __init__(self, check: Callable[[bytes], None], app: str) -> None:
        self.cli = import_module("flwr.supernode.cli.flower_supernode")
        self.client = import_module("flwr.supernode.start_client_internal")
        self.app = import_module("flwr.supernode.runtime.run_clientapp")
        self.superexec = import_module("flwr.supercore.superexec.run_superexec")
        self.utils = import_module("flwr.supercore.app_utils")
        module, _, name = app.partition(":")
        ours = getattr(import_module(module), name)  # here, so that a fork need not
        self.app.install_from_fab = lambda content, **_: check(content)  # type: ignore[attr-defined]
        self.app.get_load_client_app_fn = lambda **_: lambda *_named: ours  # type: ignore[attr-defined]
        self.app.pull_and_inflate_object_from_tree = partial(  # type: ignore[attr-defined]
            self.app.pull_and_inflate_object_from_tree, initial_backoff=FIRST_PULL
        )


def _sleeping(sleep: Callable[[float], None]) -> ModuleType:
    """The module ``time``, with another ``sleep``."""
    made = ModuleType("time")
    made.__dict__.update(time.__dict__, sleep=sleep)
    return made


def _execute(replaced: _Replaced, address: str, secret: bytes, bell: looking.Bell) -> None:
    """Take tasks from the SuperNode and fork for each."""
    from flwr.supercore.constant import TaskType  # noqa: PLC0415 - heavy
    from flwr.supercore.superexec.executor import (  # noqa: PLC0415
        ExecutionSpec,
        LaunchResult,
        SubprocessExecutor,
    )

    class Forking(SubprocessExecutor):
        def get_eligible_capacity(self, supported_task_types: set[TaskType], **_kwargs: Any) -> Any:
            return supported_task_types & {TaskType.CLIENT_APP}, set()

        def launch(self, spec: ExecutionSpec) -> LaunchResult:
            if spec.task_type != TaskType.CLIENT_APP:
                return LaunchResult.failed(f"this node runs ClientApps only, not {spec.task_type}")
            _fork(
                partial(
                    _relay_one,
                    replaced.app.run_clientapp,
                    runtime_api_address=spec.runtime_api_address,
                    token=spec.token,
                    insecure=spec.insecure,
                    certificates=None,
                    parent_pid=os.getpid(),  # ours: it ends with us, even while it waits for a message that is gone
                    runtime_dependency_install=False,
                )
            )
            return LaunchResult.accepted()

    replaced.superexec.time = _sleeping(bell.pause)  # type: ignore[attr-defined]
    replaced.superexec.get_executor = lambda *_args, **_kwargs: Forking()  # type: ignore[attr-defined]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a ClientApp: its answer says how it went
    replaced.superexec.run_superexec(
        runtime_api_address=address, insecure=True, superexec_auth_secret=secret, parent_pid=os.getppid()
    )


def _relay_one(run_clientapp: Callable[..., None], **options: Any) -> None:
    """One message; a child whose Flower run was stopped under it may wait for ever, so it has a last hour."""
    signal.alarm(_LONGEST)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    run_clientapp(**options)


def _end_with(parent: int) -> None:
    """End when the parent has; Flower's own monitor asks the main thread to, which may wait for an answer that never comes."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _fork(work: Callable[[], None]) -> int:
    """Do the work in a child and give its process id; the child never returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # noqa: BLE001  # a child has nobody to tell but its log
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _listen() -> list[bool]:
    """Note SIGTERM and Ctrl-C instead of dying of them: the list is filled when one has come."""
    told: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: told.append(True))
    return told


def _listens(port: int, pid: int, told: list[bool]) -> bool:
    """Wait until the SuperNode takes connections, which the executor would else be slow to notice."""
    while not told:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False


def _watch(children: dict[str, int], told: list[bool]) -> str:
    """Wait until a child ends or we are told to; then end the others, the SuperNode first.

    Returns:
        the child that ended by itself, or "".
    """
    ended = ""
    while not told and not ended:
        ended = next((name for name, pid in children.items() if _gone(pid)), "")
        time.sleep(0.1)
    for name, pid in children.items():
        if name != ended:
            _end(pid)
    return "" if told else ended


def _gone(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] != 0


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _ENDING
    while not _gone(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.05)
