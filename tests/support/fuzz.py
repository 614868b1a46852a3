"""Mutants of msgpack messages: of their bytes, and of their shape at any depth, signed bodies within included."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgpack

DEEP = b"\x91" * 2000 + b"\x00"
"""Lists in lists, deeper than any parser should follow."""


class Pairs(list[Any]):
    """A map as its (key, value) pairs, so that it may hold one key twice or in another order."""


class Within:
    """Bytes that are a msgpack map of their own (a signed body, a roster)."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree


class Raw:
    """Bytes that stand in the message as they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data


NASTY: list[Any] = [
    *(-1, 0, 1, 2**31, 2**32, 2**60, 2**63, 2**64 - 1, -(2**63), True, False, None, 0.0, -1.0, 1e308),
    *(float("nan"), float("inf"), "", "a", "\x00", "../a", "m0", "x" * 70_000, b"", b"\x00", bytes(31), bytes(32), bytes(64)),
    *([], [[]], [None] * 2000, Pairs(), Pairs([("a", 1)]), Pairs([(1, 1)]), Pairs([(None, None)])),
    *(Raw(b"\xc1"), Raw(DEEP), Raw(b"\xd6\xff" + bytes(4)), Raw(b"\xd4\x05a")),  # never used, deep, a time, an extension
    *(Raw(bytes([start]) + b"\xff\xff\xff\xff") for start in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF)),  # promised lengths
    *(Raw(b"\xcf" + bytes(8)), Raw(b"\xd3" + bytes(8)), Raw(b"\xd9\x01a"), Raw(b"\xc6\x00\x00\x00\x01a")),  # too wide
]  # fmt: skip


def parsed(data: bytes, depth: int = 0) -> Any:
    """The tree of a message; bytes within are parsed where they are a map themselves."""
    return _inner(msgpack.unpackb(data, object_pairs_hook=Pairs, strict_map_key=False), depth)


def _inner(tree: Any, depth: int) -> Any:
    if isinstance(tree, Pairs):
        return Pairs((key, _inner(value, depth)) for key, value in tree)
    if isinstance(tree, list):
        return [_inner(value, depth) for value in tree]
    if isinstance(tree, bytes) and depth < 4 and tree[:1] and (0x80 < tree[0] < 0x90 or tree[0] == 0xDE):
        try:
            return Within(parsed(tree, depth + 1))
        except (ValueError, msgpack.UnpackException):
            return tree
    return tree


def packed(tree: Any) -> bytes:
    """The bytes of a tree."""
    packer = msgpack.Packer()
    match tree:
        case Raw():
            return tree.data
        case Within():
            return bytes(packer.pack(packed(tree.tree)))
        case Pairs():
            return bytes(packer.pack_map_header(len(tree))) + b"".join(packed(k) + packed(v) for k, v in tree)
        case list():
            return bytes(packer.pack_array_header(len(tree))) + b"".join(packed(each) for each in tree)
    return bytes(packer.pack(tree))


Spot = tuple[Any, Callable[[Any], None]]  # a value, and what puts another in its place


def _spots(tree: Any) -> Iterator[Spot]:
    """Every value in the tree."""
    if isinstance(tree, Within):

        def put_within(new: Any) -> None:
            tree.tree = new

        yield tree.tree, put_within
        yield from _spots(tree.tree)
    elif isinstance(tree, list):
        for index, each in enumerate(tree):
            pair = isinstance(tree, Pairs)

            def put(
                new: Any, index: int = index, key: Any = each[0] if pair else None, *, pair: bool = pair
            ) -> None:
                tree[index] = (key, new) if pair else new

            value = each[1] if pair else each
            yield value, put
            yield from _spots(value)


def shaped(rng: Random, data: bytes, other: bytes) -> bytes:
    """One change of shape: a value of another type or size, a field or item more, fewer or elsewhere, a splice."""
    tree = parsed(data)
    spots = list(_spots(tree))
    lists = [value for value, _ in [(tree, None), *spots] if isinstance(value, list) and value]
    value, put = rng.choice(spots)
    match rng.randrange(8):
        case 0 | 1:
            put(rng.choice(NASTY))
        case 2:  # a value of this message or another one of the same type, in this place
            alike = [
                v for v, _ in (*spots, *_spots(parsed(other))) if type(v) is type(value) and v is not value
            ]
            put(Raw(packed(rng.choice(alike))) if alike else None)
        case 3:
            chosen = rng.choice(lists)
            del chosen[rng.randrange(len(chosen))]
        case 4:
            chosen = rng.choice(lists)
            chosen.insert(rng.randrange(len(chosen) + 1), rng.choice(chosen))
        case 5:
            rng.shuffle(rng.choice(lists))
        case 6:
            if isinstance(value, bool | float | str) or value is None or not isinstance(value, int):
                put(Raw(noncanonical(packed(value))))
            else:
                put(value + rng.choice([-1, 1, 2**31, 2**63]) if abs(value) < 2**60 else 0)
        case 7:
            put(Raw(byte_mutant(rng, packed(value), packed(value))))
    try:
        return packed(tree)
    except (OverflowError, ValueError):  # a sum past 64 bits has no encoding
        return data


def noncanonical(data: bytes) -> bytes:
    """The same value with a longer length than it needs, where there is such an encoding."""
    first, rest = data[0], data[1:]
    if 0x80 <= first < 0x90:
        return bytes([0xDE, 0, first & 15]) + rest
    if 0x90 <= first < 0xA0:
        return bytes([0xDC, 0, first & 15]) + rest
    if 0xA0 <= first < 0xC0:
        return bytes([0xD9, first & 31]) + rest
    wider = {
        0xC4: b"\xc5\x00",
        0xC5: b"\xc6\x00\x00",
        0xD9: b"\xda\x00",
        0xDC: b"\xdd\x00\x00",
        0xDE: b"\xdf\x00\x00",
    }
    return wider[first] + rest if first in wider else data + b"\xc0"


def byte_mutant(rng: Random, data: bytes, other: bytes) -> bytes:
    """One change of bytes that knows nothing of what they mean."""
    at, end = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    low, high = min(at, end), max(at, end)
    match rng.randrange(9):
        case 0 | 1:  # a bit
            at = min(at, len(data) - 1)
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 2:  # a byte
            return data[:at] + rng.randbytes(1) + data[at + 1 :]
        case 3:
            return data[:at]
        case 4:
            return data + rng.randbytes(rng.randint(1, 40))
        case 5:
            return data[:low] + data[high:]
        case 6:
            return data[:high] + data[low:]
        case 7:  # two valid messages
            return data[:at] + other[rng.randrange(len(other) + 1) :]
    return data[:low] + bytes(high - low) + data[high:]


def mutants(seed: int, count: int, messages: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """``count`` pairs (message, mutant), half of each sort; a mutant is never one of the messages."""
    rng, known, made = Random(seed), set(messages), 0
    while made < count:
        data, other = rng.choice(messages), rng.choice(messages)
        changed = shaped(rng, data, other) if rng.random() < 0.5 else byte_mutant(rng, data, other)
        if changed not in known:
            made += 1
            yield data, changed


def mutants_of_bytes(seed: int, count: int, messages: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """As :func:`mutants`, for bytes that are no msgpack."""
    rng, known, made = Random(seed), set(messages), 0
    while made < count:
        data = rng.choice(messages)
        changed = byte_mutant(rng, data, rng.choice(messages))
        if changed not in known:
            made += 1
            yield data, changed


def with_bytes(data: bytes, planted: list[bytes]) -> Iterator[bytes]:
    """The message with one of its fields of bytes or text replaced, each in turn, at any depth."""
    for number in range(len(list(_spots(parsed(data))))):
        tree = parsed(data)
        value, put = list(_spots(tree))[number]
        if isinstance(value, bytes | str | Within):
            put(planted[number % len(planted)])
            yield packed(tree)
