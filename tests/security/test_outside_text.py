"""Text from outside writes no line of its own into a log and commands no terminal."""

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.client.node import framing, journal
from fedrepay.server.protocol import coordinator as coordinator_module
from fedrepay.shared import errors
from fedrepay.shared.errors import CohortError, FedrepayError, ProtocolError
from fedrepay.shared.text import LONGEST, printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply, asked
from fedrepay.simulations.run.world import World
from support.command import fedrepay
from support.desk import CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts
from support.market_release import write_release

FORGED = "x\n2026-01-01 00:00:00,000 INFO votes: ok, 0 bytes\r\x1b[2J\x9b1m\u202e\u2028"
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")
PLAIN = "%(asctime)s %(levelname)s %(message)s"


@given(st.text(), st.one_of(st.none(), st.integers(1, 40)))
def test_what_is_shown_prints_itself_is_short_and_stays_as_it_is(text: str, most: int | None) -> None:
    shown = printable(text, most)
    assert shown.isprintable()
    assert most is None or len(shown) <= most
    assert printable(shown, most) == shown
    if text.isprintable() and (most is None or len(text) <= most):
        assert shown == text


def test_what_it_writes_out() -> None:
    assert printable("a\n\x1b[2J\u202eb\ud800") == r"a\n\x1b[2J\u202eb\ud800"
    assert printable("zürich 贷款 – “ok” 😀") == "zürich 贷款 – “ok” 😀"
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"
    assert len(printable("y" * 10_000_000)) == LONGEST


@contextmanager
def logged(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """What a node's log holds: every logger of ours, written by this formatter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    level, before = root.level, root.handlers
    root.handlers, root.level = [handler], logging.INFO
    try:
        yield stream
    finally:
        root.handlers, root.level = before, level


def say_everything(world: World) -> None:
    """A stranger's kinds and bytes at a member, and what the member's own code logs of them."""
    handle = world.members["m0"].handle
    journal.noted(handle)(FORGED, b"", b"")
    said = Reply(kind="refused", name="m0", asked=bytes(32), code="budget", cause=FORGED)
    refused = Signed.make(world.identities["m0"].signing, said).encode()
    journal.noted(lambda *_: refused)("round", b"", b"")
    log = logging.getLogger("fedrepay.client.protocol.member")
    log.warning("%s: %s", FORGED, FedrepayError("cause", FORGED))
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("%s", FORGED)


def lines_of(world: World, formatter: logging.Formatter) -> list[str]:
    with logged(formatter) as stream:
        say_everything(world)
    return stream.getvalue().removesuffix("\n").split("\n")


def test_a_nodes_log_has_one_line_a_record(tmp_path: Path) -> None:
    lines = lines_of(World(tmp_path, size=3), journal.OneLine())
    records = [line for line in lines if RECORD.match(line)]
    assert len(records) == 4
    assert all(line.startswith("| ") for line in lines if line not in records), "a traceback's"
    assert not COMMANDS.search("".join(lines))
    assert len({line[24:] for line in records}) == 4


def test_control_logged_as_it_comes_the_stranger_writes_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (journal, errors):
        monkeypatch.setattr(module, "printable", lambda text, *_, **__: text)
    text = "\n".join(lines_of(World(tmp_path, size=3), logging.Formatter(PLAIN)))
    assert "\n2026-01-01 00:00:00,000 INFO votes: ok, 0 bytes" in text
    assert COMMANDS.search(text)


def test_serve_logs_by_that_formatter(monkeypatch: pytest.MonkeyPatch) -> None:
    given_: dict[str, list[logging.Handler]] = {}
    monkeypatch.setattr(logging, "basicConfig", lambda **kinds: given_.update(kinds))
    journal.to_screen()
    assert [type(each.formatter) for each in given_["handlers"]] == [journal.OneLine]


@pytest.mark.parametrize("kind", [FORGED, "a b", "", "x\n", "ping\x1b", "пинг"])
def test_a_kind_that_is_no_plain_word_does_not_reach_a_member(kind: str) -> None:
    import socket

    with pytest.raises(ProtocolError, match=r"plain word|limit"):
        framing.request(kind, b"", b"")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        name = kind.encode()[: framing.MAX_KIND]
        ours.sendall(framing._REQUEST.pack(b"fpq1", len(name), 0, 0) + name)
        with pytest.raises(ProtocolError, match="plain word"):
            framing.receive_request(theirs, 5)
        assert framing._KIND.fullmatch(b"round"), "control"


def stopped_by_a_reply(folder: Path) -> CohortError:
    """What the operator reads when a member refuses in words of its own."""
    world = World(folder, size=3)
    ask = world.until("introduce")
    for target, parts in ask.parts.items():
        reply = Reply(
            kind="refused",
            name=target,
            asked=asked(ask.kind, *parts),
            code="roster",
            cause=FORGED + "y" * (4000 - len(FORGED)),
        )
        signed = Signed.make(world.identities[target].signing, reply)
        world.take(world.coordinator.receive(ask, target, signed))
    with pytest.raises(CohortError) as caught:
        world.coordinator.finish(ask)
    return caught.value


def test_a_members_words_are_one_short_line_at_the_operator(tmp_path: Path) -> None:
    error = stopped_by_a_reply(tmp_path)
    assert r"x\n2026" in error.cause
    assert str(error).isprintable()
    assert len(error.cause) < 5 * LONGEST


def test_control_taken_as_they_are_they_are_lines_and_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (coordinator_module, errors):
        monkeypatch.setattr(module, "printable", lambda text, *_, **__: text)
    error = stopped_by_a_reply(tmp_path)
    assert COMMANDS.search(error.cause)
    assert "\n2026-01-01" in error.cause


def refused_release(folder: Path) -> str:
    write_release(folder / "release", not_private="no\x1b[2J noise [link=file:x]y[/link]", simulated=True)
    (folder / "mine.toml").write_text(CATALOGUE)
    write_csv(folder / "accounts.csv", random_accounts(20, seed=3))
    desk = Desk(folder)
    refused = desk.recommend()
    used = desk.recommend("out.csv", "--unprotected")
    assert (refused.code, used.code) == (9, 0)
    return refused.err + used.err


def test_what_a_release_says_of_itself_is_shown_as_text(tmp_path: Path) -> None:
    said = refused_release(tmp_path)
    assert not COMMANDS.search(said)
    assert said.count("[link=file:x]y[/link]") == 2, "not read as markup either"


def test_control_a_terminal_would_obey_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedrepay.client.scoring import release_file

    for module in (release_file, errors):
        monkeypatch.setattr(module, "printable", lambda text, *_, **__: text)
    assert "\x1b[2J" in refused_release(tmp_path)


def test_cells_of_a_file_are_shown_as_text(tmp_path: Path) -> None:
    from fedrepay.shared.schema import codebook
    from support.schemas import column, schema

    (tmp_path / "s.toml").write_text(schema(column("a")))
    codebook.save(codebook.build((tmp_path / "s.toml").read_bytes()), tmp_path / "s.toml")
    (tmp_path / "rows.csv").write_text("who,late,a\nk1,0,\x1b[2J7\nk2,1,3\n")
    shown = fedrepay("member", "check-data", "--data", tmp_path / "rows.csv", "--schema", tmp_path / "s.toml")
    assert r"\x1b[2J7" in shown.out + shown.err
    assert not COMMANDS.search(shown.out + shown.err)
