"""The release: its bytes, what makes two differ, and that a quorum must have signed it."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from safetensors.numpy import load, save

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import closing
from fedrepay.shared import keys
from fedrepay.shared.errors import Refusal, ReleaseError
from fedrepay.shared.trust.handshake import Acceptance
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent, check_votes
from fedrepay.shared.trust.wire import ReleaseVote
from support.adversary import roster_of

PEOPLE = [Identity.create(name) for name in ("ada", "bob", "cyd", "dan")]
COORDINATOR = Ed25519PrivateKey.generate()
ROSTER = roster_of([each.entry() for each in PEOPLE], keys.public_bytes(COORDINATOR))
RELEASE = ReleaseContent(
    number=7,
    weights=np.array([[0.5, -2.0, 0.0], [1.0, 0.0, 0.25]]),
    sums=(np.array([1, 2, 3], dtype=np.int64), np.array([-(1 << 44)], dtype=np.int64)),
    schema=b"schema",
    codebook=b"codebook",
    roster=ROSTER,
    card={"model": "m"},
    statement={"epsilon": 1.0},
)
BYTES = RELEASE.encode()


def vote(who: Identity | Ed25519PrivateKey, name: str = "", run: int = 7, data: bytes = BYTES) -> Signed:
    key = who.signing if isinstance(who, Identity) else who
    said = name or (who.name if isinstance(who, Identity) else "ada")
    return Signed.make(key, ReleaseVote(run=run, name=said, release=keys.digest(data)))


def counted(*votes: Signed, colluders: int = 1) -> int:
    return check_votes(BYTES, 7, ROSTER, colluders, votes)


# --- bytes ---


def test_a_release_comes_back_as_it_was() -> None:
    back = ReleaseContent.decode(BYTES)
    assert RELEASE.disagrees(back) is None
    assert back.encode() == BYTES
    assert np.array_equal(back.weights, RELEASE.weights)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 8, BYTES[:-1], BYTES + b"\x00", BYTES[8:], b"\xff" * 64, save({"weights": np.zeros(3)})],
    ids=["empty", "zeros", "cut", "longer", "no length", "rubbish", "another file"],
)
def test_what_is_no_release_is_refused(data: bytes) -> None:
    with pytest.raises(ReleaseError):
        ReleaseContent.decode(data)


FACTS = '"card": {"model": "m"}, "number": 7, "statement": {"epsilon": 1.0}'


def made(facts: str = f"{{{FACTS}}}", more: dict[str, NDArray[Any]] | None = None, **metadata: str) -> bytes:
    """The release with other facts or tensors, past its own encoder."""
    return save({**load(BYTES), **(more or {})}, {"fedrepay": facts, **metadata})


@pytest.mark.parametrize(
    "data",
    [
        made("[" * 100_000 + "]" * 100_000),
        made(FACTS.replace("7", "Infinity").join("{}")),
        made(FACTS.replace("7", "9" * 5000).join("{}")),
        made(FACTS.replace("7", "7.5").join("{}")),
        made(FACTS.replace("7", '"7"').join("{}")),
        made(FACTS.replace("7", "true").join("{}")),
        made("[7]"),
        made(FACTS.replace('{"model": "m"}', '"m"').join("{}")),
        made(FACTS.replace('{"epsilon": 1.0}', "[]").join("{}")),
        made("{" + FACTS + ', "zz": 1}'),
        made('{"card": {}, ' + FACTS + "}"),
        made("{" + FACTS + " }"),
        made(other="x"),
        made(more={"other": np.zeros(3)}),
        made(more={"sum_0003": np.zeros(3, dtype=np.int64)}),
        made(more={"schema": np.frombuffer(b"schema", np.int8)}),
        made(more={"schema": np.frombuffer(b"schema", np.uint8).reshape(2, 3)}),
    ],
    ids=[
        *("deep", "infinite", "long", "a fraction", "a text", "a truth", "a list", "no card", "no statement"),
        *("another fact", "a fact twice", "spaces", "more metadata", "a tensor", "a sum skipped"),
        *("bytes with signs", "bytes in rows"),
    ],
)
def test_there_is_one_way_to_write_a_release(data: bytes) -> None:
    """Else members would sign a file that holds what none of them computed; and none of these crashes."""
    assert made() == BYTES
    with pytest.raises(ReleaseError):
        ReleaseContent.decode(data)


def test_weights_and_sums_of_another_type_are_refused() -> None:
    for changed in (
        replace(RELEASE, weights=RELEASE.weights.astype(np.float32)),
        replace(RELEASE, weights=RELEASE.weights[0]),
        replace(RELEASE, sums=(np.array([1.0]),)),
    ):
        with pytest.raises(ReleaseError):
            ReleaseContent.decode(changed.encode())


def test_a_flipped_bit_is_a_typed_error_or_a_release_that_nobody_signed() -> None:
    votes = [vote(each) for each in PEOPLE]
    assert counted(*votes) == len(PEOPLE)
    for at in range(0, len(BYTES), 3):
        changed = BYTES[:at] + bytes([BYTES[at] ^ 1]) + BYTES[at + 1 :]
        with suppress(ReleaseError):
            ReleaseContent.decode(changed)
        with pytest.raises(ReleaseError):
            check_votes(changed, 7, ROSTER, 1, votes)


# --- what two members compare ---


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("number", replace(RELEASE, number=8)),
        ("schema", replace(RELEASE, schema=b"other")),
        ("codebook", replace(RELEASE, codebook=b"other")),
        ("roster", replace(RELEASE, roster=roster_of(list(ROSTER.members[:3]), ROSTER.coordinator))),
        ("card", replace(RELEASE, card={})),
        ("statement", replace(RELEASE, statement={"epsilon": 0.5})),
        ("sums", replace(RELEASE, sums=RELEASE.sums[:1])),
        ("sums", replace(RELEASE, sums=(RELEASE.sums[0] + 1, RELEASE.sums[1]))),
        ("weights", replace(RELEASE, weights=RELEASE.weights + 1e-8)),
        ("weights", replace(RELEASE, weights=RELEASE.weights[:, :2])),
        ("weights", replace(RELEASE, weights=RELEASE.weights * np.nan)),
    ],
)
def test_a_release_that_differs_is_not_voted_for(name: str, other: ReleaseContent) -> None:
    assert RELEASE.disagrees(other) == name
    with pytest.raises(Refusal) as refused:
        closing.check(RELEASE, other.encode())
    assert refused.value.code == "release"
    assert name in refused.value.cause


def test_weights_may_differ_in_their_last_bits() -> None:
    closing.check(RELEASE, replace(RELEASE, weights=RELEASE.weights * (1 + 1e-12)).encode())


# --- votes ---


def test_a_quorum_of_the_roster_must_have_signed() -> None:
    """How many that is: tests/unit/shared/trust/test_quorum.py."""
    assert counted(*(vote(each) for each in PEOPLE[:3])) == 3
    assert counted(*(vote(each) for each in PEOPLE), colluders=2) == 4
    with pytest.raises(ReleaseError, match="4 must"):
        counted(*(vote(each) for each in PEOPLE[:3]), colluders=2)
    for few in (PEOPLE[:2], PEOPLE[:1], []):
        with pytest.raises(ReleaseError):
            counted(*(vote(each) for each in few))


@pytest.mark.parametrize(
    "wrong",
    [
        vote(PEOPLE[0]),
        vote(PEOPLE[2], data=BYTES + b" "),
        vote(PEOPLE[2], run=6),
        vote(COORDINATOR, name="cyd"),
        vote(PEOPLE[0], name="cyd"),
        vote(Identity.create("eve")),
        vote(Identity.create("cyd")),
        Signed.make(PEOPLE[2].signing, Acceptance(roster_hash=bytes(32), epoch=bytes(32), name="cyd")),
        vote(PEOPLE[2]).model_copy(update={"signature": bytes(64)}),
        Signed(body=b"\xc1", signature=bytes(64)),
    ],
    ids=[
        "a second one by the same member",
        "over other bytes",
        "of another run",
        "by the coordinator in a member's name",
        "by a member in another's name",
        "from outside",
        "by a stranger of the same name",
        "another kind of message",
        "without a signature",
        "rubbish",
    ],
)
def test_a_wrong_vote_does_not_count(wrong: Signed) -> None:
    two = [vote(each) for each in PEOPLE[:2]]
    with pytest.raises(ReleaseError):
        counted(*two, wrong)
    assert counted(*two, wrong, vote(PEOPLE[2])) == 3  # nor does it spoil the others


def test_control_without_signatures_the_coordinator_votes_for_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forged = [vote(COORDINATOR, name=each.name) for each in PEOPLE]
    with pytest.raises(ReleaseError):
        counted(*forged)
    monkeypatch.setattr(keys, "verify", lambda *_: None)
    assert counted(*forged) == 4
