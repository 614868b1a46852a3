"""One connection a message: each write is still a transaction of its own, and what was read is read again after it."""

from pathlib import Path

import pytest

from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import StorageError


def test_version_grows_with_every_write_and_with_every_message(tmp_path: Path) -> None:
    store = MemberStore(tmp_path / "member", lambda: 0.0)
    assert store.version is None, "outside a message nothing may be kept"
    with store.connected():
        first = store.version
        store.fact("a")
        assert store.version == first
        store.remember(a=b"1")
        assert store.version != first
        last = store.version
    with store.connected():
        assert store.version not in (None, last), "others may have written between two messages"
    assert store.version is None


def test_a_write_that_fails_undoes_itself_alone(tmp_path: Path) -> None:
    def full(point: str, moment: str) -> None:
        if (point, moment) == ("remember blocked", "commit"):
            raise StorageError("full", "free it")

    store = MemberStore(tmp_path / "member", lambda: 0.0, full)
    with store.connected():
        store.remember(a=b"1")
        with pytest.raises(StorageError):
            store.remember(blocked=b"tag")
        store.remember(b=b"2")
    other = MemberStore(tmp_path / "member", lambda: 0.0)
    assert [other.fact(key) for key in ("a", "blocked", "b")] == [b"1", None, b"2"]


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 0)])
def test_only_a_simulation_does_not_wait_for_the_disk(tmp_path: Path, *, durable: bool, level: int) -> None:
    store = MemberStore(tmp_path / "member", lambda: 0.0, durable=durable)
    assert store._rows("PRAGMA synchronous") == [(level,)]
