"""Settings of all tests: the same examples in every run, no timing, and no answer of one test in the next."""

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
