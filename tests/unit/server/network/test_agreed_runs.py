"""A run is within what the consortium's members accepted; what a run that goes on ignores is named."""

from pathlib import Path
from typing import Any

import pytest

from fedrepay.server.network.runs import RunWishes, ignored, next_run, planned
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.agreement import ConsortiumTerms
from support.founded import book

BOOK = book()


def agreed(**changed: Any) -> ConsortiumTerms:
    facts: dict[str, Any] = {
        "name": "x",
        "address": "a.example:443",
        "minimum_cohort": 3,
        "schemas": (BOOK.schema_hash.hex(),),
    }
    return ConsortiumTerms.model_validate(facts | changed)


def wishes(consortium: ConsortiumTerms, **changed: Any) -> RunWishes:
    facts: dict[str, Any] = {"consortium": consortium, "agreed": bytes([7]) * 32}
    return RunWishes(**facts | changed)


@pytest.mark.parametrize(
    ("terms", "options", "field"),
    [
        ({"epsilon_per_release": 0.5}, {"epsilon": 0.6}, "epsilon_per_release = 0.5"),
        ({}, {"mode": "none"}, r"modes = \['distributed'\]"),
        ({"schemas": ("ab" * 32,)}, {}, "schemas"),
        ({"minimum_cohort": 6}, {}, "minimum_cohort = 6"),
        ({"colluders": 2}, {"colluders": 1}, "colluders = 2"),
    ],
)
def test_what_the_terms_do_not_allow_is_refused_by_the_fields_name(
    tmp_path: Path, terms: dict[str, Any], options: dict[str, Any], field: str
) -> None:
    with pytest.raises(ArgumentError, match=field) as refused:
        next_run(tmp_path, BOOK, 5, wishes(agreed(**terms), **options))
    assert "terms.toml" in str(refused.value)
    assert CoordinatorStore.in_folder(tmp_path).terms() is None
    next_run(tmp_path, BOOK, 5, RunWishes(**options))


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ArgumentError, match=r"modes.*minimum_cohort"):
        planned(None, BOOK, 4, wishes(agreed(minimum_cohort=5), mode="none"))


def test_defaults_come_from_the_terms() -> None:
    made = planned(None, BOOK, 5, wishes(agreed(epsilon_per_release=0.5, colluders=2)))
    assert (made.epsilon, made.colluders, made.agreed) == (0.5, 2, bytes([7]) * 32)
    more = planned(None, BOOK, 5, wishes(agreed(colluders=2), colluders=3))
    assert more.colluders == 3, "more are more noise: allowed"
    wide = planned(None, BOOK, 5, wishes(agreed(epsilon_per_release=3.0)))
    assert wide.epsilon == 1.0
    bare = planned(None, BOOK, 5, wishes(agreed(modes=("none",)), mode="none", epsilon=50.0))
    assert bare.mode == "none"


def test_the_learner_is_the_one_that_is_asked_for() -> None:
    assert planned(None, BOOK, 5, RunWishes()).learner == "dp-newton"
    assert planned(None, BOOK, 5, RunWishes(learner="dp-surrogate")).learner == "dp-surrogate"
    with pytest.raises(ArgumentError, match="--learner dp-sgd is unknown"):
        planned(None, BOOK, 5, RunWishes(learner="dp-sgd"))


def test_options_that_a_run_ignores_are_named(tmp_path: Path) -> None:
    begun, _ = next_run(tmp_path, BOOK, 3, RunWishes(epsilon=0.5))
    assert ignored(begun, None, RunWishes()) == ()
    assert ignored(begun, BOOK, RunWishes(epsilon=0.5, mode="distributed", rounds=5)) == ()
    other = RunWishes(
        epsilon=1.0,
        mode="none",
        rounds=6,
        timeout=3.0,
        colluders=2,
        delta=1e-9,
        again=True,
        learner="dp-surrogate",
    )
    assert set(ignored(begun, book("b"), other)) == {
        *(
            "--epsilon",
            "--mode",
            "--rounds",
            "--timeout",
            "--colluders",
            "--delta",
            "--schema",
            "--new-run",
            "--learner",
        ),
    }
