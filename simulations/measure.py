"""Figures of a finished run: the release judged on held-out customers, costs, and the attack.

Only the driver reads members' stores, and only here; figures on test data and baselines without
privacy are outside the guarantee and say so.
"""

import json
import resource
from collections.abc import Iterable
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np

from fedrepay.client.data.table import Table
from fedrepay.client.learning import make_learner
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.score import block_effects, good_value, probability
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.schema.bins import layouts, side
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.columns import PAIR
from fedrepay.shared.secure_sum.ring import chunk_count
from fedrepay.shared.trust.plan import sum_sizes
from fedrepay.shared.trust.release import Release
from fedrepay.shared.trust.roster import minimum_cohort
from fedrepay.shared.trust.wire import Votes
from fedrepay.simulations import attack_opened_sum, baselines, figures
from fedrepay.simulations.arguments import Arguments, write_atomically
from fedrepay.simulations.consortium import Consortium, snapshot
from fedrepay.simulations.prepare import Prepared

VERSION = 1
OUTSIDE = [
    "auc",
    "log_loss",
    "calibration",
    "fairness",
    "the attack's comparison with the truth",
]
PACKAGES = ("fedrepay", "flwr", "tenseal", "dp-accounting", "cryptography", "numpy", "duckdb", "scikit-learn")
CEREMONY = ("hello", "introduce", "seed", "context", "confirm")


def export_release(consortium: Consortium) -> Release:
    """Copy the opened release from the first member that stored it to ``DIR/release``."""
    for party in consortium.parties:
        stored = consortium.store(party.name).release()
        if stored is not None:
            _, data, votes = stored
            Votes.decode(votes)
            write_atomically(consortium.folder.release / release_file.RELEASE, data)
            write_atomically(consortium.folder.release / release_file.VOTES, votes)
            return Release.decode(data)
    raise AssertionError("a finished run leaves its release at more than half of the members")


def completed_mechanisms(consortium: Consortium, sums: int) -> list[tuple[Mechanism, ...]]:
    """The mechanisms behind each opened sum, from the first ledger that was charged for all of them."""
    run = consortium.plan.run
    for party in consortium.parties:
        store = consortium.store(party.name)
        charged = {e.attempt: e.event for e in store.ledger() if e.run == run and e.status == "reserved"}
        opened = [opening.attempt for opening in store.openings(run)]
        if len(opened) == sums and set(opened) <= set(charged):
            return [tuple(Mechanism(**facts) for facts in charged[attempt]) for attempt in opened]
    return [()] * sums


def measure(
    arguments: Arguments,
    prepared: Prepared,
    consortium: Consortium,
    seconds: dict[str, float],
    *,
    resumed: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """metrics.json and the report's further details."""
    book, plan = prepared.book, consortium.plan
    release = export_release(consortium)
    mechanisms = completed_mechanisms(consortium, len(release.sums))
    good = good_value(book)
    begun = perf_counter()

    def federated(table: Table) -> np.ndarray:
        return probability(book, release.weights[0], table.codes)

    def design(table: Table) -> np.ndarray:
        return book.rows(table.codes) / book.scale

    test, truth = prepared.test, labels(prepared.test)
    scores = {"federated": federated(test)}
    whole = design(test)
    alone_auc: list[float] = []
    alone_loss: list[float] = []
    members: dict[str, Any] = {}
    for party in prepared.parties:
        own = prepared.tests[party.name]
        alone, reason = baselines.ridge_logistic(design(party.train), labels(party.train), arguments.seed)
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
    wire = wire_bytes(consortium)
    sizes = sum_sizes(plan.learner, plan.dimension, plan.rounds, plan.heads)[: len(release.sums)]
    metrics: dict[str, Any] = {
        "version": VERSION,
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
        "privacy": release.statement,
        "rounds": len(release.sums),
        "attempts": release.card["attempts"],
        "attempts_void": release.card["attempts"] - len(release.sums),
        "members": len(prepared.parties),
        "smallest_cohort": min(len(cohort) for cohort in release.card["cohorts"]),
        "minimum_cohort": minimum_cohort(len(prepared.parties), plan.colluders),
        "parameters": release.card["parameters"],
        "values_summed": sum(sizes),
        "ciphertexts_per_release": sum(chunk_count(size) for size in sizes),
        **wire,
        "seconds": {name: round(value, 3) for name, value in (seconds | consortium.stages).items()},
        "resumed": resumed,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "versions": {name: version(name) for name in PACKAGES},
        "seed": arguments.seed,
        "arguments": {
            "split": arguments.split,
            "members": len(prepared.parties),
            "rounds": plan.rounds,
            "mode": plan.mode,
            "drop": list(arguments.drop),
            "schema": f"{book.schema.name} {book.schema.version}",
        },
        "outside_the_guarantee": OUTSIDE,
        "roster_code": consortium.roster_code,
    }
    details = {
        "title": book.schema.title or book.schema.name,
        "good_outcome": f"{book.schema.outcomes[0].name} = {good}",
        "curves": curves(book, release, mechanisms),
        "attack": opened_sum_attack(prepared, consortium, release, mechanisms),
        "fairness": fairness(book, test, scores["federated"], good),
    }
    return metrics, details


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


def wire_bytes(consortium: Consortium) -> dict[str, float]:
    """Bytes a member sent and received, from the transcript (all sessions of the run)."""
    up = ceremony = down = release = 0
    with (consortium.folder.transcript / "messages.jsonl").open() as file:
        for line in file:
            message = json.loads(line)
            down += message["bytes_down"]
            if message["kind"] == "round":
                up += message["body"]
            elif message["kind"] in CEREMONY:
                ceremony += message["body"]
            elif message["kind"] == "write":
                release = max(release, message["body"])
    members = len(consortium.parties)
    return {
        "bytes_up_per_member": up / members,
        "bytes_ceremony_per_member": ceremony / members,
        "bytes_release": release,
        "bytes_down_per_member": down / members,
    }


def curves(book: CodeBook, release: Release, mechanisms: list[tuple[Mechanism, ...]]) -> list[dict[str, Any]]:
    """What the model learned: log-odds of the good outcome per bin, with the noise's standard deviation."""
    towards = 1.0 if good_value(book) == 1 else -1.0
    learner = make_learner(release.card["learner"], book, len(release.sums))
    state = learner.start()
    for index, (opened, charged) in enumerate(zip(release.sums, mechanisms, strict=True)):
        state = learner.step(index, state, opened, charged)
    deviations = learner.weight_noise(state)[0]
    effects = block_effects(book, release.weights[0])
    result = []
    for layout, effect, deviation in zip(layouts(book.schema), effects, deviations, strict=False):
        centred = towards * (effect - effect.mean())
        curve: dict[str, Any] = {"name": PAIR.join(layout.columns), "kind": layout.kind}
        if layout.kind == "cross":
            rows, columns = (list(side.labels) for side in layout.sides)
            curve |= {"rows": rows, "columns": columns}
            curve["effect"] = centred.reshape(len(rows), len(columns)).tolist()
        else:
            curve |= {"labels": list(layout.labels), "effect": centred.tolist()}
            curve["sd"] = deviation.tolist() if any(mechanisms) else None
        result.append(curve)
    return result


def opened_sum_attack(
    prepared: Prepared, consortium: Consortium, release: Release, mechanisms: list[tuple[Mechanism, ...]]
) -> dict[str, Any] | None:
    """The attack on the opened Gram matrix at this K; None where the learner opens no Gram matrix."""
    plan, book = consortium.plan, prepared.book
    if plan.learner != "dp-newton":
        return None
    learner = make_learner(plan.learner, book, plan.rounds)
    taking_part = release.card["cohorts"][0]
    cohort = {
        party.name: learner.contribution(0, learner.start(), snapshot(book, party.train, b"")[0])
        for party in prepared.parties
        if party.name in taking_part
    }
    variance = mechanisms[0][0].share_variance if mechanisms[0] else 0.0
    return attack_opened_sum.attack(book, release.sums[0], cohort, variance, plan.colluders)


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
