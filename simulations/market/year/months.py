"""A month of a year: every lender's new accounts, what is true of them, and what its records say of the plans it offered.

Accounts, and the chance in what comes of an offer, are the same in all worlds; only the plans differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.arrays import I64
from fedrepay.shared.plans.money import DAYS_A_MONTH
from fedrepay.simulations.market import evaluate, models, paths, people, records
from fedrepay.simulations.market.evaluate import Ground
from fedrepay.simulations.market.lenders import Lender
from fedrepay.simulations.market.records import Records
from fedrepay.simulations.market.value import NO_PLAN, Worth
from fedrepay.simulations.market.year.presets import YearPreset, in_month, newcomers

MATURING = 4
"""Months until what came of a month's offers is known: they go out on its first day, first instalments are due up to three weeks later, and
``kept_90`` is known 90 days after that (``shared/plans/outcomes.py``)."""
A_YEAR = 12
LEAST_ACCOUNTS = 5
_LEARNED = ("FULL", "INSTALMENT", "SETTLEMENT", "TOKEN")
"""Kinds of plans that models learn from: reviews stand in no schema."""
AGE = int(MATURING * DAYS_A_MONTH)
"""Days from a month's offers to the day on which they are learned from; a label not known then is left out."""


@dataclass(frozen=True, eq=False)
class Month:
    """One month: ``grounds`` by lender, what perfect heads and the oracle would bring."""

    number: int
    seed: int
    grounds: dict[str, Ground]

    @cached_property
    def perfect(self) -> dict[str, Worth]:
        """With the true probabilities of both heads."""
        return {
            name: each.worth(models.Perfect(each.truth).predict(each.scored))
            for name, each in self.grounds.items()
        }

    def offered(self, chosen: Mapping[str, Worth]) -> dict[str, Table]:
        """What each lender's records say once the outcomes of these choices have matured."""
        tables = records.training_tables(
            {name: self._matured(name, each.arm) for name, each in chosen.items()}
        )
        return {name: self._named(each) for name, each in tables.items()}

    def _named(self, table: Table) -> Table:
        """Customers of this month are nobody else's."""
        here = [f"{self.number}-{customer}" for customer in table.customers]
        return replace(table, customers=np.array(here, object))

    def _matured(self, name: str, arm: I64) -> Records:
        ground = self.grounds[name]
        keys = [self.seed, self.number, int(name[1:])]
        pays = np.where(arm == NO_PLAN, 0, arm)  # all draw their chances, so that the others' stay the same
        happened = paths.draw(
            ground.lender.effects,
            ground.accounts.debtors,
            ground.plans,
            pays,
            np.random.default_rng([42, *keys]),
        )
        made = np.flatnonzero((arm != NO_PLAN) & ground.plans.arms.is_kind(*_LEARNED)[pays])
        return records.recorded(
            ground.accounts.take(made),
            made,
            ground.plans.take(made),
            arm[made],
            happened.take(made),
            np.full(len(made), AGE),
            np.random.default_rng([43, *keys]),
        )


def draw(
    preset: YearPreset,
    lenders: Sequence[Lender],
    number: int,
    seed: int,
    settings: Settings,
    encoder: PairEncoder,
) -> Month:
    """Draw a month: of each lender a twelfth of the offers it made before, all of customers seen in no other month.

    Args:
        preset: which year.
        lenders: of the market it starts from.
        number: of the month, from 1.
        seed: of the year.
        settings: a member's for decisions.
        encoder: of the market's pairs.
    """
    grounds = {}
    for each in lenders:
        lender = in_month(preset, each, number)
        size = max(round(each.offers / A_YEAR), LEAST_ACCOUNTS)
        rng = np.random.default_rng([41, seed, number, int(each.name[1:])])
        accounts = people.draw(lender.book, size, rng, heavy_shocks=lender.effects.link != "logit")
        grounds[each.name] = evaluate.ground(encoder, lender, seed, size, settings, accounts)
    return Month(number, seed, grounds)


def past(preset: YearPreset, lenders: Sequence[Lender], seed: int) -> dict[str, Table]:
    """What each lender's records say of the offers it made before the year; of a newcomer nothing."""
    tables = records.training_tables(
        {each.name: records.record(in_month(preset, each, 0), seed) for each in lenders}
    )
    for place in newcomers(preset, len(lenders)):
        name = lenders[place].name
        tables[name] = tables[name].take(np.zeros(0, np.int64))
    return tables


def joined(tables: Sequence[Table]) -> Table:
    """One lender's tables as one; what training does not read is left out."""
    outcomes = [each.outcomes for each in tables if each.outcomes is not None]
    return Table(
        codes=np.concatenate([each.codes for each in tables]),
        outcomes=np.concatenate(outcomes),
        customers=np.concatenate([each.customers for each in tables]),
        propensity=None,
        audit={},
        extra={},
        source_rows=np.concatenate([each.source_rows for each in tables]),
        values={name: np.concatenate([each.values[name] for each in tables]) for name in tables[0].values},
    )
