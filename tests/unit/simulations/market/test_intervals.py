"""What of a gain may be chance: draws that members share are resampled together."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.simulations.market import cases, intervals, lenders, models, records, study
from fedrepay.simulations.market.intervals import Markets
from support.came_of import came_of


def member(better: float, base: float) -> intervals.Figures:
    return {"ways": {"shared": {"uplift": better}, "alone": {"uplift": base}}}


def drawn(effects: np.ndarray) -> Markets:
    """Markets of members of one size, from (markets, draws, members) gains."""
    return [[[member(1 + gain, 1.0) for gain in draw] for draw in market] for market in effects.tolist()]


def found(markets: Markets) -> intervals.Interval:
    told = intervals.ratio(markets, "shared", "alone", "uplift")
    assert told is not None
    return told


def width(markets: Markets) -> float:
    _, low, high = found(markets)
    return high - low


def each_by_itself(markets: Markets) -> Markets:
    """As if every member of every market and draw had been drawn by itself."""
    return [[[one for market in markets for draw in market for one in draw]]]


def test_the_middle_is_the_ratio_of_the_means() -> None:
    given = [
        [[member(0.3, 0.2), member(0.1, 0.2)]],
        [[member(0.5, 0.1)]],
    ]  # markets of two members and of one
    middle, low, high = found(given)
    assert middle == pytest.approx(0.9 / 0.5 - 1)
    assert low < middle < high


def test_of_equal_bases_it_is_students_interval_of_the_markets_means() -> None:
    gains = np.array([0.01, 0.02, 0.03, 0.05])
    reach = 3.182446305 * gains.std(ddof=1) / 2  # t of 3 degrees of freedom, 97.5 %
    assert found(drawn(gains[:, None, None])) == pytest.approx(
        (gains.mean(), gains.mean() - reach, gains.mean() + reach)
    )
    assert intervals.mean(gains.tolist()) == pytest.approx(found(drawn(gains[None, None, :])))


def test_members_of_one_draw_do_not_count_as_many_draws() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.05, (10, 3, 1)) + np.zeros((1, 1, 20))  # a draw's members gain or lose together
    assert width(each_by_itself(drawn(noise))) < 0.5 * width(
        drawn(noise)
    )  # one draw of noise counted as twenty


def test_draws_of_one_market_do_not_count_as_many_markets() -> None:
    rng = np.random.default_rng(2)
    together = drawn(rng.normal(0, 0.05, (10, 1, 1)) + np.zeros((1, 3, 20)))
    as_markets = [[draw] for market in together for draw in market]
    assert width(as_markets) < 0.75 * width(together)


def test_draws_of_one_market_do_not_count_as_members() -> None:
    rng = np.random.default_rng(3)
    once = drawn(rng.normal(0, 0.05, (1, 1, 20)))
    assert found([[once[0][0]] * 3]) == pytest.approx(found(once))


def test_where_own_models_add_nothing_there_is_no_ratio() -> None:
    for base in (0.0, -0.1):
        assert intervals.ratio([[[member(0.1, base)] * 3]], "shared", "alone", "uplift") is None
        assert intervals.ratio([[[member(0.1, base)] * 3]] * 4, "shared", "alone", "uplift") is None


def test_markets_without_such_members_say_nothing() -> None:
    rng = np.random.default_rng(4)
    given = drawn(rng.normal(0, 0.05, (5, 2, 4)))
    assert found([*given, [[], []]]) == pytest.approx(found(given))


def test_a_members_interval_knows_its_accounts_and_other_records_it_might_have_had() -> None:
    rng = np.random.default_rng(4)
    base = rng.uniform(0.1, 0.2, 400)
    better = base * 1.05 + rng.normal(0, 0.01, 400)
    steady, uneven = [base.mean()] * 200, (base.mean() * (1 + rng.normal(0, 0.03, 10))).tolist()

    def span(redrawn: list[float], comparisons: int = 1) -> float:
        found = intervals.gain(came_of(better), came_of(base), redrawn, comparisons)
        assert found is not None
        assert found[0] < better.mean() / base.mean() - 1 < found[1]
        return found[1] - found[0]

    assert intervals.gain(came_of(better), came_of(base), [base.mean()] * 4, 1) is None
    accounts_alone = span(steady)
    resampled = [better[here].mean() / base[here].mean() - 1 for here in rng.integers(0, 400, (4000, 400))]
    assert accounts_alone == pytest.approx(np.subtract(*np.percentile(resampled, [97.5, 2.5])), rel=0.1)
    assert span(uneven) > 5 * accounts_alone  # without other records it would be far too sure
    assert span(uneven, 20) > 1.3 * span(uneven)


def test_a_study_judges_members_by_models_of_other_records() -> None:
    who = lenders.lenders("mixed", 1, [60, 60])
    tables = {each.name: records.training_table(records.record(each, 1)) for each in who}
    shared = models.shared(list(tables.values()), None, 1, 1)
    given = {redraws: cases.cases(who, tables, 1, Settings(), 30, redraws=redraws) for redraws in (0, 5)}
    unjudged, judged = (study.study(each, shared)["members"] for each in given.values())
    assert {each["gain_interval"] for each in unjudged.values()} == {None}
    for name, case in zip(judged, given[5], strict=True):
        assert len(set(case.redrawn)) == 5  # other pasts, not one again and again
        low, high = judged[name]["gain_interval"]
        assert low <= judged[name]["gain"] <= high
        assert judged[name]["gain"] == unjudged[name]["gain"]


def test_a_draw_of_noise_is_its_own_and_without_noise_the_ridge_stays() -> None:
    who = lenders.lenders("mixed", 1, [300] * 3)
    tables = [records.training_table(records.record(each, 1)) for each in who]
    first, again, second = (models.shared(tables, 1.0, 1, 1, draw).weights for draw in (0, 0, 1))
    quiet = models.shared(tables, 1.0, 1, 1, noise=False).weights
    bare = models.shared(tables, None, 1, 1).weights
    assert (first == again).all()
    assert not np.allclose(first, second)
    steep = [np.abs(each[:, :-1]).max() for each in (quiet, bare)]  # all but the intercepts
    assert steep[0] < 0.5 * steep[1]  # the ridge of ε = 1 shrinks; without it hardly anything does
    assert not np.allclose(quiet, first)
