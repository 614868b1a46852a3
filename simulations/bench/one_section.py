"""One section, measured in this process or in one of a pool (``__main__`` could not be imported there)."""

import contextlib
import io
import sys
from importlib import import_module
from time import perf_counter
from typing import TextIO

from fedrepay.simulations.bench.page import SectionRun
from fedrepay.simulations.bench.reference import chacha20


class Prefixed(io.TextIOBase):
    """Progress lines of one of several sections at once, each with the section's name."""

    def __init__(self, name: str, out: TextIO) -> None:
        self._name, self._out, self._rest = name, out, ""

    def write(self, text: str) -> int:
        """Pass whole lines on."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._out.write(f"{self._name}: {line}\n")
        self._out.flush()
        return len(text)


def measure(name: str) -> SectionRun:
    """A section's body, the seconds it took, and the reference loop before and after."""
    before, begun = chacha20(), perf_counter()
    with contextlib.redirect_stdout(Prefixed(name, sys.stdout)):
        body: str = import_module(f"fedrepay.simulations.bench.{name}").run()
    return SectionRun(body, perf_counter() - begun, before, chacha20())
