"""A run that somebody thinks of, and what this member would say to it: its veto's own answer, before anybody asks."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fedrepay.client.care.home import Home
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.protocol.terms import Consent
from fedrepay.client.veto.year import year_before
from fedrepay.shared.errors import ArgumentError, Refusal
from fedrepay.shared.privacy.delta import chosen_delta
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.local_run import LocalRun
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.roster import check_size, default_colluders
from fedrepay.shared.trust.sums import chosen_learner, default_rounds
from fedrepay.shared.trust.terms import RunTerms


@dataclass(frozen=True)
class ThoughtOf:
    """A run as options name it; None takes what `coordinator train` would take."""

    members: int
    epsilon: float | None = None
    delta: float | None = None
    colluders: int | None = None
    rounds: int | None = None
    mode: str = "distributed"
    local: LocalRun | None = None
    learner: str | None = None


@dataclass(frozen=True)
class Foreseen:
    """Yes, or no with the refusal's code, cause and remedy; ``year`` is the year's ε so far at ``delta_per_year``."""

    accepted: bool
    code: str | None
    cause: str | None
    remedy: str | None
    year: float | None
    delta_per_year: float
    terms: dict[str, Any]


def terms_of(wish: ThoughtOf, book: CodeBook) -> RunTerms:
    """The terms that the operator would offer.

    Raises:
        ArgumentError: an option is out of bounds, or does not go with another.
    """
    if (wish.local is not None) != (wish.mode == "local"):
        raise ArgumentError(
            "--mode local and --terms FILE come together.", "`fedrepay member local-terms` makes the file."
        )
    colluders = default_colluders(wish.members) if wish.colluders is None else wish.colluders
    check_size(wish.members, colluders)
    facts = {
        "schema_hash": book.schema_hash,
        "mode": wish.mode,
        "dimension": book.dimension,
        "heads": book.heads,
        "colluders": colluders,
        **(_of_options(wish, book) if wish.local is None else _of_file(wish, wish.local)),
    }
    try:
        terms = RunTerms.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "--mode"
        raise ArgumentError(
            f"{field} = {first['input']!r:.60}: {first['msg']}.", "`fedrepay member limits test --help`."
        ) from error
    return terms.model_copy(update={"pairs": gram_pairs(terms, book, wish.members)})


def _of_options(wish: ThoughtOf, book: CodeBook) -> dict[str, Any]:
    learner = chosen_learner(wish.learner, book.dimension, wish.rounds)
    return {
        "learner": learner,
        "epsilon": 1.0 if wish.epsilon is None else wish.epsilon,
        "delta": chosen_delta(None, book.schema.public) if wish.delta is None else wish.delta,
        "rounds": wish.rounds or default_rounds(learner),
    }


def _of_file(wish: ThoughtOf, local: LocalRun) -> dict[str, Any]:
    for name in ("epsilon", "delta", "rounds", "learner"):
        if getattr(wish, name) is not None:
            raise ArgumentError(f"--{name} stands in the terms already.", "Leave it out.")
    return {
        "schema_hash": local.schema_hash,
        "learner": "dp-sgd",
        "epsilon": local.epsilon,
        "delta": local.delta,
        "rounds": local.rounds,
        "max_attempts": local.max_attempts,
        "local": local.local,
    }


def asked(home: Home, terms: RunTerms, members: int, model: TorchModel | None) -> Foreseen:
    """What this member would answer to these terms today.

    Args:
        home: limits, ledger and schema.
        terms: of :func:`terms_of`.
        members: of the roster.
        model: the torch module that the member trains in local mode.

    Raises:
        StorageError: the ledger was changed.
    """
    ledger, now = home.store.ledger(), home.clock()
    year = year_before("", ledger, home.delta, now).epsilon
    shown = {
        name: getattr(terms, name)
        for name in ("mode", "learner", "epsilon", "delta", "colluders", "rounds", "max_attempts")
    }
    refused: Refusal | None = None
    try:
        Consent(home.store, home.book, home.limits, model, OsEntropy()).judge(terms, members, now)
    except Refusal as error:
        refused = error
    return Foreseen(
        accepted=refused is None,
        code=None if refused is None else str(refused.code),
        cause=None if refused is None else refused.cause,
        remedy=None if refused is None else refused.remedy,
        year=year,
        delta_per_year=home.delta,
        terms={"members": members, **shown},
    )
