"""The guard's decisions one by one, without ceremony, ciphertexts or a store: each check, and what is just allowed."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fedrepay.client.protocol import guard
from fedrepay.client.protocol.guard import Begun, HeldModule, Place, Submitted
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.terms import LocalTerms
from fedrepay.shared.trust.wire import Attempt, Header
from support.guard_view import (
    ALL,
    CONFIG,
    HISTORY,
    ID,
    LOCAL,
    MINE,
    OTHER,
    PEOPLE,
    VIEW,
    agreed,
    changed,
    header,
    listed,
    refusal,
    signed,
    told,
)

# --- sizes ---


@pytest.mark.parametrize(
    ("shared", "own", "passes"),
    [
        (268_435_456, 1_048_576, True),
        (268_435_457, 0, False),
        (0, 1_048_577, False),
        (0, 0, True),
    ],
)
def test_messages_up_to_256_mebibytes_and_headers_up_to_one_are_read(
    shared: int, own: int, *, passes: bool
) -> None:
    assert bool(refusal(lambda: guard.check_size("round", bytes(shared), bytes(own)))) is not passes


LISTS = ("propose", "reveal", "approve", "certify", "introduce", "seed", "confirm", "resend", "votes")
LIMITS = (
    dict.fromkeys(("prepare", "round", "write", "close", "blame"), 256 << 20)
    | dict.fromkeys(LISTS, 8 << 20)
    | dict.fromkeys(("held", "terms", "hello", "never heard of"), 64 << 10)
)


@pytest.mark.parametrize("kind", LIMITS)
def test_a_message_may_be_as_long_as_its_kind_can_be(kind: str) -> None:
    """Zeros are not written to memory before they are read, so a large message costs nothing here."""
    most = LIMITS[kind]
    assert not refusal(lambda: guard.check_size(kind, bytes(most), b""))
    assert refusal(lambda: guard.check_size(kind, bytes(most + 1), b""))


def test_of_a_module_the_guard_knows_name_hash_and_size() -> None:
    module: Any = SimpleNamespace(name="mlp", hash=ID, parameters=40)
    assert guard.held(module) == guard.HeldModule(name="mlp", hash=ID, parameters=40)
    assert guard.held(None) is None


# --- the configuration ---


def test_the_honest_configuration_passes_and_is_given() -> None:
    assert guard.check_config(VIEW, signed(CONFIG)) == CONFIG
    assert told(agreed(VIEW, epsilon=2.0)).startswith("epoch: The run's terms")
    forged = Signed.make(PEOPLE["m1"].signing, CONFIG)
    assert refusal(lambda: guard.check_config(VIEW, forged)) == "signature"


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"run": 8}, "epoch: The round belongs"),
        ({"epoch": OTHER}, "epoch: The round belongs"),
        ({"roster_hash": OTHER}, "epoch: The round belongs"),
        ({"colluders": 1}, "epoch: The round names another number of colluders"),
        ({"colluders": 3}, "epoch: The round names another number of colluders"),
        ({"schema_hash": OTHER}, "schema"),
        ({"dimension": 3}, "schema"),
        ({"heads": 2}, "schema"),
        ({"cohort": ("m0", "m1", "m2")}, "roster: A cohort of 3"),
        ({"cohort": ("m1", "m0", "m2", "m3")}, "roster: The cohort is not a sorted part"),
        ({"cohort": ("m0", "m0", "m1", "m2", "m3")}, "roster: The cohort is not a sorted part"),
        ({"cohort": ("m0", "m1", "m2", "m9")}, "roster: The cohort is not a sorted part"),
        ({"cohort": (*ALL, "m9")}, "roster: The cohort is not a sorted part"),
        ({"cohort": ALL}, ""),
    ],
)
def test_whose_round_it_is_and_who_is_in_it(fields: dict[str, Any], cause: str) -> None:
    found = told(agreed(VIEW, **fields), **fields)
    assert found.startswith(cause)
    assert bool(found) == bool(cause)


def test_every_constant_of_a_run_is_among_its_terms() -> None:
    local = {"mode": "local", "learner": "dp-sgd", "local": LOCAL}
    others: list[dict[str, object]] = [
        {"mode": "none"},
        {"learner": "dp-gd"},
        {"epsilon": 2.0},
        {"delta": 1e-6},
        {"rounds": 5},
        {"max_attempts": 2},
        local,
        *({**local, "local": changed(LOCAL, **{name: value})} for name, value in LOCAL_OTHERS.items()),
    ]
    found = {changed(CONFIG, **each).terms_hash() for each in others} | {CONFIG.terms_hash()}
    assert len(found) == 1 + len(others)
    assert set(LOCAL_OTHERS) == set(LocalTerms.model_fields)
    assert changed(CONFIG, attempt=9, cohort=ALL).terms_hash() == CONFIG.terms_hash()


LOCAL_OTHERS: dict[str, object] = {
    "model": "other",
    "model_hash": OTHER,
    "parameters": 41,
    "sampling_rate": 0.2,
    "local_steps": 3,
    "clip": 2.0,
    "learning_rate": 0.2,
    "noise_multiplier": 3.0,
}


@pytest.mark.parametrize(
    ("held", "cause"),
    [
        (HeldModule("mlp", ID, 40), ""),
        (None, "model: The run trains a torch module, and this member"),
        (HeldModule("other", ID, 40), "model: The run trains another torch module"),
        (HeldModule("mlp", OTHER, 40), "model: The run's torch module has other parameters"),
        (HeldModule("mlp", ID, 41), "model: The run's torch module has other parameters"),
    ],
)
def test_a_torch_module_is_the_one_that_this_member_names(held: HeldModule | None, cause: str) -> None:
    view, local = replace(VIEW, model=held), {"mode": "local", "learner": "dp-sgd", "local": LOCAL}
    found = told(agreed(view, **local), **local)
    assert found.startswith(cause)
    assert bool(found) == bool(cause)
    assert not told(view)  # no module is asked for in the other modes


# --- the history ---


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"history": listed(1, attempt=2)}, "Attempt 2 of round 1 is out of order"),
        ({"history": listed(1, round=0)}, "Attempt 1 of round 0 is out of order"),
        ({"history": listed(1, round=2)}, "Attempt 1 of round 2 is out of order"),
        ({"history": listed(0, completed=False)}, "Attempt 1 of round 1 is out of order"),
        ({"history": listed(1, completed=True)}, "Attempt 2 of round 1 is out of order"),
        ({"history": listed(1, cohort=ALL[1:])}, "leaves this member out"),
        ({"history": listed(1, cohort=("m0", "m1", "m2"))}, "A cohort of 3"),
        ({"attempt": 4}, "do not follow"),
        ({"attempt": 2}, "do not follow"),
        ({"round": 1}, "do not follow"),
        ({"round": 3}, "do not follow"),
        ({"history": listed(2, completed=False)}, "do not follow"),
        ({"history": HISTORY[:2], "round": 1, "attempt": 2}, ""),  # asked again about the attempt under way
        ({"history": HISTORY[:1], "round": 1, "attempt": 1}, "ledger holds an attempt"),
        ({"history": (), "round": 0, "attempt": 0}, "ledger holds an attempt"),
    ],
)
def test_the_list_of_attempts_is_possible_and_holds_what_was_paid(fields: dict[str, Any], cause: str) -> None:
    found = told(**fields)
    assert cause in found
    assert bool(found) == bool(cause)


def test_a_member_may_have_been_left_out_of_what_it_was_not_charged_for() -> None:
    view = replace(VIEW, charged=frozenset({Place(0, 0)}), opened=())
    assert not told(view, history=listed(1, cohort=ALL[1:]))
    assert "leaves this member out" in told(view, history=listed(0, cohort=ALL[1:]))
    assert not told(
        replace(view, charged=frozenset({Place(0, 0), Place(2, 3)}))
    )  # this attempt may be charged already
    assert "ledger holds an attempt" in told(replace(view, charged=frozenset({Place(1, 3)})))
    full = frozenset({Place(0, 0), Place(1, 1), Place(1, 2), Place(2, 3)})
    assert not told(replace(view, charged=full))


@pytest.mark.parametrize(
    ("opened", "cause"),
    [
        ((), ""),
        ((0, 2), ""),
        ((1,), "denies the sum of round 0"),  # it was lost
        ((2,), "denies the sum of round 0"),  # it was another round's
        ((0, 1), "denies the sum of round 1"),
        ((0, 2, 3), "denies the sum of round 2"),
        ((9,), "denies the sum of round 0"),
    ],
)
def test_opened_sums_stand_in_the_list_as_completed(opened: tuple[int, ...], cause: str) -> None:
    found = told(replace(VIEW, opened=opened))
    assert cause in found
    assert bool(found) == bool(cause)


def test_as_many_attempts_are_lost_as_the_run_allows_and_no_more() -> None:
    said = {most: told(agreed(VIEW, max_attempts=most), max_attempts=most) for most in (0, 1, 2)}
    assert "More attempts were lost" in said[0]
    assert not said[1] + said[2]


def test_no_more_sums_are_listed_than_the_run_has() -> None:
    assert not told(agreed(VIEW, rounds=2), rounds=2)  # two of two: the run is over
    three = (*HISTORY, Attempt(round=2, attempt=3, cohort=ALL, completed=True))
    late = {"history": three, "round": 3, "attempt": 4}
    assert "do not follow" in told(agreed(VIEW, rounds=2), rounds=2, **late)
    assert not told(agreed(VIEW, rounds=3), rounds=3, **late)


# --- attempts only rise ---


@pytest.mark.parametrize(
    ("view", "fields", "cause"),
    [
        ({}, {}, ""),
        ({"counter": 3}, {}, "lost-attempt"),
        ({"counter": 3, "submitted": {3: Submitted(2, ID, ID)}}, {}, "monotone: Attempt 3 is not above 3"),
        ({"counter": 4}, {}, "monotone: Attempt 3 is not above 4"),
        ({"counter": 4, "submitted": {3: Submitted(2, ID, ID)}}, {}, "monotone: Attempt 3 is not above 4"),
        ({"opened": (0, 2, 3)}, {}, "monotone: The sum of round 2"),
        ({"opened": (0, 2)}, {}, ""),
        ({"opened": (0, 2), "opening": Begun(3, ID)}, {}, "monotone: The sum of round 2"),
        ({"opening": Begun(2, ID)}, {}, ""),  # of round 1, which this attempt does not touch
    ],
)
def test_an_attempt_is_above_the_last_and_of_a_round_not_opened(
    view: dict[str, Any], fields: dict[str, Any], cause: str
) -> None:
    found = refusal(lambda: guard.check_monotone(replace(VIEW, **view), changed(CONFIG, **fields)))
    assert found.startswith(cause)
    assert bool(found) == bool(cause)


# --- rollback ---


def test_a_header_that_the_store_knows_proves_nothing() -> None:
    assert guard.rolled_back(VIEW, None) is None
    assert guard.rolled_back(VIEW, MINE) is None
    for elsewhere in ({"run": 6}, {"epoch": OTHER}):
        assert guard.rolled_back(VIEW, header("m0", attempt=9, **elsewhere)) is None


@pytest.mark.parametrize(
    ("view", "fields"),
    [
        ({}, {"attempt": 3}),
        ({}, {"chunks": (OTHER, ID)}),
        ({"ledger": frozenset({OTHER})}, {}),
        ({"submitted": {}}, {}),
        ({"submitted": {2: Submitted(1, MINE.digest(), ID)}}, {}),
    ],
)
def test_a_header_that_the_store_does_not_know_is_given(view: dict[str, Any], fields: dict[str, Any]) -> None:
    own = header("m0", **fields)
    found = guard.rolled_back(replace(VIEW, **view), own)
    assert found == Header.decode(own.body)


def test_only_this_members_own_header_counts() -> None:
    for foreign in (header("m0", signer="m1"), header("m1")):
        assert refusal(lambda foreign=foreign: guard.rolled_back(VIEW, foreign)) == "signature"  # type: ignore[misc]


# --- the end of a run ---


@pytest.mark.parametrize(
    ("fields", "over"),
    [
        ({}, False),
        ({"round": 4}, True),
        ({"round": 3}, False),
        ({"history": ()}, False),
        ({"rounds": 3, "history": listed(2, round=2, completed=False)}, True),  # the last sum's only attempt
        ({"rounds": 3, "history": listed(2, round=2, completed=True)}, False),
        ({"rounds": 3, "history": listed(2, round=2, completed=False), "mode": "none"}, False),
        ({"rounds": 3, "history": listed(1, round=2, completed=False)}, False),  # and not the newest
        ({"rounds": 2, "round": 1, "history": listed(2, round=0, completed=False)}, False),
    ],
)
def test_a_run_ends_with_its_last_sum_or_the_loss_of_it(fields: dict[str, Any], *, over: bool) -> None:
    assert guard.is_closing(changed(CONFIG, **fields)) is over


def test_sizes_of_the_sums() -> None:
    d = CONFIG.dimension
    assert guard.sizes(CONFIG) == (d * (d + 1) // 2, d, d, d)
