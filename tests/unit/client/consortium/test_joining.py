"""A newcomer: whom it believes, what it writes, what it sends, and that it can be stopped anywhere."""

import stat
import time
from pathlib import Path

import pytest

from fedrepay.client.consortium import joining, tls
from fedrepay.client.consortium.joining import Brought
from fedrepay.client.consortium.web import Web
from fedrepay.client.node import setup
from fedrepay.client.protocol import enrolment as at_member
from fedrepay.client.store import settings
from fedrepay.client.store.database import FILE as DATABASE
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits, load
from fedrepay.shared.errors import ArgumentError, NetworkError, ProtocolError, SchemaError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust import joining as contract
from fedrepay.shared.trust.joining import JoinAnswer, JoinRequest
from fedrepay.shared.trust.joining import words as twelve
from fedrepay.shared.trust.message import Signed
from support.coordinator_stub import SECRET, Stub, coordinator, elsewhere, proxied
from support.parties import ROSTER


def begun(stub: Stub, folder: Path, own: Brought | None = None) -> Signed:
    return joining.prepare(folder, joining.meet(stub.invitation(), None), own or Brought())


# --- whom it believes ---


def test_another_authority_is_told_as_somebody_in_the_middle_and_nothing_is_sent(stub: Stub) -> None:
    with pytest.raises(NetworkError, match="Somebody is in the middle"):
        joining.meet(stub.invitation(authority=bytes(32)), None)
    assert joining.meet(stub.invitation(), None).terms.name == "Trial", "control: its own fingerprint"
    assert stub.joined == []


def test_a_right_authority_with_a_certificate_for_another_host_is_refused(stub: Stub) -> None:
    with elsewhere(stub) as address, pytest.raises(NetworkError, match="mismatch"):
        joining.meet(stub.invitation(address=address), None)


def test_terms_told_before_the_connection_is_verified_count_for_nothing(stub: Stub) -> None:
    stub.lies = agreement.write(
        joining.meet(stub.invitation(), None).terms.model_copy(update={"name": "Lies"})
    )
    stub.seen = 0
    assert joining.meet(stub.invitation(), None).terms.name == "Trial"


@pytest.mark.parametrize(("ours", "who"), [(1, "this member"), (7, "the coordinator")])
def test_another_version_names_both_and_who_must_upgrade(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, ours: int, who: str
) -> None:
    stub.version = 3
    monkeypatch.setattr(contract, "VERSION", ours)
    with pytest.raises(ProtocolError, match=rf"version 3 .*9\.9\.9.* this member version {ours}") as told:
        joining.meet(stub.invitation(), None)
    assert who in told.value.remedy


def test_nobody_there_and_no_coordinator_are_network_errors(stub: Stub) -> None:
    with pytest.raises(NetworkError, match="cannot be reached"):
        Web("127.0.0.1:9").authority(bytes(32))
    folder, offered = stub.folder.parent / "m", joining.meet(stub.invitation(), None)
    signed = begun(stub, folder)
    stub.away = 1
    with pytest.raises(NetworkError, match="HTTP 503"):
        joining.ask(folder, offered, signed, None)


def test_a_schema_that_is_not_the_one_of_the_terms_is_refused(stub: Stub, tmp_path: Path) -> None:
    book = stub.book
    stub.schemas = (
        (book.schema_hash, book.schema_bytes.replace(b"Accounts of", b"Accounts in"), book.codebook_bytes),
    )
    with pytest.raises(SchemaError):
        begun(stub, tmp_path / "m")
    assert not (tmp_path / "m").exists()


# --- what it writes and sends ---


def test_keys_files_and_a_request_that_names_what_was_accepted(stub: Stub, tmp_path: Path) -> None:
    folder, offered = tmp_path / "m", joining.meet(stub.invitation(), None)
    (tmp_path / "rows.csv").write_text("a")
    signed = joining.prepare(folder, offered, Brought(data=tmp_path / "rows.csv", proxy="http://u:p@proxy:1"))
    said = JoinRequest.decode(signed.body)
    assert said.agreed == agreement.hashed(stub.terms) == MemberStore(folder, time.time).fact("agreed")
    assert said.entry == setup.identity(folder).entry()
    for name in (tls.KEY, "identity.key", joining.REQUEST, settings.FILE):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    assert (folder / tls.AUTHORITY).read_bytes().isascii()
    assert b"# an" not in (folder / tls.AUTHORITY).read_bytes(), "Flower's node reads no comments"
    assert (folder / agreement.FILE).read_bytes() == stub.terms
    assert codebook.load(folder / "schema.toml").schema_hash == stub.book.schema_hash
    held = settings.load(folder)
    assert (held.name, held.address, held.schema_file) == ("bank-a", stub.address, "schema.toml")
    assert (held.data, held.proxy, held.auto) == (str(tmp_path / "rows.csv"), "http://u:p@proxy:1", False)
    assert joining.words(signed, stub.authority) == twelve(said.entry, said.request, stub.authority)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, Limits()),
        (
            {"epsilon_per_release": 5.0, "epsilon_per_year": 50.0, "minimum_cohort": 3, "modes": ("none",)},
            Limits(),
        ),
        (
            {"epsilon_per_release": 0.5, "epsilon_per_year": 2.0, "minimum_cohort": 8, "colluders": 2},
            Limits(epsilon_per_release=0.5, epsilon_per_year=2.0, minimum_cohort=8, minimum_colluders=2),
        ),
    ],
)
def test_limits_follow_the_terms_and_are_never_looser_than_none_set(
    stub: Stub, tmp_path: Path, terms: dict[str, object], expected: Limits
) -> None:
    stub.agree(**terms)
    begun(stub, tmp_path / "m")
    assert load(tmp_path / "m" / "limits.toml", stub.book.schema.public) == expected


def test_admitted_after_waiting_with_the_same_bytes(stub: Stub, tmp_path: Path) -> None:
    folder, offered, said = tmp_path / "m", joining.meet(stub.invitation(), None), list[str]()
    signed = joining.prepare(folder, offered, Brought())
    assert joining.ask(folder, offered, signed, None).state == "waiting"
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        stub.away = 1 if len(pauses) == 2 else 0
        stub.state = "admitted" if len(pauses) == 9 else "waiting"

    answer = joining.wait(lambda: joining.ask(folder, offered, signed, None), pause, said.append)
    assert answer.state == "admitted"
    assert set(stub.joined) == {signed.encode()}
    assert pauses[0] == 3.0
    assert pauses[-1] == 30.0 == max(pauses)
    assert [line.split()[-2:] for line in said] == [["Still", "waiting."], ["answers", "again."]]
    assert tls.check(folder, time.time()).issuer == "CN=fedrepay consortium"
    assert not (folder / joining.REQUEST).exists(), "it holds the invitation's secret"


def test_a_refusal_says_why(stub: Stub, tmp_path: Path) -> None:
    stub.state, stub.cause = "refused", "bank-a is a member already, with other keys"
    folder, offered = tmp_path / "m", joining.meet(stub.invitation(), None)
    signed = joining.prepare(folder, offered, Brought())
    with pytest.raises(ProtocolError, match="with other keys"):
        joining.ask(folder, offered, signed, None)
    assert joining.stored(folder, offered) == signed, "asked again with the same bytes"


def test_a_certificate_of_another_key_is_not_taken(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, offered = tmp_path / "m", joining.meet(stub.invitation(), None)
    signed = joining.prepare(folder, offered, Brought())
    stub.state = "admitted"
    other = JoinRequest.decode(begun(stub, tmp_path / "other").body).request
    right = JoinRequest.decode(signed.body).request
    from support import coordinator_stub

    real = coordinator_stub.issue
    monkeypatch.setattr(coordinator_stub, "issue", lambda where, _request, name: real(where, other, name))
    with pytest.raises(NetworkError, match="another key"):
        joining.ask(folder, offered, signed, None)
    assert not (folder / tls.CERTIFICATE).exists()
    monkeypatch.setattr(coordinator_stub, "issue", lambda where, _request, name: real(where, right, name))
    assert joining.ask(folder, offered, signed, None).state == "admitted"


# --- stopped and gone on ---


def test_it_goes_on_with_the_keys_and_the_request_that_are_there(stub: Stub, tmp_path: Path) -> None:
    first = begun(stub, tmp_path / "m")
    offered = joining.meet(stub.invitation(), None)
    assert not joining.look(tmp_path / "m", stub.invitation(), time.time())
    assert joining.stored(tmp_path / "m", offered) == first
    again = joining.meet(stub.invitation(secret=b"f" * 16), None)
    assert joining.stored(tmp_path / "m", again) is None, "another invitation"
    second = joining.prepare(tmp_path / "m", again, Brought())
    assert JoinRequest.decode(second.body).entry == JoinRequest.decode(first.body).entry
    stub.agree(epsilon_per_year=1.0)
    assert joining.stored(tmp_path / "m", joining.meet(stub.invitation(secret=b"f" * 16), None)) is None, (
        "other terms"
    )


def test_a_saved_identity_key_comes_in_again(stub: Stub, tmp_path: Path) -> None:
    first = JoinRequest.decode(begun(stub, tmp_path / "m").body)
    (tmp_path / "new").mkdir(mode=0o700)
    for name in ("identity.key", "node.key"):
        (tmp_path / "new" / name).write_bytes((tmp_path / "m" / name).read_bytes())
    again = JoinRequest.decode(begun(stub, tmp_path / "new").body)
    assert again.entry == first.entry
    assert again.request != first.request


def test_who_was_admitted_and_lost_its_database_goes_on_with_its_year_spent(
    stub: Stub, tmp_path: Path
) -> None:
    begun(stub, tmp_path / "m")
    (tmp_path / "m" / tls.CERTIFICATE).write_text("it was admitted")
    begun(stub, tmp_path / "m")
    assert MemberStore(tmp_path / "m", time.time).ledger() == (), "control: its store is there"
    (tmp_path / "m" / DATABASE).unlink()
    (tmp_path / "m" / joining.REQUEST).unlink()
    for _ in range(2):
        begun(stub, tmp_path / "m")
    store = MemberStore(tmp_path / "m", time.time)
    assert [each.status for each in store.ledger()] == ["lost"]
    assert store.fact("since")


def test_folders_of_another_consortium_or_member_are_told_apart(
    stub: Stub, tmp_path: Path, book: CodeBook
) -> None:
    begun(stub, tmp_path / "m")
    with pytest.raises(ArgumentError, match="keys of bank-a; the invitation is for bank-b"):
        joining.look(tmp_path / "m", stub.invitation("bank-b"), time.time())
    with (
        coordinator(tmp_path / "other", book) as other,
        pytest.raises(ArgumentError, match="another consortium"),
    ):
        joining.look(tmp_path / "m", other.invitation(), time.time())
    stub.state = "admitted"
    offered = joining.meet(stub.invitation(), None)
    joining.ask(tmp_path / "m", offered, begun(stub, tmp_path / "m"), None)
    assert joining.look(tmp_path / "m", stub.invitation(), time.time()), "a member already"


def test_a_consortium_that_was_founded_anew_is_joined_with_the_folder_that_is_there(
    stub: Stub, tmp_path: Path, book: CodeBook
) -> None:
    folder, now = tmp_path / "m", time.time()
    stub.state = "admitted"
    first = begun(stub, folder)
    joining.ask(folder, joining.meet(stub.invitation(), None), first, None)
    MemberStore(folder, time.time).remember(roster=ROSTER.encode())
    with coordinator(tmp_path / "other", book) as other:
        invitation = other.invitation(secret=b"n" * 16)
        with pytest.raises(ArgumentError, match="another consortium") as told:
            joining.look(folder, invitation, now)
        assert "--refounded" in told.value.remedy
        assert not joining.look(folder, invitation, now, refounded=True)
        with pytest.raises(ArgumentError, match="keys of bank-a"):
            joining.look(folder, other.invitation("bank-b"), now, refounded=True)
        offered = joining.meet(invitation, None)
        second = joining.prepare(folder, offered, Brought())
        assert JoinRequest.decode(second.body).entry == JoinRequest.decode(first.body).entry
        assert not joining.look(folder, invitation, now), (
            "said once; its certificate is of the authority before"
        )
        other.state = "admitted"
        assert joining.ask(folder, offered, second, None).state == "admitted"
        assert joining.look(folder, invitation, now)
    assert at_member.held(MemberStore(folder, time.time)) == ROSTER, (
        "it takes what follows this one, and nothing else"
    )


def test_who_has_another_invitation_or_no_good_certificate_asks_anew_with_its_keys(
    stub: Stub, tmp_path: Path
) -> None:
    folder, now = tmp_path / "m", time.time()
    stub.state = "admitted"
    first = begun(stub, folder)
    joining.ask(folder, joining.meet(stub.invitation(), None), first, None)
    assert joining.look(folder, stub.invitation(), now), "control: the same again"
    assert not joining.look(folder, stub.invitation(), now + 31 * 86400.0), "its certificate has ended"
    again = stub.invitation(secret=b"n" * 16)
    assert not joining.look(folder, again, now), "the operator lost its database"
    offered = joining.meet(again, None)
    assert joining.stored(folder, offered) is None
    second = joining.prepare(folder, offered, Brought())
    assert JoinRequest.decode(second.body).entry == JoinRequest.decode(first.body).entry
    stub.state = "waiting"
    assert joining.ask(folder, offered, second, None).state == "waiting"
    assert not joining.look(folder, again, now), "what it holds is the certificate of before"
    stub.state = "admitted"
    assert joining.ask(folder, offered, second, None).state == "admitted"
    assert joining.look(folder, again, now)


def test_what_later_options_name_is_written_too(stub: Stub, tmp_path: Path) -> None:
    folder, rows = tmp_path / "m", tmp_path / "rows.csv"
    begun(stub, folder)
    rows.write_text("a\n")
    joining.bring(folder, stub.invitation(), Brought(data=rows))
    held = settings.load(folder)
    assert (held.data, held.schema_file) == (str(rows.resolve()), joining.SCHEMA)
    joining.bring(folder, stub.invitation(address="127.0.0.1:1"), Brought())
    assert settings.load(folder) == held.model_copy(update={"address": "127.0.0.1:1"}), (
        "the coordinator moved"
    )
    with pytest.raises(ArgumentError, match="is not there"):
        joining.bring(folder, stub.invitation(), Brought(mapping=tmp_path / "none.toml"))


# --- through a proxy ---


def admitted(stub: Stub, folder: Path, secret: bytes = SECRET) -> None:
    stub.state = "admitted"
    offered = joining.meet(stub.invitation(secret=secret), None)
    joining.ask(folder, offered, joining.prepare(folder, offered, Brought()), None)


def test_another_invitation_lets_in_again_with_the_keys_that_are_there(stub: Stub, tmp_path: Path) -> None:
    admitted(stub, tmp_path / "m")
    entry, another = setup.identity(tmp_path / "m").entry(), stub.invitation(secret=b"f" * 16)
    assert joining.look(tmp_path / "m", stub.invitation(), time.time())
    assert not joining.look(tmp_path / "m", another, time.time()), "the operator's database was restored, say"
    admitted(stub, tmp_path / "m", b"f" * 16)
    assert joining.look(tmp_path / "m", another, time.time())
    assert setup.identity(tmp_path / "m").entry() == entry


def test_a_certificate_that_has_ended_is_asked_for_again(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted(stub, tmp_path / "m")
    later = time.time() + 31 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert not joining.look(tmp_path / "m", stub.invitation(), time.time())


def test_who_has_left_joins_anew_and_keeps_its_store(stub: Stub, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    admitted(stub, folder)
    store = MemberStore(folder, time.time)
    store.remember(roster=ROSTER.encode(), signed=ROSTER.encode(), left=b"its word")
    assert not joining.look(folder, stub.invitation(), time.time())
    admitted(stub, folder, b"f" * 16)
    assert (store.fact("left"), store.fact("roster")) == (b"", b"")
    assert at_member.withdrawn(store) == ROSTER.number, "no number of before is signed again"
    assert joining.look(folder, stub.invitation(secret=b"f" * 16), time.time())


def test_a_proxy_with_a_password_is_used_for_all_of_it(stub: Stub, tmp_path: Path) -> None:
    with proxied() as proxy:
        way = f"http://user:pass@127.0.0.1:{proxy.port}"
        offered = joining.meet(stub.invitation(), way)
        answer = joining.ask(
            tmp_path / "m", offered, joining.prepare(tmp_path / "m", offered, Brought(proxy=way)), way
        )
        assert isinstance(answer, JoinAnswer)
        assert proxy.passed == [stub.address] * 3
        with pytest.raises(
            NetworkError, match=r"proxy http://127.0.0.1:\d+ does not let us through: 407"
        ) as told:
            joining.meet(stub.invitation(), way.replace("pass", "wrong"))
        assert "wrong" not in str(told.value)
        assert proxy.refused == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://proxy:3128", "gRPC ignores"),
        ("proxy:3128", "http://"),
        ("http://proxy", "host:port"),
        ("http://user:secret@proxy:port", "host:port"),
    ],
)
def test_a_proxy_that_would_be_ignored_is_refused_without_its_password(
    tmp_path: Path, url: str, words: str
) -> None:
    (tmp_path / settings.FILE).write_text(f'proxy = "{url}"\n')
    with pytest.raises(ArgumentError) as told:
        settings.load(tmp_path)
    assert words in str(told.value)
    assert "secret" not in str(told.value)
