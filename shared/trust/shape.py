"""Whether bytes have a message's shape, told before a single object is built from them.

msgpack expands: a nil or an empty map takes one byte on the wire and up to 200 in memory, before any signature
is checked. So the bytes are walked along the message's own model first: fields in their one order, lengths
within their bounds, every value of its field's type and in its shortest form. What passes is the one encoding
of whatever it says, so nothing need be encoded again to prove that; the values themselves (ranges, patterns)
are pydantic's to judge. The walk keeps nothing, goes no deeper than the model and stops at the first byte
that does not fit.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgpack
from pydantic import BaseModel
from pydantic.fields import FieldInfo

MAX_ITEMS = 1500
"""Items of a list whose field names no bound of its own: a signed message, a sum, an attempt a member or round."""
MAX_TEXT = 1 << 16  # bytes of a text whose field names no bound of its own
Walk = Callable[[bytes, int], int]
"""From a value's first byte to the byte behind it.

Raises:
    Misfit, IndexError: the bytes do not fit, or end too early.
"""
_NIL = 0xC0
_BLOCK = 64  # numbers matched at once
_WHOLE = (
    rb"[\x00-\x7f\xe0-\xff]"  # -32 … 127
    rb"|\xcc[\x80-\xff]|\xcd[\x01-\xff].|\xce(?!\x00\x00).{4}|\xcf(?!\x00{4}).{8}"
    rb"|\xd0[\x80-\xdf]|\xd1(?!\xff[\x80-\xff])[\x80-\xff]."
    rb"|\xd2(?!\xff\xff[\x80-\xff])[\x80-\xff].{3}|\xd3(?!\xff{4}[\x80-\xff])[\x80-\xff].{7}"
)
_PATTERNS: dict[object, bytes] = {
    bool: rb"[\xc2\xc3]",
    int: b"(?:" + _WHOLE + b")",
    float: rb"\xcb(?![\x7f\xff][\xf0-\xff]).{8}",  # finite
}


class Misfit(ValueError):
    """The bytes do not have the shape."""


def _head(fixed: range, wide: dict[int, tuple[int, int]]) -> Callable[[bytes, int, int], tuple[int, int]]:
    """How msgpack writes a length: within the code itself, or in so many bytes behind it, if it needs them.

    Args:
        fixed: codes that hold a length.
        wide: by code, the bytes of the length and the least length that needs them.
    """
    none = (0, 1)

    def read(data: bytes, at: int, most: int) -> tuple[int, int]:
        code = data[at]
        if code in fixed:
            length, start = code - fixed.start, at + 1
        else:
            width, least = wide.get(code, none)
            start = at + 1 + width
            length = int.from_bytes(data[at + 1 : start], "big")
            if length < least:
                raise Misfit(f"no such value at byte {at}")
        if length > most or length > len(data) - start:
            raise Misfit(f"a length of {length} at byte {at}")
        return length, start

    return read


_binary_head = _head(range(0), {0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)})
_text_head = _head(range(0xA0, 0xC0), {0xD9: (1, 32), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)})
_list_head = _head(range(0x90, 0xA0), {0xDC: (2, 16), 0xDD: (4, 1 << 16)})


def check(kind: type[BaseModel], data: bytes) -> None:
    """Walk the bytes of a message of that kind.

    Raises:
        Misfit: they are not such a message, or not in its one encoding.
        TypeError: the model has a field that no message can have.
    """
    walk = of_model(kind)
    try:
        end = walk(data, 0)
    except IndexError:
        raise Misfit("it ends too early") from None
    if end != len(data):
        raise Misfit(f"bytes from {end} on belong to nothing")


@cache
def of_model(kind: type[BaseModel]) -> Walk:
    """The walk of a message; made once a class.

    Raises:
        TypeError: it has a field that no message can have.
    """
    regular = re.escape(msgpack.Packer().pack_map_header(len(kind.model_fields)))
    steps: list[tuple[Walk, Walk]] = []
    for name, info in kind.model_fields.items():
        regular += re.escape(msgpack.packb(name))
        part = _of_type(info.annotation, list(info.metadata))
        if isinstance(part, bytes):
            regular += part
        else:
            steps.append((_walk(regular), part))
            regular = b""
    last = _walk(regular)

    def walk(data: bytes, at: int) -> int:
        for before, value in steps:
            at = value(data, before(data, at))
        return last(data, at)

    return walk


@cache
def nested(kind: type[BaseModel]) -> dict[tuple[str, ...], type[BaseModel]]:
    """The messages within a message and itself, by the names of their fields; those with equal names are left out."""
    found: dict[tuple[str, ...], type[BaseModel]] = {}
    for each in set(_within(kind)):
        names = tuple(each.model_fields)
        found[names] = BaseModel if names in found else each
    return {names: each for names, each in found.items() if each is not BaseModel}


def _within(kind: object) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for info in kind.model_fields.values():
            yield from _within(info.annotation)
    for inner in get_args(kind) if get_origin(kind) is not Literal else ():
        yield from _within(inner)


def _of_type(annotation: Any, metadata: list[object]) -> bytes | Walk:
    """A regular expression of a value, where one can tell it, else its walk."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of_type(inner[0], [*metadata, *inner[1:]])
    if origin is Literal:
        return _one_of(inner)
    part: bytes | Walk | None = None
    if origin is tuple:
        part = _of_tuple(inner, *_bounds(metadata))
    elif origin in {Union, UnionType} and len(inner) == 2 and NoneType in inner:
        part = _or_nil(_walk(_of_type(inner[0] if inner[1] is NoneType else inner[1], metadata)))
    elif isinstance(annotation, type):
        part = _of_class(annotation, *_bounds(metadata))
    if part is None:
        raise TypeError(f"no message has a field of type {annotation}: give shared/trust/shape.py its walk")
    return part


def _of_class(kind: type, least: int, most: int | None) -> bytes | Walk | None:
    if issubclass(kind, Enum):
        return _one_of(tuple(each.value for each in kind))
    if issubclass(kind, BaseModel):
        return of_model(kind)
    if kind is bytes:
        return _binary(least, most)
    if kind is str:
        return _text(MAX_TEXT if most is None else 4 * most)
    return _PATTERNS.get(kind)


def _of_tuple(inner: tuple[Any, ...], least: int, most: int | None) -> Walk | None:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return _items(_of_type(inner[0], []), least, MAX_ITEMS if most is None else most)
    return None if Ellipsis in inner else _row([_walk(_of_type(each, [])) for each in inner])


def _one_of(values: tuple[object, ...]) -> bytes:
    return b"(?:" + b"|".join(re.escape(msgpack.packb(value)) for value in values) + b")"


def _bounds(metadata: list[object]) -> tuple[int, int | None]:
    """Least and most items or bytes."""
    least, most = 0, None
    for each in metadata:
        if isinstance(each, FieldInfo):
            lower, upper = _bounds(each.metadata)
        else:
            lower, upper = getattr(each, "min_length", None) or 0, getattr(each, "max_length", None)
        least = max(least, lower)
        most = upper if most is None or (upper is not None and upper < most) else most
    return least, most


def _walk(part: bytes | Walk) -> Walk:
    if not isinstance(part, bytes):
        return part
    match = re.compile(part, re.DOTALL).match

    def walk(data: bytes, at: int) -> int:
        found = match(data, at)
        if found is None:
            raise Misfit(f"no such value at byte {at}")
        return found.end()

    return walk


def _binary(least: int, most: int | None) -> bytes | Walk:
    if least == most and least < 1 << 8:
        return re.escape(b"\xc4" + bytes([least])) + b".{%d}" % least
    limit = 1 << 32 if most is None else most

    def walk(data: bytes, at: int) -> int:
        length, start = _binary_head(data, at, limit)
        if length < least:
            raise Misfit(f"{length} bytes at byte {at}")
        return start + length

    return walk


def _text(most: int) -> Walk:
    first, last = 0xA0, 0xA0 + min(most, 31)

    def walk(data: bytes, at: int) -> int:
        code = data[at]
        if first <= code <= last:  # names are short and many
            return at + 1 + code - first  # past the end, nothing more fits
        length, start = _text_head(data, at, most)
        return start + length

    return walk


def _items(part: bytes | Walk, least: int, most: int) -> Walk:
    one = _walk(part)
    block = _walk(b"(?:" + part + b"){%d}" % _BLOCK) if isinstance(part, bytes) else None

    def walk(data: bytes, at: int) -> int:
        length, at = _list_head(data, at, most)
        if length < least:
            raise Misfit(f"{length} items before byte {at}")
        if block is not None:
            for _ in range(length // _BLOCK):
                at = block(data, at)
            length %= _BLOCK
        for _ in range(length):
            at = one(data, at)
        return at

    return walk


def _row(walks: list[Walk]) -> Walk:
    def walk(data: bytes, at: int) -> int:
        length, at = _list_head(data, at, len(walks))
        if length != len(walks):
            raise Misfit(f"{length} items before byte {at}")
        for each in walks:
            at = each(data, at)
        return at

    return walk


def _or_nil(inner: Walk) -> Walk:
    def walk(data: bytes, at: int) -> int:
        return at + 1 if data[at] == _NIL else inner(data, at)

    return walk
