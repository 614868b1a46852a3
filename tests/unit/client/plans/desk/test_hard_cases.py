"""The page of hard cases is what the code decides; nobody on it loses their person, whichever laws are switched on."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import output
from fedrepay.client.plans.batch_io.batch_files import parts
from fedrepay.client.plans.batch_io.register import Noted
from fedrepay.client.plans.deciding import safeguards
from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.shared.rules.pack import builtin_names, builtin_path
from support.command import fedrepay
from support.hard_cases import CASES, PAGE, SETS, TODAY, UK, decided, page

FOR_A_PERSON = (
    *(
        "dispute",
        "adviser",
        "died",
        "died-dispute",
        "insolvent",
        "insolvent-respite",
        "time-barred",
        "refused",
    ),
    *("respite-first", "respite-last", "crisis", "health", "life-event", "capability", "kept-asked", "asked"),
    *("three-dates", "deficit-no-work", "no-income", "more-than-income", "apr-1200", "fees-above"),
    "arrears-unknown",
)
"""Whatever the law, a person."""


def people(packs: Iterable[str]) -> set[str]:
    _, batch = decided(tuple(packs))
    rows = np.flatnonzero(batch.decisions.code == Decision.HUMAN)
    assert (batch.handed.due[rows] > 0).all(), "a person, and by when"
    return {CASES[row].name for row in rows.tolist()}


def test_the_page_is_what_is_decided() -> None:
    assert len(CASES) == 60 == len({each.name for each in CASES})
    assert PAGE.read_text("utf-8") == page(), "cd tests && python -m support.hard_cases"


def test_nobody_loses_their_person_whatever_is_switched_on() -> None:
    """Each pack alone, each left out, all and none."""
    sets = [(), *((each,) for each in builtin_names()), builtin_names(), UK]
    sets += [tuple(each for each in builtin_names() if each != one) for one in builtin_names()]
    for packs in sets:
        assert set(FOR_A_PERSON) <= people(packs), packs


def test_with_the_safeguards_off_some_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(safeguards, "FOR_A_PERSON", ())
    assert not set(FOR_A_PERSON) <= people(())


def test_dear_debt_gets_no_less_and_a_pound_more_owed_is_no_cliff() -> None:
    made, batch = decided(SETS["UK packs"])
    names = [each.name for each in CASES]
    top = {name: int(batch.decisions.top[names.index(name), 0]) for name in names}
    waived = [made.arms.interest_waiver[top[name]] for name in ("plain", "apr-60", "apr-70")]
    assert waived == sorted(waived)
    monthly = [
        int(batch.judged.plans.monthly[names.index(name), top[name]])
        for name in ("cliff-under", "cliff-over")
    ]
    assert abs(monthly[0] - monthly[1]) <= 500


def test_rules_diff_says_who_is_touched_when_a_law_changes(tmp_path: Path) -> None:
    made, batch = decided(UK)
    out = tmp_path / "cases.csv"
    with parts(out) as files:
        facts = {"account": batch.accounts.names, **batch.facts.columns}
        files.add(output.table_of(made, batch, verify(made, batch.accounts, TODAY)), facts)
        files.finish(Noted("cases", {}, str(out)), (), None, {})
    text = builtin_path("uk-fca").read_text("utf-8")
    assert "covers = " in text or "[[covers]]" in text
    changed = tmp_path / "mine.toml"
    rule = """
[[rules]]
id = "no-long-plans"
version = 1
article = "made up for this test"
text = "No plan of more than ten months."
checked = false
parameters = {kind = "term_cap", most_months = 10}
"""
    place = text.index("[[rules]]")
    changed.write_text(text[:place] + rule.lstrip() + "\n" + text[place:])
    found = fedrepay("rules", "diff", "uk-fca", changed, "--decisions", out, "--json")
    assert found.code == 0, found.err
    same = fedrepay("rules", "diff", "uk-fca", "uk-fca", "--decisions", out, "--json")
    assert "no-long-plans" in found.out
    assert '"plain"' in found.out
    assert '"three-pounds"' not in found.out
    assert '"plain"' not in same.out
