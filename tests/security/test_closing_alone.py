"""The release at a member: what is in it, to whom it is sealed, what is voted for and whose votes count."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedrepay.client.learning import monotone
from fedrepay.client.protocol import closing
from fedrepay.shared import keys
from fedrepay.shared.errors import Refusal
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.privacy.statement import Charge, YearBefore, statement
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import Declared, Year
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.terms import LocalTerms
from fedrepay.shared.trust.wire import Attempt, ReleaseVote, RoundConfig, SealedRelease, Votes
from support.parties import (
    ALL,
    CONFIG,
    EPOCH,
    FOUR,
    OTHER,
    PEOPLE,
    ROSTER,
    SEED,
    STRANGER,
    by,
    changed,
    hello,
    introduction,
)
from support.schemas import column, schema

BOOK = codebook.build(schema(column("age", monotone="up"), column("rest")).encode())
ROWS = codebook.build(schema(column("age"), customer=False).encode())
YEARS = {"m1": Year(epsilon=None, delta=1e-6, runs=0, attempts=1)}
SAID = Declared(year=YEARS["m1"], override=SEED)
EPOCH_OF_FOUR = Epoch.of(
    introduction(hellos=tuple(hello(name, **({"declared": SAID} if name == "m1" else {})) for name in FOUR))
)
HISTORY = (
    Attempt(round=0, attempt=0, cohort=FOUR, completed=True),
    Attempt(round=1, attempt=1, cohort=FOUR, completed=False),
    Attempt(round=1, attempt=2, cohort=FOUR[1:], completed=True),
)
LAST = changed(CONFIG, round=4, attempt=3, history=HISTORY, simulated=True)
LOCAL = LocalTerms(
    model="mlp",
    model_hash=SEED,
    parameters=40,
    sampling_rate=0.1,
    local_steps=2,
    clip=1.0,
    learning_rate=0.1,
    noise_multiplier=2.0,
)
SUMS = (np.array([1, 2], dtype=np.int64), np.array([3], dtype=np.int64))
WEIGHTS = np.arange(2.0).reshape(1, 2)


def mechanisms(_config: RoundConfig, attempt: Attempt) -> tuple[Mechanism, ...]:
    """Another one for each attempt, so that none can stand in another's place."""
    return (Mechanism(sensitivity=1, variance=1e4 + attempt.attempt, cohort=4, colluders=1, size=2),)


def session(book: Any = BOOK) -> Any:
    return SimpleNamespace(
        epoch=EPOCH_OF_FOUR,
        book=book,
        mechanisms=mechanisms,
        sums=lambda: SUMS,
        weights=lambda _config: SimpleNamespace(weights=WEIGHTS),
        layout=lambda: [["layer.weight", [1, 2]]],
    )


@pytest.fixture(autouse=True)
def doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the projection, something that is seen."""
    monkeypatch.setattr(monotone, "project", lambda _book, weights: 2 * weights)


def stated(unit: str = "customer", *, seeded: bool = False) -> dict[str, Any]:
    years = [YearBefore(name, 1.5, 1e-5, 2, 3) for name in FOUR]
    years[1] = YearBefore("m1", None, 1e-6, 0, 1)
    return statement(
        [Charge(each.round, each.completed, mechanisms(LAST, each)) for each in HISTORY],
        mode="distributed",
        epsilon=1.0,
        delta=1e-5,
        colluders=1,
        cohort=4,
        unit=unit,
        seeded=seeded,
        year=years,
    )


# --- what is in it ---


def test_a_release_holds_what_every_member_can_recompute() -> None:
    made = closing.compute(session(), LAST, private=True)
    assert (made.number, made.sums, made.roster) == (7, SUMS, ROSTER)
    assert (made.schema, made.codebook) == (BOOK.schema_bytes, BOOK.codebook_bytes)
    assert np.array_equal(made.weights, 2 * WEIGHTS)
    assert made.statement == stated() | {"mapping_overrides": {"m1": SEED.hex()}}
    assert made.card == closing.model_card(session(), LAST)


def test_noise_from_a_seed_and_rows_without_customers_are_stated() -> None:
    seeded = closing.compute(session(ROWS), LAST, private=False).statement
    assert seeded == stated("row", seeded=True) | {"mapping_overrides": {"m1": SEED.hex()}}


def test_a_torch_module_is_not_projected() -> None:
    local = changed(LAST, local=LOCAL)
    assert np.array_equal(closing.compute(session(), local, private=True).weights, WEIGHTS)


CARD: dict[str, Any] = {
    "schema": {"name": "small", "version": 1, "hash": SEED.hex()},
    "learner": "dp-newton",
    "model": "additive logistic model on public bins",
    "heads": ["late"],
    "parameters": 5,
    "members": 5,
    "present": 4,
    "simulated": True,
    "cohorts": [list(FOUR), list(FOUR[1:])],
    "rounds": 2,
    "attempts": 3,
}
WORDS = {"intended_use", "not_for", "gate"}


def test_the_card_says_what_the_model_is() -> None:
    card = closing.model_card(session(), LAST)
    assert set(card) == {*CARD, *WORDS}
    assert {name: card[name] for name in CARD} == CARD
    assert all(card[name] for name in WORDS)
    two = closing.model_card(session(), changed(LAST, heads=2))
    assert two["parameters"] == 10


def test_the_card_of_a_torch_module_says_how_it_was_trained() -> None:
    card = closing.model_card(session(), changed(LAST, local=LOCAL))
    assert card["model"] == "torch module mlp on public bins"
    assert card["parameters"] == 40
    assert card["local"] == LOCAL.model_dump() | {
        "model_hash": SEED.hex(),
        "layout": [["layer.weight", [1, 2]]],
        "not_monotone": ["age"],
    }
    json.dumps(card)


# --- sealing ---


def sealed(number: int = 7, epoch: Epoch = EPOCH) -> SealedRelease:
    return SealedRelease.decode(closing.seal(b"made", number, epoch, OsEntropy()))


@pytest.mark.parametrize("name", ALL)
def test_every_member_of_the_roster_opens_what_is_sealed(name: str) -> None:
    message = sealed()
    assert (message.number, [who for who, _ in message.wrapped]) == (7, list(ALL))
    assert b"made" not in message.payload
    assert closing.open_sealed(PEOPLE[name], message.encode(), EPOCH) == b"made"


def test_a_seal_is_for_this_release_epoch_and_member() -> None:
    message = sealed()
    key = keys.hpke_open(
        PEOPLE["m0"].sealing,
        dict(message.wrapped)["m0"],
        keys.digest(b"release", (7).to_bytes(8, "big"), EPOCH.id, b"m0"),
    )
    info = keys.digest(b"release", (7).to_bytes(8, "big"), EPOCH.id, b"")
    assert keys.open_once(key, message.payload, info) == b"made"
    wrapped = dict(message.wrapped)
    swapped = tuple((name, wrapped["m1" if name == "m0" else name]) for name in ALL)
    for wrong in (
        changed(message, number=8),
        changed(message, payload=message.payload[:-1]),
        changed(message, wrapped=swapped),
        sealed(epoch=EPOCH_OF_FOUR),
    ):
        with pytest.raises(Refusal, match="cannot be opened") as refused:
            closing.open_sealed(PEOPLE["m0"], wrong.encode(), EPOCH)
        assert refused.value.code == "release"
    with pytest.raises(Refusal, match="cannot be opened"):
        closing.open_sealed(PEOPLE["m0"], b"rubbish", EPOCH)
    with pytest.raises(Refusal, match="not sealed to this member"):
        closing.open_sealed(STRANGER, message.encode(), EPOCH)


# --- votes ---

RELEASE = ReleaseContent(
    number=7,
    weights=WEIGHTS,
    sums=SUMS,
    schema=b"schema",
    codebook=b"codebook",
    roster=ROSTER,
    card={},
    statement={"colluders": 1},
)


def test_only_what_the_member_computed_itself_is_voted_for() -> None:
    closing.check(RELEASE, RELEASE.encode())
    with pytest.raises(Refusal, match="in its card") as refused:
        closing.check(RELEASE, replace(RELEASE, card={"model": "m"}).encode())
    assert refused.value.code == "release"
    with pytest.raises(Refusal, match="not a fedrepay release") as refused:
        closing.check(RELEASE, b"rubbish")
    assert refused.value.code == "release"


def test_a_vote_is_over_these_very_bytes() -> None:
    said = closing.vote(PEOPLE["m0"], 7, b"made").verified(ROSTER.entry("m0").signing, ReleaseVote)
    assert said == ReleaseVote(run=7, name="m0", release=keys.digest(b"made"))


def votes(run: int = 7, names: tuple[str, ...] = FOUR, **fields: Any) -> Votes:
    said = {"run": 7, "release": keys.digest(b"made")} | fields
    return Votes(
        run=run, signed=tuple(by(name, ReleaseVote.model_validate({"name": name} | said)) for name in names)
    )


def test_a_quorum_of_the_roster_over_these_bytes_is_needed() -> None:
    closing.check_votes(b"made", EPOCH_OF_FOUR, votes())
    closing.check_votes(b"made", EPOCH_OF_FOUR, votes(names=ALL))
    for wrong in (votes(8), votes(names=FOUR[1:]), votes(release=OTHER)):
        with pytest.raises(Refusal) as refused:
            closing.check_votes(b"made", EPOCH_OF_FOUR, wrong)
        assert refused.value.code == "release"
    with pytest.raises(Refusal, match="another run"):
        closing.check_votes(b"made", EPOCH_OF_FOUR, votes(8))
    with pytest.raises(Refusal, match="4 must"):
        closing.check_votes(b"made", EPOCH_OF_FOUR, votes(names=("m0", "m0", "m0", "m1")))
