"""A Flower Grid in one process: runs the real ClientApp when a reply is pulled, with full wire bytes.

One message at a time, and nothing kept after it is answered, so memory is flat in the number of
members. Every message and every reply is serialised and parsed as on the wire.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RECORD = "fedrepay"


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as the wire saw them."""

    node: int
    kind: str
    shared: bytes
    own: bytes
    body: bytes  # the reply's body, empty on an error
    error: str
    sent: int  # bytes of the request on the wire
    received: int  # bytes of the reply on the wire
    seconds: float


class InProcessGrid(Grid):
    """Nodes 2, 3, … answer with ``client_app``; node 1 is the server.

    Args:
        client_app: Flower's ClientApp object.
        names: under which the nodes are registered, in node order.
        addresses: the member address of each.
        observe: told of every exchange.
    """

    def __init__(
        self,
        client_app: ClientApp,
        names: Sequence[str],
        addresses: Sequence[str],
        observe: Callable[[Exchange], None],
    ) -> None:
        self._app = client_app
        self._names = dict(enumerate(names, start=2))
        self._observe = observe
        self._run = Run.create_empty(1)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self._contexts = {
            number: Context(
                run_id=1,
                node_id=number,
                node_config={"member": address},
                state=RecordDict(),
                run_config={},
            )
            for number, address in enumerate(addresses, start=2)
        }
        self._waiting: dict[str, Message] = {}
        self._count = 0

    def set_run(self, run: Run) -> None:
        """Take the run's facts."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's facts."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes; a simulated node is always connected."""
        return list(self._contexts)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All nodes, with the names under which they are registered."""
        return [NodeInfo(node_id=number, name=name) for number, name in self._names.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; nothing runs yet."""
        ids = []
        for message in messages:
            self._count += 1
            identity = f"message-{self._count}"
            message.metadata.__dict__["_message_id"] = identity
            self._waiting[identity] = message
            ids.append(identity)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the next queued ClientApp call and give its reply: one at a time."""
        for identity in message_ids:
            if identity in self._waiting:
                return [self._deliver(self._waiting.pop(identity))]
        return []

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then pull all; ``timeout`` has no meaning where nothing waits."""
        del timeout
        return [
            reply for identity in self.push_messages(messages) for reply in self.pull_messages([identity])
        ]

    def _deliver(self, message: Message) -> Message:
        begun = perf_counter()
        wire = message_to_proto(message).SerializeToString()
        answer = self.answered(wire)
        return self._seen(message, len(wire), answer, perf_counter() - begun)

    def answered(self, wire: bytes) -> bytes:
        """The bytes with which a node answers the bytes of a message."""
        received = message_from_proto(ProtoMessage.FromString(wire))
        context = self._contexts[received.metadata.dst_node_id]
        try:
            reply = self._app(received, context)
        except Exception as error:  # noqa: BLE001  # as a SuperNode does: any failure of the app is an error reply
            reply = Message(Error(code=2, reason=f"{type(error).__name__}: {error}"), reply_to=received)
        reply.metadata.__dict__["_message_id"] = f"reply-{received.metadata.message_id}"
        return bytes(message_to_proto(reply).SerializeToString())

    def _seen(self, message: Message, sent: int, answer: bytes, seconds: float) -> Message:
        """The reply that these bytes are; whoever observes is told."""
        parsed = message_from_proto(ProtoMessage.FromString(answer))
        asked = message.content.config_records[RECORD]
        failed = parsed.has_error()
        self._observe(
            Exchange(
                node=message.metadata.dst_node_id,
                kind=str(asked["kind"]),
                shared=bytes(asked["shared"]),  # type: ignore[arg-type]
                own=bytes(asked["own"]),  # type: ignore[arg-type]
                body=b"" if failed else bytes(parsed.content.config_records[RECORD]["body"]),  # type: ignore[arg-type]
                error=str(parsed.error.reason) if failed else "",
                sent=sent,
                received=len(answer),
                seconds=seconds,
            )
        )
        return parsed
