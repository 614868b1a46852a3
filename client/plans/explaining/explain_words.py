"""The lines of an explained decision, in the words of ``messages.toml``."""

from typing import Any

from fedrepay.client.plans.explaining.messages import money, say
from fedrepay.shared.plans.first_dates import FOLLOWS

Json = dict[str, Any]
LONGEST_SHOWN = 12
"""Payments of a schedule that are all written out; of longer ones the first three and the last two (JSON has all)."""


def lines(content: Json, letter: str | None, draft: str | None, language: str) -> list[str]:
    """What ``explain.Explanation`` holds, as a case worker reads it."""

    def title(key: str) -> str:
        return f"\n{say(language, 'explain', key)}"

    mark = [say(language, "letter", "simulated")] if content["simulated"] else []
    found = [*mark, *_head(content, language), title("facts")]
    found += [f"  {name}: {_fact(name, content, language)}" for name in content["facts"]]
    if content["outside"]:
        found.append(f"  {say(language, 'explain', 'outside', columns=', '.join(content['outside']))}")
    found += ["", _bound(content, language), ""]
    for place, plan in enumerate(content["plans"], start=1):
        found += _plan(plan, place, content["currency"], language)
    found += [title("reasons"), *_reasons(content, language)]
    found += [title("change"), f"  {_change(content, language)}"]
    found += [title("why_not"), *(f"  {_why(each, language)}" for each in content["why_not"])]
    found += [title("versions"), *(f"  {name}: {each}" for name, each in content["versions"].items())]
    found += [f"  {say(language, 'explain', 'template')}"]
    for key, text in (("letter", letter), ("draft", draft)):
        if text is not None:
            found += [title(key), *(f"  {line}".rstrip() for line in text.splitlines())]
    return found


def _head(content: Json, language: str) -> list[str]:
    decision = content["decision"]
    asks = decision == "REFER" and not content["income_known"]
    found = [
        say(language, "explain", "title", account=content["account"]),
        say(
            language,
            "explain",
            "decision",
            decision=say(language, "decision", "INCOME" if asks else decision),
            tier=content["tier"],
            tier_words=say(language, "tier", content["tier"]),
            channel=content["channel"] or "–",
        ),
    ]
    found.append(content["because"])
    handed = content["handover"]
    if handed is not None:
        words = handed["reason"] if language == "en" else say(language, "handover", handed["code"])
        found.append(
            say(language, "explain", "handover", code=handed["code"], reason=words, due=handed["due"])
        )
        on = say(language, "rests_on", handed["code"])
        found.append(say(language, "explain", "rests_on", on=on))
        found.append(say(language, "consequence", handed["code"]))
    for name, rules in content["rules"].items():
        if rules and name == "uncovered":
            matters = "; ".join(say(language, "matter", each) for each in rules)
            found.append(say(language, "explain", "rules_uncovered", matters=matters))
        elif rules:
            cited = "; ".join(_cited(each, language) for each in rules)
            found.append(say(language, "explain", f"rules_{name}", rules=cited))
    return found


def _cited(rule: Json, language: str) -> str:
    names = ("pack", "pack_version", "rule", "version", "article")
    return say(language, "explain", "rule", **{name: rule[name] for name in names})


def _fact(name: str, content: Json, language: str) -> str:
    value = content["facts"][name]
    if value is None:
        return say(language, "explain", "unknown")
    if value == "restricted":
        return say(language, "explain", "restricted")
    if isinstance(value, str):
        return value
    return money(language, content["currency"], value) if name in content["money"] else f"{value:.10g}"


def _bound(content: Json, language: str) -> str:
    bound, currency = content["bound"], content["currency"]
    if bound is None:
        return say(language, "explain", "beyond" if content["beyond"] else "no_bound")
    amounts = {
        name: money(language, currency, bound[name])
        for name in ("bound", "income", "surplus", "promised", "savings")
    }
    found = say(
        language,
        "explain",
        "bound",
        **amounts,
        lower=money(language, currency, bound["lower_bound"]),
        known=bound["class"],
        level=f"{100 * bound['level']:g}",
    )
    if bound["part"] == 1:
        return found
    percent = f"{100 * bound['part']:.1f}"
    return f"{found} {say(language, 'explain', 'part', percent=percent)}"


def _plan(plan: Json, place: int, currency: str, language: str) -> list[str]:
    def amount(value: float) -> str:
        return money(language, currency, value)

    if not plan["schedule"]:
        return [say(language, "explain", "no_payment", place=place, name=plan["name"])]
    found = [
        say(
            language,
            "explain",
            "plan",
            place=place,
            name=plan["name"],
            amount=amount(plan["instalment"]),
            count=plan["payments"],
            total=amount(plan["total"]),
            interest=amount(plan["interest"]),
            per_day=amount(plan["interest_per_day"]),
            first=f"{100 * plan['p_first']:.0f}",
            kept=f"{100 * plan['p_kept']:.0f}",
        )
    ]
    due = [f"{day} {amount(each)}" for day, each in plan["schedule"]]
    shown = due if len(due) <= LONGEST_SHOWN else [*due[:3], "…", *due[-2:]]
    dates = ", ".join(shown)
    costs_at = plan["cost_by_first_due"]
    weekly = {
        day // 7: day for day, _ in reversed(costs_at) if day >= 7
    }.values()  # the first working day of each week
    weeks = [each for each in costs_at if each[0] in (*weekly, plan["first_due"])]
    costs = ", ".join(f"+{day} {amount(total)}" for day, total in weeks)
    found += [
        f"   {say(language, 'explain', 'schedule', dates=dates)}",
        f"   {say(language, 'explain', 'costs', costs=costs)}",
    ]
    if plan["follows"] != FOLLOWS[0]:
        found.append(f"   {say(language, 'explain', 'follows_' + plan['follows'])}")
    score = {name: f"{each:.4f}" for name, each in plan["score"].items()}
    return [*found, f"   {say(language, 'explain', 'score', **score)}"]


def _reasons(content: Json, language: str) -> list[str]:
    found = []
    for each in content["reasons"]:
        up = each["part"] > 0
        words = say(language, "reason", f"{each['code']}_{'up' if up else 'down'}")
        found.append(f"  {'+' if up else '−'} {each['code']} {each['name']}: {words} ({each['part']:+.2f})")
    return found or ["  –"]


def _change(content: Json, language: str) -> str:
    found = content["counterfactual"]
    if not any(plan["schedule"] for plan in content["plans"]):
        return "–"
    if found is None:
        return say(language, "counterfactual", "none")
    percent, change = round(100 * found["target"]), found["change"]
    if found["kind"] == "instalment":
        less = money(language, content["currency"], -change)
        return say(language, "counterfactual", "instalment", amount=less, percent=percent)
    return say(
        language, "counterfactual", "later" if change > 0 else "earlier", days=abs(change), percent=percent
    )


def _why(row: Json, language: str) -> str:
    words = say(language, "why", row["why"])
    if row["rule"] is not None:
        words = f"{words} ({_cited(row['rule'], language)})"
    return say(language, "explain", "why_row", count=row["count"], why=words, example=row["example"])
