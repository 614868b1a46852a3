"""The registry: invited, waiting, admitted, left, revoked; what is asked twice changes nothing."""

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.admission import certificates, rows, tables
from fedrepay.server.admission.answers import DAY
from fedrepay.server.admission.registry import Registry
from fedrepay.server.admission.rows import MOST_COUNTING
from fedrepay.server.admission.tables import MOST_NOTES, MemberSeen
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust.joining import Invitation, words
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.succession import Leaving, Rotation
from support.newcomers import ADDRESS, Desk, Newcomer


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Desk:
    return Desk(tmp_path, database_url)


def seen(desk: Desk, name: str = "bank-a") -> MemberSeen:
    found = desk.registry.member(name)
    assert found is not None
    return found


def test_an_invitation_says_where_and_whose_and_its_secret_is_kept_nowhere(desk: Desk) -> None:
    made = desk.invite("bank-a")
    assert Invitation.read(made.token()) == made
    assert (made.address, made.name, made.authority) == (ADDRESS, "bank-a", desk.authority)
    assert seen(desk).state == "invited"
    assert seen(desk).expires == desk.now + 7 * DAY
    with desk.registry._database.transaction() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM members"))
    assert "bank-a" in row, "control: it is the row"
    assert keys.digest(made.secret) in [bytes(each) for each in row if isinstance(each, bytes | memoryview)]
    assert made.secret.hex() not in "".join(
        each.hex() for each in row if isinstance(each, bytes | memoryview)
    )
    if not desk.registry._database.postgres:
        file = desk.folder / "coordinator.sqlite"
        assert b"bank-a" in file.read_bytes(), "control: it is the file"
        assert made.secret not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "days"), [("", 7), ("a b", 7), ("coordinator", 7), ("Coordinator", 7), ("a", 0), ("a", 91)]
)
def test_names_and_days_out_of_bounds_invite_nobody(desk: Desk, name: str, days: float) -> None:
    with pytest.raises(ArgumentError):
        desk.invite(name, days)
    assert desk.registry.members() == ()


def test_two_names_never_differ_by_capitals_alone(desk: Desk) -> None:
    desk.invite("bank-a")
    with pytest.raises(ArgumentError):
        desk.invite("Bank-A")


def test_join_admit_and_the_same_bytes_again(desk: Desk) -> None:
    who = Newcomer("bank-a")
    asked = who.asks(desk.invite("bank-a"))
    assert desk.registry.join(asked).state == "waiting"
    assert desk.registry.join(asked).state == "waiting"
    waiting = seen(desk)
    assert (waiting.state, waiting.entry, waiting.certificates) == ("waiting", who.entry(), ())
    assert waiting.joined == desk.now
    assert len(waiting.words.split()) == 12
    admitted = desk.registry.admit("bank-a", desk.issue, waiting.words)
    assert admitted.state == "admitted"
    answer = desk.registry.join(asked)
    assert answer.state == "admitted"
    assert admitted.certificates == (certificates.fingerprint(answer.certificate),)
    assert desk.registry.join(asked) == answer, "the same certificate"
    assert desk.registry.admit("bank-a", desk.issue).certificates == admitted.certificates, "once more"
    desk.now += 8 * DAY
    assert desk.registry.join(asked) == answer, "an invitation that was used does not expire"


def test_words_are_over_keys_request_and_authority(desk: Desk) -> None:
    who = Newcomer("bank-a")
    request = who.request(desk.invite("bank-a"))
    desk.registry.join(Signed.make(who.signing, request))
    assert seen(desk).words == words(request.entry, request.request, desk.authority)


def test_who_is_admitted_is_who_the_words_were_of(desk: Desk) -> None:
    who, invitation = Newcomer("bank-a"), desk.invite("bank-a")
    desk.registry.join(who.asks(invitation))
    compared = seen(desk).words
    desk.invite("bank-a")
    with pytest.raises(ArgumentError, match="has not asked"):
        desk.registry.admit("bank-a", desk.issue, compared)
    desk.registry.join(Newcomer("bank-a").asks(desk.invite("bank-a")))
    with pytest.raises(ArgumentError, match="other keys"):
        desk.registry.admit("bank-a", desk.issue, compared)
    assert desk.registry.admit("bank-a", desk.issue, seen(desk).words).state == "admitted", "control"


def test_a_new_key_for_tls_of_the_same_member_is_taken_while_it_waits(desk: Desk) -> None:
    who, invitation = Newcomer("bank-a"), desk.invite("bank-a")
    desk.registry.join(who.asks(invitation))
    before = seen(desk).words
    who.tls = ec.generate_private_key(ec.SECP256R1())
    assert desk.registry.join(who.asks(invitation)).state == "waiting"
    assert seen(desk).words != before, "and people compare anew"


def test_a_certificate_renews_at_half_its_life_and_the_old_one_counts_until_it_ends(desk: Desk) -> None:
    who = desk.admitted("bank-a")
    (first,) = seen(desk).certificates
    first_pem = desk.registry.renew("bank-a", who.csr(), desk.issue)
    assert certificates.fingerprint(first_pem) == first, "too early: the same again"
    desk.now += 16 * DAY
    second = desk.registry.renew("bank-a", who.csr(), desk.issue)
    assert certificates.fingerprint(second) != first
    assert seen(desk).certificates == (first, certificates.fingerprint(second))
    desk.now += 20 * DAY
    assert first not in seen(desk).certificates
    with pytest.raises(ArgumentError):
        desk.registry.renew("nobody", who.csr(), desk.issue)


def test_few_certificates_count_at_once(desk: Desk) -> None:
    who = desk.admitted("bank-a")
    for _ in range(MOST_COUNTING - 1):
        desk.registry.renew("bank-a", who.csr(ec.generate_private_key(ec.SECP256R1())), desk.issue)
    with pytest.raises(ProtocolError, match="count already"):
        desk.registry.renew("bank-a", who.csr(ec.generate_private_key(ec.SECP256R1())), desk.issue)


def test_a_member_that_was_off_until_its_certificate_ended_asks_with_its_own_keys(desk: Desk) -> None:
    who, invitation = Newcomer("bank-a"), desk.invite("bank-a")
    asked = who.asks(invitation)
    desk.registry.join(asked)
    desk.registry.admit("bank-a", desk.issue)
    old = desk.registry.join(asked, desk.issue).certificate
    desk.now += 31 * DAY
    assert seen(desk).certificates == ()
    assert desk.registry.join(asked).certificate == old, "control: nothing is issued without the authority"
    new = desk.registry.join(asked, desk.issue).certificate
    assert new != old


def test_revoked_is_shut_out_at_once_and_its_keys_for_good(desk: Desk) -> None:
    invitation = desk.invite("bank-a")
    who = Newcomer("bank-a")
    asked = who.asks(invitation)
    desk.registry.join(asked)
    desk.registry.admit("bank-a", desk.issue)
    (desk.folder / "nodes").mkdir()
    (desk.folder / "nodes" / "bank-a.pub").write_text("key")
    gone = desk.registry.revoke("bank-a", "sold its portfolio\x1b[2J")
    assert (gone.state, gone.certificates, gone.reason) == ("revoked", (), r"sold its portfolio\x1b[2J")
    assert not (desk.folder / "nodes" / "bank-a.pub").exists()
    assert desk.registry.join(asked).state == "refused"
    with pytest.raises(ArgumentError):
        desk.registry.renew("bank-a", who.csr(), desk.issue)
    with pytest.raises(ArgumentError):
        desk.registry.admit("bank-a", desk.issue)
    again = desk.registry.join(who.asks(desk.invite("bank-a")))
    assert again.state == "refused"
    assert "in use" in again.cause
    assert desk.registry.join(Newcomer("bank-a").asks(desk.invite("bank-a"))).state == "waiting", "control"


def test_who_left_may_come_back_with_its_keys(desk: Desk) -> None:
    who = desk.admitted("bank-a")
    goodbye = Signed.make(who.signing, Leaving(roster=bytes(32), name="bank-a"))
    for wrong in (
        Signed.make(Ed25519PrivateKey.generate(), Leaving(roster=bytes(32), name="bank-a")),
        Signed.make(who.signing, Leaving(roster=bytes(32), name="bank-b")),
    ):
        with pytest.raises(ProtocolError):
            desk.registry.leave("bank-a", wrong)
    left = desk.registry.leave("bank-a", goodbye)
    assert (left.state, left.certificates, left.leaving) == ("left", (), goodbye)
    assert desk.registry.join(who.asks(desk.invite("bank-a"))).state == "waiting"
    assert seen(desk).leaving == goodbye, "until a roster lets it go"
    with pytest.raises(ArgumentError):
        desk.registry.leave("bank-a", goodbye)


def test_a_member_that_is_in_is_invited_anew_for_its_own_keys_alone(desk: Desk) -> None:
    who = desk.admitted("bank-a")
    before = seen(desk)
    invitation = desk.invite("bank-a")
    assert (seen(desk).state, seen(desk).certificates) == ("admitted", before.certificates), "it stays in"
    thief = desk.registry.join(Newcomer("bank-a").asks(invitation))
    assert (thief.state, thief.certificate) == ("refused", b""), "whoever holds the line alone"
    assert any("other keys" in note for note in seen(desk).notes)
    who.tls = ec.generate_private_key(ec.SECP256R1())  # its own was lost, or had ended
    again = desk.registry.join(who.asks(invitation), desk.issue)
    assert again.state == "admitted"
    assert certificates.fingerprint(again.certificate) in seen(desk).certificates
    assert seen(desk).entry == before.entry


def test_a_member_that_is_in_is_invited_again_under_its_own_keys_alone(desk: Desk) -> None:
    who = desk.admitted("bank-a")
    with desk.registry._rows(write=True) as rows:
        rows.connection.execute(sa.delete(tables.certificates))  # as a database that was restored
    again = desk.invite("bank-a")
    assert (seen(desk).state, seen(desk).entry) == ("admitted", who.entry())
    stranger = desk.registry.join(Newcomer("bank-a").asks(again), desk.issue)
    assert (stranger.state, "other keys than yours" in stranger.cause) == ("refused", True)
    answer = desk.registry.join(who.asks(again), desk.issue)
    assert seen(desk).certificates == (certificates.fingerprint(answer.certificate),)
    desk.now += 8 * DAY
    assert desk.registry.join(who.asks(again), desk.issue).state == "admitted", "they are its own"


def test_a_member_with_new_keys_asks_with_those_and_not_with_the_ones_before(desk: Desk) -> None:
    old, fresh = desk.admitted("bank-a"), Newcomer("bank-a")
    fresh.node, fresh.tls = old.node, old.tls
    desk.registry.rekeyed(fresh.entry())
    again = desk.invite("bank-a")
    assert desk.registry.join(old.asks(again), desk.issue).state == "refused"
    assert desk.registry.join(fresh.asks(again), desk.issue).state == "admitted"


@pytest.mark.parametrize("gone", ["revoked", "left"])
def test_certificates_of_before_count_no_more_when_a_member_comes_again(desk: Desk, gone: str) -> None:
    who = desk.admitted("bank-a")
    (stolen,) = seen(desk).certificates
    assert desk.registry.holder(stolen) is not None
    if gone == "revoked":
        desk.registry.revoke("bank-a", "its keys were stolen")
    else:
        desk.registry.leave("bank-a", Signed.make(who.signing, Leaving(roster=bytes(32), name="bank-a")))
    desk.now += 1
    desk.admitted("bank-a")
    assert len(seen(desk).certificates) == 1
    assert desk.registry.holder(stolen) is None


def test_when_a_member_was_seen(desk: Desk) -> None:
    desk.admitted("bank-a")
    desk.now += 60
    desk.registry.saw("bank-a")
    assert seen(desk).seen == desk.now
    desk.now += 1
    desk.registry.saw("bank-a")
    assert seen(desk).seen == desk.now - 1, "not every call is a write"


def test_notes_are_few(desk: Desk) -> None:
    invitation = desk.invite("bank-a")
    desk.registry.join(Newcomer("bank-a").asks(invitation))
    for _ in range(MOST_NOTES + 5):
        desk.registry.join(Newcomer("bank-a").asks(invitation))
    assert len(seen(desk).notes) == MOST_NOTES


def test_two_processes_use_one_invitation_once(desk: Desk) -> None:
    """Both ask at the same moment, each with keys of its own."""
    invitation = desk.invite("bank-a")
    answers: list[str] = []
    barrier = threading.Barrier(2)

    def ask(registry: Registry, signed: Signed) -> None:
        barrier.wait()
        answers.append(registry.join(signed).state)

    threads = [
        threading.Thread(target=ask, args=(desk.opened(), Newcomer("bank-a").asks(invitation)))
        for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(answers) == ["refused", "waiting"]


def test_a_name_that_was_never_invited_is_told_to_the_operator_alone(desk: Desk) -> None:
    assert desk.registry.member("nobody") is None
    for call in (desk.registry.revoke, lambda name, _: desk.registry.admit(name, desk.issue)):
        with pytest.raises(ArgumentError, match="Nobody was invited"):
            call("nobody", "why")
    with desk.registry._database.transaction() as connection:
        assert connection.execute(sa.text("select count(*) from members")).scalar() == 0


def test_a_member_cannot_fill_the_database_with_keys(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    who = desk.admitted("bank-a")

    def announces(key: bytes) -> None:
        said = Rotation(roster=bytes(32), name="bank-a", signing=key)
        desk.registry.rotate("bank-a", Signed.make(who.signing, said))

    def kept() -> int:
        with desk.registry._database.transaction() as connection:
            return int(connection.execute(sa.text("SELECT count(*) FROM bearers")).scalar() or 0)

    before = kept()
    for _ in range(3):
        announces(bytes([1]) * 32)
    assert kept() == before + 1, "the same again is one row"
    monkeypatch.setattr(rows, "MOST_KEYS", before + 3)
    for number in (2, 3):
        announces(bytes([number]) * 32)
    with pytest.raises(ProtocolError, match=r"has named \d+ keys already"):
        announces(bytes([4]) * 32)
    assert kept() == before + 3
    announces(bytes([3]) * 32)  # control: what it has it may say again
    desk.admitted("bank-b")


def test_a_time_ahead_of_the_clock_does_not_stay(desk: Desk) -> None:
    desk.admitted("bank-a")
    right = desk.now
    desk.now = right + 10 * DAY  # a clock that was ahead
    desk.registry.saw("bank-a")
    desk.now = right + 60
    assert seen(desk).seen == right + 10 * DAY, "control: that is what it wrote"
    desk.registry.saw("bank-a")
    assert seen(desk).seen == right + 60
    desk.now += 5
    desk.registry.saw("bank-a")
    assert seen(desk).seen == right + 60, "control: it is written every ten seconds only"
