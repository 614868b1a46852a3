"""Whom a failed sum is laid upon: the sender of a wrong tag, the coordinator that shows something else, nobody else."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.protocol.blame import suspects
from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, UPLOAD_BYTES, hashes, uploaded
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, N, Q
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import COORDINATOR
from fedrepay.shared.trust.wire import Evidence, Header, RoundConfig
from support.parties import CONFIG, EPOCH, FOUR, OTHER, SEED, SIGNED, by, changed, header, told


def context(config: RoundConfig) -> bytes:
    return attempt_context(config.run, config.round, config.attempt, told(config).digest())


TAGS = AttemptTags(SEED, context(CONFIG), CONFIG.cohort)


def sent_by(name: str) -> tuple[bytes, Signed]:
    """Two ciphertexts of nothing, each under its own tag, and the header over them."""
    rng = np.random.default_rng(int(name[1:]))
    payload = b"".join(rng.integers(0, Q, N, dtype="<u8").tobytes() + rng.bytes(SEED_BYTES) for _ in range(2))
    tags = tuple(TAGS.tags(uploaded(payload, 2), name))
    return payload, by(name, header(name, chunks=hashes(payload), tags=tags))


UPLOADS = {name: sent_by(name) for name in FOUR}
HEADERS = {name: made for name, (_, made) in UPLOADS.items()}
SHOWN = {name: payload[UPLOAD_BYTES:] for name, (payload, _) in UPLOADS.items()}  # the second of each


def mended(of: str, /, *, signer: str = "", **fields: Any) -> dict[str, Signed]:
    """All headers, one of them with other fields."""
    made = changed(Header.decode(HEADERS[of].body), **fields)
    return HEADERS | {of: by(signer or of, made)}


def evidence(
    signed: dict[str, Signed] = HEADERS, sent: dict[str, bytes] = SHOWN, /, **fields: Any
) -> Evidence:
    made = Evidence(
        config=SIGNED,
        headers=tuple(signed[name] for name in FOUR),
        chunk=1,
        payloads=tuple(sent[name] for name in FOUR),
    )
    return Evidence.model_validate(changed(made, **fields))


def found(shown: Evidence) -> tuple[str, ...]:
    return suspects(EPOCH, SEED, context, shown)


def test_nobody_is_at_fault_where_everything_fits() -> None:
    assert found(evidence()) == ()
    first = {name: payload[:UPLOAD_BYTES] for name, (payload, _) in UPLOADS.items()}
    assert found(evidence(HEADERS, first, chunk=0)) == ()


def test_what_was_not_sent_again_is_nobody_s_fault() -> None:
    assert found(evidence(HEADERS, SHOWN | {"m1": b""})) == ()


def test_only_the_coordinator_s_configuration_is_judged() -> None:
    with pytest.raises(ProtocolError, match="does not verify"):
        found(evidence(config=by("m0", CONFIG)))


@pytest.mark.parametrize(
    "fields",
    [
        {"config": told(changed(CONFIG, run=8))},
        {"config": told(changed(CONFIG, epoch=OTHER))},
        {"headers": tuple(HEADERS.values())[:3]},
        {"payloads": tuple(SHOWN.values())[:3]},
        {"headers": tuple(HEADERS.values())[:3], "payloads": tuple(SHOWN.values())[:3]},
    ],
    ids=["run", "epoch", "headers", "payloads", "both"],
)
def test_evidence_of_another_run_epoch_or_cohort_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="evidence is of another"):
        found(evidence(**fields))


@pytest.mark.parametrize("name", FOUR)
def test_a_header_that_its_member_did_not_sign_is_the_coordinator_s(name: str) -> None:
    assert found(evidence(mended(name, signer="m4"))) == (COORDINATOR,)


@pytest.mark.parametrize(
    "fields",
    [{"run": 8}, {"epoch": OTHER}, {"round": 1}, {"attempt": 2}, {"config": OTHER}, {"name": "m2"}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_header_of_another_attempt_is_the_coordinator_s(fields: dict[str, Any]) -> None:
    assert found(evidence(mended("m1", **fields))) == (COORDINATOR,)


def test_two_configurations_of_one_attempt_convict_the_coordinator() -> None:
    second = told(changed(CONFIG, epsilon=2.0))
    assert found(evidence(config=second)) == (COORDINATOR,)


def test_another_ciphertext_than_was_signed_is_the_coordinator_s() -> None:
    first = UPLOADS["m1"][0][:UPLOAD_BYTES]
    assert found(evidence(HEADERS, SHOWN | {"m1": first})) == (COORDINATOR,)
    assert found(evidence(HEADERS, SHOWN | {"m1": SHOWN["m1"][:-1]})) == (COORDINATOR,)


def test_an_upload_without_that_ciphertext_or_tag_should_not_have_been_added() -> None:
    short = hashes(UPLOADS["m1"][0])[:1]
    assert found(evidence(mended("m1", chunks=short))) == (COORDINATOR,)
    assert found(evidence(mended("m1", tags=(1,)))) == (COORDINATOR,)
    assert found(evidence(chunk=2)) == (COORDINATOR,)
    assert found(evidence(chunk=3)) == (COORDINATOR,)


def test_who_signed_another_second_polynomial_is_named() -> None:
    """A bad seed harms its sender alone."""
    payload = SHOWN["m1"][:-1] + bytes([SHOWN["m1"][-1] ^ 1])
    signed = mended("m1", chunks=(OTHER, hashes(payload)[0]))
    assert found(evidence(signed, SHOWN | {"m1": payload})) == ("m1",)


def test_who_signed_a_wrong_tag_is_named() -> None:
    tags = TAGS.tags(np.zeros((2, COEFFICIENTS), dtype=np.uint64), "m1")
    assert found(evidence(mended("m1", tags=tuple(tags)))) == ("m1",)


def test_who_signed_no_ciphertext_is_named() -> None:
    """Its own hash is right, so it did send that."""
    too_large = Q.to_bytes(8, "little") + SHOWN["m1"][8:]
    for payload in (SHOWN["m1"][:-1], too_large):
        signed = mended("m1", chunks=(OTHER, hashes(payload)[0]))
        assert found(evidence(signed, SHOWN | {"m1": payload})) == ("m1",)


def test_all_at_fault_are_named_in_order_each_once() -> None:
    headers = mended("m0", tags=(1, 1)) | {"m1": HEADERS["m0"], "m2": HEADERS["m0"]}
    headers["m3"] = mended("m3", tags=(1, 1))["m3"]
    assert found(evidence(headers)) == (COORDINATOR, "m0", "m3")


@pytest.mark.parametrize(
    "cohort", [("m0", *(f"x{i:04}" for i in range(1499))), ("m0",) * 5, ("m0", "m1"), FOUR[::-1]]
)
def test_a_cohort_that_cannot_be_is_refused_before_a_pad_is_drawn(
    cohort: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up names, or one name again and again: each would cost a pad, and 745 KB of evidence took 200 MB."""
    config = told(changed(CONFIG, cohort=cohort))
    nothing = Signed(body=b"", signature=bytes(64))
    shown = Evidence(config=config, headers=(nothing,) * len(cohort), chunk=1, payloads=(b"",) * len(cohort))
    monkeypatch.setattr(AttemptTags, "_pads", lambda *_: pytest.fail("pads are drawn"))
    with pytest.raises(Refusal) as refused:
        suspects(EPOCH, SEED, context, shown)
    assert refused.value.code == "roster"
