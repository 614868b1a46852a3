"""The plain letter to the customer: what is offered, what it costs, and what rights the customer has.

It is made from plans and dates alone. No fact about the customer enters, so none can stand in it. It informs, invites
an answer, offers a person and says how to contest (UK GDPR Art 22A–22D), and uses no threat (CONC 7.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fedrepay.client.plans.deciding.handover import MINUTES_A_DAY
from fedrepay.client.plans.explaining.messages import date, messages, money, say
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.first_dates import FOLLOWS
from fedrepay.shared.plans.money import DAYS_A_MONTH
from fedrepay.shared.plans.schedule import Plan, schedule

SHOWING = ("OFFER", "TOKEN", "REVIEW")
"""Decisions whose plans stand in the letter."""


@dataclass(frozen=True)
class Sender:
    """Who writes: ``place`` is the jurisdiction of the customer, which decides who gives free advice."""

    name: str = "[your name]"
    phone: str = "[your telephone number]"
    place: str = "other"


def letter(
    decision: str,
    plans: Sequence[Plan],
    *,
    today: int,
    language: str = "en",
    currency: str = "GBP",
    reference: str = "",
    sender: Sender | None = None,
    due: int = -1,
    income_known: bool = True,
    stopped: bool = False,
    simulated: bool = False,
    calendar: Calendar | None = None,
) -> str | None:
    """The letter that goes with a decision; None where there is none to write.

    Args:
        decision: OFFER, TOKEN, REVIEW, REFER, HUMAN or NONE; DORMANT once a person has agreed to a pause.
        plans: up to three; those of HUMAN stay with the case worker.
        today: days since 1970-01-01; first dates count from it.
        language: en or zh.
        currency: ISO code of the plans' minor units.
        reference: the account, as the customer knows it.
        sender: who writes.
        due: minutes since 1970-01-01 by when a person gets in touch, for HUMAN.
        income_known: without an income form, REFER asks for it.
        stopped: collection is stopped, so nobody is written to, whoever looks at the case.
        calendar: working days where the customer lives; Sundays alone where None.
        simulated: a simulated model decided: the letter begins and ends by saying that it must not be sent.
    """
    if decision == "NONE" or stopped:
        return None
    sender = sender or Sender()
    kind = "INCOME" if decision == "REFER" and not income_known else decision
    months = max((plan.dormant_months for plan in plans), default=12)
    by = date(language, due // MINUTES_A_DAY if due >= 0 else today + 3)
    parts = [
        say(language, "letter", "subject", reference=reference).rstrip(),
        say(language, "letter", "greeting"),
        say(language, "letter", kind, months=months, due=by),
    ]
    if decision in SHOWING:
        shown, days = [plan for plan in plans if plan.pays], calendar or Calendar()
        for place, plan in enumerate(shown, start=1):
            text = _plan(plan, place, today, days, language, currency)
            if place > 1:
                text += f"\n  {_beside(plan, shown[0], today, days, language, currency)}"
            elif len(shown) > 1:
                text += f"\n  {say(language, 'letter', 'recommended')}"
            parts.append(text)
        parts.append(say(language, "letter", "choose" if len(shown) > 1 else "choose_one"))
    if decision == "DORMANT":
        parts += [
            say(language, "letter", f"dormant_{each}") for each in ("interest", "file", "limitation", "end")
        ]
    advisers = sender.place if sender.place in messages()["advisers"] else "other"
    mark = [say(language, "letter", "simulated")] if simulated else []
    parts += [
        say(language, "letter", "rights_human" if decision in ("HUMAN", "DORMANT") else "rights"),
        say(language, "letter", "advice", advisers=say(language, "advisers", advisers)),
        say(language, "letter", "close"),
        say(language, "letter", "sender", name=sender.name, phone=sender.phone),
    ]
    return "\n\n".join([*mark, *parts, *mark]) + "\n"


def _beside(plan: Plan, first: Plan, today: int, calendar: Calendar, language: str, currency: str) -> str:
    """How a plan differs from the recommended one: when it ends, and what it costs in all."""
    ends, other = (int(schedule(each, today, calendar).dates[-1]) for each in (plan, first))
    more, months = plan.total - first.total, round(abs(ends - other) / DAYS_A_MONTH)
    return say(
        language,
        "letter",
        "beside_same" if not months else "beside_later" if ends >= other else "beside_sooner",
        months=say(language, "letter", "one_month" if months == 1 else "many_months", months=months),
        more=say(
            language,
            "letter",
            "costs_more" if more else "costs_the_same",
            amount=money(language, currency, more),
        ),
    )


def _plan(plan: Plan, place: int, today: int, calendar: Calendar, language: str, currency: str) -> str:
    dated = schedule(plan, today, calendar)
    first, last = (date(language, int(each)) for each in (dated.dates[0], dated.dates[-1]))
    count, last_amount = len(dated.amounts), money(language, currency, int(dated.amounts[-1]))
    amount = money(language, currency, int(dated.amounts[0]))
    frequency = say(language, "frequency", plan.frequency)
    head = "plan_once" if count == 1 else "plan"
    lines = [
        say(language, "letter", head, place=place, count=count, amount=amount, frequency=frequency),
        say(
            language,
            "letter",
            "date" if count == 1 else "dates",
            first=first,
            last=last,
            last_amount=last_amount,
        ),
        *([say(language, "letter", f"follows_{plan.follows}")] if plan.follows != FOLLOWS[0] else []),
        say(
            language,
            "letter",
            "total_contract" if plan.kind == "CATCH_UP" else "total",
            total=money(language, currency, plan.total),
            interest=money(language, currency, plan.interest),
        ),
    ]
    told = {
        "per_day" if plan.charged == plan.first_due else "per_day_later": plan.interest_per_day,
        "forgiven": plan.forgiven,
        "interest_saved": plan.interest_saved,
        "fees_saved": plan.fees_saved,
    }
    lines += [
        say(language, "letter", key, amount=money(language, currency, each))
        for key, each in told.items()
        if each >= 1
    ]
    notes = {
        "TOKEN": "rest",
        "REVIEW": "rest",
        "CATCH_UP": "catch_up",
        "EXTEND": "extend",
        "REDUCED": "reduced",
    }
    if plan.kind in notes:
        lines.append(say(language, "letter", notes[plan.kind]))
    return "\n  ".join(lines)
