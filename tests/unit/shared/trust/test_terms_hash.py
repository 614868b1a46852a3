"""The hash of a run's terms: every field changes it, and nothing else does."""

from typing import Any

import pytest

from fedrepay.shared.trust.terms import GramPairs, LocalTerms, NumberedTerms, RunTerms
from fedrepay.shared.trust.wire import RoundConfig

LOCAL = LocalTerms(
    model="mlp",
    model_hash=bytes(32),
    parameters=400,
    sampling_rate=0.5,
    local_steps=2,
    clip=1.0,
    learning_rate=2.0,
    noise_multiplier=11.0,
)
FACTS: dict[str, Any] = {
    "schema_hash": bytes(32),
    "mode": "local",
    "learner": "dp-sgd",
    "dimension": 9,
    "heads": 1,
    "epsilon": 1.0,
    "delta": 1e-5,
    "colluders": 1,
    "rounds": 5,
    "max_attempts": 3,
    "timeout": 60.0,
    "agreed": bytes(32),
    "simulated": False,
    "local": LOCAL,
    "pairs": None,
}
TERMS = RunTerms(**FACTS)
ABSENT = {"mode": "distributed", "learner": "dp-gd", "local": None, "pairs": GramPairs(most=5, offset=1)}
"""Other values of what has no neighbour."""


def other(field: str, value: object) -> object:
    """Another value of the same type, the next one where there is one."""
    if field in ABSENT:
        return ABSENT[field]
    match value:
        case bool():
            return not value
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:]
        case int():
            return value + 1
        case float():
            return value * (1 + 2**-52)
    return f"{value}x"


def changed(field: str) -> RunTerms:
    return TERMS.model_copy(update={field: other(field, FACTS[field])})


def test_every_field_is_tried() -> None:
    """One that is added shows here first."""
    assert set(FACTS) == set(RunTerms.model_fields)


@pytest.mark.parametrize("field", RunTerms.model_fields)
def test_every_field_changes_the_hash(field: str) -> None:
    assert RunTerms(**FACTS).terms_hash() == TERMS.terms_hash()
    assert changed(field).terms_hash() != TERMS.terms_hash()


@pytest.mark.parametrize("field", LocalTerms.model_fields)
def test_every_constant_of_local_mode_changes_it_too(field: str) -> None:
    local = LOCAL.model_copy(update={field: other(field, getattr(LOCAL, field))})
    assert TERMS.model_copy(update={"local": local}).terms_hash() != TERMS.terms_hash()


def test_the_changes_all_differ_from_each_other() -> None:
    hashes = {changed(field).terms_hash() for field in RunTerms.model_fields}
    assert len(hashes) == len(RunTerms.model_fields)


def test_whatever_carries_the_terms_has_their_hash_and_nothing_beside_them_enters() -> None:
    """An offer, numbered terms and each round's configuration are compared by it."""
    plans = [NumberedTerms(run=run, **FACTS) for run in (1, 2)]
    configs = [
        RoundConfig(
            run=run,
            epoch=bytes([run]) * 32,
            roster_hash=bytes([run]) * 32,
            round=run,
            attempt=run,
            cohort=("a", "b", "c")[:run],
            history=(),
            **FACTS,
        )
        for run in (1, 2)
    ]
    assert {each.terms_hash() for each in (*plans, *configs)} == {TERMS.terms_hash()}
    assert {type(each.terms()) for each in (*plans, *configs)} == {RunTerms}
