"""Figures of a run on a table of rows: the release judged on held-out customers beside baselines.

Figures on test data and baselines without privacy are outside the guarantee and say so.
"""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.scoring import torch_score
from fedrepay.client.scoring.score import good_value, probability
from fedrepay.shared.schema.bins import side
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.rows import baselines, figures
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

MOST_ALONE = 200  # models of single members that are fitted, each with its own cross-validation
OUTSIDE = [
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
    scores = {"federated": federated(test)}
    whole = design(test)
    fitted = alone_sample([party.name for party in prepared.parties], arguments.seed)
    alone_auc: list[float] = []
    alone_loss: list[float] = []
    members: dict[str, Any] = {}
    for party in prepared.parties:
        own = prepared.tests[party.name]
        if party.name in fitted:
            alone, reason = baselines.ridge_logistic(design(party.train), labels(party.train), arguments.seed)
        else:
            alone, reason = (
                None,
                f"Not fitted: {MOST_ALONE} of {len(prepared.parties)} members are, drawn at random.",
            )
        shared = federated(own)
        row: dict[str, Any] = {"rows": len(party.train.codes), "test_rows": len(own.codes)}
        alone_own = None if alone is None else alone.predict(design(own)) if len(own.codes) else np.zeros(0)
        row |= figures.compare(labels(own), shared, alone_own, arguments.seed, own.customers)
        row["reason"] = reason or row["reason"]
        if alone is not None:
            predicted = alone.predict(whole)
            alone_auc.append(figures.auc(truth, predicted) or 0.0)
            alone_loss.append(figures.log_loss(truth, predicted))
        members[party.name] = row
    pooled, _ = baselines.ridge_logistic(design(prepared.train), labels(prepared.train), arguments.seed)
    if pooled is not None:
        scores["pooled_no_privacy"] = pooled.predict(whole)
    if arguments.baselines:
        trees, _ = baselines.lightgbm_baseline(raw(prepared.train), labels(prepared.train), arguments.seed)
        if trees is not None:
            scores["pooled_lightgbm"] = trees.predict(raw(test))
    auc = {name: figures.auc(truth, each) for name, each in scores.items()}
    loss = {name: figures.log_loss(truth, each) for name, each in scores.items()}
    seconds["baselines and figures"] = perf_counter() - begun
    metrics: dict[str, Any] = {
        "auc": {
            "federated": auc["federated"],
            "alone_mean": float(np.mean(alone_auc)) if alone_auc else None,
            "pooled_no_privacy": auc.get("pooled_no_privacy"),
            "pooled_lightgbm": auc.get("pooled_lightgbm"),
            "members": members,
        },
        "log_loss": {
            "federated": loss["federated"],
            "alone_mean": float(np.mean(alone_loss)) if alone_loss else None,
            "pooled_no_privacy": loss.get("pooled_no_privacy"),
            "pooled_lightgbm": loss.get("pooled_lightgbm"),
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


def alone_sample(names: Sequence[str], seed: int) -> frozenset[str]:
    """Members whose own model is fitted: all, or a drawn part of more than ``MOST_ALONE``."""
    if len(names) <= MOST_ALONE:
        return frozenset(names)
    return frozenset(np.random.default_rng([seed, 51]).choice(names, MOST_ALONE, replace=False).tolist())


def labels(table: Table) -> np.ndarray:
    """The one outcome of a table that was read with it, (n,) of 0 and 1."""
    if table.outcomes is None or table.outcomes.shape[1] != 1:
        raise ValueError("the table was read without its one outcome")
    return table.outcomes[:, 0]


def raw(table: Table, names: Iterable[str] | None = None) -> np.ndarray:
    """Canonical columns (all, or the named ones) as numbers, (n, columns), for trees; categories become codes."""
    columns = []
    for name in table.values if names is None else names:
        values = table.values[name]
        numeric = values.dtype.kind == "f"
        columns.append(values if numeric else np.unique(values.astype(str), return_inverse=True)[1])
    return np.column_stack(columns).astype(np.float64)


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
