"""Peak memory of a coordinator in a process of its own, against the number of members.

The coordinator's process runs the real ServerApp; its Grid passes messages through a pipe to this
process, which holds the members. Rows are few: they never reach the coordinator.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.task_identity import TaskIdentity

from fedrepay.server.network.app import serve
from fedrepay.shared.errors import FedrepayError, WordsError
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.bench.stages import shipped
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.consortium import Consortium
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.grid import InProcessGrid
from fedrepay.simulations.run.terms import make_terms

COUNTS = (10, 40, 160)


@dataclass(frozen=True)
class PipeGrid:
    """What the ServerApp needs of a Grid, through a pipe."""

    pipe: Connection

    def __post_init__(self) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

    def get_node_ids(self) -> Iterable[int]:
        """The members' nodes."""
        return self._call("nodes", b"")  # type: ignore[no-any-return]

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The same, with their names."""
        return self._call("named", b"")  # type: ignore[no-any-return]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; gives their ids."""
        return [self._call("push", message_to_proto(each).SerializeToString()) for each in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The next reply."""
        for identity in message_ids:
            return [message_from_proto(ProtoMessage.FromString(self._call("pull", identity.encode())))]
        return []

    def _call(self, what: str, given: bytes) -> Any:
        self.pipe.send((what, given))
        return self.pipe.recv()


def peak_memory() -> int:
    """Most memory this process has held, kB (Linux; ``getrusage`` would count its parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def coordinate(pipe: Connection, folder: Path) -> None:
    """The coordinator's process: carry the run, then tell memory at the start and at its peak, kB."""
    before = peak_memory()
    try:
        serve(PipeGrid(pipe), folder)  # type: ignore[arg-type]
    except FedrepayError as error:
        pipe.send(("words" if isinstance(error, WordsError) else "failed", str(error).encode()))
        raise
    pipe.send(("done", f"{before} {peak_memory()}".encode()))


def through_pipe(grid: InProcessGrid, context: Context) -> tuple[float, float]:
    """Run the ServerApp of ``context`` elsewhere and answer its messages here; memory at start and peak, MB."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(
        target=coordinate, args=(there, Path(str(context.run_config["coordinator-folder"])))
    )
    process.start()
    there.close()
    while True:
        what, given = here.recv()
        if what == "nodes":
            here.send(list(grid.get_node_ids()))
        elif what == "named":
            here.send(list(grid.get_nodes()))
        elif what == "push":
            here.send(*grid.push_messages([message_from_proto(ProtoMessage.FromString(given))]))
        elif what == "pull":
            (reply,) = grid.pull_messages([given.decode()])
            here.send(message_to_proto(reply).SerializeToString())
        else:
            process.join()
            if what == "words":
                raise WordsError(given.decode(), "People compare them.")
            if what == "failed":
                raise RuntimeError(given.decode())
            start, peak = map(int, given.split())
            return start / 1024, peak / 1024


def measured(members: int) -> tuple[float, float]:
    """Memory of the coordinator at the start and at its peak, MB."""
    arguments = shipped("distributed", members)
    prepared = prepare(arguments)
    found: list[tuple[float, float]] = []

    def elsewhere(grid: InProcessGrid, context: Context) -> None:
        found.append(through_pipe(grid, context))

    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(Path(scratch) / "run")
        folder.make({})
        terms = make_terms(arguments, prepared.book, len(prepared.parties))
        Consortium(folder, prepared.book, prepared.parties, terms, serve=elsewhere).run()
    return found[0]


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    rows = []
    least = 0.0
    for members in COUNTS:
        start, peak = measured(members)
        least = least or peak
        rows.append(
            (
                members,
                f"{start:.0f}",
                f"{peak:.0f}",
                f"{peak / least:.2f}",
                "1.00" if members > COUNTS[0] else "",
            )
        )
        print(*rows[-1], sep=" | ", flush=True)
    heads = ("Members", "at start, MB", "peak, MB", f"ratio to {COUNTS[0]} members", "target")
    note = (
        "The coordinator adds each upload and drops it before the next. What grows a little is public: every "
        "member's signed hello, acceptance and header."
    )
    return f"{table(heads, rows)}\n\n{note}"
