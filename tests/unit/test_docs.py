"""Documents name what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = (
    "attacks",
    "benchmarks",
    "exit-codes",
    "market",
    "metrics",
    "mappings",
    "plans",
    "python",
    "refusals",
    "rules",
    "sweeps",
    "threat-model",
)


PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in DOCS)]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:tests|docs|shared|client|server|simulations)/[\w./-]*)`", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    here = (ROOT / page).parent
    missing = [each for each in named if not (ROOT / each).exists()]
    assert not missing + [each for each in linked if not (here / each).exists()]


def test_every_row_of_the_threat_model_names_a_test_or_says_why_not() -> None:
    rows = [
        line for line in (ROOT / "docs/threat-model.md").read_text().splitlines() if line.startswith("| B")
    ]
    names = [row.split(" | ")[0] for row in rows]
    assert len(set(names)) == len(names) >= 20
    for row in rows:
        last = row.rstrip(" |").split(" | ")[-1]
        assert re.search(r"`tests/|`make check`|not yet|not applicable", last), row


def test_every_exit_code_has_a_section() -> None:
    from fedrepay.shared import errors

    codes = {
        each.exit_code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.FedrepayError)
    }
    text = (ROOT / "docs/exit-codes.md").read_text()
    assert all(f"## {code}:" in text for code in codes)


def test_every_refusal_has_a_row_that_says_who_may_be_at_fault_and_what_to_do() -> None:
    from fedrepay.shared.errors import Code

    rows = [line for line in (ROOT / "docs/refusals.md").read_text().splitlines() if line.startswith("| `")]
    named = [row.split("`")[1] for row in rows]
    assert sorted(named) == sorted(code.value for code in Code)
    assert all(len(row.strip("|").split("|")) == 5 for row in rows)
