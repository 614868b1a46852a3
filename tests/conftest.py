"""Settings of all tests: the same examples in every run, no timing, and no answer of one test in the next."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from fedrepay.shared.trust import epoch, message
from support.postgres import database_url, postgres

__all__ = ["database_url", "postgres"]

settings.register_profile("fedrepay", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("fedrepay")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a control verified with its check switched off would be believed by the next test."""
    yield
    for kept in (message._verified, epoch._epochs):
        kept._kept.clear()
        kept._size = 0


def pytest_collection_finish() -> None:
    """What is loaded by now stays: to look through all of it again and again for garbage costs a seventh of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture
def tidy() -> Iterator[None]:
    """Garbage goes as soon as Python lets it: for tests that measure memory."""
    kept = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*kept)


def pytest_sessionfinish() -> None:
    """So that nothing seems to be lost at the end."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that have a time-out of their own take minutes, mostly of waiting: another worker begins with each.

    xdist's ``worksteal`` gives every worker one stretch of the list, and would leave them all to the first.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("timeout")]
    stretches = [long[first::workers] for first in range(workers)]
    rest = [item for item in items if item not in set(long)]
    made: list[pytest.Item] = []
    for number, first in enumerate(stretches):
        upto = len(items) * (number + 1) // workers - len(made) - len(first)
        made += [*first, *rest[:upto]]
        del rest[:upto]
    items[:] = made
