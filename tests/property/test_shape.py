"""The walk lets through exactly what would be written again byte by byte: the one encoding of a message."""

import re
from enum import StrEnum
from typing import Any, Literal

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.shared.trust import shape
from fedrepay.shared.trust.message import Wire

SPARE = {"uint": (0xCC, 0xCD, 0xCE, 0xCF), "int": (0xD0, 0xD1, 0xD2, 0xD3)}


class Colour(StrEnum):
    RED = "red"
    REDDER = "redder"


class Inner(Wire):
    number: int
    text: str


class Every(Wire):
    """A field of each type that a message may have."""

    whole: int
    real: float
    flag: bool
    data: bytes
    text: str
    colour: Literal["red", "redder", 7]
    maybe: bytes | None
    inner: Inner
    perhaps: Inner | None
    numbers: tuple[int, ...]
    reals: tuple[float, ...]
    inners: tuple[Inner, ...]
    pairs: tuple[tuple[str, bytes], ...]


WHOLE = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.builds(
        lambda power, off, sign: max(-(2**63), min(2**64 - 1, sign * 2**power + off)),
        st.integers(0, 64),
        st.integers(-2, 2),
        st.sampled_from([1, -1]),
    ),
)
REAL = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=40) | st.integers(30, 300).map(lambda n: "a" * n)
DATA = st.binary(max_size=40) | st.sampled_from([255, 256, 65_535, 65_536]).map(bytes)
INNER = st.builds(lambda number, text: {"number": number, "text": text}, WHOLE, TEXT)
EVERY = st.fixed_dictionaries(
    {
        "whole": WHOLE,
        "real": REAL,
        "flag": st.booleans(),
        "data": DATA,
        "text": TEXT,
        "colour": st.sampled_from(["red", "redder", 7]),
        "maybe": DATA | st.none(),
        "inner": INNER,
        "perhaps": INNER | st.none(),
        "numbers": st.lists(WHOLE, max_size=5) | st.sampled_from([63, 64, 65, 200]).map(lambda n: [9] * n),
        "reals": st.lists(REAL, max_size=3),
        "inners": st.lists(INNER, max_size=3) | INNER.map(lambda one: [one] * 17),
        "pairs": st.lists(st.tuples(TEXT, DATA), max_size=3),
    }
).map(lambda fields: {name: fields[name] for name in Every.model_fields})  # in the order of the message


def spelt(value: Any, choose: Any) -> bytes:
    """An encoding of the value, in any width that holds it."""
    if isinstance(value, dict):
        inner = b"".join(spelt(key, choose) + spelt(each, choose) for key, each in value.items())
        return _length(len(value), choose, 0x80, (None, 0xDE, 0xDF)) + inner
    if isinstance(value, list | tuple):
        return _length(len(value), choose, 0x90, (None, 0xDC, 0xDD)) + b"".join(
            spelt(v, choose) for v in value
        )
    if isinstance(value, str):
        return _length(len(value.encode()), choose, 0xA0, (0xD9, 0xDA, 0xDB)) + value.encode()
    if isinstance(value, bytes):
        return _length(len(value), choose, None, (0xC4, 0xC5, 0xC6)) + value
    plain: bytes = msgpack.packb(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return plain
    ways = [plain]
    for power, (unsigned, signed) in enumerate(zip(*SPARE.values(), strict=True)):
        width = 1 << power
        if 0 <= value < 1 << 8 * width:
            ways.append(bytes([unsigned]) + value.to_bytes(width, "big"))
        if -(1 << 8 * width - 1) <= value < 1 << 8 * width - 1:
            ways.append(bytes([signed]) + value.to_bytes(width, "big", signed=True))
    return bytes(choose(ways))


def _length(length: int, choose: Any, fixed: int | None, wide: tuple[int | None, ...]) -> bytes:
    room = 32 if fixed == 0xA0 else 16
    ways = [bytes([fixed | length])] if fixed is not None and length < room else []
    for power, code in enumerate(wide):
        if code is not None and length < 1 << (8 << power):
            ways.append(bytes([code]) + length.to_bytes(1 << power, "big"))
    return bytes(choose(ways))


def fits(kind: type[Wire], data: bytes) -> bool:
    try:
        shape.check(kind, data)
    except shape.Misfit:
        return False
    return True


@settings(deadline=None, max_examples=100)
@given(fields=EVERY)
def test_what_is_written_fits_and_comes_back(fields: dict[str, Any]) -> None:
    data = msgpack.packb(fields)
    assert fits(Every, data)
    assert Every.decode(data).encode() == data


@settings(deadline=None, max_examples=200)
@given(fields=EVERY, data=st.data())
def test_of_all_spellings_the_shortest_alone_fits(fields: dict[str, Any], data: st.DataObject) -> None:
    often = data.draw(st.sampled_from([1, 3, 30]))  # of so many choices one is another than the shortest
    pick = data.draw(st.randoms(use_true_random=False))
    written = spelt(fields, lambda ways: pick.choice(ways) if pick.randrange(often) == 0 else ways[0])
    assert msgpack.unpackb(written) == msgpack.unpackb(msgpack.packb(fields))
    assert fits(Every, written) == (msgpack.packb(msgpack.unpackb(written)) == written)


@settings(deadline=None, max_examples=200)
@given(fields=EVERY, at=st.integers(0, 10**6), change=st.binary(max_size=3), cut=st.integers(0, 3))
def test_what_fits_after_a_change_is_still_what_would_be_written(
    fields: dict[str, Any], at: int, change: bytes, cut: int
) -> None:
    data = msgpack.packb(fields)
    at %= len(data)
    changed = data[:at] + change + data[at + cut :]
    if fits(Every, changed):
        try:
            found = msgpack.unpackb(changed)
        except UnicodeDecodeError:
            return
        assert msgpack.packb(found) == changed
        assert list(found) == list(Every.model_fields)


@given(value=WHOLE, more=st.binary(max_size=2))
def test_a_whole_number_has_one_spelling(value: int, more: bytes) -> None:
    pattern = re.compile(shape._PATTERNS[int], re.DOTALL)
    data = msgpack.packb(value)
    found = pattern.match(data + more)
    assert found is not None
    assert found.end() == len(data)
    for written in {spelt(value, lambda ways, n=n: ways[n % len(ways)]) for n in range(9)} - {data}:
        assert pattern.match(written + bytes(9)) is None


def test_an_enumeration_is_one_of_its_values() -> None:
    class Painted(Wire):
        colour: Colour

    assert [
        fits(Painted, msgpack.packb({"colour": each})) for each in ("red", "redder", "re", "blue", 1)
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("real", [float("nan"), float("inf"), float("-inf")])
def test_a_number_is_finite(real: float) -> None:
    class Real(Wire):
        real: float

    assert fits(Real, msgpack.packb({"real": 1e308}))
    assert not fits(Real, msgpack.packb({"real": real}))


def test_lists_and_texts_without_a_bound_have_one() -> None:
    class Loose(Wire):
        items: tuple[int, ...]
        text: str

    most = {"items": [1] * shape.MAX_ITEMS, "text": "a" * shape.MAX_TEXT}
    assert fits(Loose, msgpack.packb(most))
    assert not fits(Loose, msgpack.packb({**most, "items": [1] * (shape.MAX_ITEMS + 1)}))
    assert not fits(Loose, msgpack.packb({**most, "text": "a" * (shape.MAX_TEXT + 1)}))


def test_a_field_of_another_type_is_the_programmer_s_error() -> None:
    class Odd(Wire):
        mapping: dict[str, int]

    with pytest.raises(TypeError, match="dict"):
        shape.of_model(Odd)
