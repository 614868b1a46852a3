"""`fedrepay member init`, `approve-roster`, `serve` and `node`, as their users run them."""

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedrepay.client.crypto import node_key
from fedrepay.client.node import journal, relay, setup
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto import limits
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.network.members import MemberSite
from fedrepay.simulations.network.processes import Processes
from fedrepay.simulations.rows.prepare import Prepared, prepare
from fedrepay.simulations.run.consortium import Consortium
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms
from support import shop as shops
from support.adversary import answer
from support.command import fedrepay
from support.company import Company
from support.processes import until
from support.shop import Shop


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets allow no long ones."""
    with tempfile.TemporaryDirectory(prefix="member") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def prepared(shop: Shop) -> Prepared:
    return prepare(shop.arguments(mode="none"))


# --- init ---


def test_init_makes_keys_that_are_its_own_and_says_what_comes_next(folder: Path) -> None:
    done = fedrepay("member", "init", "bank-a", "--folder", folder / "a")
    assert done.code == 0, done.err
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o700
    for name in ("identity.key", node_key.PRIVATE):
        assert stat.S_IMODE((folder / "a" / name).stat().st_mode) == 0o600
    key = load_ssh_private_key((folder / "a" / node_key.PRIVATE).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1", "the curve that Flower takes"
    entry = setup.identity(folder / "a").entry()
    assert entry.node == node_key.public(folder / "a") != b""
    written = json.loads((folder / "a" / "entry.json").read_text())
    assert written == {
        "name": "bank-a",
        "signing": entry.signing.hex(),
        "sealing": entry.sealing.hex(),
        "node": entry.node.hex(),
    }
    assert "fedrepay member join" in done.out


def test_init_never_writes_over_a_key_and_takes_names_of_the_roster_only(folder: Path) -> None:
    assert fedrepay("member", "init", "bank-a", "--folder", folder / "a").code == 0
    before = {path.name: path.read_bytes() for path in (folder / "a").iterdir()}
    again = fedrepay("member", "init", "bank-b", "--folder", folder / "a")
    assert again.code == StorageError.exit_code
    assert {path.name: path.read_bytes() for path in (folder / "a").iterdir()} == before
    assert fedrepay("member", "init", "../bank", "--folder", folder / "b").code == ArgumentError.exit_code
    assert not (folder / "b").exists()


def test_a_node_key_that_is_there_keeps_its_public_half(folder: Path) -> None:
    node_key.create(folder)
    before = (folder / node_key.PUBLIC).read_bytes()
    with pytest.raises(StorageError, match=r"node\.key"):
        node_key.create(folder)
    assert (folder / node_key.PUBLIC).read_bytes() == before


def test_a_damaged_public_key_is_a_typed_error(folder: Path) -> None:
    setup.create("a", folder / "a")
    (folder / "a" / node_key.PUBLIC).write_text("ssh-rsa nonsense")
    with pytest.raises(StorageError, match=r"node\.pub"):
        setup.identity(folder / "a")


# --- the roster's words ---

WORDS = [
    "legal",
    "winner",
    "thank",
    "year",
    "wave",
    "sausage",
    "worth",
    "useful",
    "legal",
    "winner",
    "thank",
    "yellow",
]


def test_approved_words_stand_in_the_member_s_store(folder: Path) -> None:
    setup.create("a", folder / "a")
    done = fedrepay("member", "approve-roster", *[word.upper() for word in WORDS], "--folder", folder / "a")
    assert done.code == 0, done.err
    assert MemberStore(folder / "a", lambda: 0.0).fact("approved_code") == " ".join(WORDS).encode()


@pytest.mark.parametrize("words", [WORDS[:11], [*WORDS[:11], "zoo"], [*WORDS[:11], "notaword"]])
def test_misspelt_words_approve_nothing(folder: Path, words: list[str]) -> None:
    setup.create("a", folder / "a")
    done = fedrepay("member", "approve-roster", *words, "--folder", folder / "a")
    assert done.code == ArgumentError.exit_code
    assert MemberStore(folder / "a", lambda: 0.0).fact("approved_code") is None


NOT_APPROVED = "This institution has not approved the words of the roster"


def test_the_log_shows_what_became_of_a_message_and_the_words_of_a_roster(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = Company(tmp_path)
    reveals = company.reveals(company.proposal(company.call(1)))
    handle = journal.noted(company.members["m0"].handle)
    with caplog.at_level(logging.INFO):
        for _ in range(3):  # the operator asks again and again while people compare
            handle("approve", reveals, b"")
        assert f"A roster waits for people here: {NOT_APPROVED} of m0, m1, m2, m3: " in caplog.text
        assert company.members["m0"].shown_words() in caplog.text
        assert (caplog.text.count("A roster waits"), "WARNING" in caplog.text) == (1, False), (
            "a state, said once"
        )
        handle("propose", company.call(2).encode(), b"")
        handle("approve", reveals, b"")
        assert caplog.text.count("A roster waits") == 2, (
            "control: said again when something else came between"
        )
        caplog.clear()
        said = Reply(kind="ok", name="m0", asked=bytes(32), body=b"secret")
        signed = Signed.make(company.identities["m0"].signing, said).encode()
        assert journal.noted(lambda *_: signed)("seed", b"", b"") == signed
    assert "seed: ok, 6 bytes" in caplog.text
    assert "secret" not in caplog.text


# --- serve ---


def test_rows_written_for_a_member_are_the_rows_it_reads(
    shop: Shop, prepared: Prepared, folder: Path
) -> None:
    party = prepared.parties[0]
    terms = make_terms(shop.arguments(mode="none"), prepared.book, 4)
    allowed = Consortium(Folder(folder / "run"), prepared.book, prepared.parties, terms).limits()
    with Processes(folder / "logs") as processes:
        site = MemberSite(party.name, folder / "m", processes)
        site.prepare(prepared.book, party.train, allowed)
    mine = folder / "m"
    sources = setup.Sources(
        mine / "schema.toml", mine / "rows.parquet", mine / "rows.mapping.toml", mine / "limits.toml"
    )
    served = setup.member(folder / "m", sources, lambda *_: None)
    rows, digest = served._rounds._contributions._rows()
    expected, expected_digest = snapshot(prepared.book, party.train, setup.identity(mine).local)
    assert np.array_equal(rows.codes, expected.codes)
    assert digest == expected_digest
    assert served._rounds._limits == allowed
    assert limits.load(folder / "m" / "limits.toml", prepared.book.schema.public).minimum_cohort == 3


def serve(shop: Shop, folder: Path) -> "subprocess.Popen[str]":
    files = ["--schema", shop.schema, "--data", shop.data, "--mapping", shop.mapping]
    return subprocess.Popen(
        [sys.executable, "-m", "fedrepay", "member", "serve", "--folder", str(folder), *map(str, files)],
        stderr=subprocess.PIPE,
        text=True,
    )


def until_serving(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "Serving at" in line:
            return said
    raise AssertionError(said)


def test_serve_answers_one_process_a_folder_and_ends_cleanly_on_ctrl_c(shop: Shop, folder: Path) -> None:
    setup.create("a", folder / "a")
    with serve(shop, folder / "a") as process:
        until_serving(process)
        socket = folder / "a" / "member.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert answer(relay.deliver(f"unix:{socket}", "held", b"", b"")).kind == "ok"
        refused = answer(relay.deliver(f"unix:{socket}", "round", b"garbage", b""))
        assert refused.kind == "refused"
        second = fedrepay("member", "serve", "--folder", folder / "a", "--schema", shop.schema)
        assert second.code == ArgumentError.exit_code
        assert "Another process serves" in second.err
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "nothing is lost" in process.stderr.read()
    assert not socket.exists()


def test_a_killed_serve_is_started_again_and_ends_on_sigterm(shop: Shop, folder: Path) -> None:
    setup.create("a", folder / "a")
    with serve(shop, folder / "a") as process:
        until_serving(process)
        process.kill()
    assert (folder / "a" / "member.sock").exists()
    with serve(shop, folder / "a") as process:
        until_serving(process)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_file_of_mostly_bad_rows_is_refused_before_anybody_is_served(shop: Shop, folder: Path) -> None:
    setup.create("a", folder / "a")
    lines = shop.data.read_text().splitlines()
    bad = folder / "bad.csv"
    unheard = [each.replace(each.split(";")[3], "unheard") for each in lines[20:51]]
    bad.write_text("\n".join([*lines[:20], *unheard]) + "\n")
    options = ("--folder", folder / "a", "--schema", shop.schema, "--data", bad, "--mapping", shop.mapping)
    done = fedrepay("member", "serve", *options)
    assert done.code == 4
    assert "31 of 50 would be dropped" in " ".join(done.err.split())
    assert "check-data" in done.err
    assert not (folder / "a" / "member.sock").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minimum_cohort = 2", r"minimum_cohort: .* \(it is 2\)"),
        ("epsilon = 1", "epsilon"),
        ("minimum_cohort", "is not TOML"),
        ('allow_unprotected = "perhaps"', "allow_unprotected"),
        ("delta_per_year = 1.3e-5", "delta_per_year = 1.3e-05 is outside"),
    ],
)
def test_limits_out_of_bounds_or_unknown_are_named(shop: Shop, folder: Path, text: str, words: str) -> None:
    public = codebook.load(shop.schema).schema.public
    (folder / "limits.toml").write_text(text)
    with pytest.raises(ArgumentError, match=words):
        limits.load(folder / "limits.toml", public)


# --- node ---


def test_a_node_without_its_key_says_where_keys_come_from(folder: Path) -> None:
    options = ("--folder", folder, "--superlink", "127.0.0.1:1", "--certificates", folder / "ca.pem")
    done = fedrepay("member", "node", *options)
    assert done.code == ArgumentError.exit_code
    assert "member init" in done.err


def test_a_member_whose_store_was_lost_does_not_serve_with_an_empty_ledger(folder: Path) -> None:
    setup.check_kept(folder, None)  # not admitted yet
    (folder / setup.CERTIFICATE).write_text("it was admitted")
    setup.check_kept(folder, bytes(32))  # control: its store is there
    with pytest.raises(StorageError, match="ledger with it"):
        setup.check_kept(folder, None)


def test_serve_looks_whether_the_store_is_the_one_it_had(shop: Shop, folder: Path) -> None:
    setup.create("a", folder)
    sources = setup.Sources(shop.schema, shop.data, shop.mapping, None)
    setup.member(folder, sources, lambda _stage, _seconds: None)
    (folder / setup.CERTIFICATE).write_text("it was admitted")
    with pytest.raises(StorageError, match="ledger with it"):
        setup.member(folder, sources, lambda _stage, _seconds: None)


ORPHAN = """
import os, sys, threading
from fedrepay.client.node import supernode
supernode._LOOK = 0.05
if sys.argv[1] == "unwatched":
    supernode._end_with = lambda _parent: None
def waits(**_options):
    print(os.getpid(), flush=True)
    threading.Event().wait()
supernode._fork(lambda: supernode._relay_one(waits))
sys.stdin.readline()
os._exit(9)  # as a kill would end it: no handler runs
"""


@pytest.mark.parametrize("how", ["watched", "unwatched"])
def test_a_message_that_waits_for_ever_ends_with_its_executor(how: str) -> None:
    """Seen after a killed node: its child waited for a SuperNode that was gone, and no signal of Flower's reached it."""
    executor = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert executor.stdin is not None
    assert executor.stdout is not None
    child = int(executor.stdout.readline())
    executor.stdin.write("\n")
    executor.stdin.flush()
    executor.wait(60)

    def lives() -> bool:
        stat = Path(f"/proc/{child}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"

    if how == "watched":
        until(lambda: not lives())
    else:
        assert lives(), "control"
        os.kill(child, signal.SIGKILL)
    executor.stdin.close()
    executor.stdout.close()
