"""The port of a node's own API on loopback: nobody calls it but the node's own children, so another will do."""

import logging
import socket

LOOPBACK = "127.0.0.1"
log = logging.getLogger("fedrepay.node")


def usable(port: int) -> int:
    """This port, or one that is free where somebody has it: a node whose API is another's never answers.

    Args:
        port: that is wanted.
    """
    if free(port):
        return port
    with socket.create_server((LOOPBACK, 0)) as found:
        other: int = found.getsockname()[1]
    log.warning("Port %d on this machine is taken: the node's own API takes %d this time.", port, other)
    return other


def free(port: int) -> bool:
    """Whether it can be listened at now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
