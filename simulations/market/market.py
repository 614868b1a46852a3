"""The simulated debt market as one thing: its lenders, what their systems hold, and what is true of their accounts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.errors import ArgumentError
from fedrepay.simulations.market import evaluate, models, people, records, tables
from fedrepay.simulations.market.evaluate import Ground
from fedrepay.simulations.market.lenders import PRESETS, SIZES, Lender, lenders
from fedrepay.simulations.market.records import Records
from fedrepay.simulations.run.arguments import MarketArguments

LEAST_OFFERS = 60


@dataclass(frozen=True)
class Market:
    """A simulated debt market whose truth is known (docs/market.md); equal settings are the same market.

    ``fedrepay.simulate`` with these settings plays this very market.

    Args:
        preset: which market: mixed, complement, alike, unlike, opposed, confounded or otherworld.
        members: lenders.
        scale: multiplies every lender's offers.
        seed: of all draws.

    Raises:
        ArgumentError: one of them is outside its range.

    >>> market = Market(members=3, scale=0.1)
    >>> [(each.name, each.offers) for each in market.lenders]
    [('m01', 60), ('m02', 150), ('m03', 1200)]
    >>> accounts = market.accounts("m01", size=20)
    >>> len(accounts), sorted(accounts.columns)[:3]
    (20, ['apr', 'balance', 'broken_plans_24m'])
    >>> truth = market.truth("m01", size=20)  # of every plan for each of these accounts
    >>> truth.truth.value.shape == truth.plans.valid.shape
    True
    """

    preset: str = "mixed"
    members: int = 20
    scale: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        MarketArguments(preset=self.preset, members=self.members, scale=self.scale, seed=self.seed).check()

    @cached_property
    def lenders(self) -> tuple[Lender, ...]:
        """The lenders: the sizes of 20, repeated in turn for more, picked evenly for fewer."""
        places = (
            np.arange(self.members)
            if self.members >= len(SIZES)
            else np.linspace(0, len(SIZES) - 1, self.members).round().astype(int)
        )
        sizes = [SIZES[int(place) % len(SIZES)] for place in places]
        preset = next(each for each in PRESETS if each == self.preset)
        return lenders(preset, self.seed, [max(round(size * self.scale), LEAST_OFFERS) for size in sizes])

    def lender(self, name: str) -> Lender:
        """One lender.

        Raises:
            ArgumentError: there is none of this name.
        """
        found = next((each for each in self.lenders if each.name == name), None)
        if found is None:
            raise ArgumentError(
                f"The market has no lender {name}.", f"They are m01 … {self.lenders[-1].name}."
            )
        return found

    def records(self, lender: str) -> Records:
        """What a lender's systems hold of the offers it made: accounts, plans, dated payments."""
        return records.record(self.lender(lender), self.seed)

    def accounts(self, lender: str, size: int = 300) -> people.NewAccounts:
        """New accounts of a lender, the same whenever the size is: ``columns`` as known, ``debtors`` as they truly are."""
        return evaluate.new_accounts(self.lender(lender), self.seed, size)

    def truth(self, lender: str, size: int = 300, settings: Settings | None = None) -> Ground:
        """The same new accounts with every plan the optimiser may choose from, and what is true of each.

        Args:
            lender: whose accounts.
            size: how many accounts.
            settings: a member's for decisions: they bound what is affordable.
        """
        return evaluate.ground(models.encoder(), self.lender(lender), self.seed, size, settings or Settings())

    def write_records(self, lender: str, folder: Path) -> Path:
        """Write a lender's own tables into a new or empty folder; returns the mapping that reads them.

        Raises:
            StorageError: they cannot be written.
        """
        return tables.write(self.records(lender), lender, folder)

    def write_accounts(self, lender: str, folder: Path, size: int = 300) -> Path:
        """Write new accounts with facts for rules into a new or empty folder, ``mapping.toml`` beside them.

        Returns:
            the table of accounts.

        Raises:
            StorageError: they cannot be written.
        """
        return tables.write_accounts(self.accounts(lender, size), lender, folder, seed=self.seed)
