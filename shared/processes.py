"""Processes that work for this one, and end with it."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection
from threading import Thread
from typing import Any


def workers(
    jobs: int, begin: Callable[..., object] | None = None, given: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """So many processes, which end with this one even where it is killed.

    Args:
        jobs: how many.
        begin: what each calls first.
        given: what it is called with.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(begin, given))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(begin: Callable[..., object] | None, given: tuple[Any, ...]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()
    if begin is not None:
        begin(*given)


def _wait_and_end(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)  # nothing is tidied up: whoever comes next does, as after any kill
