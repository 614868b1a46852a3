"""The columns that ``member recommend`` writes: one row for each account and rank."""

from collections import Counter
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.decide import HANDOFFS, TIERS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.handover import minute_text
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.outside import columns_text
from fedrepay.client.plans.deciding.verify import ASKS, Verify
from fedrepay.client.plans.explaining.annotate import handover_texts, handover_words, reason_texts, why_not
from fedrepay.client.plans.explaining.because import because
from fedrepay.client.plans.explaining.counterfactual import counterfactuals
from fedrepay.shared.arrays import I64, Objects
from fedrepay.shared.plans.kinds import CHANNELS, FREQUENCIES, KINDS, RULED
from fedrepay.shared.plans.schedule import forgiven
from fedrepay.shared.rules.facts import RESTRICTED

Table = dict[str, npt.NDArray[Any]]

_OF_TERMS = {
    "kind": "VARCHAR",
    "plan": "VARCHAR",
    "instalment": "BIGINT",
    "monthly": "BIGINT",
    "count": "SMALLINT",
    "frequency": "VARCHAR",
    "months": "DOUBLE",
    "first_due_days": "SMALLINT",
    "discount": "DOUBLE",
    "interest_waiver": "DOUBLE",
    "fee_waiver": "DOUBLE",
    "dormant_months": "SMALLINT",
    "channel": "VARCHAR",
    "human": "BOOLEAN",
    "total": "BIGINT",
    "interest": "BIGINT",
    "interest_saved": "BIGINT",
    "fees": "BIGINT",
    "fees_saved": "BIGINT",
    "interest_per_day": "DOUBLE",
}
COLUMNS = {
    "account": "VARCHAR",
    "rank": "TINYINT",
    "decision": "VARCHAR",
    "tier": "VARCHAR",
    **_OF_TERMS,
    "because": "VARCHAR",
    "bound": "BIGINT",
    "value": "DOUBLE",
    "score": "DOUBLE",
    "p_first": "DOUBLE",
    "p_kept": "DOUBLE",
    "reason_1": "VARCHAR",
    "reason_2": "VARCHAR",
    "reason_3": "VARCHAR",
    "reason_4": "VARCHAR",
    "counterfactual": "VARCHAR",
    "why_not": "VARCHAR",
    "verify": "VARCHAR",
    "verify_gain": "DOUBLE",
    "handoff_code": "VARCHAR",
    "handoff_reason": "VARCHAR",
    "handoff_rests_on": "VARCHAR",
    "handoff_otherwise": "VARCHAR",
    "handoff_due": "VARCHAR",
    "propensity": "DOUBLE",
    "outside": "VARCHAR",
    "input_hash": "VARCHAR",
}
"""Columns and their types; money in minor units. What is the same in all rows of a batch follows them."""
OF_PLAN = (*_OF_TERMS, "value", "score")
"""Columns that are empty where there is no plan."""
OF_PAYING = ("p_first", "p_kept", *(f"reason_{place}" for place in range(1, 5)))
"""Columns that are empty where nothing is paid, or no model has learned the kind of plan."""
OF_ASKING = ("verify_gain",)
"""Empty where nothing is asked for."""
BOUND = "bound"
"""Empty where there is no income form, or an amount outside the model's bounds."""


def pairs_of(batch: Batch) -> tuple[I64, I64, I64]:
    """(account row, rank, arm or −1) of every row to write, (m,) each; an account without a plan has one."""
    top = batch.decisions.top
    shown = top != NONE
    shown[:, 0] = True
    row, place = np.nonzero(shown)
    return row, place + 1, top[row, place].astype(np.int64)


def table_of(engine: Engine, batch: Batch, asked: Verify) -> Table:
    """Columns of all rows, (m,) each; ``_plan``, ``_pays``, ``_bound`` and ``_ask`` say which rows have these.

    Args:
        engine: that decided.
        batch: what it decided.
        asked: what asking for a form or a proof would bring these accounts.
    """
    row, rank, arm = pairs_of(batch)
    judged, decisions = batch.judged, batch.decisions
    plans, of = judged.plans, judged.plans.arms
    has, at = arm != NONE, np.maximum(arm, 0)
    first_rows = rank == 1
    ask = np.where(decisions.code == Decision.HUMAN, 0, asked.ask)  # a person asks for what they want
    why = np.full(len(row), None, dtype=object)
    why[first_rows] = why_not(batch)
    similar = counterfactuals(judged, engine.catalogue, decisions.top[:, 0].astype(np.int64))
    change = np.full(len(row), None, dtype=object)
    change[first_rows] = similar
    reasons = reason_texts(engine, batch, row, at)
    return {
        "_plan": has,
        "_pays": has & of.pays[at] & ~of.is_kind(*RULED)[at],
        "_bound": judged.cases.income_known[row],
        "account": batch.accounts.names[row],
        "rank": rank,
        "decision": _labels([each.name for each in Decision], decisions.code[row]),
        "tier": _labels(TIERS, decisions.tier[row]),
        "kind": _labels(KINDS, of.kind[at]),
        "plan": _labels(of.names, at),
        "instalment": plans.instalment[row, at],
        "monthly": plans.monthly[row, at],
        "count": plans.count[row, at],
        "frequency": _labels(FREQUENCIES, of.frequency[at]),
        "months": np.round(plans.months[row, at], 4),
        "first_due_days": np.broadcast_to(plans.first_due, plans.valid.shape)[row, at],
        "discount": of.discount[at],
        "interest_waiver": of.interest_waiver[at],
        "fee_waiver": of.fee_waiver[at],
        "dormant_months": of.dormant_months[at],
        "channel": _labels(CHANNELS, of.channel[at]),
        "human": of.human[at],
        "total": plans.total[row, at],
        "interest": plans.interest[row, at],
        "interest_saved": plans.interest_saved[row, at],
        "fees": plans.fees[row, at],
        "fees_saved": plans.fees_saved[row, at],
        "interest_per_day": np.round(plans.interest_per_day[row, at], 4),
        "because": _because(engine, batch)[row],
        "bound": plans.debts.bound[row],
        "value": np.round(judged.value[row, at], 2),
        "score": judged.score[row, at],
        "p_first": np.round(judged.first[row, at], 6),
        "p_kept": np.round(judged.kept[row, at], 6),
        **{f"reason_{place}": each for place, each in enumerate(reasons, start=1)},
        "counterfactual": change,
        "why_not": why,
        "_ask": ask[row] > 0,
        "verify": _labels((None, *ASKS[1:]), ask[row]),
        "verify_gain": np.round(asked.gain[row], 2),
        "handoff_code": _labels((None, *HANDOFFS[1:]), decisions.handoff[row]),
        "handoff_reason": handover_texts(batch.handed)[row],
        "handoff_rests_on": handover_words("rests_on", batch.handed)[row],
        "handoff_otherwise": handover_words("consequence", batch.handed)[row],
        "handoff_due": _when(batch.handed.due)[row],
        "propensity": decisions.propensity[row],
        "outside": _outside(batch.accounts)[row],
        "input_hash": input_hashes(batch.accounts)[row],
    }


def _outside(accounts: Accounts) -> Objects:
    found = np.full(len(accounts.names), None, dtype=object)
    for row, cells in enumerate(() if accounts.outside is None else accounts.outside):
        found[row] = columns_text(cells)
    return found


def _because(engine: Engine, batch: Batch) -> Objects:
    found = np.empty(len(batch.accounts.names), dtype=object)
    found[:] = [because(batch, row, engine.catalogue.currency) for row in range(len(found))]
    return found


def _when(due: I64) -> Objects:
    found = np.full(len(due), None, dtype=object)
    for row in np.flatnonzero(due >= 0):
        found[row] = minute_text(int(due[row]))
    return found


def input_hashes(accounts: Accounts, *, whole: bool = False) -> Objects:
    """A hash of what is known of each account, (n,) text.

    Args:
        accounts: n of them.
        whole: restricted facts too. A hash of a yes or no gives it away to whoever knows the rest, so the whole one
            stands with the facts.
    """
    every = {**accounts.values, **accounts.facts, **accounts.beside}
    columns = sorted((name, each) for name, each in every.items() if whole or name not in RESTRICTED)
    numbers = [each.astype("<f8") for _, each in columns if each.dtype != object]
    texts = [each for _, each in columns if each.dtype == object]
    numbers += [] if accounts.part is None else [accounts.part.astype("<f8")]
    digits = np.stack(numbers, axis=1) if numbers else np.zeros((len(accounts.names), 0))
    names = "\x1e".join(name for name, _ in columns).encode()
    found = np.empty(len(accounts.names), dtype=object)
    words = (
        ["\x00" if each is None else str(each) for each in column.tolist()]
        for column in (accounts.names, *texts)
    )
    outside = np.full(len(found), None, object) if accounts.outside is None else accounts.outside
    width, whole_digits, begun = (
        digits.itemsize * digits.shape[1],
        digits.tobytes(),
        blake2b(names, digest_size=16),
    )
    for row, (cells, beyond) in enumerate(zip(zip(*words, strict=True), outside.tolist(), strict=True)):
        digest = begun.copy()
        digest.update(whole_digits[row * width : (row + 1) * width])
        digest.update("\x1f".join(cells).encode())
        if beyond:
            digest.update(repr([(name, str(value)) for name, value in beyond]).encode())
        found[row] = digest.hexdigest()
    return found


def _labels(names: Any, codes: npt.NDArray[Any]) -> Objects:
    return np.asarray(np.array(names, dtype=object)[codes], dtype=object)


def outside(accounts: Accounts) -> dict[str, int]:
    """How many accounts have a value outside the model's bounds, by column."""
    cells = () if accounts.outside is None else accounts.outside
    return dict(sorted(Counter(name for each in cells for name, _ in each).items()))


def counts(batch: Batch) -> dict[str, Counter[str]]:
    """How many accounts got which decision and tier, by how their income is known; what is given away, and uncovered.

    ``given`` is of recommended plans that are offered, minor units: interest, fees and debt that they waive or forgive,
    and ``gained``, E[NPV] of those with a discount over the best plan without one. ``uncovered`` counts matters.
    """
    decisions = batch.decisions
    code = _labels([each.name for each in Decision], decisions.code)
    known = batch.accounts.values["income_verified"]
    return {
        "decisions": Counter(code.tolist()),
        "tiers": Counter(_labels(TIERS, decisions.tier).tolist()),
        "by_income": Counter(f"{a}: {b}" for a, b in zip(known, code, strict=True)),
        "given": _given(batch),
        "uncovered": Counter(
            matter
            for row in np.flatnonzero(batch.judged.uncovered).tolist()
            for matter in batch.judged.verdict.missing(row)
        ),
    }


def _given(batch: Batch) -> Counter[str]:
    judged, plans = batch.judged, batch.judged.plans
    rows = np.flatnonzero(batch.decisions.code == Decision.OFFER)
    arm = batch.decisions.top[rows, 0]
    lowered = plans.arms.discount[arm] > 0
    plain = judged.offers & ~(plans.arms.discount > 0)
    value = np.where(plain, judged.value, judged.no_plan[:, None]).max(axis=1, initial=-np.inf)
    gained = (judged.value[rows, arm] - np.maximum(value, judged.no_plan)[rows])[lowered].sum()
    parts = {
        "plans": len(rows),
        "discounted": lowered.sum(),
        "interest": plans.interest_saved[rows, arm].sum(),
        "fees": plans.fees_saved[rows, arm].sum(),
        "discounts": forgiven(plans)[rows, arm].sum(),
        "gained": np.rint(gained),
    }
    return Counter({name: int(each) for name, each in parts.items()})
