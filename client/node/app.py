"""The Flower ClientApp: relays bytes to the member and back. It holds no key, no data, no state.

Node configuration: ``member`` (the member's address, see ``relay``).
"""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrepay.client.node.relay import carry
from fedrepay.shared.errors import ProtocolError

RECORD = "fedrepay"
app = ClientApp()


@app.query()
def relay(message: Message, context: Context) -> Message:
    """Relay one message."""
    record = message.content.config_records[RECORD]
    kind, shared, own = record["kind"], record["shared"], record["own"]
    if not (isinstance(kind, str) and isinstance(shared, bytes) and isinstance(own, bytes)):
        raise TypeError("a fedrepay message has a kind, shared bytes and own bytes")
    try:
        body = carry(str(context.node_config["member"]), kind, shared, own, message.metadata.ttl)
    except ProtocolError as error:
        # its text names a path of the member's, and Flower sends the text of whatever is raised
        raise ProtocolError(
            "The member's own process does not answer.", "The log of `fedrepay member node` says why."
        ) from error
    return Message(RecordDict({RECORD: ConfigRecord({"body": body})}), reply_to=message)
