"""Where a run stands, told from its events: who is waited for, by name; refusals by code; bytes; time left."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fedrepay.server.admission.registry import Registry
from fedrepay.server.keyring import load_key
from fedrepay.server.operating import progress, words
from fedrepay.server.operating.progress import CoordinatorStatus, RunProgress
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import CohortError, FedrepayError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES
from support import liars
from support.consortium import Consortium, Mind, unencrypted
from support.operated import operated, released


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


def seen(home: Consortium, clock: Callable[[], float] = lambda: 2e9) -> CoordinatorStatus:
    members = Registry(home.operator).members()
    return progress.status(home.database, members, load_key(home.operator), clock)


def run_of(home: Consortium) -> RunProgress:
    found = seen(home).run
    assert found is not None
    return found


class Stops(Exception):
    """The coordinator's process is killed here."""


class At(Mind):
    """Kills the coordinator when this is asked the so-many-th time."""

    def __init__(self, kind: str, times: int = 1) -> None:
        self.kind, self.left = kind, times

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        self.left -= kind == self.kind
        if kind == self.kind and self.left == 0:
            raise Stops
        return self.honest(kind, shared, own)


@pytest.mark.parametrize(
    ("kind", "words_", "times"),
    [
        ("terms", "asked for the terms", 1),
        ("hello", "called for the epoch", 1),
        ("introduce", "others' keys", 1),
        ("confirm", "confirm the group's seed", 1),
        ("prepare", "prepare the next sum", 1),
        ("round", "sum 1 of 2, attempt 1 of the run", 1),
        ("round", "sum 2 of 2, attempt 2 of the run", 2),
        ("close", "check and sign the release", 1),
    ],
)
def test_each_stage_is_told_and_who_is_waited_for(tmp_path: Path, kind: str, words_: str, times: int) -> None:
    home = operated(tmp_path, {"m3": At(kind, times)})
    with suppress(Stops):
        released(home)
    found = run_of(home)
    assert words_ in found.stage
    assert found.waiting[0] == "m3", "m0 to m2 have answered"
    assert not found.over
    text = "\n".join(words.lines(seen(home)))
    assert "waited for" in text
    assert "m3" in text
    home.minds["m3"].left = 99  # type: ignore[attr-defined]
    released(home)
    done = run_of(home)
    assert (done.over, done.waiting, done.sums, done.attempts) == (True, (), 2, 2)


def test_nothing_yet_is_told(tmp_path: Path) -> None:
    home = operated(tmp_path)
    empty = seen(home)
    assert (empty.roster, empty.run, empty.making) == (0, None, None)
    assert words.lines(empty)[-2:] == ("No roster yet.", "No run yet.")


def test_words_that_wait_for_people_are_shown(tmp_path: Path) -> None:
    home = operated(tmp_path)
    with pytest.raises(CohortError, match="have not approved"):
        home.train()
    now = seen(home)
    assert now.making is not None
    assert now.making.lacking == home.names
    assert now.making.words == home.members["m0"].shown_words()
    assert now.making.words in "\n".join(words.lines(now))


def test_refusals_are_counted_by_code_and_the_away_are_named(tmp_path: Path) -> None:
    home = operated(tmp_path, {"m4": liars.Refusing("round", "busy")})
    with suppress(FedrepayError):
        released(home)
    found = run_of(home)
    assert dict(found.away).keys() == {"m4"}
    assert sum(found.refusals.values()) >= 1
    assert "m4" not in found.waiting
    told = [
        Event("away", "a", b"limits: x"),
        Event("retry", "a", b"lost-attempt: y"),
        Event("away", "b", b"no answer"),
    ]
    assert progress.refusals(told) == {"limits": 1, "lost-attempt": 1, "no answer": 1}


def test_a_no_says_why_it_stopped(tmp_path: Path) -> None:
    home = operated(tmp_path)
    home.year = 0.5
    home.restart("m1")
    with suppress(FedrepayError, AssertionError):
        released(home)
    found = run_of(home)
    assert (found.stage, found.over) == ("declined", True)
    assert "m1" in found.stopped
    assert found.refusals == {"budget": 1}


def test_bytes_count_what_was_added_and_not_kept(tmp_path: Path) -> None:
    home = operated(tmp_path)
    released(home)
    found = run_of(home)
    assert found.received > 10 * UPLOAD_BYTES, "five members, two sums"
    headers = [e for e in home.database.events(1) if e.kind == "header"]
    kept = sum(len(e.body) for e in home.database.events(1) if e.kind.startswith("answer:"))
    assert found.received >= kept + 10 * UPLOAD_BYTES + sum(len(e.body) for e in headers)


def test_time_left_is_the_mean_of_sums_before(tmp_path: Path) -> None:
    home = operated(tmp_path)
    released(home)
    terms = home.database.terms()
    assert terms is not None
    timed = [(100.0, Event("attempt", "", b"")), (130.0, Event("sum", "", b""))]
    longer = terms.model_copy(update={"rounds": 5})
    assert progress._left(longer, timed) == 120.0
    assert (
        progress._left(longer, [*timed, (140.0, Event("void", "", b"")), (190.0, Event("sum", "", b""))])
        == 135.0
    )
    assert progress._left(longer, timed[:1]) is None


def test_since_is_by_the_stores_clock(database_url: str) -> None:
    now = [1000.0]
    store = CoordinatorStore(database_url, clock=lambda: now[0])
    store.append(1, [Event("answer:terms", "a", b"")])
    now[0] = 1050.0
    store.append(1, [Event("attempt", "", b""), Event("header", "a", b"")])
    now[0] = 1060.0
    store.append(1, [Event("header", "b", b"")])
    timed = store.timed(1)
    assert [at for at, _ in timed] == [1000.0, 1050.0, 1050.0, 1060.0]
    assert progress._since(timed) == 1050.0
    assert progress._since(timed[:1]) == 1000.0
    assert progress._since([]) is None
    assert [event for _, event in timed] == store.events(1)
