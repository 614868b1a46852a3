"""Figures of a run on a table of rows: the release judged on held-out customers beside baselines.

Figures on test data and baselines without privacy are outside the guarantee and say so.
"""

from time import perf_counter
from typing import Any

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.scoring import torch_score
from fedrepay.client.scoring.score import good_value, probability
from fedrepay.shared.schema.bins import side
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.simulations.rows import baselines, figures, members, noise
from fedrepay.simulations.rows.columns import labels, owners, raw
from fedrepay.simulations.rows.prepare import Prepared
from fedrepay.simulations.rows.run_figures import (
    TELLS_ROWS,
    completed_mechanisms,
    curves,
    export_release,
    opened_sum_attack,
    run_arguments,
    run_figures,
)
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.consortium import Consortium

OUTSIDE = [
    "one_by_one",
    "base_rate",
    "noise",
    "auc",
    "log_loss",
    "calibration",
    "fairness",
    "the attack's comparison with the truth",
    *TELLS_ROWS,
]


def measure(
    arguments: Arguments,
    prepared: Prepared,
    consortium: Consortium,
    seconds: dict[str, float],
    *,
    resumed: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """metrics.json and the report's further details."""
    book = prepared.book
    release = export_release(consortium)
    mechanisms = completed_mechanisms(consortium, len(release.sums))
    good = good_value(book)
    begun = perf_counter()

    def federated(table: Table) -> np.ndarray:
        if consortium.model is not None:
            return torch_score.probability(consortium.model, book, release.weights[0], table.codes)
        return probability(book, release.weights[0], table.codes)

    def design(table: Table) -> np.ndarray:
        return book.rows(table.codes) / book.scale

    test, truth = prepared.test, labels(prepared.test)
    one_by_one = members.judge(book, prepared.parties, prepared.tests, federated, arguments.seed)
    scores = {"federated": federated(test)}
    whole = design(test)
    alone = [each.predict(whole) for each in one_by_one.alone]
    pooled, _ = baselines.ridge_logistic(
        design(prepared.train), labels(prepared.train), arguments.seed, owner=owners(prepared.train)
    )
    if pooled is not None:
        scores["pooled_no_privacy"] = pooled.predict(whole)
    if arguments.baselines:
        trees, _ = baselines.lightgbm_baseline(raw(prepared.train), labels(prepared.train), arguments.seed)
        if trees is not None:
            scores["pooled_lightgbm"] = trees.predict(raw(test))
    scores["constant"] = np.full(len(truth), labels(prepared.train).mean())
    auc = {name: figures.auc(truth, each) for name, each in scores.items()}
    loss = {name: figures.log_loss(truth, each) for name, each in scores.items()}
    seconds["baselines and figures"] = perf_counter() - begun
    metrics: dict[str, Any] = {
        "one_by_one": one_by_one.figures,
        "base_rate": float(truth.mean()),
        "noise": noise.told(
            noise_share(consortium.terms, prepared), truth, owners(test), scores["federated"]
        ),
        "auc": {
            "federated": auc["federated"],
            "alone_mean": float(np.mean([figures.auc(truth, each) for each in alone])) if alone else None,
            "pooled_no_privacy": auc.get("pooled_no_privacy"),
            "pooled_lightgbm": auc.get("pooled_lightgbm"),
            "constant": auc["constant"],
        },
        "log_loss": {
            "federated": loss["federated"],
            "alone_mean": float(np.mean([figures.log_loss(truth, each) for each in alone]))
            if alone
            else None,
            "pooled_no_privacy": loss.get("pooled_no_privacy"),
            "pooled_lightgbm": loss.get("pooled_lightgbm"),
            "constant": loss["constant"],
        },
        "calibration": {"federated": figures.calibration(truth, scores["federated"])},
        **run_figures(consortium, release, seconds, resumed=resumed),
        "seed": arguments.seed,
        "arguments": run_arguments(arguments, consortium)
        | {"split": arguments.split}
        | local_arguments(consortium),
        "outside_the_guarantee": OUTSIDE,
    }
    details = {
        "title": book.schema.title or book.schema.name,
        "good_outcome": f"{book.schema.outcomes[0].name} = {good}",
        "curves": curves(book, release, mechanisms),
        "attack": opened_sum_attack(consortium, release, mechanisms),
        "fairness": fairness(book, test, scores["federated"], good),
    }
    return metrics, details


def local_arguments(consortium: Consortium) -> dict[str, Any]:
    """The constants of local mode, as metrics.json shows them; nothing in the other modes."""
    local = consortium.terms.local
    return {} if local is None else local.model_dump(exclude={"model_hash", "parameters"})


def noise_share(terms: NumberedTerms, prepared: Prepared) -> float | None:
    """Length of the run's noise ÷ the longest sum its customers could make (``noise.share``); None without noise."""
    if terms.mode == "none":
        return None
    parties = prepared.parties
    customers = sum(len(np.unique(party.train.customers.astype(str))) for party in parties)
    parameters = terms.dimension if terms.local is None else terms.local.parameters
    noisy = 1 if terms.local is None else len(parties)
    return noise.share(terms.epsilon, terms.delta, customers, parameters, noisy)


def fairness(book: CodeBook, test: Table, scores: np.ndarray, good: int) -> list[dict[str, Any]]:
    """Per group of each audit column: rows, AUC, mean score and observed rate of the good outcome."""
    rows: list[dict[str, Any]] = []
    for column, values in test.audit.items():
        order = {label: place for place, label in enumerate(side(book.schema.column(column)).labels)}
        for group in sorted(set(values.astype(str)), key=lambda each: (order.get(each, len(order)), each)):
            inside = values.astype(str) == group
            truth = labels(test)[inside]
            likely = scores[inside] if good == 1 else 1 - scores[inside]
            rows.append(
                {
                    "column": column,
                    "group": group,
                    "rows": int(inside.sum()),
                    "auc": figures.auc(truth, scores[inside]),
                    "mean_score": float(likely.mean()),
                    "observed_rate": float((truth == good).mean()),
                }
            )
    return rows
