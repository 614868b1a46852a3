"""Waiting for another process."""

import time
from collections.abc import Callable


def until(seen: Callable[[], bool], seconds: float = 60.0) -> None:
    """Look again and again."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)
