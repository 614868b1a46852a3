"""A sum that a member says was changed, at the coordinator: who is asked, what counts, and what comes of it."""

from dataclasses import replace
from typing import Any

import pytest

from fedrepay.server.protocol.dispute import Dispute
from fedrepay.server.protocol.state import Ask, Event, State
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, hashes
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Evidence, Kind, Reply, Resend, Sum, Upload, Verdict
from support.parties import ALL, EPOCH, FOUR, OTHER, SIGNED, by, header

CHUNKS = {name: bytes([i]) * UPLOAD_BYTES for i, name in enumerate(FOUR)}  # the second of each, which failed
HEADERS = tuple(
    by(name, header(name, chunks=(OTHER, *hashes(CHUNKS[name]), OTHER), tags=(1, 2, 3))) for name in FOUR
)


def total(round_: int, attempt: int) -> Sum:
    return Sum(
        round=round_,
        attempt=attempt,
        config=SIGNED,
        headers=HEADERS,
        payload=bytes([attempt]),
        tags=(1, 2, 3),
    )


SUMS = {0: total(0, 0), 1: total(1, 3)}


def state(**fields: Any) -> State:
    made = State(sums=SUMS, headers={}, failed=(3, 1), disputes={"m4"})
    return replace(made, **fields)


# --- a complaint ---


@pytest.mark.parametrize(
    ("chunk", "at"),
    [
        ((1).to_bytes(4, "big"), 1),
        ((1).to_bytes(4, "big") + b"\x05", 1),
        ((2).to_bytes(4, "big"), 2),
        ((3).to_bytes(4, "big"), 0),
        (b"\xff" * 4, 0),
        (b"", 0),
    ],
    ids=["one", "more bytes", "the last", "beyond", "far beyond", "none"],
)
def test_a_complaint_names_the_newest_sum_and_a_ciphertext(chunk: bytes, at: int) -> None:
    free = state(failed=None, disputes=set())
    assert Dispute().begin(free, "m4", chunk) == [Event("failed", "m4", f"3 {at}".encode())]


def test_each_is_heard_once_a_run_and_one_at_a_time() -> None:
    assert Dispute().begin(state(failed=None), "m4", bytes(4)) == []
    assert Dispute().begin(state(), "m1", bytes(4)) == [Event("disputed", "m1", b"")]
    assert len(Dispute().begin(state(failed=None), "m1", bytes(4))) == 1


# --- what is asked ---


def resent(name: str, payload: bytes | None = None) -> Reply:
    body = Upload(header=HEADERS[0], payload=CHUNKS[name] if payload is None else payload).encode()
    return Reply(kind="ok", name=name, asked=OTHER, body=body)


def heard(*silent: str) -> Dispute:
    """After all were asked again and all but these have answered."""
    dispute = Dispute()
    dispute.ask(state(), EPOCH)
    for name in FOUR:
        if name not in silent:
            assert dispute.receive(state(), EPOCH, "resend", name, resent(name)) == []
    return dispute


def test_the_cohort_is_asked_for_that_ciphertext_once() -> None:
    dispute = Dispute()
    body = Resend(config=SIGNED, chunk=1).encode()
    assert dispute.ask(state(), EPOCH) == Ask(Kind.RESEND, dict.fromkeys(FOUR, (body, b"")))
    assert dispute.ask(state(), EPOCH).kind == "blame"


def test_another_failure_is_asked_for_anew() -> None:
    dispute = heard()
    again = dispute.ask(state(failed=(0, 2)), EPOCH)
    assert again == Ask(Kind.RESEND, dict.fromkeys(FOUR, (Resend(config=SIGNED, chunk=2).encode(), b"")))
    evidence, _ = dispute.ask(state(failed=(0, 2)), EPOCH).parts["m0"]
    assert Evidence.decode(evidence).payloads == (b"",) * 4, "what came for the other one is dropped"


def test_everybody_present_judges_what_was_sent_again() -> None:
    ask = heard("m2").ask(state(verdicts={"m1": SIGNED}), EPOCH)
    payloads = tuple(CHUNKS[name] if name != "m2" else b"" for name in FOUR)
    shown = Evidence(config=SIGNED, headers=HEADERS, chunk=1, payloads=payloads).encode()
    assert ask == Ask(Kind.BLAME, {name: (shown, b"") for name in ALL if name != "m1"})


# --- what is taken ---


@pytest.mark.parametrize(
    ("name", "payload"),
    [("m0", CHUNKS["m1"]), ("m0", CHUNKS["m0"][:-1]), ("m0", CHUNKS["m0"] * 2), ("m0", b"")],
    ids=["another's", "a byte less", "two", "none"],
)
def test_only_what_was_signed_counts(name: str, payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="another ciphertext"):
        heard().receive(state(), EPOCH, "resend", name, resent(name, payload))


def test_a_ciphertext_of_another_size_does_not_count_even_if_it_was_signed() -> None:
    short = b"short"
    headers = (by("m0", header("m0", chunks=(OTHER, *hashes(short)))), *HEADERS[1:])
    sums = {0: Sum(round=0, attempt=3, config=SIGNED, headers=headers, payload=b"", tags=(1,))}
    with pytest.raises(ProtocolError, match="another ciphertext"):
        heard().receive(state(sums=sums), EPOCH, "resend", "m0", resent("m0", short))


def test_nothing_counts_where_no_such_ciphertext_was_signed() -> None:
    with pytest.raises(ProtocolError, match="another ciphertext"):
        heard().receive(state(failed=(3, 3)), EPOCH, "resend", "m0", resent("m0"))


def verdict(name: str, *suspects: str, signer: str = "", **fields: Any) -> Signed:
    said = {"config": SIGNED.digest(), "name": name, "suspects": suspects} | fields
    return by(signer or name, Verdict.model_validate(said))


def judged(name: str, said: Signed) -> list[Event]:
    reply = Reply(kind="ok", name=name, asked=OTHER, body=said.encode())
    return heard().receive(state(), EPOCH, "blame", name, reply)


def test_a_member_s_own_verdict_on_this_sum_is_taken() -> None:
    said = verdict("m1", "m2")
    assert judged("m1", said) == [Event("verdict", "m1", said.encode())]


@pytest.mark.parametrize(
    "said",
    [verdict("m2", signer="m1"), verdict("m1", config=OTHER), verdict("m1", signer="m2"), verdict("m2")],
    ids=["another's name", "another sum", "another's key", "another's verdict"],
)
def test_other_verdicts_are_not(said: Signed) -> None:
    with pytest.raises(ProtocolError):
        judged("m1", said)


# --- what comes of it ---


def ended(dispute: Dispute, verdicts: dict[str, tuple[str, ...]], **fields: Any) -> list[Event]:
    said = {name: verdict(name, *suspects) for name, suspects in verdicts.items()}
    return dispute.finish(state(verdicts=said, **fields), 1, "blame")


def test_nothing_is_decided_before_the_verdicts() -> None:
    said = {name: verdict(name, "m2") for name in ALL}
    assert heard().finish(state(verdicts=said), 1, "resend") == []


def test_more_than_may_lie_find_somebody_at_fault() -> None:
    (event,) = ended(heard(), {"m0": ("m3", "m2"), "m1": ("m2", "m3"), "m3": ("m2",), "m4": ("m0",)})
    assert (event.kind, event.name) == ("ended", "")
    assert event.body.startswith(b"the upload does not fit its tag (m2, m3: found at fault by 3 of 4")


def test_as_many_as_may_lie_find_nobody_at_fault() -> None:
    assert ended(heard(), {"m0": ("m2",), "m1": ("m3",), "m3": ()}) == [Event("dismissed", "", b"")]


def test_a_ciphertext_that_was_not_sent_again_leaves_it_undecided() -> None:
    (event,) = ended(heard("m2", "m3"), dict.fromkeys(ALL, ()), disputes={"m4", "m0"})
    assert (event.kind, event.name) == ("ended", "")
    assert event.body.startswith(b"m0, m4 say that the sum was changed. m2, m3 did not send")


def test_one_complaint_that_nobody_shares_is_dismissed_whoever_is_silent() -> None:
    (event,) = ended(heard("m2", "m3"), dict.fromkeys(ALL, ()))
    assert event.kind == "dismissed"


def test_more_complaints_than_may_lie_end_the_epoch_though_everything_fits() -> None:
    (event,) = ended(heard(), dict.fromkeys(ALL, ()), disputes={"m4", "m0"})
    assert (event.kind, event.name) == ("ended", "")
    assert event.body.startswith(b"m0, m4: the sum was changed, more than may lie")
