"""A lender before any release: its new accounts, what it knows by itself, and what that would bring.

Nothing here hangs on the noise, so all releases of a market are judged on the same cases.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fedrepay.client.data.reading.table import Table
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.simulations.market import evaluate, models, records
from fedrepay.simulations.market.evaluate import Ground, Proved
from fedrepay.simulations.market.lenders import Lender
from fedrepay.simulations.market.value import Worth


@dataclass(frozen=True, eq=False)
class LenderCase:
    """One lender: its training rows, its new accounts, and what came of each way that no release has a part in.

    ``redrawn`` is the mean value of its own model, fitted again to other records it might have had.
    """

    lender: Lender
    seed: int
    encoder: PairEncoder
    table: Table
    ground: Ground
    own: evaluate.Own
    before: dict[str, Worth]
    redrawn: tuple[float, ...]

    @cached_property
    def middle(self) -> Ground:
        """The same accounts without caution."""
        return evaluate.at_the_middle(self.encoder, self.ground)

    @cached_property
    def proved(self) -> dict[str, Proved]:
        """Accounts whose income nobody has proved, had they proved it."""
        return evaluate.proved(self.encoder, self.ground, self.seed)


def cases(
    lenders: Sequence[Lender],
    tables: Mapping[str, Table],
    seed: int,
    settings: Settings,
    accounts: int,
    *,
    trees: bool = False,
    redraws: int = 0,
    note: Callable[[str], None] = lambda _text: None,
) -> tuple[LenderCase, ...]:
    """Draw each lender's new accounts and fit its own models.

    Args:
        lenders: who.
        tables: each lender's training rows.
        seed: of the market.
        settings: the optimiser's.
        accounts: new accounts of each lender.
        trees: also fit each lender's own LightGBM.
        redraws: to so many other records the own models are fitted again.
        note: told which lender is next.
    """
    encoder, found = models.encoder(), []
    for lender in lenders:
        note(f"What {lender.name} would do without the others")
        ground = evaluate.ground(encoder, lender, seed, accounts, settings)
        own = evaluate.all_own_models(tables[lender.name], seed, trees=trees)
        before = evaluate.before(ground, own, seed)
        again = tuple(_again(ground, before, seed, number) for number in range(1, redraws + 1))
        found.append(LenderCase(lender, seed, encoder, tables[lender.name], ground, own, before, again))
    return tuple(found)


def _again(ground: Ground, before: dict[str, Worth], seed: int, number: int) -> float:
    """The mean value of the member's own model, had its records been others."""
    table = records.training_table(records.record(ground.lender, seed, number))
    best = evaluate.own_models(table, seed).best
    came = before["own_affordable"] if best is None else ground.worth(best.predict(ground.scored))
    return float(came.value.mean())
