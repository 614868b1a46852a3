"""Rules read one account and one plan at a time, in plain Python, straight from a pack's TOML.

Written from the packs' text and docs/rules.md, without the masks: nothing here is shared with them. A fact
that is None is not known; a question it leaves open is answered None, and in doubt the answer is no.
"""

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import ceil, floor
from typing import Any

EUROPE = set(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
ASKS_FOR_NONE = {"NO_OFFER", "DORMANT", "REFER"}


@dataclass
class Answer:
    blocked: tuple[str, str] | None = None
    human: tuple[str, str] | None = None
    stop: tuple[str, str] | None = None
    unknown: bool = False
    covered: set[str] = field(default_factory=set)
    notices: set[tuple[str, str]] = field(default_factory=set)
    retention: int | None = None


def both(*answers: bool | None) -> bool | None:
    if any(each is False for each in answers):
        return False
    return None if any(each is None for each in answers) else True


def opposite(answer: bool | None) -> bool | None:  # noqa: FBT001
    return None if answer is None else not answer


def condition(rule: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    value = facts.get(rule["fact"])
    if value is None:
        return None
    if "is" in rule:
        return bool(value == rule["is"])
    if "one_of" in rule:
        return value in rule["one_of"]
    if "at_least" in rule and value < rule["at_least"]:
        return False
    return not ("at_most" in rule and value > rule["at_most"])


def conditions(entry: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    return both(*(condition(each, facts) for each in entry.get("applies_to", [])))


def in_force(pack: dict[str, Any], today: date) -> bool:
    if "effective_from" in pack and today < pack["effective_from"]:
        return False
    return not ("effective_to" in pack and today > pack["effective_to"])


def at_home(pack: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    place = facts.get("jurisdiction")
    if place is None:
        return None
    return place in EUROPE if pack["jurisdiction"] == "EU" else place == pack["jurisdiction"]


def minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def fee_scale(says: dict[str, Any], principal: int) -> int:
    cents, left, begun = 0, principal, 0
    for edge, basis_points in says["bands"]:
        here = min(left, edge - begun)
        cents += here * basis_points
        left -= here
        begun = edge
    cents += left * says["above"]
    return int(max(says["lowest"], min(says["highest"], cents // 10_000)))


def contract_interest(facts: dict[str, Any], plan: dict[str, Any]) -> float | None:
    rate, owed = facts.get("apr"), facts.get("balance")
    if rate is None or owed is None:
        return None
    months = max(plan["months"], plan["dormant_months"])
    wait = rate * (plan["first_due_days"] / 365.0)
    if plan["kind"] not in ASKS_FOR_NONE | {"FULL"} and rate > 0:
        count, monthly = max(months, 1.0), rate / 12.0
        bears = count * monthly / (1.0 - (1.0 + monthly) ** -count) - 1.0
    else:
        bears = rate * months / 12.0
    return int(owed * (bears + wait)) + 1


def fees_too_high(says: dict[str, Any], facts: dict[str, Any], plan: dict[str, Any]) -> bool | None:
    if plan["fees"] == 0:
        return False
    if says["method"] == "none":
        return True
    if says["method"] == "authorised":
        return opposite(facts.get("fees_authorised"))
    charged = facts.get("collection_costs_charged")
    base = facts.get("collection_cost_actual" if says["method"] == "cost" else "balance")
    if charged is None or base is None:
        return None
    most = base if says["method"] == "cost" else fee_scale(says, base)
    return bool(charged + plan["fees"] > most)


def years_owed(plan: dict[str, Any]) -> Fraction:
    """For how long an average unit of what is owed stays owed, exactly, if payments are equal and evenly spaced."""
    wait = Fraction(plan["first_due_days"], 365)
    if plan["instalment"] <= 0:
        return wait
    payments = max(ceil(Fraction(plan["total"], plan["instalment"])), 1)
    thirteenths = floor(13 * plan["months"] + 1e-6)
    apart = ceil(Fraction(thirteenths, payments))
    return wait + Fraction(thirteenths - apart, 13 * 12) / 2


def costs_too_much(says: dict[str, Any], owed: int | None, plan: dict[str, Any]) -> bool | None:
    charged = plan["interest"] + plan["fees"]
    if charged == 0:
        return False
    if owed is None:
        return None
    most = [Fraction(owed * says["most_share"], 10_000)] if "most_share" in says else []
    if "most_rate" in says:
        most.append(owed * Fraction(says["most_rate"], 10_000) * years_owed(plan))
    return any(charged > each for each in most)


def forbids(says: dict[str, Any], facts: dict[str, Any], plan: dict[str, Any]) -> bool | None:
    """Whether the rule forbids this plan to an account that it applies to."""
    kind = says["kind"]
    asks = plan["kind"] not in ASKS_FOR_NONE
    if plan["kind"] == "NO_OFFER":
        return False
    if kind in ("contact_cap", "quiet_hours", "channel_consent") and plan["channel"] not in says["channels"]:
        return False
    if kind == "contact_cap":
        if "counts" in says:
            made = facts.get(says["counts"])
            return None if made is None else made >= says["most"]
        ago = facts.get(says["since"])
        return None if ago is None else 0 <= ago < says["pause_days"]
    if kind == "quiet_hours":
        at = facts.get("contact_minute")
        closed = None if at is None else not minutes(says["opens"]) <= at < minutes(says["closes"])
        return both(closed, opposite(facts.get(says["unless"]))) if "unless" in says else closed
    if kind == "channel_consent":
        return opposite(facts.get("consent_" + plan["channel"]))
    if kind == "fee_cap":
        return fees_too_high(says, facts, plan)
    if kind == "interest_freeze":
        if says["allowed"] == "none":
            return bool(plan["interest"] > 0)
        most = contract_interest(facts, plan)
        if most is None:
            return None if plan["interest"] > 0 else False
        return bool(plan["interest"] > most)
    if kind == "cost_cap":
        return asks and costs_too_much(says, facts.get("balance"), plan)
    if kind == "term_cap":
        run = facts.get("agreement_months") if says.get("counts_agreement") else 0
        if not asks:
            return False
        return None if run is None else run + plan["months"] > says["most_months"]
    if kind == "affordability":
        if not asks or plan["kind"] in says.get("spares", []):
            return False
        return None if plan["bound"] is None else plan["monthly"] > plan["bound"]
    if kind == "moratorium":
        day = facts.get(says["day"])
        return False if not asks else None if day is None else 0 <= day <= says["days"]
    if kind == "stop_collection":
        return asks or bool(says.get("blocks") == "contacting")
    if kind == "special_category_human":
        return bool(says["machine_plans"] == "block" and not plan["human"])
    if kind == "notice":
        if "fees_after_days" not in says or not says.get("required", True) or plan["fees"] == 0:
            return False
        age = facts.get("notice_age_d")
        return None if age is None else age <= says["fees_after_days"]
    assert kind == "retention", kind
    return False


def stops(says: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    """Whether the rule stops collection from an account that it applies to."""
    if says["kind"] == "moratorium":
        day = facts.get(says["day"])
        return None if day is None else 0 <= day <= says["days"]
    return bool(says["kind"] == "stop_collection")


def notice_due(says: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    if says["kind"] != "notice" or not says.get("required", True):
        return False
    if "fees_after_days" not in says:
        return True
    age = facts.get("notice_age_d")
    return None if age is None else age == -1


def judge(packs: list[dict[str, Any]], facts: dict[str, Any], plan: dict[str, Any], today: date) -> Answer:
    """One account, one plan, all packs."""
    answer = Answer()
    for pack in packs:
        if not in_force(pack, today):
            continue
        home = both(at_home(pack, facts), conditions(pack, facts))
        for part in pack.get("covers", []):
            if both(home, conditions(part, facts)) is True:
                answer.covered |= set(part["matters"])
        if home is False:
            continue
        for rule in pack["rules"]:
            name, says = (pack["id"], rule["id"]), rule["parameters"]
            here = both(home, conditions(rule, facts))
            if here is False:
                continue
            forbidden = both(here, forbids(says, facts, plan))
            if forbidden is not False and answer.blocked is None:
                answer.blocked = name
            stopped = both(here, stops(says, facts))
            if stopped is not False and answer.stop is None:
                answer.stop = name
            human = here if says["kind"] == "special_category_human" else False
            if not says.get("rests"):
                two = (human, stopped)  # a stop ends offers, never the person
                human = True if True in two else None if None in two else False
            open_question = forbidden is None or stopped is None or human is None
            if (human or open_question) and answer.human is None:
                answer.human = name
            answer.unknown = answer.unknown or open_question
            if both(here, notice_due(says, facts)) is not False:
                answer.notices.add(name)
            if says["kind"] == "retention":
                answer.retention = min(says["days"], answer.retention or says["days"])
    return answer
