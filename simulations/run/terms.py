"""The run an operator would start, planned and checked before anybody starts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedrepay.client.learning import make_learner
from fedrepay.client.learning.base import refuse_starts
from fedrepay.client.learning.dp_sgd import grid
from fedrepay.client.learning.local_terms import LocalWishes, local_terms
from fedrepay.client.learning.torch_models.registry import TorchModel, load
from fedrepay.client.veto import budget, room
from fedrepay.shared.errors import ArgumentError, DataError
from fedrepay.shared.privacy import accounting, composition
from fedrepay.shared.privacy.delta import chosen_delta
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.roster import check_size, default_colluders, quorum
from fedrepay.shared.trust.sums import chosen_learner, default_rounds
from fedrepay.shared.trust.terms import MAX_ATTEMPTS, LocalTerms, NumberedTerms
from fedrepay.simulations.run.arguments import Arguments, RunArguments
from fedrepay.simulations.run.consortium import Party

MODEL = "logistic"


def check_parties(arguments: RunArguments, book: CodeBook, parties: Sequence[Party]) -> None:
    """Refuse parties that pass the schema's public bounds.

    Raises:
        ArgumentError: too few or too many members.
        DataError: a member with more customers than n_max.
    """
    check_size(len(parties), _colluders(arguments, len(parties)))
    for party in parties:
        customers = len(np.unique(party.train.customers))
        if customers > book.schema.public.n_max:
            raise DataError(
                f"{party.name} would bring {customers} customers; the schema's public n_max is "
                f"{book.schema.public.n_max}.",
                "Use more members, or a schema with a higher n_max.",
            )
    if len(parties) > book.schema.public.members_max:
        raise ArgumentError(
            f"{len(parties)} members pass the schema's public members_max of {book.schema.public.members_max}.",
            "Use fewer members, or build a schema with a higher members_max.",
        )


def _colluders(arguments: RunArguments, members: int) -> int:
    return default_colluders(members) if arguments.colluders is None else arguments.colluders


def model_of(arguments: Arguments) -> TorchModel | None:
    """The torch module asked for; None in the other modes.

    Raises:
        ArgumentError: it cannot be used, or torch is missing.
        SchemaError: the schema or its code book cannot be read.
    """
    if arguments.mode != "local":
        return None
    return load(arguments.model or MODEL, codebook.load(Path(arguments.schema)).dimension)


def make_terms(
    arguments: RunArguments, book: CodeBook, members: int, model: TorchModel | None = None
) -> NumberedTerms:
    """The run the operator would start.

    Args:
        arguments: what was asked for.
        book: the schema's code book.
        members: how many.
        model: the torch module of a run in local mode.

    Raises:
        ArgumentError: δ is too large for the schema's public bounds, or ε too small to be kept.
        BudgetError: ε is so large that a share of noise is too narrow to prove.
    """
    learner = (
        chosen_learner(arguments.learner, book.dimension, arguments.rounds) if model is None else "dp-sgd"
    )
    delta = chosen_delta(arguments.delta, book.schema.public)
    rounds = arguments.rounds or default_rounds(learner)
    local = None
    if model is not None and isinstance(arguments, Arguments):
        wishes = LocalWishes(
            arguments.sampling_rate, arguments.local_steps, arguments.clip, arguments.learning_rate
        )
        local = local_terms(model, wishes, arguments.epsilon, delta, rounds, MAX_ATTEMPTS)
    terms = NumberedTerms(
        run=1,
        schema_hash=book.schema_hash,
        mode="local" if local is not None else "none" if arguments.mode == "none" else "distributed",
        learner=learner,
        dimension=book.dimension,
        heads=book.heads,
        epsilon=arguments.epsilon,
        delta=delta,
        colluders=_colluders(arguments, members),
        rounds=rounds,
        max_attempts=MAX_ATTEMPTS,
        simulated=True,
        local=local,
    )
    terms = terms.model_copy(update={"pairs": gram_pairs(terms, book, members)})
    _check_noise(terms, book, members)
    return terms


def _check_noise(terms: NumberedTerms, book: CodeBook, members: int) -> None:
    """Refuse, before anybody starts, what every member would refuse, and noise that wraps around t."""
    if terms.mode == "none":
        return
    if terms.local is not None:
        _check_local(terms, terms.local, book, members)
        return
    sums = make_learner(terms.learner, book, terms.rounds).segments()
    mu = accounting.target_mu(
        terms.epsilon, terms.delta, accounting.most_draws(sums, members, terms.max_attempts)
    )
    planned: list[accounting.Mechanism] = []
    for index in range(len(sums)):
        for each in accounting.plan_attempt(mu, sums, range(index), index, members, terms.colluders):
            planned.append(each)
            accounting.check_width(each)
            if not room.fits(terms, book, each):
                raise ArgumentError(
                    f"--epsilon {terms.epsilon:g} needs so much noise in sum {index} that it would pass t/2.",
                    "Ask for a larger ε, fewer --rounds or fewer --colluders.",
                )
    if composition.composed_epsilon(planned, terms.delta) > terms.epsilon:
        raise ArgumentError(
            f"--epsilon {terms.epsilon:g} is too small for the accountant to prove at δ = {terms.delta:g}.",
            "Ask for a larger ε or a smaller --delta.",
        )


def _check_local(terms: NumberedTerms, local: LocalTerms, book: CodeBook, members: int) -> None:
    """The same for local mode."""
    refuse_starts(book, "--mode local")
    grid(local.clip, local.parameters, book.schema.public.n_max)
    count, _ = budget.local_mechanisms(terms, local, members)
    if not room.fits(terms, book, count):
        raise ArgumentError(
            f"--epsilon {terms.epsilon:g} needs so much noise in the count that it would pass t/2.",
            "Ask for a larger ε.",
        )


def planned_drops(
    arguments: RunArguments, names: Sequence[str], terms: NumberedTerms
) -> frozenset[tuple[str, int]]:
    """(member, round) of every failure asked for.

    Raises:
        ArgumentError: no such member or round.
    """
    drops = frozenset(arguments.parse_drop(each) for each in arguments.drop)
    for name, round_ in drops:
        if name not in names or round_ >= terms.rounds:
            raise ArgumentError(
                f"--drop {name}@{round_}: there is no such member or round.",
                f"Members are {names[0]} … {names[-1]}; rounds are 0 … {terms.rounds - 1}.",
            )
    least = quorum(len(names), terms.colluders)
    for round_ in {round_ for _, round_ in drops}:
        left = len(names) - sum(each == round_ for _, each in drops)
        if left < least:
            raise ArgumentError(
                f"--drop leaves {left} members in round {round_}; the quorum is {least}.",
                "Drop fewer, or simulate more members: a retry needs 4 or more.",
            )
    return drops
