"""Labels equal a slow oracle that walks through every day; no offer's rows touch another's labels."""

from dataclasses import replace
from datetime import date
from random import Random

import numpy as np
import pytest

from fedrepay.shared.plans.outcomes import derive
from support.outcomes_oracle import DAY, EPOCH, Case, Pay, Reprofile, arrays, labels, later

SHARES = [100] * 12 + [10, 50, 89, 90, 90, 91, 110, 150, 190, 200, 250]
DELAYS = [0, 0, 0, 7, 7, -1, -12, 3, 8, 30, 90]


def made_up(rng: Random) -> Case:
    """An offer whose payments lie near its due dates and near the bounds of the rules."""
    offered = date(2024, 1, 1) + rng.randrange(60) * DAY
    first = offered + rng.choice([0, 1, 7, 14, 30, 45]) * DAY
    frequency = rng.choice(["weekly", "biweekly", "monthly", "monthly"])
    instalment = rng.choice([100, 1000])
    case = Case(
        offered,
        first,
        instalment,
        rng.choice([1, 1, 2, 3, 6, 14, 60]),
        frequency,
        agreed=rng.choice([*[offered] * 6, offered + 14 * DAY, offered + 15 * DAY, None]),
        censored=rng.choice([*[None] * 12, *(first + each * DAY for each in (6, 7, 8, 30, 89, 90, 91))]),
    )
    reprofiles: list[Reprofile] = []
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        near = later(first, frequency, rng.randrange(4))
        on = rng.choice([first - 9 * DAY, first, first + 1 * DAY, near, near + 7 * DAY, near + 8 * DAY])
        on = rng.choice([on, on, first + rng.randrange(-20, 100) * DAY, first + 90 * DAY, first + 91 * DAY])
        if on >= offered and all(on != each.on for each in reprofiles):
            due = on + rng.choice([0, 1, 7, 14, 30]) * DAY
            reprofiles.append(Reprofile(on, due, instalment * rng.choice([50, 100, 130, 300]) // 100))
    payments: list[Pay] = []
    pays = rng.choice([0.5, 0.8, 1.0])
    for start, amount in [(first, instalment), *((each.next_due, each.instalment) for each in reprofiles)]:
        for k in range(rng.choice([0, 1, 2, 3, 14])):
            if rng.random() < pays:
                on = later(start, frequency, k) + rng.choice(DELAYS) * DAY
                payments.append(Pay(len(payments), on, amount * rng.choice(SHARES) // 100))
    for each in list(payments):
        event, late = rng.randrange(30), each.on + rng.choice([0, 5, 40, 200]) * DAY
        if event == 0:
            payments.append(Pay(1000 + len(payments), late, each.amount, each.id))
        elif event == 1:
            payments.append(replace(each, amount=-each.amount, on=late))
        elif event == 2:
            payments.append(each)
    if rng.random() < 0.2:
        payments.append(Pay(999, offered + rng.choice([-1, 0]) * DAY, instalment))
    rng.shuffle(payments)
    return replace(case, payments=tuple(payments), reprofiles=tuple(reprofiles))


@pytest.mark.parametrize("after", [7, 14, 40, 90, 120, 600])
def test_labels_equal_the_oracle(after: int) -> None:
    rng = Random(after)
    some = [made_up(rng) for _ in range(1200)]
    as_of = date(2024, 2, 1) + after * DAY
    found = derive(*arrays(some), (as_of - EPOCH).days)
    right = [labels(each, as_of) for each in some]
    assert list(zip(found.first_paid.tolist(), found.kept_90.tolist(), strict=True)) == right
    assert {first for first, _ in right} == {-1, 0, 1}
    assert {kept for _, kept in right} == ({-1, 0, 1} if after >= 90 else {-1})


def test_an_offer_s_labels_depend_on_its_own_rows_only() -> None:
    rng = Random(1)
    some = [made_up(rng) for _ in range(60)]
    as_of = (date(2026, 1, 1) - EPOCH).days
    together = derive(*arrays(some), as_of)
    alone = [derive(*arrays([each]), as_of) for each in some]
    assert together.first_paid.tolist() == [int(each.first_paid[0]) for each in alone]
    assert together.kept_90.tolist() == [int(each.kept_90[0]) for each in alone]
    assert len(np.unique(together.kept_90)) == 3
