"""What a member's node writes into its own log: each message and what became of it, and a new roster's words.

One record is one line, whatever it quotes: a log in which others can write lines of their own proves nothing.
"""

import json
import logging
import sys
from typing import Any

from fedrepay.client.node.relay import Handler
from fedrepay.client.protocol.enrolment import ENROLLING
from fedrepay.shared.errors import Code
from fedrepay.shared.text import printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Reply

log = logging.getLogger("fedrepay.member")
_MOST = 2_000  # characters of a record's message; roster names and words fit
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class OneLine(logging.Formatter):
    """Writes each message on one line, and every line of a traceback behind a bar, so that none can pass for a record."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of a record, its message printable."""
        record.message = printable(record.message, _MOST)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """A traceback."""
        return _barred(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """A stack."""
        return _barred(super().formatStack(stack_info))


def _barred(text: str) -> str:
    return "\n".join(f"| {printable(line, _MOST)}" for line in text.split("\n"))


class JsonLine(logging.Formatter):
    """Writes each message as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; times in seconds since 1970."""
        said: dict[str, Any] = {"at": record.created, "level": record.levelname}
        said["said"] = printable(record.getMessage(), _MOST)
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def to_screen(*, as_json: bool = False) -> None:
    """Log as the process's only log: to standard error for people, to standard output for machines."""
    handler = logging.StreamHandler(sys.stdout if as_json else sys.stderr)
    handler.setFormatter(JsonLine() if as_json else OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def take_over(name: str) -> None:
    """What another's logger says comes out as ours does."""
    other = logging.getLogger(name)
    other.handlers.clear()
    other.propagate = True


def noted(handle: Handler) -> Handler:
    """The same handler, its messages noted; a new roster's words, to be compared, are said once and not at each asking."""
    waits = ""

    def noting(kind: str, shared: bytes, own: bytes) -> bytes:
        nonlocal waits
        body = handle(kind, shared, own)
        reply = Reply.decode(Signed.decode(body).body)
        before, waits = waits, "" if kind in ENROLLING else waits
        if kind == Kind.APPROVE and (reply.kind, reply.code) == ("refused", Code.ROSTER):
            waits = reply.cause
            if waits != before:
                log.info("A roster waits for people here: %s", printable(waits, _MOST))
        elif reply.kind == "refused":
            log.warning("%s: refused (%s): %s", printable(kind), reply.code, printable(reply.cause, _MOST))
        else:
            log.info("%s: %s, %d bytes", printable(kind), reply.kind, len(reply.body))
        return body

    return noting
