"""Which year is played, checked before anything is drawn."""

from dataclasses import dataclass

from fedrepay.client.learning.dp_recursive import FIRST_ROUNDS, LATER_ROUNDS, DPRecursive
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.simulations.engines import clear
from fedrepay.simulations.market import models, records
from fedrepay.simulations.market.models import ATTEMPTS
from fedrepay.simulations.market.year.presets import YEARS, YearPreset, market_of
from fedrepay.simulations.run.arguments import MarketArguments

MOST_MONTHS = 24
LEAST_WITH_NEWCOMERS = 5


@dataclass(frozen=True, kw_only=True)
class YearPlan:
    """Which year is played.

    Args:
        preset: which market, and how it changes.
        members: lenders.
        scale: multiplies every lender's offers.
        months: how many are played.
        epsilon: of one customer, all windows together.
        colluders: c; None for the default.
        seed: of the market, of what happens in it, and of the noise.
        draw: which draw of the noise.
        only: these worlds alone; empty for all.
    """

    preset: YearPreset = "mixed"
    members: int = 20
    scale: float = 1.0
    months: int = 12
    epsilon: float = 1.0
    colluders: int | None = None
    seed: int = 1
    draw: int = 0
    only: tuple[str, ...] = ()

    @property
    def borne(self) -> int:
        """Members that may collude with the coordinator."""
        return default_colluders(self.members) if self.colluders is None else self.colluders

    def check(self) -> None:
        """Refuse what cannot be played.

        Raises:
            ArgumentError: naming option, value and bound.
            BudgetError: no noise gives this ε.
        """
        if self.preset not in YEARS:
            raise ArgumentError(
                f"--market {self.preset} is unknown.", f"Of a year, choose {', '.join(YEARS)}."
            )
        if self.preset == "newcomer" and self.members <= LEAST_WITH_NEWCOMERS:
            raise ArgumentError(
                f"--members {self.members} are too few for three newcomers.",
                f"Give {LEAST_WITH_NEWCOMERS + 1} or more.",
            )
        if not 1 <= self.months <= MOST_MONTHS:
            raise ArgumentError(f"--months {self.months} is outside 1 … {MOST_MONTHS}.", "12 is the default.")
        MarketArguments(
            preset=market_of(self.preset),
            members=self.members,
            scale=self.scale,
            epsilon=self.epsilon,
            colluders=self.colluders,
            seed=self.seed,
        ).check()
        for rounds in (FIRST_ROUNDS, LATER_ROUNDS):
            planned = clear.planned(
                DPRecursive(records.book(), rounds),
                epsilon=self.epsilon,
                delta=models.delta(),
                members=self.members,
                colluders=self.borne,
                max_attempts=ATTEMPTS,
            )
            for mechanism in (each for charged in planned for each in charged):
                DiscreteGaussian(mechanism.share_variance)  # which no table holds is refused here
