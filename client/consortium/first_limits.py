"""The limits that a member begins with: the consortium's terms, but never looser than those of who sets none."""

from pathlib import Path

from fedrepay.client.store import settings
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import parse_toml, read_bytes
from fedrepay.shared.trust.agreement import ConsortiumTerms

FILE = "limits.toml"


def least_cohort(folder: Path) -> int:
    """The smallest cohort that this member takes part in: of its own limits, or of who sets none.

    Raises:
        ArgumentError: the limits cannot be read.
    """
    path = folder / (settings.load(folder).limits or FILE)
    if not path.exists():
        return Limits().minimum_cohort
    return parse_toml(
        read_bytes(path, ArgumentError), str(path), Limits, ArgumentError, "Mend it."
    ).minimum_cohort


def limits_text(terms: ConsortiumTerms) -> str:
    """A commented limits.toml: the terms, but never looser than the limits of who sets none."""
    strict = Limits()
    cohort = max(strict.minimum_cohort, terms.minimum_cohort)
    lower = (
        ""
        if terms.minimum_cohort >= strict.minimum_cohort
        else f"; the consortium's terms allow {terms.minimum_cohort}: lower it on purpose or such runs are refused"
    )
    epsilon = min(strict.epsilon_per_release, terms.epsilon_per_release)
    year = min(strict.epsilon_per_year, terms.epsilon_per_year)
    colluders = (
        "# minimum_colluders = 1     # default: a tenth of the roster, at least 1"
        if terms.colluders is None
        else f"minimum_colluders = {terms.colluders}       # c of a run is no smaller"
    )
    return f"""\
# This member's veto: what it takes part in. Stricter than the consortium's terms is always allowed.
minimum_cohort = {cohort}          # no roster or cohort has fewer members{lower}
epsilon_per_release = {epsilon:g}     # the largest ε of one customer for one release
epsilon_per_year = {year:g}        # and for all releases of 365 days
# delta_per_year = 1e-8    # at most 1/(10·members_max·n_max); default min(1e-5, that)
{colluders}
allow_unprotected = false  # true takes part in runs without noise
"""
