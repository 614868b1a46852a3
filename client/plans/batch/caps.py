"""A batch's caps applied chunk by chunk: one pass finds their prices, the next decides at these prices."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from fedrepay.client.plans.batch.portfolio import (
    CAPPED,
    NONE,
    Candidacies,
    Portfolio,
    Uses,
    choose,
    options,
    uses,
)
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.handover import handed
from fedrepay.client.plans.deciding.judged import Judged, Why
from fedrepay.shared.arrays import I64, Bool, Objects
from fedrepay.shared.errors import CatalogueError


def groups(engine: Engine) -> tuple[str, ...]:
    """The column that a floor's groups are read from, if it is none of the schema's."""
    name = engine.settings.caps.group_column
    return () if name is None or name in engine.encoder.columns else (name,)


@dataclass(frozen=True, eq=False)
class CapCandidates:
    """What caps choose from, of some accounts: their ``options``, and who is left ``apart`` for a human or at rest, (n,)."""

    apart: Bool
    options: Candidacies


def proposed(engine: Engine, accounts: Accounts, today: int) -> CapCandidates:
    """What caps choose from, of n accounts."""
    chunk = engine.judge(accounts, today)
    judged, asked = chunk.judged, handed(engine.settings, chunk, today).code > 0
    apart = asked | judged.human | judged.stop
    offers, balance = judged.offers & ~apart[:, None], judged.plans.debts.balance
    used = uses(judged.plans)
    return CapCandidates(
        apart, options(engine.settings.caps, judged.score, offers, balance, judged.no_plan, used)
    )


@dataclass(frozen=True, eq=False)
class Caps:
    """The choice of a whole batch within its caps."""

    portfolio: Portfolio
    group: Objects | None
    asked: Bool  # a human takes over: the caps leave the proposals alone
    drawn: bool  # exploration may draw any plan that is left, so none may use more than the choice

    @classmethod
    def of(cls, engine: Engine, accounts: Accounts, found: Iterable[CapCandidates]) -> "Caps | None":
        """Solve for all accounts from what is proposed for them, part by part; None where no cap is set.

        Raises:
            CatalogueError: a floor without its column, or one that cannot be met.
        """
        caps = engine.settings.caps
        if all(getattr(caps, name) is None for name in CAPPED) and caps.group_floor <= 0:
            return None
        parts, group = list(found), _group(engine, accounts)
        return cls(
            choose(caps, Candidacies.joined([each.options for each in parts]), group),
            group,
            np.concatenate([each.apart for each in parts]),
            engine.settings.exploration > 0,
        )

    def take(self, rows: slice) -> "Caps":
        """The choice of some of the accounts."""
        return replace(
            self,
            portfolio=replace(self.portfolio, choice=self.portfolio.choice[rows]),
            group=None if self.group is None else self.group[rows],
            asked=self.asked[rows],
        )

    def hold(self, judged: Judged) -> Judged:
        """These accounts at the batch's prices, what the caps take from one marked ``CAP``."""
        balance = judged.plans.debts.balance
        used = uses(judged.plans)
        priced = self.portfolio.duals.priced(judged.score, balance, used, self.group)
        offers = judged.offers & ~self.asked[:, None]
        beyond = self.portfolio.beyond(priced, offers, balance, judged.no_plan)
        if self.drawn:
            beyond |= offers & _more(used, self.portfolio.choice)
        return replace(judged, score=priced, why=np.where(beyond, np.uint8(Why.CAP), judged.why))


def _more(used: Uses, choice: I64) -> Bool:
    """Candidates that use more of anything than the account's choice does, (n, P)."""
    rows, mine = np.arange(len(choice)), np.maximum(choice, 0)
    more = (used.agents > used.agents[mine][:, None]) | (used.contacts > used.contacts[mine][:, None])
    more |= used.discounts > used.discounts[rows, mine][:, None]
    return np.asarray(more & (choice != NONE)[:, None])


def _group(engine: Engine, accounts: Accounts) -> Objects | None:
    name = engine.settings.caps.group_column
    if name is None:
        return None
    column = accounts.beside.get(name, accounts.values.get(name))
    if column is None:
        raise CatalogueError(
            f"caps.group_column is {name}, and the accounts have no such column.",
            "Add it to the file, or to the mapping's SELECT.",
        )
    return np.asarray(column, dtype=object)
