"""Hard rules on 1,000,000 accounts: does a plan that the masks allow break one, and how fast are they?

The check restates each hard rule of every built-in pack in its own numbers, one line of NumPy each, and
reads neither the packs nor the masks. A fact that is NaN or empty is not known, and counts as a violation
wherever the rule needs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import Bool
from fedrepay.shared.plans.kinds import CHANNELS, KINDS
from fedrepay.shared.rules.columns import NO_BOUND, PlanColumns
from fedrepay.shared.rules.facts import EU, FACTS, FactTable
from fedrepay.shared.rules.masks import evaluate
from fedrepay.shared.rules.pack import load_builtin
from fedrepay.simulations.bench import rules_sql
from fedrepay.simulations.bench.page import table

ACCOUNTS = 1_000_000
CHUNK = 50_000
ALONE = 300
UNKNOWN = 0.01
TODAY = int(np.datetime64("2026-12-01", "D").astype(np.int64))
_PLANS = [
    *(("INSTALMENT", channel, False) for channel in CHANNELS),
    *(("SETTLEMENT", channel, True) for channel in ("call", "letter")),
    *(("FULL", channel, False) for channel in ("sms", "portal")),
    *(("TOKEN", channel, True) for channel in ("call", "email")),
    *(("DORMANT", channel, False) for channel in ("call", "letter")),
    *(("REFER", channel, True) for channel in ("sms", "letter")),
    ("NO_OFFER", "letter", False),
]
_PLACES = ("US", "UK", "CN", "NL", "PT", "DE")
_LIVELY = {"calls_7d": 10, "unanswered_attempts_today": 9, "dpd": 120, "agreement_months": 70}
Facts = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RuledAccounts:
    """Some accounts with their facts and plans."""

    facts: Facts
    plans: PlanColumns


def draw(rng: np.random.Generator, accounts: int) -> RuledAccounts:
    """Random accounts; each fact is not known with probability ``UNKNOWN``."""
    facts: Facts = {}
    for fact in FACTS.values():
        lost = rng.random(accounts) < UNKNOWN
        if fact.type == "category":
            places = _PLACES if fact.name == "jurisdiction" else fact.categories
            facts[fact.name] = np.where(lost, "", rng.choice(np.array(places), accounts))
            continue
        if fact.type == "bool":
            column = (rng.random(accounts) < (0.6 if "consent" in fact.name else 0.1)).astype(np.float64)
        elif fact.name == "apr":
            column = rng.uniform(0, 0.4, accounts)
        elif fact.unit == "minor units":
            column = np.floor(rng.lognormal(11 if fact.name == "balance" else 6, 1.5, accounts))
        elif fact.name == "contact_minute":
            column = rng.integers(0, 1440, accounts).astype(np.float64)
        else:
            high = _LIVELY.get(fact.name, 70)
            column = rng.integers(int(fact.low), high, accounts).astype(np.float64)
            if fact.low < 0:
                column[rng.random(accounts) < 0.8] = -1
        column[lost] = np.nan
        facts[fact.name] = column
    count = len(_PLANS)
    shape = (accounts, count)
    kinds = np.array([KINDS.index(kind) for kind, _, _ in _PLANS], np.uint8)
    dormant = np.where(kinds == KINDS.index("DORMANT"), 12, 0).astype(np.int64)
    months = np.where(dormant > 0, 12.0, rng.integers(1, 73, shape).astype(np.float64))
    owed, rate = np.nan_to_num(facts["balance"])[:, None], np.nan_to_num(facts["apr"])[:, None]
    interest = owed * rate * months / 24 * rng.choice([0, 0.5, 1, 1.2, 3], shape)
    monthly = np.floor(owed / months).astype(np.int64)
    fees = np.where(rng.random(shape) < 0.6, 0, rng.lognormal(6, 1.5, shape)).astype(np.int64)
    bound = np.where(rng.random(accounts) < UNKNOWN, NO_BOUND, rng.integers(-5_000, 40_000, accounts))
    plans = PlanColumns(
        kind=kinds,
        channel=np.array([CHANNELS.index(channel) for _, channel, _ in _PLANS], np.uint8),
        human=np.array([human for _, _, human in _PLANS]),
        discount=np.zeros(count),
        interest_waiver=np.zeros(count),
        fee_waiver=np.zeros(count),
        dormant_months=dormant,
        first_due_days=np.full(shape, 14, np.int64),
        instalment=monthly,
        monthly=monthly,
        total=(monthly * months).astype(np.int64),
        months=months,
        fees=fees,
        interest=interest.astype(np.int64),
        bound=bound.astype(np.int64),
    )
    return RuledAccounts(facts, plans)


def violations(facts: Facts, plans: PlanColumns) -> Iterator[tuple[str, Bool]]:
    """(rule, (n, P) where the plan breaks it or cannot be known to keep it), restated rule by rule.

    Every comparison is written so that NaN comes out as a violation.
    """
    f = facts
    place, debt = f["jurisdiction"], f["debt_type"]
    kind = np.array(KINDS)[plans.kind]
    offer = kind != "NO_OFFER"
    asks = ~np.isin(kind, ["NO_OFFER", "DORMANT", "REFER"])
    by = {each: offer & (np.array(CHANNELS)[plans.channel] == each) for each in CHANNELS}
    told = by["sms"] | by["email"] | by["call"]
    fees, interest = plans.fees, plans.interest

    def lives(*places: str) -> Bool:
        return np.isin(place, [*places, ""])

    def owes(*types: str) -> Bool:
        return np.isin(debt, [*types, ""])

    def pair(accounts: Bool, which: Bool) -> Bool:
        return accounts[:, None] & which

    def no(name: str) -> Bool:
        return np.asarray(f[name] == 0)  # certainly not

    credit = ("consumer", "card", "high_cost_short_term")
    minute = f["contact_minute"]
    us = lives("US") & owes(*credit, "mortgage", "utility")
    yield "US 7 calls", pair(us & ~(f["calls_7d"] < 7), by["call"])
    talk = f["days_since_conversation"]
    yield "US 7 days after a conversation", pair(us & ~((talk >= 7) | (talk == -1)), by["call"])
    yield "US 8:00–21:00", pair(us & ~((minute >= 480) & (minute < 1260)), told)
    yield "US fees authorised", pair(us & ~(f["fees_authorised"] == 1), offer) & (fees > 0)

    for each in ("adviser_engaged", "contact_refused"):
        yield f"US {each}", pair(us & ~no(each), offer)
    yield "US dispute", pair(us & ~no("dispute"), asks)

    fca = lives("UK") & owes(*credit)
    weighed = asks & (kind != "TOKEN")
    too_much = (plans.monthly > plans.bound[:, None]) | (plans.bound == NO_BOUND)[:, None]
    yield "UK affordability", pair(fca, weighed) & too_much
    yield "UK 8:00–21:00", pair(fca & ~((minute >= 480) & (minute < 1260)), told)
    yield "UK adviser", pair(fca & ~no("adviser_engaged"), asks)
    room = f["collection_cost_actual"] - f["collection_costs_charged"]
    yield "UK charges at cost", pair(fca, offer) & (fees > 0) & ~(fees <= room[:, None])
    cost, owed = (interest + fees).astype(np.float64), f["balance"][:, None]
    short = pair(lives("UK") & owes("high_cost_short_term"), asks) & (cost > 0)
    yield "UK price cap", short & ~(cost <= owed)
    payments = np.maximum(np.ceil(plans.total / np.maximum(plans.instalment, 1)), 1)
    spaced = np.where(plans.instalment > 0, plans.months - plans.months / payments, 0)
    days = plans.first_due_days + spaced * 365 / 24
    yield "UK 0.8 % a day", short & ~(cost <= 0.008 * owed * days * (1 + 1e-9))
    pounds = (1500 - f["collection_costs_charged"])[:, None]
    yield "UK £15", pair(lives("UK") & owes("high_cost_short_term"), offer) & (fees > 0) & ~(fees <= pounds)
    for day, last in (("moratorium_day", 60), ("mental_health_crisis_day", 30)):
        within = lives("UK") & ~((f[day] == -1) | (f[day] > last))
        yield f"UK {day}: collecting", pair(within, asks)
        yield f"UK {day}: interest, fees", pair(within, offer) & ((interest > 0) | (fees > 0))
    machine = offer & ~plans.human
    yield "UK health data", pair(lives("UK") & ~no("health_data"), machine)

    eu = lives(*EU)
    yield "EU health data", pair(eu & ~no("health_data"), machine)
    for each in ("sms", "email", "call"):
        yield f"EU consent to {each}", pair(eu & ~(f[f"consent_{each}"] == 1), by[each])
    yield "EU contact refused", pair(eu & ~no("contact_refused"), offer)

    euros = f["balance"] / 100
    scale = 0.15 * np.clip(euros, 0, 2500) + 0.10 * np.clip(euros - 2500, 0, 2500)
    scale += 0.05 * np.clip(euros - 5000, 0, 5000) + 0.01 * np.clip(euros - 10_000, 0, 190_000)
    scale += 0.005 * np.maximum(euros - 200_000, 0)
    left = np.clip(scale, 40, 6775) * 100 - f["collection_costs_charged"]
    yield "NL scale", pair(lives("NL"), offer) & (fees > 0) & ~(fees <= left[:, None] + 1e-6)
    consumer = lives("NL") & owes(*credit, "mortgage", "utility")
    yield "NL 14 days", pair(consumer & ~(f["notice_age_d"] > 14), offer) & (fees > 0)

    pt = lives("PT") & owes(*credit, "mortgage")
    yield "PT PERSI first", pair(pt & ~((f["dpd"] <= 60) | (f["persi_day"] >= 0)), asks)
    yield "PT no rate increase", pair(pt, offer) & ~_keeps_rate(f, plans, kind)

    cn = lives("CN") & owes("card")
    run = f["agreement_months"][:, None]
    yield "CN five years", pair(cn, asks) & ~(plans.months + run <= 60)
    yield "CN plan kept", pair(cn & ~no("agreement_kept"), asks)
    waking = (minute >= 480) & (minute < 1320)
    yield "CN 22:00–8:00", pair(cn & ~(waking | (f["night_consent"] == 1)), told)
    yield "CN 6 attempts", pair(cn & ~(f["unanswered_attempts_today"] < 6), told)


def _keeps_rate(f: Facts, plans: PlanColumns, kind: npt.NDArray[np.str_]) -> Bool:
    """(n, P) whether the payments, discounted month by month at the contract's rate, are worth no more than is owed.

    Level monthly payments for plans in instalments, one payment at the end for all others.
    """
    owed, rate = f["balance"][:, None], f["apr"][:, None]
    waiting = owed * rate * plans.first_due_days / 365
    paid = owed + plans.interest - waiting - 1
    months = np.maximum(plans.months, plans.dormant_months)
    value, factor = np.zeros(months.shape), np.ones(rate.shape)
    for month in range(1, int(months.max()) + 1):
        factor = factor / (1 + rate / 12)
        value += factor * (month <= months)
    level = paid / months * value <= owed * (1 + 1e-9)
    once = paid <= owed * (1 + rate * months / 12) * (1 + 1e-9)
    return np.asarray(
        np.where(np.isin(kind, ["NO_OFFER", "DORMANT", "REFER", "FULL"]), once, level) | (plans.interest == 0)
    )


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    packs = load_builtin()
    rng = np.random.default_rng(0)
    connection = rules_sql.opened(packs, TODAY)
    broken: dict[str, int] = {}
    without: dict[str, int] = {}
    pairs = allowed = 0
    ours = theirs = peer_single = 0.0
    for _ in range(ACCOUNTS // CHUNK):
        chunk = draw(rng, CHUNK)
        begun = process_time()
        verdict = evaluate(packs, FactTable(chunk.facts, CHUNK), chunk.plans, TODAY)
        ours += process_time() - begun
        rules_sql.load(connection, chunk.facts, chunk.plans)
        begun = process_time()
        peer = rules_sql.blocked(connection)
        theirs += process_time() - begun
        if not np.array_equal(peer, verdict.blocked.ravel()):
            raise AssertionError("the masks and the SQL say otherwise of some plan")
        free = verdict.blocked < 0
        pairs += free.size
        allowed += int(free.sum())
        for rule, wrong in violations(chunk.facts, chunk.plans):
            without[rule] = without.get(rule, 0) + int(wrong.sum())
            broken[rule] = broken.get(rule, 0) + int((wrong & free).sum())
    alone = [draw(rng, 1) for _ in range(ALONE)]
    begun = process_time()
    for each in alone:
        evaluate(packs, FactTable(each.facts, 1), each.plans, TODAY)
    single = (process_time() - begun) / ALONE
    for each in alone:
        rules_sql.load(connection, each.facts, each.plans)
        begun = process_time()
        rules_sql.blocked(connection)
        peer_single += (process_time() - begun) / ALONE
    if not all(without.values()):
        raise AssertionError(f"never broken even without rules: {[k for k, v in without.items() if not v]}")
    rows = [
        ("hard-rule violations among allowed plans", f"{sum(broken.values()):,}", "0"),
        ("the same check, had no rule been applied", f"{sum(without.values()):,}", "control"),
        ("allowed of all account × plan pairs", f"{allowed / pairs:.1%}", ""),
        ("CPU time of the masks ÷ DuckDB's on the same rules", f"{ours / theirs:.2f} ×", "< 1"),
        ("the same, one account at a time", f"{single / peer_single:.3f} ×", "< 1"),
        ("accounts a CPU-second, masks", f"{ACCOUNTS / ours:,.0f}", ""),
        ("accounts a CPU-second, DuckDB", f"{ACCOUNTS / theirs:,.0f}", ""),
    ]
    for row in rows:
        print(*row, sep=" | ", flush=True)
    failed = ", ".join(f"{rule}: {count:,}" for rule, count in broken.items() if count)
    return (
        f"{ACCOUNTS:,} random accounts × {len(_PLANS)} plans × {len(packs)} built-in packs "
        f"({sum(len(pack.rules) for pack in packs)} rules), one core, {UNKNOWN:.0%} of each fact not known. "
        f"Violations are counted by {len(without)} hard conditions restated on their own; each is broken somewhere "
        "when no rule is applied. The peer is one SQL query of DuckDB over tables of its own, made from the same packs "
        "(`simulations/bench/rules_sql.py`), on one thread; it says which rule blocks a plan first, the same for every plan "
        "here, and the masks besides whom a human decides about, what stops, which notices are due and what no pack covers. "
        f"One account at a time: {ALONE} of them, the query prepared once.\n\n"
        + table(("Figure", "measured", "target"), rows)
        + (f"\n\nBroken: {failed}." if failed else "")
    )
