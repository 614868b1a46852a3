"""Yes, no, or not known, for n accounts at once: what rules conclude from facts that may be missing."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import Bool
from fedrepay.shared.rules.facts import FACTS, FactTable
from fedrepay.shared.rules.parameters import Condition


@dataclass(frozen=True, eq=False)
class Ternary:
    """``yes``: certainly; ``maybe``: certainly or not known; both (n,), and yes ⇒ maybe (Kleene's logic)."""

    yes: Bool
    maybe: Bool

    @classmethod
    def of(cls, holds: Bool, known: Bool) -> "Ternary":
        """From a comparison and whether what it compares is known."""
        return cls(holds & known, holds | ~known)

    @classmethod
    def always(cls, accounts: int) -> "Ternary":
        """True of every account."""
        every = np.ones(accounts, np.bool_)
        return cls(every, every)

    def __and__(self, other: "Ternary") -> "Ternary":
        return Ternary(self.yes & other.yes, self.maybe & other.maybe)

    def __invert__(self) -> "Ternary":
        return Ternary(~self.maybe, ~self.yes)

    @property
    def undecided(self) -> Bool:
        """(n,) not known."""
        return self.maybe & ~self.yes


def is_true(name: str, table: FactTable) -> Ternary:
    """A fact of type bool."""
    values, known = table.read(name)
    return Ternary.of(values.astype(np.bool_, copy=False), known)


def is_one_of(name: str, categories: Iterable[str], table: FactTable) -> Ternary:
    """A category among some."""
    values, known = table.read(name)
    wanted = np.zeros(len(FACTS[name].categories) + 1, np.bool_)
    wanted[[FACTS[name].categories.index(each) for each in categories]] = True
    return Ternary.of(wanted[values.astype(np.intp, copy=False)], known)


def is_between(name: str, low: float | None, high: float | None, table: FactTable) -> Ternary:
    """A number from ``low`` to ``high``, both inclusive; None: no limit."""
    values, known = table.read(name)
    holds = np.ones(len(values), np.bool_)
    if low is not None:
        holds &= values >= low
    if high is not None:
        holds &= values <= high
    return Ternary.of(holds, known)


def all_hold(conditions: Iterable[Condition], table: FactTable) -> Ternary:
    """Whether every condition holds."""
    result = Ternary.always(table.accounts)
    for condition in conditions:
        if condition.is_ is not None:
            one = is_true(condition.fact, table)
            result &= one if condition.is_ else ~one
        elif condition.one_of:
            result &= is_one_of(condition.fact, condition.one_of, table)
        else:
            result &= is_between(condition.fact, condition.at_least, condition.at_most, table)
    return result
