"""A made-up run for the report's tests: every number in it is different and recognisable."""

import math
from typing import Any


def member(i: int) -> dict[str, Any]:
    federated, alone = 0.7712 + 0.0031 * ((7 * i) % 11), 0.7418 + 0.0053 * ((5 * i) % 9)
    gain, part = federated - alone, federated + 0.0007 * (i + 1)
    return {
        "rows": 1200 + 7 * i,
        "test_rows": 301 + i,
        "base_rate": 0.2113 + 0.0019 * i,
        "federated": federated,
        "federated_interval": [federated - 0.0303, federated + 0.0297],
        "alone": alone,
        "alone_interval": [alone - 0.0329, alone + 0.0318],
        "gain": gain,
        "gain_interval": [gain - 0.0159, gain + 0.0161],
        "verdict": "gain" if gain > 0.0159 else "lose" if gain < -0.0161 else "unclear",
        "own_part": part,
        "own_part_corrects": i % 2 == 0,
        "own_part_gain": part - alone,
        "own_part_gain_interval": [part - alone - 0.0147, part - alone + 0.0149],
        "log_loss": {
            "federated": 0.4309 + 0.0011 * i,
            "alone": 0.4583 + 0.0013 * i,
            "own_part": 0.4291 + 0.0016 * i,
            "constant": 0.5263 + 0.0023 * i,
        },
        "reason": None,
    }


def not_judged(reason: str) -> dict[str, Any]:
    one = dict.fromkeys(member(0)) | {"rows": 31, "test_rows": 6, "own_part_corrects": False}
    return one | {"log_loss": dict.fromkeys(member(0)["log_loss"]), "reason": reason}


def metrics(members: int = 20, mode: str = "distributed") -> dict[str, Any]:
    """metrics.json as docs/metrics.md says."""
    private = mode == "distributed"
    found: dict[str, Any] = {f"m{i + 1:02d}": member(i) for i in range(members)}
    found["m02"] = not_judged("2 held-out customers of label 1")
    bins = [
        {"predicted": 0.041 + 0.083 * i, "observed": 0.038 + 0.0813 * i, "rows": 597 + i} for i in range(10)
    ]
    return {
        "version": 3,
        "one_by_one": {
            "judged": members - 1,
            "gain": 13,
            "lose": 1,
            "unclear": members - 15,
            "not_judged": 1,
            "level": 0.95,
            "mean": {"federated": 0.7867, "alone": 0.7639, "own_part": 0.7923},
            "mean_gain": 0.0228,
            "mean_gain_interval": [0.0153, 0.0307],
            "own_part": {
                "enough_rows": 17,
                "corrected": 11,
                "gain": 12,
                "lose": 0,
                "unclear": 5,
                "margin": 0.002,
                "surely_worse": 0,
                "surely_not_worse": 16,
            },
            "members": found,
        },
        "base_rate": 0.2217,
        "noise": {
            "share": 0.0037 if private else None,
            "thin": False,
            "auc_interval": [0.7713, 0.7984],
            "only": False,
        },
        "auc": {
            "federated": 0.7849,
            "alone_mean": 0.7583,
            "pooled_no_privacy": 0.7872,
            "pooled_lightgbm": 0.7894,
            "constant": 0.5,
        },
        "log_loss": {
            "federated": 0.4312,
            "alone_mean": 0.4587,
            "pooled_no_privacy": 0.4298,
            "pooled_lightgbm": 0.4288,
            "constant": 0.5291,
        },
        "calibration": {"federated": {"ece": 0.0123, "bins": bins}},
        "engine": "faithful",
        "privacy": {
            "mode": mode,
            "epsilon": 1.0 if private else None,
            "delta": 1e-5 if private else None,
            "unit": "customer",
            "adjacency": "add or remove one customer at one member",
            "colluders": 2,
            "epsilon_no_colluders": 0.943 if private else None,
            "epsilon_if_all_others_collude": 5.127 if private else None,
            "epsilon_by_memberships": {
                m: (e if private else None) for m, e in {"1": 1.0, "2": 2.153, "3": 3.412, "5": 6.174}.items()
            },
            "not_private": None if private else "none",
            "attempts_charged": 6,
            "year": {
                "counts": "all runs of the 365 days before",
                "members": 19,
                "runs": 7,
                "attempts": 37,
                "epsilon_before": 2.718 if private else None,
                "delta_before": 3.3e-8,
                "epsilon_with_this_run": 3.719 if private else None,
                "delta_with_this_run": 1.0033e-5 if private else None,
                "composition": "basic composition",
                "exact": "each ledger holds its own",
            },
            "retries_cost": "One void attempt made the later noise 1.118 times as wide.",
        },
        "rounds": 5,
        "attempts": 6,
        "attempts_void": 1,
        "members": members,
        "smallest_cohort": members,
        "minimum_cohort": members // 2 + 1,
        "parameters": 203,
        "values_summed": 21518,
        "ciphertexts_per_release": 10,
        "bytes_up_per_member": 658134.0,
        "bytes_ceremony_per_member": 48211.0,
        "bytes_release": 391877,
        "bytes_down_per_member": 1718233.0,
        "seconds": {
            "consortium": 41.27,
            "encrypt": 6.318,
            "noise": 3.772,
            "masks": 2.116,
            "open": 9.451,
            "baselines": 127.4,
        },
        "peak_rss_mb": 611.3,
        "versions": {"fedrepay": "0.1.0", "flwr": "1.41.0", "numpy": "2.4.1"},
        "seed": 4711,
        "arguments": {
            "split": "iid",
            "members": members,
            "mode": "distributed",
            "epsilon": 1.0,
            "delta": 1e-5,
            "drop": ["m07@2"],
            "seed": 4711,
        },
        "outside_the_guarantee": [
            "one_by_one",
            "base_rate",
            "noise",
            "auc",
            "log_loss",
            "seconds",
            "peak_rss_mb",
        ],
        "roster_code": "abandon ability able about above absent absorb abstract absurd abuse access accident",
    }


def curve(name: str, bins: int, height: float) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "feature",
        "labels": [f"< {10 * (i + 1)}" for i in range(bins - 1)] + [f"≥ {10 * (bins - 1)}"],
        "effect": [height * math.cos(math.pi * (i + 0.5) / bins) for i in range(bins)],
        "sd": [0.05 + 0.01 * abs(i - bins / 2) for i in range(bins)],
    }


def details() -> dict[str, Any]:
    """What the report gets beside metrics.json."""
    names = ["pay_status_1", "pay_status_2", "limit", "utilisation_1", "paid_1", "paid_share", "late_count"]
    cross = {
        "kind": "cross",
        "name": "pay_status_1 × utilisation_1",
        "rows": ["≤ −1", "0", "1", "2", "≥ 3"],
        "columns": ["< 0.1", "0.1–0.5", "0.5–0.9", "≥ 0.9"],
        "effect": [[0.031 * (i - 2) * (j - 1.5) for j in range(4)] for i in range(5)],
    }
    other = cross | {
        "name": "pay_status_1 × limit",
        "effect": [[-0.027 * (i - 2) * (j - 1) for j in range(4)] for i in range(5)],
    }
    rows = [
        {
            "coalition": who,
            "size": size,
            "hidden_among": 20 - size,
            "sees": sees,
            "noise_sd_customers": sd,
            "cells": 198,
            "group_cells_within_10pct": group,
            "true_customers": 1207,
            "estimated_customers": 1207 + 11 * size,
            "relative_error": error,
            "cells_within_10pct": close,
            "relative_error_without_sum": 0.1934,
        }
        for who, size, sees, sd, error, close, group in [
            ("one other member", 1, "the books of 19 members added up", 31.42, 0.1371, 0.4123, 0.9817),
            ("c = 2 other members", 2, "the books of 18 members added up", 30.56, 0.1382, 0.4098, 0.9802),
            ("all other members but 1", 18, "the books of 2 members added up", 10.18, 0.0913, 0.6034, 0.8531),
            (
                "all other members",
                19,
                "your own book alone, under one share of noise",
                7.21,
                0.0419,
                0.8277,
                0.8277,
            ),
        ]
    ]
    return {
        "title": "Default of credit card clients",
        "good_outcome": "default = 0",
        "curves": [curve(n, 5 + i, 0.9 - 0.11 * i) for i, n in enumerate(names)] + [cross, other],
        "attack": {"rows": rows, "text": "Members open the sum.", "target": "m20"},
        "fairness": [
            {"column": c, "group": g, "rows": n, "auc": a, "mean_score": s, "observed_rate": o}
            for c, g, n, a, s, o in [
                ("sex", "1", 2391, 0.7813, 0.7613, 0.7588),
                ("sex", "2", 3609, 0.7866, 0.7921, 0.7933),
                ("age", "< 25", 512, 0.7622, 0.7315, 0.7288),
                ("age", "≥ 60", 68, None, 0.7111, 0.7206),
            ]
        ],
    }
