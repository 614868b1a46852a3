"""No plan that the masks allow breaks a hard rule, counted by conditions restated without packs and masks."""

import numpy as np
import pytest

from fedrepay.shared.rules.pack import Pack, load_builtin
from fedrepay.simulations.bench import rules as bench
from support.rules_world import evaluated


@pytest.fixture(scope="module")
def chunk() -> bench.RuledAccounts:
    return bench.draw(np.random.default_rng(4), 20_000)


def broken(packs: list[Pack], chunk: bench.RuledAccounts) -> dict[str, int]:
    """Violations among allowed plans, by rule."""
    allowed = evaluated(packs, chunk.facts, chunk.plans, bench.TODAY).blocked < 0
    assert allowed.any()
    counts = {
        rule: int((wrong & allowed).sum()) for rule, wrong in bench.violations(chunk.facts, chunk.plans)
    }
    return {rule: count for rule, count in counts.items() if count}


def test_no_hard_rule_is_broken_in_20000_accounts(chunk: bench.RuledAccounts) -> None:
    assert broken(list(load_builtin()), chunk) == {}


@pytest.mark.parametrize(
    ("dropped", "found"),
    [
        ("us-fed", "US"),
        ("uk-fca", "UK"),
        ("uk-breathing-space", "UK"),
        ("uk-hcstc", "UK"),
        ("uk-adm", "UK health"),
        ("eu-2021-2167", "EU"),
        ("eu-gdpr", "EU health"),
        ("nl", "NL"),
        ("pt", "PT"),
        ("cn", "CN"),
    ],
)
def test_control_without_one_pack_its_rules_are_broken(
    chunk: bench.RuledAccounts, dropped: str, found: str
) -> None:
    rest = broken([pack for pack in load_builtin() if pack.id != dropped], chunk)
    assert rest
    assert all(rule.startswith(found) for rule in rest)
