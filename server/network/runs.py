"""The run that the operator's options ask for, or the one that is not finished."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedrepay.server.protocol.state import Event, State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.delta import chosen_delta
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.agreement import NOTHING, ConsortiumTerms
from fedrepay.shared.trust.local_run import LocalRun
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.roster import check_size, default_colluders
from fedrepay.shared.trust.sums import chosen_learner, default_rounds
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.within import broken

USUAL_TIMEOUT = 600.0
"""Seconds a member has for an answer, where nobody asks for another number."""


@dataclass(frozen=True)
class RunWishes:
    """Options of ``coordinator train``; None takes the default, or what the terms of a run in local mode say.

    ``again`` starts another run after one that is over, which costs every customer its ε anew. ``consortium`` is what all
    members accepted, and ``agreed`` its hash; None where nobody has (a consortium on one machine).
    """

    epsilon: float | None = None
    delta: float | None = None
    colluders: int | None = None
    mode: str | None = None
    rounds: int | None = None
    timeout: float | None = None
    terms: LocalRun | None = None
    again: bool = False
    consortium: ConsortiumTerms | None = None
    agreed: bytes = NOTHING
    learner: str | None = None


def next_run(folder: Path, book: CodeBook, members: int, wishes: RunWishes) -> tuple[NumberedTerms, bool]:
    """Record a new run, unless the newest one is not over.

    Returns:
        its terms and number, and whether it had begun before.

    Raises:
        ArgumentError: an option is out of bounds; every member checks budget and noise again for itself.
    """
    store = CoordinatorStore.in_folder(folder)
    last = store.terms()
    if last is not None:
        state = State.replayed(store.events(last.run))
        if not state.over:
            return last, True
        if (state.done or state.attempts) and not wishes.again:
            raise ArgumentError(
                f"Run {last.run} is {'done' if state.done else 'abandoned'}. Another run costs every customer its ε again.",
                "Say --new-run if that is meant: every member is asked for its terms first, and says no where its year is spent.",
            )
    terms = planned(last, book, members, wishes)
    store.begin(terms)
    return terms, False


def under_way(store: CoordinatorStore) -> int:
    """Number of the run that members have answered in and that is not over; 0 where there is none."""
    terms = store.terms()
    if terms is None:
        return 0
    state = State.replayed(store.events(terms.run))
    return terms.run if state.answers and not state.over else 0


def planned(last: NumberedTerms | None, book: CodeBook, members: int, wishes: RunWishes) -> NumberedTerms:
    """The run that these options ask for, after the last one; nothing is recorded.

    Raises:
        ArgumentError: an option is out of bounds, or the consortium's terms do not allow it.
    """
    local = wishes.terms
    facts = _of_options(book, wishes) if local is None else _of_terms(book, wishes, local)
    colluders = wishes.colluders
    if colluders is None:
        colluders = default_colluders(members)
        if wishes.consortium is not None and wishes.consortium.colluders is not None:
            colluders = wishes.consortium.colluders
    check_size(members, colluders)
    facts |= {
        "run": 1 if last is None else last.run + 1,
        "schema_hash": book.schema_hash,
        "mode": wishes.mode or "distributed",
        "dimension": book.dimension,
        "heads": book.heads,
        "colluders": colluders,
        "timeout": wishes.timeout or USUAL_TIMEOUT,
        "agreed": wishes.agreed,
    }
    try:
        terms = NumberedTerms.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "--mode"
        raise ArgumentError(
            f"{field} = {first['input']!r}: {first['msg']}.", "`fedrepay coordinator train --help`."
        ) from error
    if wishes.consortium is not None:
        _check_agreed(terms, members, wishes.consortium)
    return terms.model_copy(update={"pairs": gram_pairs(terms, book, members)})


def _check_agreed(terms: NumberedTerms, members: int, agreed: ConsortiumTerms) -> None:
    """A run is within what the consortium's members accepted.

    Raises:
        ArgumentError: otherwise; naming the field of terms.toml.
    """
    if said := broken(terms, members, agreed):
        raise ArgumentError(
            f"terms.toml does not allow this run: {'; '.join(said)}.",
            "Train within the terms; or change them, and every member has to accept them again.",
        )


def ignored(begun: NumberedTerms, book: CodeBook | None, wishes: RunWishes) -> tuple[str, ...]:
    """Options that were given and are not those of a run that goes on: it was begun with others.

    Args:
        begun: the run that goes on.
        book: of the schema that was named; None where none was.
        wishes: as given.
    """
    local = wishes.terms
    given = {
        "--epsilon": (wishes.epsilon, begun.epsilon),
        "--delta": (wishes.delta, begun.delta),
        "--colluders": (wishes.colluders, begun.colluders),
        "--rounds": (wishes.rounds, begun.rounds),
        "--learner": (wishes.learner, begun.learner),
        "--mode": (wishes.mode, begun.mode),
        "--schema": (None if book is None else book.schema_hash, begun.schema_hash),
        "--timeout": (wishes.timeout, begun.timeout),
        "--terms": (None if local is None else local.local, begun.local),
    }
    again = ("--new-run",) if wishes.again else ()
    return (*again, *(name for name, (said, is_) in given.items() if said is not None and said != is_))


def abandon(store: CoordinatorStore) -> int:
    """Give the newest run up, and say which it was.

    Raises:
        ArgumentError: there is none, or it is over.
    """
    terms = store.terms()
    if terms is None or State.replayed(store.events(terms.run)).over:
        raise ArgumentError(
            "There is no unfinished run to abandon.", "`fedrepay coordinator train` starts one."
        )
    store.append(terms.run, [Event("abandoned", "", b"")])
    return terms.run


def _of_options(book: CodeBook, wishes: RunWishes) -> dict[str, Any]:
    if wishes.mode == "local":
        raise ArgumentError(
            "--mode local needs --terms: what is trained, and its noise, come from a member's module.",
            "A member makes that file with `fedrepay member local-terms`.",
        )
    learner = chosen_learner(wishes.learner, book.dimension, wishes.rounds)
    return {
        "learner": learner,
        "epsilon": _usual_epsilon(wishes) if wishes.epsilon is None else wishes.epsilon,
        "delta": chosen_delta(wishes.delta, book.schema.public),
        "rounds": wishes.rounds or default_rounds(learner),
    }


def _usual_epsilon(wishes: RunWishes) -> float:
    """1, or what the consortium allows where that is less."""
    return 1.0 if wishes.consortium is None else min(1.0, wishes.consortium.epsilon_per_release)


def _of_terms(book: CodeBook, wishes: RunWishes, terms: LocalRun) -> dict[str, Any]:
    if wishes.mode != "local":
        raise ArgumentError("--terms go with --mode local.", "Add it, or leave --terms out.")
    for name in ("epsilon", "delta", "rounds", "learner"):
        if getattr(wishes, name) is not None:
            raise ArgumentError(
                f"--{name} stands in the terms already: the noise was made for it.", "Leave it out."
            )
    if terms.schema_hash != book.schema_hash:
        raise ArgumentError(
            "The terms were made with another schema than --schema.",
            "Every member and the operator need the same file; make the terms again with it.",
        )
    if book.heads != 1:
        raise ArgumentError(
            f"The schema has {book.heads} outcomes; local mode takes one.", "Leave --mode and --terms out."
        )
    return {
        "learner": "dp-sgd",
        "epsilon": terms.epsilon,
        "delta": chosen_delta(terms.delta, book.schema.public, "delta in the terms:"),
        "rounds": terms.rounds,
        "max_attempts": terms.max_attempts,
        "local": terms.local,
    }
