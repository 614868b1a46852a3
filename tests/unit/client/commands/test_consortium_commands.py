"""`fedrepay member join`, `accept-terms`, `status`, `roster`, `pull`, `leave`, `rotate-keys` and `run`, as typed at a prompt."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.consortium import overview, running, standing, tls
from fedrepay.client.consortium.standing import LinkState
from fedrepay.client.node import door, house, setup
from fedrepay.client.store import settings
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, NetworkError, TermsError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.supervision import ChildSeen
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.asking import Handed, ReleaseListed, Standing
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.succession import KeyHandover, Leaving, Rotation
from support import shop as shops
from support.command import Result, fedrepay
from support.coordinator_stub import Stub, coordinator, issue
from support.joining import ROSTER
from support.processes import until
from support.shop import Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def book(shop: Shop) -> CodeBook:
    return codebook.load(shop.schema)


@pytest.fixture
def stub(tmp_path: Path, book: CodeBook) -> Iterator[Stub]:
    with coordinator(tmp_path / "coordinator", book) as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets allow no long ones."""
    with tempfile.TemporaryDirectory(prefix="member") as name:
        yield Path(name) / "m"


def join(stub: Stub, folder: Path, *options: object) -> Result:
    return fedrepay("member", "join", stub.invitation().token(), "--folder", folder, *options)


def admitted(stub: Stub, folder: Path, *options: object) -> None:
    stub.state = "admitted"
    done = join(stub, folder, "--yes", *options)
    assert done.code == 0, done.err


def rostered(folder: Path, *, pending: bool = False) -> Roster:
    """In the store: a roster that this member is in, and one that would put `b` out and give `c` other keys."""
    mine = setup.identity(folder).entry()
    members = (mine, *ROSTER.members[1:])
    held = ROSTER.model_copy(update={"members": tuple(sorted(members, key=lambda each: each.name))})
    facts = {"roster": held.encode(), "signed": held.encode()}
    if pending:
        left = [each for each in held.members if each.name != held.names[-1]]
        left[-1] = left[-1].model_copy(update={"sealing": bytes([9]) * 32})
        changes = {
            "number": 4,
            "predecessor": held.hash(),
            "members": tuple(left),
            "nonces": held.nonces[:-1],
        }
        facts["pending"] = held.model_copy(update=changes).encode()
    MemberStore(folder, time.time).remember(**facts)
    return held


# --- join ---


def test_terms_are_shown_in_six_lines_and_need_a_yes(stub: Stub, folder: Path) -> None:
    done = join(stub, folder)
    assert done.code == ArgumentError.exit_code, "nobody at the screen: no hang"
    assert "--yes" in done.err
    assert all(f"  {n}. " in done.err for n in range(1, 7))
    assert stub.joined == []
    assert not folder.exists()


def test_a_no_sends_nothing(stub: Stub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert join(stub, folder).code == TermsError.exit_code
    assert stub.joined == []


def test_it_shows_words_comes_back_and_goes_on_until_admitted(
    stub: Stub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = join(stub, folder, "--yes", "--no-wait", "--json")
    assert first.code == 0, first.err
    said = json.loads(first.out)
    assert (said["state"], len(said["words"].split())) == ("waiting", 12)
    assert said["words"] in first.err
    monkeypatch.setattr(time, "sleep", lambda _: setattr(stub, "state", "admitted"))
    second = join(stub, folder)
    assert second.code == 0, second.err
    assert f"Next: fedrepay member run --folder {folder}" in second.out
    assert len(set(stub.joined)) == 1, "the same bytes, and no second yes"
    again = join(stub, folder)
    assert (again.code, "already" in again.out) == (0, True)


def test_a_member_whose_certificate_counts_no_more_joins_again_with_its_folder(
    stub: Stub, folder: Path
) -> None:
    admitted(stub, folder)
    before, mine = (folder / tls.CERTIFICATE).read_bytes(), setup.identity(folder).entry()
    asked = len(stub.joined)
    assert "already" in join(stub, folder).out, "control: the coordinator takes the certificate"
    assert len(stub.joined) == asked
    stub.refuse = grpc.StatusCode.UNAUTHENTICATED  # its database was lost
    refused = join(stub, folder)
    assert (refused.code, len(stub.joined)) == (ArgumentError.exit_code, asked), (
        "the terms are asked about again"
    )
    again = join(stub, folder, "--yes")
    assert (again.code, "bank-a is admitted." in again.out) == (0, True), again.err
    assert (folder / tls.CERTIFICATE).read_bytes() != before
    assert setup.identity(folder).entry() == mine, "the same keys: rosters know it"


def test_a_member_whose_certificate_has_ended_joins_again(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    ended = issue(stub.folder, tls.create(folder, "bank-a"), "bank-a", begins=-9e5, ends=-60.0)
    (folder / tls.CERTIFICATE).write_bytes(ended)
    again = join(stub, folder, "--yes")
    assert (again.code, "bank-a is admitted." in again.out) == (0, True), again.err
    assert tls.check(folder, time.time()).ends > time.time()


def test_small_consortia_are_told_what_the_own_limits_ask(stub: Stub, folder: Path) -> None:
    stub.agree(minimum_cohort=3)
    said = f"lower minimum_cohort in {folder / 'limits.toml'}"
    assert said in " ".join(join(stub, folder).err.split())
    stub.state = "admitted"
    assert (
        "Runs of fewer than 5 members are refused here, and the terms allow 3"
        in join(stub, folder, "--yes").out
    )
    path = folder / "limits.toml"
    path.write_text(path.read_text().replace("minimum_cohort = 5", "minimum_cohort = 3"))
    stub.refuse = grpc.StatusCode.UNAUTHENTICATED
    again = join(stub, folder, "--yes")
    assert (again.code, said in " ".join(again.err.split()), "are refused here" in again.out) == (
        0,
        False,
        False,
    )


def test_rows_are_checked_as_the_members_settings_name_them(stub: Stub, folder: Path, shop: Shop) -> None:
    admitted(stub, folder)
    bare = fedrepay("member", "check-data", "--folder", folder)
    assert bare.code != 0, "no data is named yet"
    done = fedrepay("member", "check-data")
    assert (done.code, "--folder" in done.err) == (ArgumentError.exit_code, True)
    text = (folder / settings.FILE).read_text()
    (folder / settings.FILE).write_text(f'{text}data = "{shop.data}"\nmapping = "{shop.mapping}"\n')
    done = fedrepay("member", "check-data", "--folder", folder)
    assert (done.code, "rows can be used" in done.out) == (0, True), done.err


def test_an_invitation_that_was_cut_is_told(folder: Path) -> None:
    done = fedrepay("member", "join", "fedrepay1.abc", "--folder", folder)
    assert done.code == ArgumentError.exit_code


# --- terms ---


def test_new_terms_are_shown_beside_the_old_and_accepted_as_shown(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    nothing = fedrepay("member", "accept-terms", "--folder", folder)
    assert (nothing.code, "No other terms" in nothing.out) == (0, True)
    stub.agree(epsilon_per_year=2.5)
    (folder / standing.NEW_TERMS).write_bytes(stub.terms)
    refused = fedrepay("member", "accept-terms", "--folder", folder)
    assert refused.code == ArgumentError.exit_code
    assert "2.5 a year" in refused.err
    assert "4 a year" in refused.err
    before = MemberStore(folder, time.time).fact("agreed")
    done = fedrepay("member", "accept-terms", "--folder", folder, "--yes")
    assert done.code == 0, done.err
    assert MemberStore(folder, time.time).fact("agreed") == agreement.hashed(stub.terms) != before
    assert (folder / agreement.FILE).read_bytes() == stub.terms
    assert not (folder / standing.NEW_TERMS).exists()


# --- status and roster ---


def test_status_says_what_is_and_what_waits(stub: Stub, folder: Path) -> None:
    outside = fedrepay("member", "status", "--folder", folder)
    assert outside.code == ArgumentError.exit_code
    join(stub, folder, "--yes", "--no-wait")
    waits = fedrepay("member", "status", "--folder", folder)
    assert "waits for the operator" in waits.out
    admitted(stub, folder)
    assert "The link does not run" in fedrepay("member", "status", "--folder", folder).out
    rostered(folder, pending=True)
    said = Standing(
        agreed=bytes(32),
        terms=b"",
        members=(("bank-a", "admitted"), ("bank-b", "away")),
        run=7,
        state="round 2 of 5\x1b[2J",
        waiting=("bank-b",),
        releases=(),
    )
    now = time.time()
    standing.keep(folder, LinkState(at=now, since=now, connected=True, standing=said.encode()))
    (folder / standing.NEW_TERMS).write_bytes(stub.terms)
    done = fedrepay("member", "status", "--folder", folder)
    assert "connected." in done.out
    assert "Run 7: round 2 of 5\\x1b[2J; waits for bank-b." in done.out
    assert "Roster 3: " in done.out
    assert "member roster" in done.out
    assert "accept-terms" in done.out
    facts = json.loads(fedrepay("member", "status", "--folder", folder, "--json").out)
    assert (facts["connected"], facts["run"], facts["waiting_for"]) == (True, 7, ["bank-b"])
    assert len(facts["approve"].split()) == 12
    assert facts["processes"] == [], "nobody runs here"
    watch = running.watcher(folder, lambda: now)
    watch((ChildSeen("serve", 11), ChildSeen("node", 12), ChildSeen("link", 13)))
    sound = fedrepay("member", "status", "--folder", folder).out
    assert "connected." in sound
    assert "node runs since" in sound
    died = "ended with exit status 10: NetworkError: The clock is 9 s ahead."
    watch((ChildSeen("serve", 11), ChildSeen("node", 0, 2, died), ChildSeen("link", 13)))
    broken = fedrepay("member", "status", "--folder", folder).out
    assert "connected, and its node does not run: it takes part in no run now." in broken
    assert "node is dead, and waits to be started again, since" in broken
    assert f"started again 2 times; last it {died}" in broken
    facts = json.loads(fedrepay("member", "status", "--folder", folder, "--json").out)
    assert [(each["name"], each["runs"], each["restarts"]) for each in facts["processes"]] == [
        ("serve", True, 0),
        ("node", False, 2),
        ("link", True, 0),
    ]
    assert running.processes(folder, now + running.LIVES) == (), "old news is none"
    watch(())
    assert not (folder / running.FILE).exists(), "an orderly end leaves none"
    standing.keep(folder, LinkState(at=now - 1000, since=now - 2000, connected=True, standing=said.encode()))
    late = json.loads(fedrepay("member", "status", "--folder", folder, "--json").out)
    assert (late["connected"], late["cause"]) == (False, "The link does not run."), "old news is none"


def test_roster_says_what_a_proposed_one_changes_before_a_run(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    assert "In no roster yet" in fedrepay("member", "roster", "--folder", folder).out
    held = rostered(folder, pending=True)
    done = fedrepay("member", "roster", "--folder", folder)
    assert f"Would leave: {held.names[-1]}." in done.out
    assert f"With new keys: {held.names[-2]}." in done.out
    facts = json.loads(fedrepay("member", "roster", "--folder", folder, "--json").out)
    assert facts["held"]["members"] == list(held.names)
    assert facts["proposed"]["words"] in done.out
    assert facts["proposed"]["words"] != facts["held"]["words"]


def test_only_the_words_of_the_roster_that_waits_are_approved(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    held, words = rostered(folder, pending=True), overview.rosters(folder)[1]
    assert words is not None
    other = fedrepay("member", "approve-roster", "--folder", folder, *held.code().split())
    assert (other.code, "not the words of the roster that waits here" in other.err) == (2, True)
    assert MemberStore(folder, time.time).fact("approved_code") is None
    assert "A roster waits for your yes" in fedrepay("member", "status", "--folder", folder).out
    done = fedrepay("member", "approve-roster", "--folder", folder, *words.words.split())
    assert done.code == 0, done.err
    said = fedrepay("member", "status", "--folder", folder).out
    assert ("You approved the words" in said, "waits for your yes" in said) == (True, False)


OLD, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([part]) * 32) for part in (8, 9))


def another_key(folder: Path, *, signed: bool) -> Roster:
    """A roster waits in which the coordinator has another key; the one before has signed for it, or not."""
    admitted_to = rostered(folder).model_copy(update={"coordinator": keys.public_bytes(OLD)})
    new = keys.public_bytes(NEW)
    said = Signed.make(OLD, KeyHandover(roster=admitted_to.hash(), coordinator=new)) if signed else None
    update = {"number": 4, "predecessor": admitted_to.hash(), "coordinator": new, "handover": said}
    made = admitted_to.model_copy(update=update)
    facts = {"roster": admitted_to, "signed": admitted_to, "pending": made}
    MemberStore(folder, time.time).remember(**{name: each.encode() for name, each in facts.items()})
    return made


@pytest.mark.parametrize("signed", [True, False])
def test_people_see_whether_the_coordinator_s_key_rotates_or_is_replaced(
    stub: Stub, folder: Path, *, signed: bool
) -> None:
    admitted(stub, folder)
    another_key(folder, signed=signed)
    rotates, replaced = "the coordinator's key rotates, signed by the one before", "KEY IS REPLACED"
    for command in ("roster", "status"):
        said = fedrepay("member", command, "--folder", folder).out
        assert (rotates in said, replaced in said) == (signed, not signed)
        facts = json.loads(fedrepay("member", command, "--folder", folder, "--json").out)
        assert facts.get("proposed", facts)["coordinator_key"] == ("rotated" if signed else "replaced")


@pytest.mark.parametrize("signed", [True, False])
def test_a_key_that_is_replaced_is_approved_by_who_says_that_the_operator_was_called(
    stub: Stub, folder: Path, *, signed: bool
) -> None:
    admitted(stub, folder)
    words = another_key(folder, signed=signed).code().split()
    done = fedrepay("member", "approve-roster", "--folder", folder, *words)
    assert (done.code, "--yes" in done.err) == ((0, False) if signed else (ArgumentError.exit_code, True))
    if signed:
        return
    assert "Call the operator on a number that you know" in done.err
    assert MemberStore(folder, time.time).fact("approved_code") is None
    done = fedrepay("member", "approve-roster", "--folder", folder, *words, "--yes")
    assert (done.code, MemberStore(folder, time.time).fact("approved_code")) == (0, " ".join(words).encode())


# --- calls by hand ---


def test_pull_hands_what_is_lacking_to_the_member_s_own_process(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    rostered(folder)
    releases = tuple(ReleaseListed(number=each, sealed=bytes(32), at=1.0) for each in (1, 2))
    stub.standing = Standing(
        agreed=bytes(32), terms=b"", members=(), run=0, state="", waiting=(), releases=releases
    )
    stub.parts = {n: Handed(resealed=False, body=bytes([n])).encode() for n in (1, 2)}
    kept: list[bytes] = []

    def keep(body: bytes) -> bool:
        kept.append(body)
        return True

    def other(kind: str, shared: bytes, own: bytes) -> bytes:
        assert (kind, shared, own) == ("held", b"", b"")
        return b""

    known = house.errands(lambda: setup.identity(folder), time.time, keep, keep, lambda _own, _live: False)
    with door.Door(folder / door.SOCKET, house.at_home(other, known)) as opened:
        thread = threading.Thread(target=opened.serve)
        thread.start()
        done = fedrepay("member", "pull", "--folder", folder, "--json")
        opened.stop()
        thread.join(20)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"releases": [1, 2]}
    assert kept == [b"\x01", b"\x02"]
    alone = fedrepay("member", "pull", "--folder", folder)
    assert alone.code == 6, "without it the folder's own keys open it: and these bytes are no release"


def test_leave_is_signed_stored_and_sent_again_where_that_failed(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    assert fedrepay("member", "leave", "--folder", folder).code == ArgumentError.exit_code, "nobody said yes"
    held = rostered(folder)
    stub.refuse = grpc.StatusCode.UNAVAILABLE
    assert fedrepay("member", "leave", "--folder", folder, "--yes").code == NetworkError.exit_code
    stub.refuse = None
    done = fedrepay("member", "leave", "--folder", folder, "--yes")
    assert done.code == 0, done.err
    ((method, said),) = stub.asked
    signed = Signed.decode(said.body)
    mine = setup.identity(folder)
    assert method == "Leave"
    assert signed.verified(keys.public_bytes(mine.signing), Leaving).roster == held.hash()
    assert "This member has left." in fedrepay("member", "status", "--folder", folder).out


def test_new_keys_are_announced_under_the_old_ones_and_made_once(stub: Stub, folder: Path) -> None:
    admitted(stub, folder)
    assert fedrepay("member", "rotate-keys", "--folder", folder).code == ArgumentError.exit_code
    held = rostered(folder)
    first, second = (
        json.loads(fedrepay("member", "rotate-keys", "--folder", folder, "--json").out) for _ in "12"
    )
    assert first == second
    said = Signed.decode(stub.asked[0][1].body).verified(
        keys.public_bytes(setup.identity(folder).signing), Rotation
    )
    assert (said.roster, said.signing.hex()) == (held.hash(), first["signing"])


# --- run ---


def test_run_says_what_its_settings_lack(stub: Stub, folder: Path, shop: Shop) -> None:
    with pytest.raises(ArgumentError, match="names no coordinator"):
        running.children(folder)
    admitted(stub, folder)
    with pytest.raises(ArgumentError, match="names no data"):
        running.children(folder)
    text = (folder / settings.FILE).read_text()
    (folder / settings.FILE).write_text(text.replace('# data = "accounts.csv"', 'data = "none.csv"'))
    with pytest.raises(ArgumentError, match=r"data: .*none\.csv is not there"):
        running.children(folder)
    (folder / settings.FILE).write_text(text.replace("# data = ", f'data = "{shop.data}"  # '))
    assert [each.name for each in running.children(folder)] == ["serve", "node", "link"]
    (folder / settings.FILE).write_text(
        text.replace("# data = ", f'data = "{shop.data}"  # ').replace("# node_user", 'node_user = "x" #')
    )
    assert [each.name for each in running.children(folder)] == ["serve", "link"], "another user's node"
    (folder / tls.CERTIFICATE).unlink()
    with pytest.raises(NetworkError, match="no certificate yet"):
        running.children(folder)


def test_run_serves_links_and_leaves_nothing_behind(stub: Stub, folder: Path, shop: Shop) -> None:
    """The node finds no SuperLink here and is started again and again; the rest goes on, and a second one is refused."""
    admitted(stub, folder, "--data", shop.data, "--mapping", shop.mapping)
    stub.standing = Standing(
        agreed=agreement.hashed(stub.terms),
        terms=stub.terms,
        members=(),
        run=0,
        state="",
        waiting=(),
        releases=(),
    )
    command = [sys.executable, "-m", "fedrepay", "member", "run", "--folder", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:

        def connected() -> bool:
            assert process.poll() is None
            seen = standing.last(folder)
            return seen is not None and seen.connected

        try:
            until(connected, 120)
            assert running.answers(folder / door.SOCKET)
            second = fedrepay("member", "run", "--folder", folder)
            assert (second.code, "Another `member run`" in second.err) == (2, True), second.err

            def died() -> bool:
                return any(
                    each.name == "node" and each.last for each in running.processes(folder, time.time())
                )

            until(died, 60)
        finally:
            os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert [line.rpartition(" INFO ")[2] for line in said.splitlines() if "has ended." in line] == [
        "link has ended.",
        "node has ended.",
        "serve has ended.",
    ]
    assert not running.answers(folder / door.SOCKET)
