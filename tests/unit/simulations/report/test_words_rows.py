"""What is said of a run on rows: each member's own customers first, everybody's second and by that name."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from fedrepay.simulations.report import render, words_rows
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import summary
from support import report_fixture
from support.pages import body


def terminal(metrics: dict[str, object]) -> str:
    console = Console(file=StringIO(), width=200)
    summary(console, metrics, Folder(Path("out")))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_own_customers_stand_first_and_everybodys_say_what_they_are() -> None:
    metrics = report_fixture.metrics()
    said = words_rows.outcome(metrics)
    assert said[0] == "Members on their own held-out customers: of 19, 13 gain, 1 loses, 5 cannot be told."
    shown = terminal(metrics)
    own, everybody = (
        shown.index("of 19, 13 gain, 1 loses, 5 cannot be told"),
        shown.index("Everybody's customers"),
    )
    assert own < everybody < shown.index("0.7849, 0.4312")
    assert "0.7867, 0.7639, 0.5" in shown[own:everybody]
    assert "+0.0228 [+0.0153, +0.0307]" in shown[own:everybody]
    assert (
        "of 17 with rows enough, 12 gain, 0 lose, 5 cannot be told; none surely worse by more than 0.002 AUC, 16 surely not"
        in shown
    )
    assert "a constant (base rate 22.2\u00a0%)" in shown
    assert "0.5000, 0.5291" in shown
    page = body(render.render(metrics, report_fixture.details()))
    assert page.index("own held-out customers") < page.index("everybody's held-out customers")
    assert "No member has that mix of customers" in page


def test_losers_are_counted_as_losers_whatever_the_mean_says() -> None:
    """As on the bank's rows: none gained, six lost, and 0.946 stood against 0.825."""
    metrics = report_fixture.metrics()
    metrics["auc"] |= {"federated": 0.946, "alone_mean": 0.825}
    metrics["one_by_one"] |= {"judged": 14, "gain": 0, "lose": 6, "unclear": 8}
    assert "of 14, 0 gain, 6 lose, 8 cannot be told" in words_rows.outcome(metrics)[0]
    assert "of 14, 0 gain, 6 lose, 8 cannot be told" in terminal(metrics)


def test_noise_only_is_said() -> None:
    metrics = report_fixture.metrics()
    assert "Noise only" not in terminal(metrics) + " ".join(words_rows.outcome(metrics))
    metrics["auc"]["federated"] = 0.54
    metrics["noise"] = {"share": 0.11, "thin": True, "auc_interval": [0.43, 0.65], "only": True}
    said = words_rows.outcome(metrics)
    assert said[1].startswith("Noise only: the AUC 0.540 [0.430, 0.650] on everybody's held-out customers")
    assert said[2].startswith("The noise of ε = 1 is 11\u00a0% as long as the longest sum")
    assert "Noise only" in terminal(metrics)


def test_nobody_to_judge_and_nobody_with_rows_enough() -> None:
    metrics = report_fixture.metrics()
    one = metrics["one_by_one"]
    one |= {"judged": 0, "mean_gain": None, "mean_gain_interval": None}
    one["own_part"]["enough_rows"] = 0
    assert "no member has enough customers to be judged" in terminal(metrics)
    assert "own part" not in terminal(metrics)
