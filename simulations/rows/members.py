"""Members one by one: how many gain by the shared model on their own held-out customers, lose, and cannot be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.rows import gain, one_member
from fedrepay.simulations.rows.baselines import AdditiveModel
from fedrepay.simulations.rows.gain import Estimate
from fedrepay.simulations.rows.one_member import OneMember, Shared
from fedrepay.simulations.run.consortium import Party

MOST_ALONE = 200
"""Models of single members that are fitted, each with its own cross-validation."""
MARGIN = 0.002
"""A member with its own part shall not be worse than with its own model by more AUC than this."""


@dataclass(frozen=True)
class OneByOne:
    """``figures`` is ``one_by_one`` of metrics.json; ``alone`` the own models that were fitted."""

    figures: dict[str, Any]
    alone: tuple[AdditiveModel, ...]


def judge(
    book: CodeBook, parties: Sequence[Party], tests: dict[str, Table], shared: Shared, seed: int
) -> OneByOne:
    """Judge every member on its own held-out customers.

    Args:
        book: the code book.
        parties: the members with their training rows.
        tests: each member's held-out rows, by name.
        shared: the released model.
        seed: of folds and groups.
    """
    fitted = alone_sample([party.name for party in parties], seed)
    left_out = f"Not fitted: {MOST_ALONE} of {len(parties)} members are, drawn at random."
    found = {
        party.name: one_member.judge(
            book, party.train, tests[party.name], shared, seed, None if party.name in fitted else left_out
        )
        for party in parties
    }
    alone = tuple(each.alone for each in found.values() if each.alone is not None)
    return OneByOne(together(found), alone)


def together(found: dict[str, OneMember]) -> dict[str, Any]:
    """``one_by_one`` of metrics.json: intervals of gains hold together for all members that are judged."""
    gains = {name: each.gain for name, each in found.items() if each.gain is not None}
    members = {name: each.figures | _gains(each, len(gains)) for name, each in found.items()}
    able = [members[name] for name in gains if found[name].enough]
    return {
        "judged": len(gains),
        **_counts([members[name]["gain_interval"] for name in gains]),
        "not_judged": len(found) - len(gains),
        "level": gain.LEVEL,
        "mean": {
            name: float(np.mean([members[each][name] for each in gains])) if gains else None
            for name in ("federated", "alone", "own_part")
        },
        **_mean_gain(list(gains.values())),
        "own_part": {
            "enough_rows": len(able),
            "corrected": sum(each["own_part_corrects"] for each in able),
            **_counts([each["own_part_gain_interval"] for each in able]),
            "margin": MARGIN,
            "surely_worse": sum(each["own_part_gain_interval"][1] < -MARGIN for each in able),
            "surely_not_worse": sum(each["own_part_gain_interval"][0] >= -MARGIN for each in able),
        },
        "members": members,
    }


def alone_sample(names: Sequence[str], seed: int) -> frozenset[str]:
    """Members whose own model is fitted: all, or a drawn part of more than ``MOST_ALONE``."""
    if len(names) <= MOST_ALONE:
        return frozenset(names)
    return frozenset(np.random.default_rng([seed, 51]).choice(names, MOST_ALONE, replace=False).tolist())


def _gains(found: OneMember, comparisons: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, each in (("gain", found.gain), ("own_part_gain", found.part_gain)):
        out[name] = None if each is None else each.value
        out[f"{name}_interval"] = None if each is None else each.interval(comparisons)
    out["verdict"] = None if out["gain_interval"] is None else gain.verdict(out["gain_interval"])
    return out


def _counts(intervals: Sequence[Sequence[float]]) -> dict[str, int]:
    verdicts = [gain.verdict(each) for each in intervals]
    return {name: verdicts.count(name) for name in ("gain", "lose", "unclear")}


def _mean_gain(gains: Sequence[Estimate]) -> dict[str, Any]:
    """Over the judged members, each counting alike; not corrected, since it is one figure."""
    over = gain.mean(gains) if gains else None
    return {
        "mean_gain": None if over is None else over.value,
        "mean_gain_interval": None if over is None else over.interval(),
    }
