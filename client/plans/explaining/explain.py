"""One decision, so that a case worker understands it: as JSON for machines and as lines for people.

Restricted facts (health, consents, disputes …) stand only as ``restricted: see record`` (docs/domain.md section 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fedrepay.client.plans.deciding.affordability import lower_bound
from fedrepay.client.plans.deciding.dates import calendar_of
from fedrepay.client.plans.deciding.decide import HANDOFFS, TIERS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.handover import minute_text
from fedrepay.client.plans.deciding.judged import NONE, Why
from fedrepay.client.plans.deciding.objective import contact_cost
from fedrepay.client.plans.deciding.reasons import CODES, NAMES
from fedrepay.client.plans.deciding.reasons import NONE as NO_REASON
from fedrepay.client.plans.explaining.annotate import handover_texts, reasons_of
from fedrepay.client.plans.explaining.because import because
from fedrepay.client.plans.explaining.changed import predictor
from fedrepay.client.plans.explaining.counterfactual import counterfactual
from fedrepay.client.plans.explaining.explain_words import lines
from fedrepay.client.plans.explaining.letter import Sender, letter
from fedrepay.client.plans.explaining.messages import say
from fedrepay.client.scoring.trust import SIMULATED
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.first_dates import working
from fedrepay.shared.plans.schedule import Plan, cost_by_first_date, plan_of, schedule, written
from fedrepay.shared.rules.facts import RESTRICTED
from fedrepay.shared.rules.masks import RuleRef

RESTRICTED_TEXT = "restricted"

Json = dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """One decision explained: ``content`` of plain types, fit for JSON, and the ``letter`` to the customer.

    ``draft`` is the letter that follows if a person agrees to a pause that is proposed.
    """

    content: Json
    letter: str | None
    draft: str | None = None

    def lines(self, language: str) -> list[str]:
        """As a case worker reads it."""
        return lines(self.content, self.letter, self.draft, language)

    def to_json(self) -> Json:
        """For machines."""
        return {**self.content, "letter": self.letter, "draft": self.draft}


def explain(
    engine: Engine,
    batch: Batch,
    *,
    today: int,
    versions: Mapping[str, str],
    row: int = 0,
    sender: Sender | None = None,
) -> Explanation:
    """Explain the decision for one account.

    Args:
        engine: that decided.
        batch: what it decided.
        today: days since 1970-01-01; first dates count from it.
        versions: names and hashes of what the decision was made from; its ``origin`` marks a simulated model's letter.
        row: which account of the batch.
        sender: who signs the letter.
    """
    decisions, judged = batch.decisions, batch.judged
    decision, known = Decision(int(decisions.code[row])), bool(judged.cases.income_known[row])
    arms = [int(each) for each in decisions.top[row] if each != NONE]
    plans = [plan_of(judged.plans, row, arm) for arm in arms]
    due = int(batch.handed.due[row])
    calendar = calendar_of(batch.facts, engine.settings.region, row)
    said = HANDOFFS[int(decisions.handoff[row])]
    handed = {
        "code": said,
        "reason": handover_texts(batch.handed)[row],
        "due": minute_text(due) if due >= 0 else None,
        "rests_on": said and say("en", "rests_on", said),
        "otherwise": said and say("en", "consequence", said),
    }
    content: Json = {
        "account": str(batch.accounts.names[row]),
        "currency": engine.catalogue.currency,
        "decision": decision.name,
        "because": because(batch, row, engine.catalogue.currency, engine.settings.language),
        "income_known": known,
        "tier": TIERS[int(decisions.tier[row])],
        "channel": plans[0].channel if plans else None,
        "handover": handed if handed["code"] else None,
        "facts": _facts(batch, row),
        "money": [
            each.name
            for each in engine.encoder.account_columns
            if (each.unit or "").startswith("minor units")
        ],
        "outside": []
        if batch.accounts.outside is None
        else [name for name, _ in batch.accounts.outside[row]],
        "beyond": bool(batch.accounts.beyond[row]),
        "rules": _rules(batch, row),
        "bound": _bound(engine, batch, row),
        "plans": [
            _plan(engine, batch, row, arm, plan, today, calendar)
            for arm, plan in zip(arms, plans, strict=True)
        ],
        "reasons": _reasons(engine, batch, row, arms),
        "counterfactual": _counterfactual(engine, batch, row, arms, plans, today, calendar),
        "why_not": _why_not(batch, row, arms),
        "versions": dict(versions),
        "simulated": versions.get("origin") == SIMULATED,
    }
    written = partial(
        letter,
        plans=plans,
        today=today,
        language=engine.settings.language,
        currency=engine.catalogue.currency,
        reference=content["account"],
        sender=sender,
        due=due,
        income_known=known,
        stopped=bool(judged.stop[row]),
        simulated=content["simulated"],
        calendar=calendar,
    )
    draft = written("DORMANT") if plans and plans[0].kind == "DORMANT" else None
    return Explanation(content, written(decision.name), draft)


def _facts(batch: Batch, row: int) -> dict[str, float | str | None]:
    """Everything that was read of the account; restricted facts without their values."""
    found: dict[str, float | str | None] = {}
    for name, column in {**batch.accounts.raw, **batch.facts.columns}.items():
        value = _plain(column[row])
        hidden = name in RESTRICTED
        found[name] = RESTRICTED_TEXT if hidden else value
    return found


def _rules(batch: Batch, row: int) -> dict[str, list[Any]]:
    """The rule that wants a human, the one that stops collection, those that want a notice, and matters nobody covers."""
    verdict = batch.judged.verdict
    which = {
        "human": [int(verdict.human[row])],
        "stop": [int(verdict.stop[row])],
        "notices": np.flatnonzero(verdict.notices[row]).tolist(),
    }
    return {
        name: [_cited(verdict.rules[each]) for each in places if each != NONE]
        for name, places in which.items()
    } | {"uncovered": list(verdict.missing(row))}


def _cited(rule: RuleRef) -> Json:
    names = ("pack", "pack_version", "rule", "version", "article", "citation", "hash")
    return {name: getattr(rule, name) for name in names}


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value or None
    number = float(value)
    return None if np.isnan(number) else round(number, 6)


def _bound(engine: Engine, batch: Batch, row: int) -> Json | None:
    """How the affordability bound came about; None without an income form, and where an amount is out of bounds."""
    if not batch.judged.cases.income_known[row]:
        return None
    values, settings = batch.accounts.values, engine.settings.affordability
    income, surplus, others, arrears = (
        float(values[name][row]) for name in ("income", "surplus", "other_plans", "priority_arrears")
    )
    surplus = 0.0 if np.isnan(surplus) else surplus  # where there is no income, nothing is left of it
    known = str(values["income_verified"][row])
    lower = lower_bound(settings, known, np.array([income]), np.array([surplus]))
    return {
        "bound": int(batch.judged.plans.debts.bound[row]),
        "income": round(income),
        "surplus": round(surplus),
        "class": known,
        "level": getattr(settings, known).level,
        "lower_bound": round(float(lower[0])),
        "promised": round(others + arrears),
        "savings": round(settings.savings_share * income),
        "part": 1.0 if (part := batch.accounts.part) is None else round(float(part[row]), 6),
    }


def _plan(
    engine: Engine, batch: Batch, row: int, arm: int, plan: Plan, today: int, calendar: Calendar
) -> Json:
    judged, dated = batch.judged, schedule(plan, today, calendar)
    return {
        "name": plan.name,
        "kind": plan.kind,
        "frequency": plan.frequency,
        "channel": plan.channel,
        "instalment": plan.instalment,
        "payments": len(dated.amounts),
        "total": plan.total,
        "interest": plan.interest,
        "interest_saved": plan.interest_saved,
        "fees_saved": plan.fees_saved,
        "forgiven": plan.forgiven,
        "dormant_months": plan.dormant_months,
        "interest_per_day": round(plan.interest_per_day, 4),
        "first_due": plan.first_due,
        "follows": plan.follows,
        "p_first": round(float(judged.first[row, arm]), 6),
        "p_kept": round(float(judged.kept[row, arm]), 6),
        "schedule": [
            [written(day), amount]
            for day, amount in zip(dated.dates.tolist(), dated.amounts.tolist(), strict=True)
        ],
        "cost_by_first_due": [
            list(each) for each in cost_by_first_date(plan, working(calendar, today).tolist())
        ],
        "score": _score(engine, batch, row, arm, plan.forgiven),
    }


def _score(engine: Engine, batch: Batch, row: int, arm: int, given: int) -> dict[str, float]:
    """The parts of a plan's score, parts of the balance; what is left over is the price of the batch's caps."""
    judged, value = batch.judged, engine.settings.value
    balance = max(int(judged.plans.debts.balance[row]), 1)
    kind = batch.judged.plans.arms
    names = engine.settings.value.complaint_rate
    complaint = next((names[name] for name in names if kind.is_kind(name)[arm]), 0.0)
    parts = {
        "npv": float(judged.value[row, arm]) / balance,
        "first": value.lambda_first * float(judged.first[row, arm]),
        "contact": float(contact_cost(value, kind)[arm]) / balance,
        "complaint": value.lambda_complaint * complaint,
        "sustained": value.lambda_sustained * float(judged.kept[row, arm]),
        "given": value.lambda_given * given / balance,
    }
    score = float(judged.score[row, arm])
    whole = parts["npv"] + parts["first"] + parts["sustained"]
    whole -= parts["contact"] + parts["complaint"] + parts["given"]
    return {
        name: round(each, 9) + 0.0 for name, each in {"score": score, **parts, "caps": whole - score}.items()
    }


def _reasons(engine: Engine, batch: Batch, row: int, arms: list[int]) -> list[Json]:
    if not arms or not batch.judged.plans.arms.pays[arms[0]]:
        return []
    places, parts = reasons_of(engine, batch, np.array([row]), np.array(arms[:1]))
    return [
        {"code": NAMES[place], "name": CODES[NAMES[place]], "part": round(part, 4)}
        for place, part in zip(places[0].tolist(), parts[0].tolist(), strict=True)
        if place != NO_REASON
    ]


def _counterfactual(
    engine: Engine, batch: Batch, row: int, arms: list[int], plans: list[Plan], today: int, calendar: Calendar
) -> Json | None:
    if not plans or not plans[0].pays:
        return None
    predict = predictor(engine, batch, row, arms[0], plans[0], today)
    kept = float(batch.judged.kept[row, arms[0]])
    found = counterfactual(plans[0], kept, engine.catalogue, predict, working(calendar, today))
    return None if found is None else {**vars(found), "kept": round(found.kept, 6)}


def _why_not(batch: Batch, row: int, arms: list[int]) -> list[Json]:
    """The other plans by reason, the most frequent first, each with one example and its rule."""
    judged = batch.judged
    why, blocked = judged.why[row], judged.blocked[row]
    groups: dict[tuple[int, int], list[int]] = {}
    for arm in range(len(why)):
        if arm not in arms:
            rule = int(blocked[arm]) if why[arm] == Why.RULE else NONE
            groups.setdefault((int(why[arm]), rule), []).append(arm)
    rules = judged.verdict.rules
    return [
        {
            "why": Why(code).name,
            "count": len(members),
            "example": judged.plans.arms.names[members[0]],
            "rule": None if rule == NONE else _cited(rules[rule]),
        }
        for (code, rule), members in sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    ]
