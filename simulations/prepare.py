"""From files to members: read, hold out test customers, form the parties, plan the run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrepay.client import budget
from fedrepay.client.data.table import Mapping, Table, load_mapping, read_table
from fedrepay.client.learning import make_learner
from fedrepay.client.limits import largest_delta
from fedrepay.shared.errors import ArgumentError, DataError
from fedrepay.shared.privacy import accounting
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.plan import RunPlan, default_learner, default_rounds
from fedrepay.shared.trust.roster import check_size, default_colluders, minimum_cohort
from fedrepay.simulations.arguments import Arguments
from fedrepay.simulations.consortium import Party
from fedrepay.simulations.split import by_value, split_members, split_test


@dataclass(frozen=True)
class Prepared:
    """Data after the splits."""

    book: CodeBook
    train: Table
    test: Table
    parties: tuple[Party, ...]
    tests: dict[str, Table]  # each member's own held-out rows


def prepare(arguments: Arguments) -> Prepared:
    """Read the data, hold out test customers, form the members.

    Raises:
        DataError: rows that `check-data` refuses, or a part with one class only.
        ArgumentError: a schema of several outcomes.
    """
    book = codebook.load(Path(arguments.schema))
    if book.heads > 1:
        raise ArgumentError(
            f"{arguments.schema} has {book.heads} outcomes; a simulation of your own rows judges one.",
            "Give a schema with one column of role outcome.",
        )
    mapping = None if arguments.mapping is None else load_mapping(Path(arguments.mapping))
    kind, _, column = arguments.split.partition(":")
    extra = (column,) if kind == "column" and column else ()
    table = _read(book, Path(arguments.data), mapping, extra)
    shares = _split(arguments, table)
    if arguments.test is None:
        held_out = split_test(table.customers, arguments.seed)
        test = table.take(np.flatnonzero(held_out))
        trains = {name: table.take(rows[~held_out[rows]]) for name, rows in shares}
        tests = {name: table.take(rows[held_out[rows]]) for name, rows in shares}
        train = table.take(np.flatnonzero(~held_out))
    else:
        train, test = table, _read(book, Path(arguments.test), mapping, extra)
        trains = {name: table.take(rows) for name, rows in shares}
        given = dict(_split_test_file(arguments, test, len(shares)))
        tests = {name: test.take(given.get(name, np.array([], np.int64))) for name in trains}
    for name, part in (("training", train), ("test", test)):
        if part.outcomes is None or len(np.unique(part.outcomes)) < 2:
            raise DataError(
                f"The whole {name} part has one class of outcome (or no row).",
                "Learning and judging need both outcomes; give more rows.",
            )
    parties = tuple(Party(name, rows) for name, rows in trains.items())
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
    return Prepared(book, train, test, parties, tests)


def _read(book: CodeBook, path: Path, mapping: Mapping | None, extra: tuple[str, ...]) -> Table:
    table, findings = read_table(book, path, mapping, need_outcome=True, extra=extra)
    for group in findings.groups:
        if group.rows is None and group.column in extra:
            raise ArgumentError(
                f"--split column:{group.column}: in {path} it must be {group.bound}.",
                "Name a column of the file, or one that the mapping's SELECT makes.",
            )
    findings.raise_if_refused()
    return table


def _split(arguments: Arguments, table: Table) -> list[tuple[str, np.ndarray]]:
    values = _split_column(arguments, table)
    return split_members(table.customers, arguments.split, arguments.members, arguments.seed, values)


def _split_test_file(arguments: Arguments, test: Table, members: int) -> list[tuple[str, np.ndarray]]:
    """Each member's rows of a test file, which may lack some members, or be too small to split."""
    values = _split_column(arguments, test)
    if arguments.split.startswith("column:") and values is not None:
        return by_value(values)
    return _split(arguments, test) if len(np.unique(test.customers)) >= members else []


def _split_column(arguments: Arguments, table: Table) -> np.ndarray | None:
    return {**table.values, **table.extra}.get(arguments.split.partition(":")[2])


def _colluders(arguments: Arguments, members: int) -> int:
    return default_colluders(members) if arguments.colluders is None else arguments.colluders


def make_plan(arguments: Arguments, prepared: Prepared) -> RunPlan:
    """The run the operator would start.

    Raises:
        ArgumentError: δ is too large for the schema's public n_max, or ε too small to be kept.
        BudgetError: ε is so large that a share of noise is too narrow to prove.
    """
    book, members = prepared.book, len(prepared.parties)
    learner = default_learner(book.dimension)
    bound = largest_delta(book.schema.public)
    delta = min(1e-5, bound) if arguments.delta is None else arguments.delta
    if delta > bound:
        raise ArgumentError(
            f"--delta {delta:g} passes 1/(10·n_max) = {bound:g}.",
            "δ must stay below the chance of naming one customer.",
        )
    plan = RunPlan(
        run=1,
        schema_hash=book.schema_hash,
        mode="none" if arguments.mode == "none" else "distributed",
        learner=learner,
        dimension=book.dimension,
        heads=book.heads,
        epsilon=arguments.epsilon,
        delta=delta,
        colluders=_colluders(arguments, members),
        rounds=arguments.rounds or default_rounds(learner),
    )
    _check_noise(plan, book, members)
    return plan


def _check_noise(plan: RunPlan, book: CodeBook, members: int) -> None:
    """Refuse, before anybody starts, what every member would refuse, and noise that wraps around t."""
    if plan.mode == "none":
        return
    sums = make_learner(plan.learner, book, plan.rounds).segments()
    mu = accounting.target_mu(
        plan.epsilon, plan.delta, accounting.most_draws(sums, members, plan.max_attempts)
    )
    planned: list[accounting.Mechanism] = []
    for index in range(len(sums)):
        for each in accounting.plan_attempt(mu, sums, range(index), index, members, plan.colluders):
            planned.append(each)
            accounting.check_width(each)
            if not budget.fits(book, each):
                raise ArgumentError(
                    f"--epsilon {plan.epsilon:g} needs so much noise in sum {index} that it would pass t/2.",
                    "Ask for a larger ε, fewer --rounds or fewer --colluders.",
                )
    if accounting.composed_epsilon(planned, plan.delta) > plan.epsilon:
        raise ArgumentError(
            f"--epsilon {plan.epsilon:g} is too small for the accountant to prove at δ = {plan.delta:g}.",
            "Ask for a larger ε or a smaller --delta.",
        )


def planned_drops(arguments: Arguments, prepared: Prepared, plan: RunPlan) -> frozenset[tuple[str, int]]:
    """(member, round) of every failure asked for.

    Raises:
        ArgumentError: no such member or round.
    """
    names = [party.name for party in prepared.parties]
    drops = frozenset(arguments.parse_drop(each) for each in arguments.drop)
    for name, round_ in drops:
        if name not in names or round_ >= plan.rounds:
            raise ArgumentError(
                f"--drop {name}@{round_}: there is no such member or round.",
                f"Members are {names[0]} … {names[-1]}; rounds are 0 … {plan.rounds - 1}.",
            )
    least = minimum_cohort(len(names), plan.colluders)
    for round_ in {round_ for _, round_ in drops}:
        left = len(names) - sum(each == round_ for _, each in drops)
        if left < least:
            raise ArgumentError(
                f"--drop leaves {left} members in round {round_}; the minimum cohort is {least}.",
                "Drop fewer, or simulate more members: a retry needs 4 or more.",
            )
    return drops
