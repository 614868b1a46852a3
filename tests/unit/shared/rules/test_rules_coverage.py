"""Coverage is by matter: what a pack says it covers, for whom, and what the shipped packs leave to a person."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fedrepay.shared.errors import RuleError
from fedrepay.shared.rules.cases import plan_columns
from fedrepay.shared.rules.facts import DEBT_TYPES, JURISDICTIONS
from fedrepay.shared.rules.pack import CasePlan, Pack, load_builtin, parse_pack
from fedrepay.shared.rules.parameters import MATTERS, SPEAKS_OF, Parameters
from support.rules_world import covering, covering_text, evaluated

DAY = int(np.datetime64("2026-12-01", "D").astype(np.int64))
CREDIT = ("consumer", "card")
EVERY: set[str] = set(MATTERS)


def missing(packs: Sequence[Pack], place: str, debt: str | None, **facts: Any) -> set[str]:
    """Matters that packs leave uncovered for one account."""
    given = {"jurisdiction": place, **({} if debt is None else {"debt_type": debt}), **facts}
    columns = {name: np.array([value]) for name, value in given.items()}
    return set(evaluated(packs, columns, plan_columns(CasePlan()), DAY).missing(0))


SHIPPED: list[tuple[str, str, dict[str, Any], set[str]]] = [
    *(("UK", debt, {}, set()) for debt in CREDIT),
    ("UK", "high_cost_short_term", {}, {"cost"}),
    *(("UK", debt, {}, {"conduct", "contact", "cost"}) for debt in ("mortgage", "utility")),
    ("UK", "business", {}, EVERY),
    *(("US", debt, {}, set()) for debt in (*CREDIT, "high_cost_short_term")),
    ("US", "mortgage", {}, {"conduct"}),
    ("US", "utility", {}, {"conduct", "automated_decision"}),
    ("US", "business", {}, EVERY),
    *(("NL", debt, {"apr": 0.08}, set()) for debt in CREDIT),
    *(("NL", debt, {"apr": 0.0801}, {"cost"}) for debt in CREDIT),
    ("NL", "card", {}, {"cost"}),
    ("NL", "utility", {"apr": 0.0}, EVERY - {"automated_decision"}),
    *(("PT", debt, {}, {"cost"}) for debt in CREDIT),
    ("PT", "mortgage", {}, {"contact", "cost"}),
    *(("DE", debt, {}, {"cost"}) for debt in CREDIT),
    ("DE", "business", {}, EVERY),
    ("CN", "card", {}, {"cost", "automated_decision"}),
    ("CN", "consumer", {}, EVERY),
]


@pytest.mark.parametrize(("place", "debt", "facts", "lost"), SHIPPED)
def test_what_all_shipped_packs_leave_to_a_person(
    place: str, debt: str, facts: dict[str, Any], lost: set[str]
) -> None:
    assert missing(load_builtin(), place, debt, **facts) == lost


@pytest.mark.parametrize("place", JURISDICTIONS)
@pytest.mark.parametrize("debt", DEBT_TYPES)
def test_a_pack_of_the_members_own_covers_the_rest_and_only_at_home(place: str, debt: str) -> None:
    home = "EU" if place not in ("US", "UK", "CN") else place
    assert missing([*load_builtin(), covering(home)], place, debt) == set()
    assert missing([covering(home)], "UK" if home != "UK" else "US", debt) == EVERY


def test_without_packs_nothing_is_checked_and_nothing_is_said() -> None:
    assert missing([], "UK", "mortgage") == set()


def test_the_usual_packs_of_the_uk_cover_cards_and_each_of_them_is_needed() -> None:
    names = ("uk-fca", "uk-breathing-space", "uk-adm")
    assert missing(load_builtin(names), "UK", "card") == set()
    assert missing(load_builtin(names[:2]), "UK", "card") == {"automated_decision"}
    assert missing(load_builtin(names[1:]), "UK", "card") == {"conduct", "contact", "cost"}


def test_what_is_not_known_covers_nothing() -> None:
    packs = load_builtin()
    assert missing(packs, "UK", None) == EVERY
    assert missing(packs, "", "card") == EVERY
    only = covering("UK", ["cost"], '{ fact = "dispute", is = false }')
    assert missing([only], "UK", "card", dispute=False) == EVERY - {"cost"}
    assert missing([only], "UK", "card", dispute=True) == EVERY
    assert missing([only], "UK", "card") == EVERY


def test_a_pack_covers_nothing_before_its_first_day_and_nothing_unless_it_says_so() -> None:
    pack = covering("UK")
    assert missing([pack.model_copy(update={"effective_from": DAY})], "UK", "card") == set()
    assert missing([pack.model_copy(update={"effective_from": DAY + 1})], "UK", "card") == EVERY
    assert missing([pack.model_copy(update={"covers": ()})], "UK", "card") == EVERY


def test_a_pack_that_covers_a_matter_without_a_rule_about_it_is_refused() -> None:
    text = covering_text("UK", ["cost", "conduct"])
    parse_pack(text.encode(), "own.toml")
    says = 'kind = "notice", notice = "told"'
    capped = text.replace(says, 'kind = "cost_cap", most_share = 1')
    with pytest.raises(RuleError, match=r"covers: no rule here is about conduct\."):
        parse_pack(capped.encode(), "own.toml")
    with pytest.raises(RuleError, match=r"covers\.0\.matters\.0: Input should be 'conduct', 'contact'"):
        parse_pack(text.replace('"cost"', '"price"').encode(), "own.toml")


def test_every_kind_of_rule_is_said_to_be_about_some_matters() -> None:
    kinds = {each.model_fields["kind"].annotation.__args__[0] for each in Parameters.__args__[0].__args__}
    assert set(SPEAKS_OF) == kinds
    assert {matter for each in SPEAKS_OF.values() for matter in each} == EVERY
