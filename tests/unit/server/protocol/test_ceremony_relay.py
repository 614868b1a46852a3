"""The ceremony at the coordinator: what is asked of whom, in which order, and what is not relayed."""

from dataclasses import dataclass
from typing import Any

import pytest

from fedrepay.server.protocol import ceremony
from fedrepay.server.protocol.state import State
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import (
    Acceptance,
    Acceptances,
    Confirmation,
    Envelope,
    Envelopes,
    EpochStart,
)
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.wire import Offer
from support.parties import (
    ALL,
    CALL,
    EPOCH,
    FOUR,
    GREETINGS,
    KEY,
    ORDER,
    OTHER,
    PLAN,
    ROSTER,
    SEED,
    START,
    by,
    changed,
    hello,
    introduction,
)

FIRST, SECOND = EPOCH.seeders


@dataclass(frozen=True)
class Answers:
    """What a whole ceremony's answers are; sealed parts are of no meaning here, as nobody here can open them."""

    introduce: dict[str, bytes]
    seed: dict[str, bytes]
    confirm: dict[str, bytes]


def envelope(sender: str, recipient: str, signer: str = "", **fields: Any) -> Signed:
    made = Envelope(
        epoch_nonce=EPOCH.nonce,
        roster_hash=ROSTER.hash(),
        sender=sender,
        recipient=recipient,
        sealed=f"{sender} to {recipient}".encode(),
    )
    return by(signer or sender, changed(made, **fields))


def bundle(sender: str, recipients: tuple[str, ...] = ALL, **fields: Any) -> bytes:
    return Envelopes(signed=tuple(envelope(sender, each, **fields) for each in recipients)).encode()


ACCEPTANCE = Acceptance(roster_hash=ROSTER.hash(), epoch=EPOCH.id, name="m0")
CONFIRMATION = Confirmation(epoch=EPOCH.id, name="m0", mac=SEED)
ACCEPTED = {name: by(name, changed(ACCEPTANCE, name=name)) for name in ALL}
ANSWERS = Answers(
    introduce={name: ACCEPTED[name].encode() for name in reversed(ALL)},
    seed={name: bundle(name) for name in (SECOND, FIRST)},
    confirm={name: by(name, changed(CONFIRMATION, name=name)).encode() for name in ALL},
)
TO = {name: Envelopes(signed=(envelope(FIRST, name), envelope(SECOND, name))).encode() for name in ALL}


def pending(**answers: dict[str, bytes]) -> Any:
    return ceremony.pending(State(introduction=introduction(), answers=answers), EPOCH)


def without(answers: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: body for name, body in answers.items() if name not in names}


# --- what is asked ---


def test_the_terms_and_the_call_are_the_plan_s_signed_by_the_coordinator() -> None:
    public = ROSTER.coordinator
    said = ceremony.offer(PLAN, ROSTER, KEY).verified(public, Offer)
    assert said == Offer(run=7, roster=ROSTER.hash(), terms=PLAN.terms())
    assert ceremony.start(PLAN, ROSTER, KEY).verified(public, EpochStart) == CALL
    assert ceremony.start(changed(PLAN, colluders=2), ROSTER, KEY).verified(public, EpochStart).colluders == 2


def test_an_introduction_has_the_hellos_in_order() -> None:
    hellos = {name: GREETINGS[name][1].encode() for name in reversed(FOUR)}
    made = ceremony.introduction(START, ROSTER, hellos)
    assert made == introduction(FOUR)
    assert Epoch.of(made).present == FOUR


def test_everybody_present_is_introduced_first() -> None:
    body = introduction().encode()
    assert pending() == ("introduce", dict.fromkeys(ALL, (body, b"")))
    some = without(ANSWERS.introduce, "m3")
    assert pending(introduce=some) == ("introduce", {"m3": (body, b"")})


def test_then_the_seeders_are_asked_and_shown_everybody_s_acceptance() -> None:
    shared = Acceptances(signed=tuple(ACCEPTED.values())).encode()
    wanted = dict.fromkeys(EPOCH.seeders, (shared, b""))
    assert pending(introduce=ANSWERS.introduce) == ("seed", wanted)


def test_then_everybody_is_shown_the_acceptances_and_given_what_the_seeders_sent() -> None:
    fields = {"introduce": ANSWERS.introduce, "seed": ANSWERS.seed}
    shared = Acceptances(signed=tuple(ACCEPTED.values())).encode()
    assert pending(**fields) == ("confirm", {name: (shared, TO[name]) for name in ALL})
    some = without(ANSWERS.confirm, "m1", "m4")
    assert pending(**fields, confirm=some) == ("confirm", {name: (shared, TO[name]) for name in ("m1", "m4")})
    assert pending(**fields, confirm=ANSWERS.confirm) is None


# --- what is not relayed ---


def test_a_hello_is_its_sender_s() -> None:
    ceremony.check_hello("m1", hello("m1").encode(), START, ROSTER)
    with pytest.raises(ProtocolError, match="says hello as"):
        ceremony.check_hello("m2", hello("m1").encode(), START, ROSTER)
    with pytest.raises(ProtocolError, match="another call"):
        ceremony.check_hello("m1", hello("m1", start=OTHER).encode(), START, ROSTER)


@pytest.mark.parametrize("kind", ["introduce", "confirm"])
def test_an_answer_is_its_sender_s_of_its_kind_and_of_this_epoch(kind: str) -> None:
    messages: dict[str, Wire] = {"introduce": ACCEPTANCE, "confirm": CONFIRMATION}
    message = messages[kind]
    ceremony.check_answer(kind, "m0", by("m0", message).encode(), EPOCH)
    other = messages["confirm" if kind != "confirm" else "introduce"]
    for wrong in (by("m1", message), by("m0", changed(message, epoch=OTHER)), by("m0", other)):
        with pytest.raises(ProtocolError):
            ceremony.check_answer(kind, "m0", wrong.encode(), EPOCH)
    with pytest.raises(ProtocolError, match="of another epoch"):
        ceremony.check_answer(kind, "m0", by("m0", changed(message, name="m1")).encode(), EPOCH)


def test_a_seeder_sends_one_envelope_to_each_in_order() -> None:
    ceremony.check_answer("seed", FIRST, bundle(FIRST), EPOCH)
    for recipients in (ALL[1:], ALL[::-1], (*ALL, "m4"), (*FOUR, "m0"), ()):
        with pytest.raises(ProtocolError, match="one envelope to each"):
            ceremony.check_answer("seed", FIRST, bundle(FIRST, recipients), EPOCH)


@pytest.mark.parametrize(
    "fields",
    [{"sender": SECOND}, {"epoch_nonce": OTHER}, {"roster_hash": OTHER}],
    ids=["name", "epoch", "roster"],
)
def test_envelopes_of_another_epoch_or_member_are_not_relayed(fields: dict[str, Any]) -> None:
    for first in (True, False):  # one among them is enough
        wrong = changed(Envelope.decode(envelope(FIRST, "m0" if first else "m4").body), **fields)
        rest = [envelope(FIRST, name) for name in (ALL[1:] if first else FOUR)]
        signed = [by(FIRST, wrong), *rest] if first else [*rest, by(FIRST, wrong)]
        with pytest.raises(ProtocolError, match="of another epoch"):
            ceremony.check_answer("seed", FIRST, Envelopes(signed=tuple(signed)).encode(), EPOCH)
    with pytest.raises(ProtocolError, match="does not verify"):
        ceremony.check_answer("seed", FIRST, bundle(FIRST, signer=ORDER[2]), EPOCH)
