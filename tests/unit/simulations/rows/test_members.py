"""Members one by one: on their own customers, with nothing chosen there."""

from dataclasses import replace

import numpy as np
import pytest

from fedrepay.client.data.reading.table import Table
from fedrepay.simulations.rows import figures, members, one_member
from fedrepay.simulations.rows.columns import labels
from fedrepay.simulations.run.consortium import Party
from support.customers import book, customers, logit

USUAL, REVERSED = (0.9, 0.4, -0.3), (-0.9, -0.4, 0.3)
ROWS = 900


def shared(table: Table) -> np.ndarray:
    """What most members' customers are like."""
    return np.asarray(1 / (1 + np.exp(-logit(table.codes, USUAL))))


def consortium(rows: int = ROWS) -> tuple[list[Party], dict[str, Table]]:
    """Three members; the customers of the first are the reverse of the others'."""
    slopes = {"m01": REVERSED, "m02": USUAL, "m03": USUAL}
    trains = [Party(name, customers(rows, of, seed)) for seed, (name, of) in enumerate(slopes.items())]
    tests = {name: customers(ROWS, of, 50 + seed) for seed, (name, of) in enumerate(slopes.items())}
    return trains, tests


def test_a_member_that_gains_on_others_customers_alone_is_shown_as_losing() -> None:
    parties, tests = consortium()
    found = members.judge(book(), parties, tests, shared, 1)
    one = found.figures["members"]["m01"]
    assert one["verdict"] == "lose"
    assert one["gain_interval"][1] < -0.3
    assert (found.figures["lose"], found.figures["judged"]) == (1, 3)
    # control, the figure that stood first before: its own model scored on everybody's customers
    everybody = [(table, labels(table)) for table in tests.values()]
    rows = np.concatenate([book().rows(table.codes) / book().scale for table, _ in everybody])
    truth = np.concatenate([y for _, y in everybody])
    scores = np.concatenate([shared(table) for table, _ in everybody])
    before = (figures.auc(truth, scores) or 0) - (figures.auc(truth, found.alone[0].predict(rows)) or 0)
    assert before > 0.1, "a large gain, by that figure"


def test_a_constant_and_the_base_rate_stand_beside_every_model() -> None:
    parties, tests = consortium()
    one = members.judge(book(), parties, tests, shared, 1).figures["members"]["m01"]
    assert one["base_rate"] == labels(tests["m01"]).mean()
    rate = labels(parties[0].train).mean()
    y = labels(tests["m01"])
    assert one["log_loss"]["constant"] == pytest.approx(figures.log_loss(y, np.full(len(y), rate)))
    assert one["log_loss"]["alone"] < one["log_loss"]["constant"] < one["log_loss"]["federated"]


@pytest.mark.parametrize(("rows", "corrects"), [(1500, True), (1499, False)])
def test_with_rows_enough_its_own_part_makes_up_for_it(rows: int, *, corrects: bool) -> None:
    parties, tests = consortium(rows)
    found = members.judge(book(), parties, tests, shared, 1).figures
    one = found["members"]["m01"]
    assert one["own_part_corrects"] is corrects
    assert (abs(one["own_part_gain"]) < 0.01) is corrects
    assert found["own_part"]["enough_rows"] == (3 if corrects else 0)
    assert found["own_part"]["surely_worse"] == 0
    assert one["verdict"] == "lose", "the shared model by itself stays what it is"


def test_a_member_like_the_others_keeps_the_shared_model() -> None:
    parties, tests = consortium(1500)
    found = members.judge(book(), parties, tests, shared, 1).figures
    for name in ("m02", "m03"):
        one = found["members"][name]
        assert not one["own_part_corrects"]
        assert one["own_part"] == pytest.approx(one["federated"], abs=1e-3)  # ties by rounding
    assert found["own_part"]["corrected"] == 1


def test_nothing_is_chosen_on_held_out_rows() -> None:
    parties, tests = consortium(1500)
    test = tests["m01"]
    turned = replace(test, outcomes=1 - labels(test)[:, None])

    def judged(train: Table, held_out: Table) -> one_member.OneMember:
        return one_member.judge(book(), train, held_out, shared, 1, None)

    usual, other = judged(parties[0].train, test), judged(parties[0].train, turned)
    assert usual.alone is not None
    assert other.alone is not None
    assert np.array_equal(usual.alone.weights, other.alone.weights)
    for name in ("federated", "alone", "own_part"):
        assert usual.figures[name] == pytest.approx(1 - other.figures[name]), (
            "the same scores, judged in reverse"
        )
    train = parties[0].train
    learned = judged(
        replace(train, outcomes=1 - labels(train)[:, None]), test
    )  # control: training rows do choose
    assert learned.alone is not None
    assert not np.array_equal(learned.alone.weights, usual.alone.weights)


def test_rows_of_a_customer_are_no_further_evidence() -> None:
    train, test = customers(600, USUAL, 3), customers(300, USUAL, 4)
    five = customers(1500, USUAL, 4, rows_each=5)  # the same 300 customers, five times
    assert np.array_equal(five.codes[::5], test.codes)
    once, often = (one_member.judge(book(), train, each, shared, 1, None).gain for each in (test, five))
    assert once is not None
    assert often is not None
    assert often.variance == pytest.approx(once.variance, rel=0.02)
    assert once.chance[1][0] > 0, "chance in the records the own model was fitted to is in it"


def test_who_cannot_be_judged_has_a_reason_and_no_verdict() -> None:
    parties, tests = consortium()
    train = parties[0].train
    none = replace(train, outcomes=np.zeros_like(train.outcomes))
    lone = replace(train, outcomes=np.eye(1, len(train.codes), dtype=np.int8).T)
    cases = [
        (one_member.judge(book(), train, tests["m01"].take(np.arange(4)), shared, 1, None), "5 of each are"),
        (one_member.judge(book(), none, tests["m01"], shared, 1, None), "all training rows have label 0"),
        (one_member.judge(book(), lone, tests["m01"], shared, 1, None), "one training customer of a label"),
        (
            one_member.judge(book(), train.take(np.arange(0)), tests["m01"], shared, 1, None),
            "no training rows",
        ),
        (one_member.judge(book(), train, tests["m01"].take(np.arange(0)), shared, 1, None), "5 of each are"),
        (one_member.judge(book(), train, tests["m01"], shared, 1, "Not fitted."), "Not fitted."),
    ]
    told = members.together({f"m{i}": found for i, (found, _) in enumerate(cases)})
    assert (told["judged"], told["not_judged"], told["mean_gain"]) == (0, 6, None)
    for (_, reason), one in zip(cases, told["members"].values(), strict=True):
        assert reason in one["reason"]
        assert one["verdict"] is one["gain"] is one["own_part_gain"] is None
