"""Facts that end every automatic offer and contact, wherever the debtor lives and whatever packs are given.

Packs say what the law of a place demands, and cite it. These facts forbid a machine's offer everywhere, so they do not
wait for a pack that reads them: collection rests, no letter is written, and a person looks at the case unless it only
has to rest. Only a fact that is known acts here; what is not known is the packs' business.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import Bool
from fedrepay.shared.rules.facts import FactTable

FOR_A_PERSON = ("dispute", "adviser_engaged", "time_barred", "deceased", "insolvent", "contact_refused")
"""Yes: collection rests, and a person decides what happens."""
RESTING = ("dormant", "agreement_kept")
"""Yes: collection rests, and nobody has to do anything: what was agreed is left alone."""
PAUSES = {"moratorium_day": 60, "mental_health_crisis_day": 30}
"""Days, from 0, of a breathing space (SI 2020/1311); held also where no pack reads it."""
WITH_CARE = ("health_data",)
"""Yes: a person decides (UK GDPR Art 22B, GDPR Art 22(4)); what the machine found is a proposal."""
DRIVER = "vulnerability_driver"
"""Any but ``none``: the same."""

WATCHED = (*FOR_A_PERSON, *RESTING, *WITH_CARE, *PAUSES, DRIVER)
"""Facts that spare a debtor where they are known."""


@dataclass(frozen=True, eq=False)
class Safeguards:
    """n accounts: ``rests`` no offer and no contact; ``person`` one looks at it; ``care`` a person decides; (n,) each."""

    rests: Bool
    person: Bool
    care: Bool

    def take(self, rows: npt.NDArray[np.integer]) -> "Safeguards":
        """Those of the chosen accounts."""
        return Safeguards(self.rests[rows], self.person[rows], self.care[rows])


def safeguards(facts: FactTable) -> Safeguards:
    """What the known facts of n accounts forbid.

    Raises:
        DataError: a fact is no such value.
    """

    def any_of(names: tuple[str, ...]) -> Bool:
        found = np.zeros(facts.accounts, np.bool_)
        for name in names:
            values, known = facts.read(name)
            found |= known & (values == 1)
        return found

    person = any_of(FOR_A_PERSON)
    for name, last in PAUSES.items():
        days, known = facts.read(name)
        person |= known & (days >= 0) & (days <= last)
    driver = facts.columns.get(DRIVER, ())
    driven = [row for row, each in enumerate(driver) if each not in (None, "", "none")]
    care = any_of(WITH_CARE)
    care[driven] = True
    return Safeguards(person | any_of(RESTING), person, care)
