"""The port of a node's own API: the one that is set, or another where somebody has it."""

import socket

from fedrepay.client.node import ports


def test_another_port_is_taken_where_somebody_has_the_one_that_is_set() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        chosen = ports.usable(port)
        assert chosen != port
        with socket.create_server((ports.LOOPBACK, chosen)):
            assert not ports.free(chosen)
    assert ports.usable(port) == port, "control: nobody has it now"
