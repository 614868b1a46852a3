"""Members of a simulation in several processes: large messages, and what is drawn."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.rows.run_figures import export_release
from fedrepay.simulations.run import consortium as driver
from fedrepay.simulations.run.consortium import Consortium
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.grid import RECORD
from fedrepay.simulations.run.players import MANY_MEMBERS, playing, processes_for
from fedrepay.simulations.run.terms import make_terms
from support import shop as shops
from support.shop import Shop


class _Told:
    stages: dict[str, float] = {}  # noqa: RUF012

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Collect."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise where this takes longer: a send to a full pipe would wait for ever."""

    def late(_number: int, _frame: object) -> None:
        raise TimeoutError("both ends wait for each other")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("asked", "answered"), [(1 << 10, 1 << 20), (1 << 20, 1 << 10), (1 << 20, 1 << 20)])
def test_large_questions_and_large_answers_do_not_wait_for_each_other(asked: int, answered: int) -> None:
    """Both above the pipe's buffer (208 KiB on Linux), as a local module of 28,000 parameters makes them."""

    def app(message: Message, _context: Context) -> Message:
        return Message(RecordDict({RECORD: ConfigRecord({"body": bytes(answered)})}), reply_to=message)

    names = ["a", "b", "c", "d"]
    with playing(2, app, names, names, lambda _seen: None, _Told()) as grid:  # type: ignore[arg-type]
        content = ConfigRecord({"kind": "round", "shared": bytes(asked), "own": b""})
        waiting = set(
            grid.push_messages(
                grid.create_message(RecordDict({RECORD: content}), "query", node, "")
                for node in grid.get_node_ids()
            )
        )
        with at_most(20):
            while waiting:
                waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}


def test_few_members_are_played_in_this_process() -> None:
    assert processes_for(MANY_MEMBERS - 1) == 1
    assert processes_for(MANY_MEMBERS) >= 1


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"), rows=300)


def consortium(shop: Shop, folder: Path, **fields: Any) -> Consortium:
    arguments = shop.arguments(mode="none")
    prepared = prepare(arguments)
    terms = make_terms(arguments, prepared.book, len(prepared.parties))
    where = Folder(folder)
    where.make({})
    return Consortium(where, prepared.book, prepared.parties, terms, **fields)


def test_a_run_in_several_processes_opens_what_one_in_one_process_opens(shop: Shop, tmp_path: Path) -> None:
    alone, several = (consortium(shop, tmp_path / str(n), processes=n) for n in (1, 3))
    for each in (alone, several):
        each.run()
    first, second = (export_release(each) for each in (alone, several))
    assert all(np.array_equal(a, b) for a, b in zip(first.sums, second.sums, strict=True))
    assert several.stages.keys() == alone.stages.keys()
    assert several.traffic()["bytes_up_per_member"] == alone.traffic()["bytes_up_per_member"]


def test_seeded_entropy_is_never_forked(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes would draw the same keys and noise of it."""
    monkeypatch.setattr(driver, "playing", lambda *_: pytest.fail("members are played elsewhere"))
    consortium(shop, tmp_path / "seeded", processes=2, entropy=SeededEntropy(b"one for all")).run()
    with pytest.raises(pytest.fail.Exception):  # control
        consortium(shop, tmp_path / "other", processes=2).run()
