"""Switching a defence off, for an attack's control and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def switched(owner: object, name: str, instead: object) -> Iterator[None]:
    """Put ``instead`` in the place of ``owner.name`` for a while.

    Args:
        owner: a module or class of the product.
        name: a function or method of it.
        instead: what stands there meanwhile.
    """
    kept = getattr(owner, name)
    setattr(owner, name, instead)
    try:
        yield
    finally:
        setattr(owner, name, kept)
