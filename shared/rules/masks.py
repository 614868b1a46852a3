"""Rules as masks over n accounts × P plans: which are blocked, by which rule, and what else the law demands.

Packs stack and the strictest wins: a plan is allowed only where no rule of any pack in force blocks it. A
rule that needs a fact which is not known blocks what it might block, and the account goes to a human.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from fedrepay.shared.arrays import I32, I64, Bool
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.rules.columns import PlanColumns
from fedrepay.shared.rules.effects import Effect, Index, outcome
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.rules.pack import Pack
from fedrepay.shared.rules.parameters import MATTERS, Matter
from fedrepay.shared.rules.ternary import Ternary, all_hold, is_one_of

ALLOWED = -1
"""In ``blocked``, ``human`` and ``stop``: no rule."""


@dataclass(frozen=True)
class RuleRef:
    """Which rule it was; ``hash`` is of the pack's bytes."""

    pack: str
    pack_version: int
    rule: str
    version: int
    kind: str
    article: str
    citation: str
    hash: str


@dataclass(frozen=True, eq=False)
class RulesVerdict:
    """What the packs say about n accounts × P plans; indices point into ``rules`` (R of them).

    Attributes:
        rules: every rule of every pack given, in force or not: pack order, then rule order.
        blocked: (n, P) the first rule that blocks, −1 allowed.
        human: (n,) the first rule that demands a human, or could not be decided, −1 none.
        stop: (n,) the first rule that stops collection contact altogether, −1 none.
        notices: (n, R) the notices the debtor must get.
        retention_days: (n,) longest the record may be kept, −1 no rule.
        unknown: (n,) a rule needed a fact that is not known.
        covered: (n, M) which of ``MATTERS`` at least one pack in force certainly covers; the others nobody checked.
    """

    rules: tuple[RuleRef, ...]
    blocked: I32
    human: I32
    stop: I32
    notices: Bool
    retention_days: I32
    unknown: Bool
    covered: Bool

    @property
    def uncovered(self) -> Bool:
        """(n, M) matters that no pack certainly covers; none where no pack was given, and nothing is checked."""
        return ~self.covered & bool(self.rules)

    def missing(self, row: int) -> tuple[Matter, ...]:
        """Names of an account's matters that nobody covers."""
        named = zip(MATTERS, self.covered[row].tolist(), strict=True)
        return tuple(matter for matter, covered in named if not covered and self.rules)


def evaluate(packs: Sequence[Pack], facts: FactTable, plans: PlanColumns, today: int) -> RulesVerdict:
    """Evaluate packs; (n, P) work is done only for rules on amounts, everything else once per account.

    Args:
        packs: in the order their rules are numbered.
        facts: of the n accounts.
        plans: n accounts × P plans.
        today: day since 1970-01-01 that decides which packs are in force.

    Raises:
        DataError: a fact outside its bounds, naming fact, row, value and bound.
        ArgumentError: the same pack twice.
    """
    accounts, count = plans.shape
    rules = rule_refs(packs)
    none = len(rules)
    human, stop, kept = (np.full(accounts, none, np.int32) for _ in range(3))
    kept[:] = np.iinfo(np.int32).max
    unknown = np.zeros(accounts, np.bool_)
    covered = np.zeros((accounts, len(MATTERS)), np.bool_)
    notices = np.zeros((accounts, none), np.bool_)
    whole: list[tuple[int, Effect]] = []
    priced: list[tuple[int, Effect]] = []
    first = 0
    for pack in packs:
        numbers = range(first, first + len(pack.rules))
        first += len(pack.rules)
        if not pack.in_force(today):
            continue
        applies = is_one_of("jurisdiction", pack.places, facts) & all_hold(pack.applies_to, facts)
        for part in pack.covers:
            sure = (applies & all_hold(part.applies_to, facts)).yes
            covered |= sure[:, None] & _among_matters(part.matters)
        if not applies.maybe.any():
            continue
        for number, rule in zip(numbers, pack.rules, strict=True):
            done = outcome(rule, applies, facts, plans)
            for effect in done.effects:
                (whole if effect.amount is None else priced).append((number, effect))
            if done.human is not None:
                _lower(human, number, done.human.maybe)
                unknown |= done.human.undecided
            if done.stop is not None:
                _lower(stop, number, done.stop.maybe)
                _undecided(done.stop, number, human, unknown)
            if done.notice is not None:
                notices[:, number] = done.notice.maybe
            if done.retention is not None:
                _lower(kept, done.retention[1], done.retention[0].maybe)
    blocked = _whole(whole, accounts, count, none, human, unknown)
    for number, effect in priced:
        _priced(number, effect, blocked, human, unknown)
    for indices in (blocked, human, stop):
        indices[indices == none] = ALLOWED
    kept[kept == np.iinfo(np.int32).max] = ALLOWED
    return RulesVerdict(rules, blocked, human, stop, notices, kept, unknown, covered)


def rule_refs(packs: Sequence[Pack]) -> tuple[RuleRef, ...]:
    """Every rule, numbered by pack order and then rule order; raises ArgumentError for a pack given twice."""
    names = [(pack.id, pack.version) for pack in packs]
    doubled = sorted(
        {f"{name} version {version}" for name, version in names if names.count((name, version)) > 1}
    )
    if doubled:
        raise ArgumentError(f"Rule pack given twice: {', '.join(doubled)}.", "Give each version once.")
    return tuple(
        RuleRef(
            pack.id,
            pack.version,
            rule.id,
            rule.version,
            rule.kind,
            rule.article,
            pack.citation,
            pack.sha256,
        )
        for pack in packs
        for rule in pack.rules
    )


def _lower(target: I32, value: int, where: Bool) -> None:
    np.minimum(target, np.int32(value), out=target, where=where)


def _undecided(when: Ternary, number: int, human: I32, unknown: Bool) -> None:
    """A rule that could not be decided: a human decides."""
    undecided = when.undecided
    if undecided.any():
        _lower(human, number, undecided)
        unknown |= undecided


def _whole(
    effects: list[tuple[int, Effect]], accounts: int, count: int, none: int, human: I32, unknown: Bool
) -> I32:
    """Rules that do not look at amounts: once per account and pattern of plans, then spread over plans."""
    if not effects or not count:
        return np.full((accounts, count), none, np.int32)
    touched = np.array([effect.plans for _, effect in effects])
    patterns, place = _patterns(touched.tobytes(), count)
    lowest = np.full((patterns.shape[1], accounts), none, np.int32)
    for row, (number, effect) in enumerate(effects):
        if effect.plans.any() and effect.when.maybe.any():
            for pattern in np.flatnonzero(patterns[row]):
                _lower(lowest[pattern], number, effect.when.maybe)
            _undecided(effect.when, number, human, unknown)
    return np.ascontiguousarray(lowest.T)[:, place]


@lru_cache(64)
def _patterns(touched: bytes, count: int) -> tuple[Bool, I64]:
    """Which patterns of effects there are among so many plans, (effects, patterns), and each plan's, (P,): the same for all batches."""
    table = np.frombuffer(touched, np.bool_).reshape(-1, count)
    patterns, place = np.unique(table, axis=1, return_inverse=True)
    return patterns, place.ravel()


@cache
def _among_matters(some: tuple[Matter, ...]) -> Bool:
    return np.isin(MATTERS, some)


def _priced(number: int, effect: Effect, blocked: I32, human: I32, unknown: Bool) -> None:
    """A rule on amounts: only rows and columns it may touch."""
    rows, columns = _index(effect.when.maybe), _index(effect.plans)
    if effect.amount is None or effect.limit is None or not effect.when.maybe.any() or not effect.plans.any():
        return
    over = effect.amount(rows, columns) > effect.limit[rows][:, None]
    if not over.any():
        return
    hit = over.any(axis=1) & effect.when.undecided[rows]
    if hit.any():
        undecided = np.zeros(len(human), np.bool_)
        undecided[rows] = hit
        _lower(human, number, undecided)
        unknown |= undecided
    if isinstance(rows, slice) and isinstance(columns, slice):
        np.minimum(blocked, np.int32(number), out=blocked, where=over)
        return
    row, column = np.nonzero(over)
    row = row if isinstance(rows, slice) else rows[row]
    column = column if isinstance(columns, slice) else columns[column]
    blocked[row, column] = np.minimum(blocked[row, column], np.int32(number))


def _index(mask: Bool) -> Index:
    """Positions of a mask; all of them as a slice, which copies nothing."""
    return slice(None) if mask.all() else np.flatnonzero(mask)
