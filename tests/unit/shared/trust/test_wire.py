"""Strict decoding: what is not exactly one encoding of a message is a ProtocolError and nothing else."""

import math
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.consortium.running import ProcessState, RunState
from fedrepay.client.consortium.standing import LinkState
from fedrepay.client.node.house import HouseAnswer
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.protocol.testimony import Departed
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.trust import (
    asking,
    enrolment,
    fields,
    handshake,
    joining,
    message,
    succession,
    terms,
    testimony,
    wire,
)
from fedrepay.shared.trust.joining import Invitation
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.roster import Entry, Revoked
from fedrepay.shared.trust.terms import NumberedTerms
from support.adversary import roster_of

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ID = bytes(range(32))
VOTE = wire.ReleaseVote(run=1, name="a", release=bytes(32))
SIGNED = Signed.make(KEY, VOTE)
TOLD = testimony.Told(
    name="b",
    whole=True,
    runs=(
        testimony.ToldRun(
            run=1, at=5, costs=(((10, 4e4, 7, 2, 9, 0.0, 0),), ()), attempts=((0, 0, 0), (1, 1, 1))
        ),
    ),
)
ATTEMPT = wire.Attempt(round=0, attempt=0, cohort=("a", "b", "c"), completed=True)
CONFIG = wire.RoundConfig(
    run=1,
    epoch=ID,
    roster_hash=ID,
    round=1,
    attempt=1,
    cohort=("a", "b", "c"),
    history=(ATTEMPT,),
    schema_hash=ID,
    mode="distributed",
    learner="dp-newton",
    dimension=9,
    heads=2,
    epsilon=1.0,
    delta=1e-5,
    colluders=1,
    rounds=5,
    max_attempts=3,
    timeout=60.0,
)
PREPARE = wire.Prepare(**{k: v for k, v in CONFIG if k in wire.Prepare.model_fields})
LOCAL = terms.LocalTerms(
    model="mlp",
    model_hash=ID,
    parameters=400,
    sampling_rate=0.5,
    local_steps=2,
    clip=1.0,
    learning_rate=2.0,
    noise_multiplier=11.11,
)
PAIRS = terms.GramPairs(most=5, offset=1)
SUM = wire.Sum(round=0, attempt=0, config=SIGNED, headers=(SIGNED,), payload=b"c" * 9, tags=(0, Q - 1))
ENTRY = Entry(name="a", signing=ID, sealing=ID)
LISTED = asking.ReleaseListed(number=1, sealed=ID, at=1.8e9)
YEAR = handshake.Year(epsilon=2.5, delta=1e-7, runs=1, attempts=4)
DECLARED = handshake.Declared(year=YEAR, override=ID)
ENTRIES = tuple(Entry(name=n, signing=n.encode() * 32, sealing=n.encode() * 32) for n in "abc")
CALL = enrolment.Call(number=1, coordinator=ID, predecessor=ID, released=0, release=ID)

MESSAGES: list[Wire] = [
    SIGNED,
    VOTE,
    ATTEMPT,
    CONFIG,
    CONFIG.model_copy(update={"mode": "local", "learner": "dp-sgd", "heads": 1, "local": LOCAL}),
    LOCAL,
    PAIRS,
    CONFIG.model_copy(update={"pairs": PAIRS}),
    SUM,
    handshake.EpochStart(run=1, coordinator=ID, colluders=1, roster=ID, terms=ID),
    YEAR,
    DECLARED,
    handshake.Hello(start=ID, name="a", nonce=ID, envelope=ID, mask=ID, commitment=ID, declared=DECLARED),
    handshake.Introduction(roster=b"r", start=SIGNED, hellos=(SIGNED, SIGNED)),
    handshake.Acceptance(roster_hash=ID, epoch=ID, name="a"),
    handshake.Acceptances(signed=(SIGNED,)),
    handshake.Envelope(epoch_nonce=ID, roster_hash=ID, sender="a", recipient="b", sealed=b"s"),
    handshake.Envelopes(signed=()),
    handshake.Confirmation(epoch=ID, name="a", mac=ID),
    wire.Header(
        run=1,
        epoch=ID,
        config=ID,
        round=0,
        attempt=0,
        name="a",
        chunks=(ID,),
        tags=(1,),
        opened=ID,
        ledger=ID,
    ),
    wire.Upload(header=SIGNED, payload=b"c"),
    PREPARE,
    wire.PrepareRequest(asked=SIGNED, confirmations=(), sums=(SUM,)),
    wire.Closing(config=SIGNED, sums=(SUM,), sealed=None),
    wire.SealedRelease(number=1, payload=b"p", wrapped=(("a", b"k"),)),
    wire.ReleaseVote(run=1, name="a", release=ID),
    wire.Votes(run=1, signed=(SIGNED,)),
    wire.Reply(kind="refused", name="a", asked=ID, code="tag", cause="Σ"),
    wire.Offer(run=1, roster=ID, terms=CONFIG.terms()),
    wire.Resend(config=SIGNED, chunk=3),
    wire.Evidence(config=SIGNED, headers=(SIGNED,), chunk=3, payloads=(b"c", b"")),
    wire.Verdict(config=ID, name="a", suspects=("b", "coordinator")),
    CALL,
    enrolment.Joining(call=ID, entry=ENTRIES[0], commitment=ID),
    enrolment.Proposal(call=SIGNED, joinings=(SIGNED,) * 3),
    enrolment.Revealed(proposal=ID, name="a", nonce=ID),
    enrolment.Revealed(proposal=ID, name="a", nonce=ID, told=(TOLD,), since=7, gone=(("b", 9),)),
    TOLD,
    TOLD.runs[0],
    Departed(gone=(("a", 3), ("b", 2))),
    enrolment.Reveals(proposal=b"p", revealed=(SIGNED,) * 3),
    enrolment.Approval(roster=ID, name="a"),
    enrolment.Certificate(roster=b"r", approvals=(SIGNED,) * 3, coordinator=SIGNED),
    wire.Written(sealed=b"s", vote=SIGNED),
    wire.Pulled(number=1, introduction=b"i", sealed=b"s", votes=wire.Votes(run=1, signed=(SIGNED,))),
    wire.KeptRelease(release=b"r", votes=wire.Votes(run=1, signed=(SIGNED,))),
    wire.Resealed(number=1, roster=ID, sender="a", recipient="b", sealed=b"s"),
    Revoked(name="a", reason="Σ"),
    succession.Leaving(roster=ID, name="a"),
    succession.Rotation(roster=ID, name="a", signing=ID),
    succession.KeyHandover(roster=ID, coordinator=ID),
    CALL.model_copy(update={"leaving": (SIGNED,), "revoked": (Revoked(name="a", reason="Σ"),)}),
    enrolment.Joining(call=ID, entry=ENTRIES[0], commitment=ID, rotation=SIGNED),
    ENTRIES[0],
    roster_of(list(ENTRIES), ID),
    CONFIG.terms(),
    NumberedTerms(
        run=1,
        schema_hash=ID,
        mode="none",
        learner="dp-gd",
        dimension=9,
        heads=2,
        epsilon=1.0,
        delta=1e-5,
        colluders=1,
        rounds=5,
    ),
    EpochState(run=1, start=SIGNED, nonce=ID, envelope=ID, mask=ID, contribution=ID),
    Invitation(address="consortium.example:443", name="a", authority=ID, secret=ID[:16]),
    joining.About(version=1, product="0.1.0", authority=b"c", terms=b"t", schemas=((ID, b"s", b"b"),)),
    joining.JoinRequest(version=1, product="0.1.0", secret=ID[:16], entry=ENTRY, request=b"c", agreed=ID),
    joining.JoinAnswer(state="admitted", certificate=b"c"),
    asking.Request(method="Wait", name="a", at=1.8e9, version=1, body=b"b"),
    asking.AskedOf(ask=1, kind="held", shared=b"s", own=b"o"),
    asking.Answered(ask=1, reply=b"r"),
    asking.Handed(resealed=True, body=b"b"),
    LISTED,
    asking.Standing(
        agreed=ID,
        terms=b"t",
        members=(("a", "away"),),
        run=1,
        state="done",
        waiting=("a",),
        releases=(LISTED,),
    ),
    HouseAnswer(body=b"b", cause="c", remedy="r"),
    LinkState(at=1.8e9, since=1.8e9, connected=True, standing=b"s"),
    ProcessState(name="node", pid=7, since=1.8e9, restarts=2, last="ended with exit status 1"),
    RunState(at=1.8e9, pid=6, processes=(ProcessState(name="node", pid=0, since=1.8e9, restarts=0),)),
]
KINDS = sorted({type(message) for message in MESSAGES}, key=lambda kind: kind.__name__)


def refused(kind: type[Wire], data: bytes) -> bool:
    try:
        kind.decode(data)
    except ProtocolError:
        return True
    return False


def packed(message: Wire, **changes: Any) -> bytes:
    """The message's bytes with fields changed, past all checks."""
    body: bytes = msgpack.packb({**message.model_dump(), **changes})
    return body


def test_every_kind_of_message_is_tried_here() -> None:
    def below(kind: type[Wire]) -> set[type[Wire]]:
        ours = (each for each in kind.__subclasses__() if each.__module__.startswith("fedrepay."))
        return {kind}.union(*(below(each) for each in ours))

    assert below(Wire) - {Wire} == set(KINDS)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: Wire) -> None:
    assert type(message).decode(message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_missing_unknown_trailing_or_cut_is_refused(message: Wire) -> None:
    kind, body = type(message), message.encode()
    assert refused(kind, packed(message, surplus=1))
    assert refused(kind, body + b"\x00")
    assert refused(kind, body + body)
    assert all(refused(kind, body[:cut]) for cut in range(min(len(body), 200)))
    for field in kind.model_fields:
        fewer = message.model_dump()
        del fewer[field]
        assert refused(kind, msgpack.packb(fewer)), field
        assert refused(kind, packed(message, **{field: {"a": [1.5]}})), field


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_there_is_one_encoding_of_a_message(message: Wire) -> None:
    kind, fields = type(message), message.model_dump()
    if len(fields) > 1:
        assert refused(kind, msgpack.packb(dict(reversed(fields.items()))))  # another order
    name = next(iter(fields))
    twice = msgpack.packb(name) + msgpack.packb(fields[name])
    assert refused(kind, bytes([message.encode()[0] + 1]) + twice + message.encode()[1:])  # a field twice
    if len(fields) < 16:
        wide = b"\xde\x00" + bytes([len(fields)])
        assert refused(kind, wide + message.encode()[1:])  # a length in more bytes than it needs


@pytest.mark.parametrize(
    "changes",
    [
        {"run": -1},
        {"run": 2**31},
        {"run": True},
        {"run": 1.0},
        {"run": "1"},
        {"epoch": bytes(31)},
        {"epoch": bytes(33)},
        {"epoch": "e" * 32},
        {"cohort": ()},
        {"cohort": ("",)},
        {"cohort": ("../a",)},
        {"cohort": ("a\n",)},
        {"cohort": ("a" * 64,)},
        {"cohort": ("a",) * (fields.MAX_MEMBERS + 1)},
        {"cohort": "abc"},
        {"mode": "plain"},
        {"learner": "eval"},
        {"epsilon": 0.0},
        {"epsilon": math.nan},
        {"epsilon": math.inf},
        {"epsilon": 1},  # the same number in another encoding
        {"delta": 1.0},
        {"delta": math.nan},
        {"rounds": 1},
        {"rounds": 1001},
        {"max_attempts": 101},
        {"timeout": math.nan},
        {"history": [{"round": 0}]},
        {"history": None},
    ],
    ids=str,
)
def test_a_configuration_past_a_limit_is_refused(changes: dict[str, object]) -> None:
    assert not refused(wire.RoundConfig, packed(CONFIG))
    assert refused(wire.RoundConfig, packed(CONFIG, **changes))


@pytest.mark.parametrize("tag", [-1, Q, 2**64 - 1, 1.0, True, None])
def test_a_tag_is_a_number_below_q(tag: object) -> None:
    assert refused(wire.Sum, packed(SUM, tags=(tag,)))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_has_64_bytes(length: int) -> None:
    assert refused(Signed, packed(SIGNED, signature=bytes(length)))


def test_a_message_past_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgpack, "unpackb", lambda *_, **__: pytest.fail("it was parsed"))
    assert refused(wire.ReleaseVote, bytes(message.MAX_MESSAGE + 1))


def test_deep_nesting_is_refused() -> None:
    assert all(refused(kind, b"\x91" * 100_000 + b"\x00") for kind in KINDS)


def test_promised_lengths_cost_no_memory() -> None:
    for start in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"):
        assert refused(wire.PrepareRequest, start + b"\xff\xff\xff\xff")


# --- signatures ---


def test_a_signature_is_over_these_bytes_this_kind_and_this_key() -> None:
    public = keys.public_bytes(KEY)
    assert SIGNED.verified(public, wire.ReleaseVote) == VOTE
    flipped = SIGNED.model_copy(update={"signature": bytes(64)})
    changed = SIGNED.model_copy(
        update={"body": wire.ReleaseVote(run=2, name="a", release=bytes(32)).encode()}
    )
    for signed, key, kind in (
        (flipped, public, wire.ReleaseVote),
        (changed, public, wire.ReleaseVote),
        (SIGNED, ID, wire.ReleaseVote),
        (SIGNED, bytes(32), wire.ReleaseVote),
        (SIGNED, public[:31], wire.ReleaseVote),
        (SIGNED, public, wire.Votes),
    ):
        with pytest.raises(ProtocolError):
            signed.verified(key, kind)


def test_a_body_is_not_parsed_before_its_signature_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.ReleaseVote, "decode", lambda _data: pytest.fail("it was parsed"))
    with pytest.raises(ProtocolError):
        SIGNED.verified(ID, wire.ReleaseVote)


def test_a_digest_has_no_two_lists_of_parts() -> None:
    lists = [(b"ab",), (b"a", b"b"), (b"", b"ab"), (b"ab", b""), ()]
    assert len({keys.digest(*parts) for parts in lists}) == len(lists)


# --- fuzz ---


@settings(deadline=None)
@given(data=st.binary(max_size=300), kind=st.sampled_from(KINDS))
def test_random_bytes_are_refused(data: bytes, kind: type[Wire]) -> None:
    assert refused(kind, data)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.binary(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(message=st.sampled_from(MESSAGES), data=st.data())
def test_a_field_of_any_other_value_is_refused_or_is_a_message(message: Wire, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(type(message).model_fields)))
    body = packed(message, **{field: data.draw(PLAIN)})
    assert refused(type(message), body) or type(message).decode(body).encode() == body


@settings(max_examples=500, deadline=None)
@given(
    message=st.sampled_from(MESSAGES),
    places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_changed_bytes_are_refused_or_are_another_message(
    message: Wire, places: list[tuple[int, int]]
) -> None:
    """No other exception, and never the same message from other bytes."""
    kind, data = type(message), bytearray(message.encode())
    for place, value in places:
        data[place % len(data)] = value
    changed = bytes(data)
    if not refused(kind, changed):
        assert (kind.decode(changed) == message) == (changed == message.encode())


def test_the_bytes_of_one_kind_are_no_message_of_another() -> None:
    """Kinds with the same fields are told apart by the signature's label."""
    same = {
        frozenset((type(a).__name__, other.__name__))
        for a in MESSAGES
        for other in KINDS
        if other is not type(a) and not refused(other, a.encode())
    }
    assert same == {frozenset(("Acceptances", "Envelopes")), frozenset(("Approval", "Leaving"))}


def test_a_prepare_is_its_attempt_but_for_the_cohort() -> None:
    assert PREPARE.config(CONFIG.cohort) == CONFIG
    assert PREPARE.config(("a",)).terms_hash() == CONFIG.terms_hash()
