"""A member's limits: its veto over what it takes part in. Its own file, its own numbers."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedrepay.shared.errors import ArgumentError, BudgetError, Code, Refusal
from fedrepay.shared.files import Part, parse_toml, read_bytes
from fedrepay.shared.privacy.delta import LARGEST, chosen_delta, largest_delta, usual_delta
from fedrepay.shared.schema.columns import Public
from fedrepay.shared.trust.roster import default_colluders, quorum
from fedrepay.shared.trust.terms import RunTerms
from fedrepay.shared.trust.wire import RoundConfig


class Limits(Part):
    """What this member allows; no text is taken for a number or a yes."""

    minimum_cohort: Annotated[int, Field(ge=3)] = 5  # 3 or 4 needs an explicit setting
    epsilon_per_release: Annotated[float, Field(gt=0)] = 1.0
    epsilon_per_year: Annotated[float, Field(gt=0)] = 4.0
    # None: min(1e-5, 1/(10·members_max·n_max))
    delta_per_year: Annotated[float, Field(gt=0, lt=1)] | None = None
    delta_per_release: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    max_attempts: Annotated[int, Field(ge=0)] = 3
    minimum_colluders: Annotated[int, Field(ge=1)] | None = None  # None: max(1, ⌈K/10⌉) of the roster
    allow_unprotected: bool = False
    allow_simulated: bool = False  # made-up members and people: never beside real debtors

    def check_terms(self, terms: RunTerms, roster_size: int, public: Public) -> None:
        """Refuse terms these limits, or the schema's public bounds, do not allow.

        Raises:
            Refusal: code ``limits``, with the limit and the value.
        """
        if terms.simulated and not self.allow_simulated:
            raise Refusal(
                Code.LIMITS, "The run is marked as a simulation and this member's limits do not allow that."
            )
        if terms.mode == "none":
            if not self.allow_unprotected:
                raise Refusal(
                    Code.LIMITS,
                    "The run adds no noise (mode none) and this member's limits do not allow that.",
                    "Set allow_unprotected = true only for data that needs no protection.",
                )
        else:
            _at_most("epsilon", terms.epsilon, self.epsilon_per_release)
            bound = largest_delta(public)
            _at_most("delta", terms.delta, min(self.delta_per_release, bound))
            if self.delta_per_year is not None and self.delta_per_year > bound:
                raise Refusal(
                    Code.LIMITS, f"delta_per_year = {self.delta_per_year:g} passes {LARGEST} = {bound:g}."
                )
            least = self.minimum_colluders or default_colluders(roster_size)
            if terms.colluders < least:
                raise Refusal(Code.LIMITS, f"colluders = {terms.colluders} is below this member's {least}.")
        _at_most("max_attempts", terms.max_attempts, self.max_attempts)
        _at_most("members", roster_size, public.members_max)
        if roster_size < self.minimum_cohort:
            raise Refusal(
                Code.LIMITS,
                f"A roster of {roster_size} is below this member's minimum_cohort = {self.minimum_cohort}.",
            )

    def check(self, config: RoundConfig, roster_size: int, public: Public) -> None:
        """Refuse a round these limits, or the schema's public bounds, do not allow.

        Raises:
            Refusal: code ``limits``, with the limit and the value.
        """
        self.check_terms(config, roster_size, public)
        needed = max(self.minimum_cohort, quorum(roster_size, config.colluders))
        if len(config.cohort) < needed:
            raise Refusal(Code.LIMITS, f"A cohort of {len(config.cohort)} is below this member's {needed}.")

    def year_delta(self, public: Public) -> float:
        """δ at which the year's attempts are composed: this member's own, else min(1e-5, the schema's bound)."""
        return usual_delta(public) if self.delta_per_year is None else self.delta_per_year

    def check_year(self, epsilon: float, delta: float) -> None:
        """Refuse an attempt that would pass the yearly budget.

        Args:
            epsilon: composed ε of the year, this attempt included.
            delta: the δ it was composed at (:meth:`year_delta`).

        Raises:
            BudgetError: it passes the limit.
        """
        if epsilon > self.epsilon_per_year:
            raise BudgetError(
                f"This attempt would bring the year's ε to {epsilon:.4g}; the limit is "
                f"{self.epsilon_per_year:.4g} at δ = {delta:g}.",
                "The budget is spent. Wait until older releases are a year old, or raise the limit on purpose.",
            )


def load(path: Path, public: Public) -> Limits:
    """Limits from a TOML file.

    Args:
        path: the file.
        public: the schema's public bounds, which cap the year's δ.

    Raises:
        ArgumentError: it cannot be read, or lines in it are unknown or out of bounds: all of them at once.
    """
    remedy = "`fedrepay member serve --help` shows the lines."
    data = read_bytes(path, ArgumentError, "Check --limits.")
    made = parse_toml(data, str(path), Limits, ArgumentError, remedy)
    chosen_delta(made.delta_per_year, public, f"{path}: delta_per_year =")
    return made


def _at_most(name: str, value: float, limit: float) -> None:
    if value > limit:
        raise Refusal(Code.LIMITS, f"{name} = {value:g} passes this member's limit of {limit:g}.")
