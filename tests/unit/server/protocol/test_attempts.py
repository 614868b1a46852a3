"""Attempts at sums at the coordinator: who is asked, what is added, what becomes of an attempt that a member loses."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedrepay.server.protocol.attempts import TWICE, Attempts
from fedrepay.server.protocol.state import Ask, AttemptRecord, Event, State
from fedrepay.shared.errors import CohortError, ProtocolError
from fedrepay.shared.secure_sum import ciphertext
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, hashes
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.trust.handshake import Confirmation
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.sums import run_chunks
from fedrepay.shared.trust.wire import Attempt, Kind, Prepare, PrepareRequest, Reply, RoundConfig, Sum, Upload
from support.parties import (
    ALL,
    CONFIG,
    EPOCH,
    FOUR,
    KEY,
    OTHER,
    PLAN,
    ROSTER,
    SEED,
    by,
    changed,
    header,
    told,
)

CONFIRMED = {name: by(name, Confirmation(epoch=EPOCH.id, name=name, mac=SEED)) for name in ALL}
SUMS = {
    i: Sum(round=i, attempt=i, config=told(CONFIG), headers=(), payload=bytes([i]), tags=()) for i in range(2)
}
HEADERS = {name: by(name, header(name)) for name in FOUR}


def record(round_: int, attempt: int, status: str, cohort: tuple[str, ...] = ALL) -> AttemptRecord:
    config = changed(CONFIG, round=round_, attempt=attempt, cohort=cohort)
    return AttemptRecord(told(config), config, status)


DONE = [record(0, 0, "completed"), record(1, 1, "void", FOUR), record(1, 2, "completed", FOUR)]
OPEN = [*DONE, record(2, 3, "open", FOUR)]


def state(**fields: Any) -> State:
    """After two sums, the second of which took two attempts, with the third under way."""
    answers = {Kind.CONFIRM.value: {name: signed.encode() for name, signed in CONFIRMED.items()}}
    made = State(answers=answers, attempts=list(OPEN), sums=dict(SUMS), headers=dict(HEADERS))
    return replace(made, **fields)


def attempts(said: State | None = None, **terms: Any) -> Attempts:
    return Attempts(changed(PLAN, **terms), KEY, said or state())


def payload(first: int) -> bytes:
    """One ciphertext, of these numbers and the next."""
    return (np.arange(UPLOAD_BYTES // 8, dtype="<u8") % 1000 + first).tobytes()


def uploaded(name: str, first: int = 1, tag: int = 5, config: AttemptRecord = OPEN[-1]) -> Reply:
    """A member's good answer to the open attempt."""
    body = payload(first)
    said = header(name, config=config.signed.digest(), chunks=hashes(body), tags=(tag,))
    upload = Upload(header=by(name, said), payload=body)
    return Reply(kind="ok", name=name, asked=OTHER, body=upload.encode())


def sent(reply: Reply) -> Signed:
    return Upload.decode(reply.body).header


# --- a configuration ---


def test_a_configuration_has_the_run_s_terms_and_every_attempt_before() -> None:
    history = (
        Attempt(round=0, attempt=0, cohort=ALL, completed=True),
        Attempt(round=1, attempt=1, cohort=FOUR, completed=False),
        Attempt(round=1, attempt=2, cohort=FOUR, completed=True),
    )
    config = attempts(state(attempts=DONE)).config(EPOCH, 2, ALL).verified(ROSTER.coordinator, RoundConfig)
    assert config == changed(CONFIG, attempt=3, cohort=ALL, history=history)
    assert config.terms() == PLAN.terms()


# --- who is asked ---


def requests(ask: Ask) -> Mapping[str, PrepareRequest]:
    return {name: PrepareRequest.decode(shared) for name, (shared, _) in ask.parts.items()}


@pytest.mark.parametrize("patience", [math.inf, 30.0])
def test_before_an_attempt_members_are_asked_with_the_sums_that_each_may_lack(patience: float) -> None:
    said = state(attempts=DONE, known={"m1": 1, "m2": 1, "m3": 2})
    ask = attempts(said).prepare(EPOCH, FOUR, patience)
    confirmations = tuple(CONFIRMED.values())
    asked = PrepareRequest.decode(ask.parts["m0"][0]).asked
    wanted = {
        "m0": PrepareRequest(asked=asked, confirmations=confirmations, sums=(SUMS[0], SUMS[1])),
        "m1": PrepareRequest(asked=asked, confirmations=(), sums=(SUMS[1],)),
        "m2": PrepareRequest(asked=asked, confirmations=(), sums=(SUMS[1],)),
        "m3": PrepareRequest(asked=asked, confirmations=(), sums=()),
    }
    assert (ask.kind, ask.patience) == (Kind.PREPARE, patience)
    assert requests(ask) == wanted
    following = Prepare.decode(asked.verified(ROSTER.coordinator, Prepare).encode())
    assert following.config(ALL) == opened(said)
    assert ask.parts["m1"][0] is ask.parts["m2"][0], "equal messages are one object"
    assert {name: own for name, (_, own) in ask.parts.items()} == {n: HEADERS[n].encode() for n in FOUR}


def test_the_cohort_is_asked_for_the_open_attempt() -> None:
    ask = attempts().ask()
    shared = OPEN[-1].signed.encode()
    assert ask == Ask(Kind.ROUND, {name: (shared, HEADERS[name].encode()) for name in FOUR})


def test_who_has_answered_or_failed_is_not_asked_again() -> None:
    made = attempts()
    made.receive(EPOCH, "m1", uploaded("m1"))
    made.lost("m2")
    assert set(made.ask().parts) == {"m0", "m3"}


def test_a_member_asks_for_sums_that_it_was_sent_no_second_time() -> None:
    made = attempts()
    for first in (0, 2):
        assert made.need("m1", first) == [Event("need", "m1", str(first).encode())]
    for first in (2, 0, 1):
        with pytest.raises(ProtocolError, match=f"m1 keeps asking for sums from round {first}"):
            made.need("m1", first)
    assert made.need("m2", 0), "each for itself"


def test_what_was_prepared_is_forgotten_once_an_attempt() -> None:
    made = attempts()
    made.forgotten("m1")
    assert made.unprepared == {"m1"}
    made.unprepared.discard("m1")
    with pytest.raises(ProtocolError, match="m1 forgets again and again"):
        made.forgotten("m1")
    made.forgotten("m2")
    made.lost("m2")
    assert made.unprepared == set()


def test_who_takes_part_among_more_than_there_are_is_in_no_cohort() -> None:
    least = {"m0": 5, "m1": 3, "m2": 4, "m3": 0, "m4": 3}
    assert opened(state(attempts=DONE), there=least).cohort == ALL, "five are enough for all"
    four = {name: least[name] for name in ("m1", "m2", "m3", "m4")}
    assert opened(state(attempts=DONE), there=four).cohort == ("m1", "m2", "m3", "m4")
    without_one = four | {"m2": 5}
    with pytest.raises(
        CohortError, match=r"3 members are left, the quorum is 4; m2 takes part among 5 or more"
    ):
        opened(state(attempts=DONE), there=without_one)
    unreliable = state(attempts=DONE, losses={"m1": TWICE})
    assert opened(unreliable, there=least).cohort == ("m0", "m1", "m2", "m3", "m4"), "m0 wants five"


# --- what is added ---


def test_the_sum_is_of_everybody_s_upload_with_the_headers_in_the_cohort_s_order() -> None:
    assert run_chunks(PLAN, 5)[2] == 1
    made, replies = attempts(), {name: uploaded(name, i, Q - 1 - i) for i, name in enumerate(FOUR)}
    for name in reversed(FOUR):
        assert made.close() == [], "somebody is to be asked yet"
        header_event = Event("header", name, sent(replies[name]).encode())
        assert made.receive(EPOCH, name, replies[name]) == [header_event]
    (event,) = made.close()
    assert (event.kind, event.name) == ("sum", "")
    exact = np.sum([ciphertext.uploaded(payload(i), 1).astype(object) for i in range(4)], axis=0) % Q
    total = exact.astype("<u8").tobytes()
    assert Sum.decode(event.body) == Sum(
        round=2,
        attempt=3,
        config=OPEN[-1].signed,
        headers=tuple(sent(replies[name]) for name in FOUR),
        payload=total,
        tags=(Q - 10,),
    )


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("m1", uploaded("m2")),
        ("m1", uploaded("m1", config=OPEN[-2])),
        ("m1", changed(uploaded("m1"), body=b"rubbish")),
        ("m1", uploaded("m1", tag=Q)),
    ],
    ids=["another's", "to another attempt", "no upload", "a tag past the modulus"],
)
def test_another_upload_is_not_added(name: str, reply: Reply) -> None:
    made = attempts()
    with pytest.raises(ProtocolError):
        made.receive(EPOCH, name, reply)
    assert set(made.ask().parts) == set(FOUR), "it is asked for yet"


def test_as_many_ciphertexts_are_added_as_the_open_round_has() -> None:
    """Of a model so wide that its first sum has two, and the others one."""
    assert run_chunks(changed(PLAN, dimension=91), 5) == (2, 1, 1, 1)
    assert attempts(dimension=91).receive(EPOCH, "m1", uploaded("m1"))
    first = record(0, 3, "open", FOUR)
    said = header("m1", config=first.signed.digest(), round=0, chunks=hashes(payload(1)), tags=(5,))
    sent_body = Upload(header=by("m1", said), payload=payload(1)).encode()
    made = attempts(state(attempts=[first], sums={}), dimension=91)
    with pytest.raises(ProtocolError, match=f"not {2 * UPLOAD_BYTES} and 2"):
        made.receive(EPOCH, "m1", changed(uploaded("m1"), body=sent_body))


# --- how an attempt ends ---


def test_an_attempt_that_members_lose_is_void_and_says_whose() -> None:
    made = attempts()
    for name in ("m3", "m1"):
        made.lost(name)
    made.receive(EPOCH, "m0", uploaded("m0"))
    assert made.close() == [], "m2 is to be asked yet"
    made.receive(EPOCH, "m2", uploaded("m2"))
    assert made.close() == [Event("void", "", b"m1 m3")]


def test_nothing_is_left_of_an_attempt_when_the_next_begins() -> None:
    said = state()
    made = attempts(said)
    made.lost("m0")
    for name in FOUR[1:]:
        made.receive(EPOCH, name, uploaded(name, first=7))
    made.need("m1", 0)
    made.forgotten("m2")
    for event in (*made.close(), *made.open(EPOCH, dict.fromkeys(ALL, 0), "")):
        said.apply(event)
    assert made.need("m1", 0)
    assert made.unprepared == set()
    made.forgotten("m2")
    assert set(made.ask().parts) == set(ALL)
    said.attempts[-1] = following = record(2, 3, "open", FOUR)
    for name in FOUR:
        made.receive(EPOCH, name, uploaded(name, first=0, config=following))
    (event,) = made.close()
    assert Sum.decode(event.body).payload[:8] == bytes(8)


# --- the next attempt ---


def opened(said: State, why: str = "", there: Mapping[str, int] = dict.fromkeys(ALL, 0)) -> RoundConfig:
    (event,) = attempts(said).open(EPOCH, there, why)
    assert (event.kind, event.name) == ("attempt", "")
    return RoundConfig.decode(Signed.decode(event.body).verified(ROSTER.coordinator, RoundConfig).encode())


def test_the_next_attempt_is_of_those_who_are_there() -> None:
    config = opened(state(attempts=DONE))
    assert (config.round, config.attempt, config.cohort) == (2, 3, ALL)
    there = ("m0", "m1", "m3", "m4")
    assert opened(state(attempts=DONE), there=dict.fromkeys(there, 0)).cohort == there


def test_fewer_than_a_quorum_make_none() -> None:
    with pytest.raises(CohortError, match=r"Round 2: 3 members are left, the quorum is 4 \(why\)\."):
        opened(state(attempts=DONE), " (why)", dict.fromkeys(("m0", "m1", "m3"), 0))


def test_who_has_lost_two_attempts_is_left_out_while_a_quorum_is_left() -> None:
    assert opened(state(attempts=DONE, losses={"m2": TWICE - 1, "m1": TWICE})).cohort == (
        "m0",
        "m2",
        "m3",
        "m4",
    )
    assert opened(state(attempts=DONE, losses={"m2": TWICE, "m1": TWICE + 1})).cohort == ALL
    assert TWICE == 2


def test_a_run_that_loses_more_attempts_than_it_may_stops_and_says_whose() -> None:
    lost = [*DONE, record(2, 3, "void"), record(2, 4, "void")]
    said = state(attempts=lost, losses={"m3": 1, "m4": 2, "m1": 1})
    attempts(said, max_attempts=3).check_left("")
    with pytest.raises(
        CohortError, match=r"3 attempts were lost, 2 extra .* Lost by: m4 \(2\), m1 \(1\), m3 \(1\) \(why\)"
    ):
        attempts(said, max_attempts=2).check_left(" (why)")
