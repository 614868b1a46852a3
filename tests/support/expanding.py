"""Bodies that take a few bytes on the wire and many in memory, for every kind of message, read in a process of their own.

``python -m support.expanding MODE`` (with ``tests`` on the path) prints by how much the process grew, as a multiple
of the bodies' size, under a limit on its address space.
"""

import importlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from unittest.mock import patch

import msgpack
from pydantic import BaseModel

import fedrepay.client
import fedrepay.server
import fedrepay.shared
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import message, shape
from fedrepay.shared.trust.message import Wire
from fedrepay.shared.trust.wire import Header

SIZE = 2 << 20  # bytes of a body
RATIO = 8
ROOM = 3 * RATIO * SIZE  # bytes of address space beyond what the modules take


def kinds() -> list[type[Wire]]:
    """Every kind of message in the product, wherever it stands."""
    for package in (fedrepay.shared, fedrepay.client, fedrepay.server):
        (root,) = map(Path, package.__path__)
        for file in root.rglob("*.py"):
            if "(Wire)" in file.read_text():
                importlib.import_module(
                    ".".join((package.__name__, *file.relative_to(root).with_suffix("").parts))
                )

    def below(kind: type[Wire]) -> set[type[Wire]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    return sorted(
        (kind for kind in below(Wire) - {Wire} if kind.__module__.startswith("fedrepay.")),
        key=lambda kind: f"{kind.__module__}.{kind.__name__}",
    )


BOMBS = {
    "nils": b"\xdd\xc0",
    "empty maps": b"\xdd\x80",
    "empty lists": b"\xdd\x90",
    "maps": b"\xdd\x81\xa1a\x80",
    "numbers": b"\xdd\xcd\x7f\xff",
    "floats": b"\xdd\xca\x3f\x80\x00\x00",
    "texts": b"\xdd\xa1a",
    "empty bytes": b"\xdd\xc4\x00",
    "signed in vain": b"\xdd\x82\xa4body\xc4\x00\xa9signature\xc4\x00",
    "extensions": b"\xdd\xd4\x05a",
    "a map of numbers": b"\xdf\xcd\x7f\xff\x00",
}
"""A list or a map, by its first byte, of as many of these as fit into a body."""


def bomb(name: str, size: int) -> bytes:
    """One of them, of about ``size`` bytes."""
    if name == "lists in lists":
        return b"\x91" * size
    if name == "a promise":
        return b"\xdd\xff\xff\xff\xff" + bytes(size)
    head, item = BOMBS[name][:1], BOMBS[name][1:]
    items = (size - 5) // len(item)
    return head + items.to_bytes(4, "big") + item * items


def least(annotation: Any, metadata: list[object] | None = None) -> bytes:
    """The encoding of a field's smallest value."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return least(inner[0], [*(metadata or []), *inner[1:]])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return b"".join(_fields(annotation))
    items, _ = shape._bounds(metadata or [])
    if origin is tuple:
        each = inner[:1] * items if Ellipsis in inner else inner
        return _list_of([least(item) for item in each])
    if origin in {Union, UnionType}:
        return b"\xc0" if NoneType in inner else least(inner[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _packed(next(iter(annotation)).value)
    if origin is Literal:
        return _packed(inner[0])
    return _packed(
        {int: 1, float: 1.0, bool: False, bytes: bytes(items), str: "a" * max(1, items)}[annotation]
    )


def planted(kind: type[BaseModel], size: int) -> Iterator[tuple[str, bytes]]:
    """Each bomb alone, and in each field behind a beginning that fits."""
    head, *fields = _fields(kind)
    for name in (*BOMBS, "lists in lists", "a promise"):
        data = bomb(name, size)
        yield name, data
        for at, field in enumerate(kind.model_fields):
            parts = [head, *fields[:at], _packed(field), data, *fields[at + 1 :]]
            yield f"{name} in {field}", b"".join(parts)


def stuffed(kind: type[BaseModel], size: int) -> bytes:
    """A message of that shape with as many smallest items in its lists as their bounds and ``size`` allow."""
    return _stuffed(kind, [], size)


def _stuffed(annotation: Any, metadata: list[object], size: int) -> bytes:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _stuffed(inner[0], [*metadata, *inner[1:]], size)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        filled = msgpack.Packer().pack_map_header(len(annotation.model_fields))
        lists = [n for n, info in annotation.model_fields.items() if get_origin(info.annotation) is tuple]
        for name, info in annotation.model_fields.items():
            share = size // len(lists) if name in lists else 0
            filled += _packed(name) + _stuffed(info.annotation, list(info.metadata), share)
        return bytes(filled)
    if origin is tuple and Ellipsis in inner and size:
        low, most = shape._bounds(metadata)
        most = shape.MAX_ITEMS if most is None else most
        item = _stuffed(inner[0], [], size // most)
        return _list_of([item] * max(low, min(most, size // len(item))))
    return least(annotation, metadata)


def _fields(kind: type[BaseModel]) -> list[bytes]:
    """A message's head and its smallest fields, each with its name."""
    head = msgpack.Packer().pack_map_header(len(kind.model_fields))
    named = kind.model_fields.items()
    return [head, *(_packed(name) + least(info.annotation, list(info.metadata)) for name, info in named)]


def _list_of(items: list[bytes]) -> bytes:
    return bytes(msgpack.Packer().pack_array_header(len(items))) + b"".join(items)


def _packed(value: object) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def _peak() -> int:
    """Bytes in memory at the highest since :func:`_fresh`; ``ru_maxrss`` would begin with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def _fresh() -> int:
    """Bytes in memory now, from which the next peak counts."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _limited() -> None:
    """From here on, memory that a bomb would take is not given."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))


def _refused(kind: type[Wire], data: bytes) -> bool:
    try:
        kind.decode(data)
    except ProtocolError:
        return True
    except MemoryError:
        return False
    return False


def bombs() -> dict[str, object]:
    """All bombs in all kinds; the process grows by one body and little more."""
    every = kinds()
    for kind in every:
        _refused(kind, b"".join(_fields(kind)))
    for _ in planted(every[0], SIZE):
        pass  # what it takes to make them is not the reader's
    _limited()
    before, tried, accepted = _fresh(), 0, []
    for kind in every:
        for name, body in planted(kind, SIZE):
            tried += 1
            if not _refused(kind, body):
                accepted.append(f"{kind.__name__}: {name}")
    return {"kinds": len(every), "tried": tried, "accepted": accepted, "ratio": (_peak() - before) / SIZE}


def full(name: str) -> dict[str, object]:
    """One kind's fullest body of its own shape."""
    (kind,) = (each for each in kinds() if each.__name__ == name)
    body = stuffed(kind, SIZE)
    _refused(kind, b"".join(_fields(kind)))
    _limited()
    before = _fresh()
    refused = _refused(kind, body)
    return {"size": len(body), "refused": refused, "ratio": (_peak() - before) / len(body)}


def unchecked(name: str) -> dict[str, object]:
    """One kind with the walk off, and a bomb of empty maps."""
    (kind,) = (each for each in kinds() if each.__name__ == name)
    with patch.object(shape, "check"), patch.object(shape, "nested", lambda _: {}):
        body = bomb("empty maps", SIZE)
        _refused(kind, b"".join(_fields(kind)))
        before = _fresh()
        refused = _refused(kind, body)
    return {"refused": refused, "ratio": (_peak() - before) / len(body)}


def faulty(stopped: str) -> dict[str, object]:
    """A list of numbers of which each is out of range, in lists that stop at the first and in lists that do not."""
    if stopped == "no":
        with patch.object(message, "_fail_fast"):
            Header.model_rebuild(force=True)
    fields: dict[str, Any] = {
        **dict.fromkeys(Header.model_fields, bytes(32)),
        **dict.fromkeys(("run", "round", "attempt"), 1),
        "name": "a",
        "chunks": (),
        "tags": tuple(2**64 - 1 - i for i in range(1 << 14)),
    }
    data = _packed(fields)
    before = _fresh()
    refused = _refused(Header, data)
    return {"refused": refused, "ratio": (_peak() - before) / len(data)}


if __name__ == "__main__":
    modes: dict[str, Callable[..., dict[str, object]]] = {
        "bombs": bombs,
        "full": full,
        "unchecked": unchecked,
        "faulty": faulty,
    }
    print(json.dumps(modes[sys.argv[1]](*sys.argv[2:])))
