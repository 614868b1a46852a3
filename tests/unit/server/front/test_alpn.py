"""ALPN names are read exactly, and nothing that a stranger sends raises, grows or loops."""

import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.server.front import alpn

LISTS: list[list[str]] = [
    [],
    ["h2"],
    ["http/1.1"],
    ["h2", "http/1.1"],
    ["http/1.1", "h2"],
    ["grpc-exp", "h2"],
    ["h2c"],
    ["x" * 255, "h2"],
    [f"name-{i}" for i in range(200)],
]


def hello(offered: list[str], host: str = "consortium.example") -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    if offered:
        context.set_alpn_protocols(offered)
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


HELLOS = [hello(each) for each in LISTS]


def records(data: bytes, size: int) -> bytes:
    """The same hello, its one record cut into records of ``size`` bytes."""
    body = data[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(data[:3] + len(part).to_bytes(2) + part for part in parts)


def named(offered: list[str]) -> tuple[bytes, ...]:
    return tuple(each.encode() for each in offered)


@pytest.mark.parametrize("offered", LISTS, ids=lambda each: ",".join(each)[:20] or "none")
def test_what_openssl_offers_is_read(offered: list[str]) -> None:
    sent = hello(offered)
    assert alpn.read(sent) == named(offered)
    assert alpn.read(sent + b"more") == named(offered)
    for size in (len(sent), len(sent) // 2, len(sent) // 7):
        assert alpn.read(records(sent, size)) == named(offered)


@pytest.mark.parametrize("sent", HELLOS, ids=range(len(HELLOS)))
def test_cut_anywhere_it_asks_for_more_and_never_for_more_than_there_is(sent: bytes) -> None:
    for whole in (sent, records(sent, len(sent) // 3)):
        asked = [alpn.read(whole[:length]) for length in range(len(whole))]
        assert all(isinstance(more, int) and at < more <= len(whole) for at, more in enumerate(asked))
        steps, at = 0, 0
        while isinstance(more := alpn.read(whole[:at]), int):
            at, steps = more, steps + 1
        assert at == len(whole)
        assert steps <= 2 * alpn._RECORDS


def outcome(data: bytes) -> tuple[bytes, ...] | int | None:
    found = alpn.read(data)
    if isinstance(found, int):
        assert len(data) < found <= alpn.LONGEST
    elif found is not None:
        assert all(0 < len(name) < 256 for name in found)
    return found


@pytest.mark.parametrize("sent", HELLOS[:5], ids=range(5))
def test_a_flipped_bit_changes_the_answer_at_most(sent: bytes) -> None:
    seen = set()
    for at in range(len(sent) * 8):
        spoilt = bytearray(sent)
        spoilt[at // 8] ^= 1 << at % 8
        seen.add(type(outcome(bytes(spoilt))))
    assert seen == {tuple, int, type(None)}


@given(st.binary(max_size=600))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    outcome(data)
    outcome(b"\x16\x03\x01" + data)
    outcome(b"\x16\x03\x01" + (len(data) + 4).to_bytes(2) + b"\x01" + len(data).to_bytes(3) + data)


@given(st.sampled_from(HELLOS), st.data())
def test_a_hello_with_a_piece_exchanged_has_an_answer(sent: bytes, data: st.DataObject) -> None:
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(sent))] * 2)))
    outcome(sent[:begin] + data.draw(st.binary(max_size=40)) + sent[end:])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x80\x2e\x01\x03\x01",  # SSL 2
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert
        b"\x16\x02\x00",  # another version
        b"\x16\x03\x01\x00\x00",  # an empty record
        b"\x16\x03\x01\x40\x01",  # a record too long
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x00\x40\x00",  # longer than any
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00" * 2,  # empty
        records(HELLOS[1], 20),  # in more records than any caller makes
        bytes(100),
    ],
)
def test_what_is_no_hello_is_none_at_once(data: bytes) -> None:
    assert alpn.read(data) is None


def extended(*extensions: tuple[int, bytes], spare: bytes = b"") -> bytes:
    """A hello with these extensions."""
    packed = b"".join(kind.to_bytes(2) + len(each).to_bytes(2) + each for kind, each in extensions)
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(packed).to_bytes(2) + packed + spare
    inner = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(inner).to_bytes(2) + inner


def test_lists_that_do_not_fit_are_no_hello() -> None:
    right = (16, b"\x00\x03\x02h2")
    assert alpn.read(extended(right)) == (b"h2",)
    assert alpn.read(extended((0, b"x"), right, (43, b""))) == (b"h2",)
    assert alpn.read(extended(right, right)) is None
    assert alpn.read(extended(right, spare=b"x")) is None
    for wrong in (b"", b"\0", b"\0\0", b"\0\x01\0", b"\0\x03\x03h2", b"\0\x03\x02h2x", b"\0\x04\x02h2"):
        assert alpn.read(extended((16, wrong))) is None


def test_http_is_looked_for_first() -> None:
    served = [alpn.for_service(named(each)) for each in LISTS]
    assert served == [False, True, False, False, False, True, False, True, False]


def test_reading_again_is_worth_it_a_few_times_only() -> None:
    """A caller that sends one byte at a time has its hello read once for each header and each record."""
    sent = records(HELLOS[3], len(HELLOS[3]) // 7)
    wanted = [alpn.read(sent[:length]) for length in range(len(sent))]
    assert sum(one != other for one, other in pairwise(wanted)) <= 2 * alpn._RECORDS
