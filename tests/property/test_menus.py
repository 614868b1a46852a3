"""A menu is chosen as a set: its customer takes the recommended plan, no plan beats another, and all differ."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.client.plans.deciding.decide import best, decide
from fedrepay.client.plans.deciding.judged import NONE, Judged
from fedrepay.client.plans.deciding.menu import DIFFERENT, TOP, menu, picked
from support.judging import ARMS, EXAMPLE, judged_by

N = 12


def some(seed: int) -> Judged:
    rng = np.random.default_rng(seed)
    arms = len(ARMS.kind)
    first = rng.random((N, arms))
    return judged_by(
        EXAMPLE,
        balance=rng.integers(5_000, 600_000, N),
        bound=rng.integers(500, 60_000, N),
        apr=rng.choice([0.0, 0.1, 0.2, 0.4], N),
        first=first,
        kept=first * rng.random((N, arms)) * 0.6,
    )


def shown(of: Judged, top: np.ndarray, row: int) -> list[tuple[int, int, float]]:
    arms = [int(each) for each in top[row] if each != NONE]
    plans = of.plans
    return [(int(plans.total[row, a]), int(plans.monthly[row, a]), float(plans.months[row, a])) for a in arms]


@given(st.integers(0, 100_000))
def test_what_a_customer_takes_is_what_is_recommended(seed: int) -> None:
    of = some(seed)
    top = menu(of, best(of))
    for row in range(N):
        options = shown(of, top, row)
        if not options:
            continue
        columns = [np.array(each) for each in zip(*options, strict=True)]
        assert picked(*columns) == 0
        for place, one in enumerate(options):
            for other in options[:place]:
                assert not all(a <= b for a, b in zip(one, other, strict=True)), "one beats the other"
                assert not all(a >= b for a, b in zip(one, other, strict=True)), "one beats the other"
                assert abs(one[1] - other[1]) >= DIFFERENT * max(one[1], other[1])


@given(st.integers(0, 100_000))
def test_the_others_are_the_best_that_may_stand_there(seed: int) -> None:
    """Against a plain search, one option after the other."""
    of = some(seed)
    top, first = menu(of, best(of)), best(of)
    plans = of.plans
    for row in range(N):
        if first[row] == NONE:
            assert top[row].tolist() == [NONE] * TOP
            continue
        key = list(zip(plans.total[row], plans.monthly[row], plans.months[row], strict=True))
        chosen = [int(first[row])]
        for arm in sorted(np.flatnonzero(of.offers[row]), key=lambda a: (-of.score[row, a], a)):
            beaten = any(
                all(a <= b for a, b in zip(key[c], key[arm], strict=True))
                or all(a >= b for a, b in zip(key[c], key[arm], strict=True))
                or abs(key[c][1] - key[arm][1]) < DIFFERENT * max(key[c][1], key[arm][1])
                for c in chosen
            )
            if key[arm] > key[chosen[0]] and not beaten and len(chosen) < TOP:
                chosen.append(int(arm))
        assert top[row].tolist() == chosen + [NONE] * (TOP - len(chosen))


def test_the_best_three_by_score_alone_are_no_menu() -> None:
    """The control: among the three best, a customer takes another than the first, or one beats another."""
    taken = beaten = 0
    for seed in range(30):
        of = some(seed)
        three = np.argsort(-np.where(of.offers, of.score, -np.inf), axis=1, kind="stable")[:, :TOP]
        for row in np.flatnonzero(of.offers.sum(axis=1) >= TOP):
            options = shown(of, three, int(row))
            taken += picked(*(np.array(each) for each in zip(*options, strict=True))) != 0
            beaten += any(
                a is not b and all(x <= y for x, y in zip(a, b, strict=True))
                for a in options
                for b in options
            )
    assert taken > 20
    assert beaten > 20


def test_propensities_are_of_the_menu() -> None:
    of = some(1)
    found = decide(of, exploration=0.1, batch_id="b")
    for row in np.flatnonzero(found.propensity < 1):
        again = menu(of, np.where(np.arange(N) == row, found.top[:, 0], NONE).astype(np.int32))
        assert again[row].tolist() == found.top[row].tolist(), "the rest follows from the first"
