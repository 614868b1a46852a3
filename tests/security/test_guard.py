"""A malicious coordinator changes one message to one member: refused, nothing sent, opened or paid.

Controls: the same message is answered once the check that should stop it is taken away.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.protocol import contributing, guard
from fedrepay.shared import keys
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header, PrepareRequest, RoundConfig, Sum
from support.adversary import (
    config_of,
    contribute,
    due,
    following,
    fork,
    last_sum,
    opened,
    prepare_of,
    say,
    trace,
    with_config,
    with_prepare,
    with_sum,
)
from support.world import World

VICTIM = "m0"
Attack = Callable[[World, bytes], bytes]


@pytest.fixture
def world(after_two_sums: World, tmp_path: Path) -> World:
    return fork(after_two_sums, tmp_path)


# --- configurations ---


Changes = Callable[[RoundConfig], dict[str, object]]


def config(**changes: object) -> Changes:
    return lambda _config: changes


def history(change: Changes) -> Changes:
    return change


def in_round(world: World, shared: bytes, change: Changes) -> bytes:
    return with_config(world, shared, **change(config_of(shared)))


def in_prepare(world: World, shared: bytes, change: Changes) -> bytes:
    """A ``prepare`` says neither cohort nor attempt: the one is not known, the other follows from its history."""
    changes = change(prepare_of(shared).config(tuple(world.names)))
    return with_prepare(world, shared, **{key: value for key, value in changes.items() if key != "attempt"})


def listed(config: RoundConfig, at: int, **changes: object) -> dict[str, object]:
    """The history with one attempt changed."""
    told = list(config.history)
    told[at] = told[at].model_copy(update=changes)
    return {"history": tuple(told)}


CONFIGS: dict[str, tuple[str, Changes]] = {
    "another run": ("epoch", config(run=2)),
    "another epoch": ("epoch", config(epoch=bytes(32))),
    "another roster": ("epoch", config(roster_hash=bytes(32))),
    "more colluders": ("epoch", config(colluders=2)),
    "a larger ε than the run began with": ("epoch", config(epsilon=3.0)),
    "a larger δ": ("epoch", config(delta=9e-6)),
    "more sums": ("epoch", config(rounds=30)),
    "more retries": ("epoch", config(max_attempts=2)),
    "no noise from now on": ("epoch", config(mode="none")),
    "a cohort of two": ("roster", config(cohort=("m0", "m1"))),
    "a stranger in the cohort": ("roster", config(cohort=("ghost", "m0", "m1", "m2"))),
    "a member twice in the cohort": ("roster", config(cohort=("m0", "m0", "m1", "m2"))),
    "an unsorted cohort": ("roster", config(cohort=("m1", "m0", "m2", "m3"))),
    "a cohort without this member": ("monotone", config(cohort=("m1", "m2", "m3"))),
    "another schema": ("epoch", config(schema_hash=bytes(32))),
    "another dimension": ("epoch", config(dimension=5)),
    "another number of heads": ("epoch", config(heads=2)),
    "an attempt skipped": ("history", config(attempt=3)),
    "a round skipped": ("history", config(round=3)),
    "an empty history": ("history", config(history=(), round=0, attempt=0)),
    "a lost attempt dropped": ("history", history(lambda c: {"history": c.history[1:], "attempt": 1})),
    "an opened sum denied": (
        "history",
        history(lambda c: {**listed(c, 0, completed=False), "round": 1}),
    ),
    "another attempt's round": ("history", history(lambda c: listed(c, 1, round=0))),
    "this member left out of an attempt": (
        "history",
        history(lambda c: listed(c, 1, cohort=("m1", "m2", "m3"))),
    ),
    "an earlier cohort of two": ("roster", history(lambda c: listed(c, 1, cohort=("m0", "m1")))),
    "another member left out of a completed attempt": (
        "headers",
        history(lambda c: listed(c, 1, cohort=("m0", "m1", "m2"))),
    ),
}
UNSAID = (
    *("a cohort of two", "a stranger in the cohort", "a member twice in the cohort", "an unsorted cohort"),
    *("a cohort without this member", "an attempt skipped"),
)
"""What a ``prepare`` cannot say."""


@pytest.mark.parametrize("name", CONFIGS)
def test_a_changed_configuration_is_refused_without_a_trace(name: str, world: World) -> None:
    code, change = CONFIGS[name]
    shared, own = due(world, VICTIM)
    assert say(world, VICTIM, "prepare", shared, own).kind == "ok"
    before, honest = trace(world, VICTIM), following(world, shared)
    reply = say(world, VICTIM, "round", in_round(world, honest, change), own)
    prepared_another = "history" if code == "headers" else code  # the sum was opened before
    assert (reply.kind, reply.code) == ("refused", prepared_another)
    assert trace(world, VICTIM) == before
    assert say(world, VICTIM, "round", honest, own).kind == "ok"  # the honest message still works


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in UNSAID])
def test_a_changed_prepare_is_refused_without_a_trace(name: str, world: World) -> None:
    code, change = CONFIGS[name]
    shared, own = due(world, VICTIM)
    before = trace(world, VICTIM)
    reply = say(world, VICTIM, "prepare", in_prepare(world, shared, change), own)
    assert (reply.kind, reply.code) == ("refused", code)
    assert trace(world, VICTIM) == before
    assert contribute(world, VICTIM, shared, own).kind == "ok"


CHECKED = [
    "another run",
    "a larger ε than the run began with",
    "more sums",
    "no noise from now on",
    "more retries",
    "this member left out of an attempt",
]


@pytest.mark.parametrize("name", CHECKED)
def test_control_without_the_check_of_configurations_it_is_answered(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_check_config", lambda *_: None)
    monkeypatch.setattr(guard, "check_sum", lambda *args: RoundConfig.decode(args[2].config.body))
    shared, own = due(world, VICTIM)
    assert contribute(world, VICTIM, in_prepare(world, shared, CONFIGS[name][1]), own).kind == "ok"


@pytest.mark.parametrize("name", [*CHECKED, "another member left out of a completed attempt"])
def test_what_was_not_prepared_is_not_answered_even_if_the_configuration_were_believed(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second lock; and its control."""
    monkeypatch.setattr(guard, "_check_config", lambda *_: None)
    shared, own = due(world, VICTIM)
    assert say(world, VICTIM, "prepare", shared, own).kind == "ok"
    changed = in_round(world, following(world, shared), CONFIGS[name][1])
    assert say(world, VICTIM, "round", changed, own).code == "history"
    monkeypatch.setattr(contributing, "_attempt", lambda *_: bytes(32))
    assert contribute(world, VICTIM, shared, own).kind == "ok"


def forged(shared: bytes) -> bytes:
    return Signed.make(Ed25519PrivateKey.generate(), config_of(shared)).encode()


def forged_prepare(shared: bytes) -> bytes:
    asked = Signed.make(Ed25519PrivateKey.generate(), prepare_of(shared))
    return PrepareRequest.decode(shared).model_copy(update={"asked": asked}).encode()


def test_a_forged_signature_of_the_coordinator_is_refused(world: World) -> None:
    shared, own = due(world, VICTIM)
    before = trace(world, VICTIM)
    assert say(world, VICTIM, "prepare", forged_prepare(shared), own).code == "message"
    assert trace(world, VICTIM) == before
    assert say(world, VICTIM, "prepare", shared, own).kind == "ok"
    before = trace(world, VICTIM)
    assert say(world, VICTIM, "round", forged(following(world, shared)), own).code == "message"
    assert trace(world, VICTIM) == before


def test_control_without_signatures_a_forged_configuration_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, VICTIM)
    monkeypatch.setattr(keys, "verify", lambda *_: None)
    assert say(world, VICTIM, "prepare", forged_prepare(shared), own).kind == "ok"
    assert say(world, VICTIM, "round", forged(following(world, shared)), own).kind == "ok"


# --- headers ---


def headers(change: Callable[[World, Sum], tuple[Signed, ...]]) -> Attack:
    return lambda world, shared: with_sum(shared, {"headers": change(world, last_sum(shared))})


def changed_by(name: str, **changes: object) -> Attack:
    """The header of a member that colludes and signs whatever the coordinator likes."""

    def change(world: World, completed: Sum) -> tuple[Signed, ...]:
        at = world.names.index(name)
        header = Header.decode(completed.headers[at].body).model_copy(update=changes)
        mine = Signed.make(world.identities[name].signing, header)
        return (*completed.headers[:at], mine, *completed.headers[at + 1 :])

    return headers(change)


def forged_header(world: World, completed: Sum) -> tuple[Signed, ...]:
    header = Header.decode(completed.headers[1].body).model_copy(update={"ledger": bytes(32)})
    return (completed.headers[0], Signed.make(world.key, header), *completed.headers[2:])


def earlier_headers(world: World, shared: bytes) -> bytes:
    """Round 0's headers under round 1's sum."""
    return with_sum(shared, {"headers": world.coordinator.state.sums[0].headers})


def earlier_sum(world: World, shared: bytes) -> bytes:
    """Round 0's whole sum, called round 1's."""
    return with_sum(shared, world.coordinator.state.sums[0].model_copy(update={"round": 1}).__dict__)


def tags_moved(_world: World, shared: bytes) -> bytes:
    return with_sum(shared, {"tags": tuple((each + 1) % Q for each in last_sum(shared).tags)})


def other_constants(world: World, shared: bytes) -> bytes:
    made = RoundConfig.decode(last_sum(shared).config.body).model_copy(update={"epsilon": 0.1})
    return with_sum(shared, {"config": Signed.make(world.key, made)})


def other_attempt(world: World, shared: bytes) -> bytes:
    made = RoundConfig.decode(last_sum(shared).config.body).model_copy(update={"run": 7})
    return with_sum(shared, {"config": Signed.make(world.key, made)})


def other_history(world: World, shared: bytes) -> bytes:
    """The sum was made by members who had been told another past."""
    made = RoundConfig.decode(last_sum(shared).config.body)
    made = made.model_copy(update=listed(made, 0, cohort=("m0", "m1", "m2")))
    return with_sum(shared, {"config": Signed.make(world.key, made)})


HEADERS: dict[str, tuple[str, Attack]] = {
    "one is missing": ("headers", headers(lambda _, s: s.headers[:-1])),
    "one stands twice": ("message", headers(lambda _, s: (*s.headers[:-1], s.headers[1]))),
    "in another order": ("message", headers(lambda _, s: s.headers[::-1])),
    "of another round": ("headers", earlier_headers),
    "of a member who opened other sums": ("headers", changed_by("m1", opened=bytes(32))),
    "of a member who was sent another configuration": ("headers", changed_by("m1", config=bytes(32))),
    "with a tag moved": ("headers", changed_by("m1", tags=(1,))),
    "with two tags": ("headers", changed_by("m1", tags=(1, 2))),
    "this member's own, which it never sent": ("headers", changed_by("m0", ledger=bytes(32))),
    "summed tags moved": ("headers", tags_moved),
    "another round's sum": ("headers", earlier_sum),
    "a sum of another run": ("headers", other_attempt),
    "a sum of another history": ("headers", other_history),
    "a sum under other constants": ("headers", other_constants),
    "forged": ("message", headers(forged_header)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_sum_with_wrong_headers_is_not_opened(name: str, world: World) -> None:
    code, attack = HEADERS[name]
    shared, own = due(world, VICTIM)
    before = trace(world, VICTIM)
    reply = say(world, VICTIM, "prepare", attack(world, shared), own)
    assert (reply.kind, reply.code) == ("refused", code)
    assert trace(world, VICTIM) == before


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("another attempt's round", "out of order"),
        ("a lost attempt dropped", "out of order"),
        ("an empty history", "ledger holds an attempt"),
        ("a sum of another run", "another attempt's"),
        ("a sum of another history", "another history"),
        ("a sum under other constants", "other terms"),
    ],
)
def test_where_several_checks_would_refuse_the_first_one_does(name: str, cause: str, world: World) -> None:
    shared, own = due(world, VICTIM)
    told = HEADERS[name][1](world, shared) if name in HEADERS else in_prepare(world, shared, CONFIGS[name][1])
    assert cause in say(world, VICTIM, "prepare", told, own).cause


@pytest.mark.parametrize(
    "name",
    [
        "one is missing",
        "of another round",
        "of a member who opened other sums",
        "of a member who was sent another configuration",
        "this member's own, which it never sent",
        "forged",
    ],  # another history or other constants would not open either: masks and tags are bound to them
)
def test_control_without_the_check_of_headers_the_sum_is_opened(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "check_sum", lambda *args: RoundConfig.decode(args[2].config.body))
    shared, own = due(world, VICTIM)
    assert say(world, VICTIM, "prepare", HEADERS[name][1](world, shared), own).kind == "ok"
    assert len(opened(world, VICTIM)) == 2


# --- before anything is parsed ---


@pytest.mark.parametrize(
    ("shared", "own"), [(guard.MAX_SHARED + 1, 0), (0, guard.MAX_OWN + 1)], ids=["shared", "own"]
)
def test_a_message_past_the_limit_is_refused_unparsed(
    shared: int, own: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrepareRequest, "decode", lambda _data: pytest.fail("it was parsed"))
    assert say(world, VICTIM, "prepare", bytes(shared), bytes(own)).code == "size"


@pytest.mark.parametrize(
    "kind", ["prepare", "round", "write", "close", "votes", "hello", "introduce", "seed", "confirm"]
)
def test_rubbish_is_a_refusal_and_never_a_crash(kind: str, world: World) -> None:
    before = trace(world, VICTIM)
    for shared in (b"", b"\xc1", b"\x80", bytes(100)):
        assert say(world, VICTIM, kind, shared, b"\xc1").kind == "refused"
    assert trace(world, VICTIM) == before


def test_a_message_of_unknown_kind_is_refused(world: World) -> None:
    assert say(world, VICTIM, "open", b"").code == "epoch"
