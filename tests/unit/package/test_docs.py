"""Documents name what exists."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = (
    "adr/README",
    "architecture",
    "attacks",
    "benchmarks",
    "domain",
    "exit-codes",
    "guide-member",
    "guide-operator",
    "guide-researcher",
    "market",
    "member-network",
    "metrics",
    "mappings",
    "member",
    "operator",
    "plans",
    "protocol",
    "python",
    "refusals",
    "rules",
    "sweeps",
    "threat-model",
    "torch",
)


PAGES = ["README.md", "CONTRIBUTING.md", "docker/README.md", *(f"docs/{name}.md" for name in DOCS)]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:tests|docs|docker|shared|client|server|simulations)/[\w./-]*)`", text)
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


# --- citations in code ---

CODE = ("client", "server", "shared", "simulations", "tests")
CITED = re.compile(
    r"(?P<page>[\w./-]+\.md)"
    r"(?:`*,?\s+(?:\*(?P<section>[^*]+)\*(?:,\s+(?P<item>\d+))?|section\s+(?P<number>\d+)|\"(?P<quoted>[^\"]+)\"))?"
)
"""``docs/page.md``, and after it *a section*, *a section*, 2, or section 2."""
DECISION = re.compile(r"docs/adr/(\d{4})(?![\w-])")


def written(code: str) -> Iterator[str]:
    """Comments and texts of a module, each on one line; comments on lines one after the other are one.

    A text that is a page's bare name is a piece of a path.
    """
    comment: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            comment.append(token.string.lstrip("# "))
        elif token.type not in (tokenize.NL, tokenize.NEWLINE):
            yield " ".join(comment)
            comment = []
            if token.type == tokenize.STRING and not re.fullmatch(r"[\"'][\w-]+\.md[\"']", token.string):
                yield " ".join(token.string.split())
    yield " ".join(comment)


def sections(page: Path) -> dict[str, str]:
    """Title of each section, and the lines up to the next one."""
    _, *parts = re.split(r"^#+ ", page.read_text("utf-8"), flags=re.MULTILINE)
    return {title: body for title, _, body in (part.partition("\n") for part in parts)}


def wrong_citations(text: str) -> list[str]:
    """What a text cites and nobody finds there."""
    wrong = [f"docs/adr/{number}" for number in DECISION.findall(text) if not _decision(number)]
    for cited in CITED.finditer(text):
        page = ROOT / cited["page"]
        if not page.is_file():
            wrong.append(cited[0])
            continue
        found, title = sections(page), cited["section"] or cited["quoted"]
        missing = title is not None and title not in found
        if cited["item"] and not missing:
            missing = not re.search(rf"^{cited['item']}\. ", found[str(title)], flags=re.MULTILINE)
        if cited["number"]:
            missing = not any(each.startswith(f"{cited['number']}. ") for each in found)
        if missing:
            wrong.append(cited[0])
    return wrong


def _decision(number: str) -> list[Path]:
    return list((ROOT / "docs/adr").glob(f"{number}-*.md"))


def test_every_page_and_section_that_code_cites_exists() -> None:
    followed, wrong = 0, []
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        if path == Path(__file__):
            continue  # the made-up ones
        for text in written(path.read_text("utf-8")):
            followed += len(CITED.findall(text))
            wrong += [f"{path.relative_to(ROOT)}: {each}" for each in wrong_citations(text)]
    assert not wrong
    assert followed > 60


@pytest.mark.parametrize(
    "text",
    [
        "protocol.md, *One round*",
        "reference/encryption.md",
        "docs/protocol.md, *One round of many*, 5",
        "docs/protocol.md, *One round*, 9",
        "docs/domain.md section 9",
        "docs/domain.md, section 12",
        'docs/plans.md``, "From plans to labels"',
        "docs/adr/0099",
    ],
)
def test_a_made_up_citation_is_found(text: str) -> None:
    (told,) = wrong_citations(f"As said ({text}).")
    assert told in text


def test_a_right_citation_is_followed_over_lines() -> None:
    code = '"""As said (docs/protocol.md, *Epochs,\nroster, keys*, 4; docs/adr/0019)."""\n# docs/protocol.md, *One\n# round*, 7\n'
    doc, comment = (text for text in written(code) if text)
    assert not wrong_citations(doc)
    assert len(wrong_citations(comment)) == 1


# --- decisions ---


def test_the_index_of_decisions_lists_each_under_its_heading() -> None:
    page = (ROOT / "docs/adr/README.md").read_text("utf-8")
    rows = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \| \d{4}-\d{2}-\d{2} \| (.+) \|$", page, flags=re.MULTILINE
    )
    files = sorted(path.name for path in (ROOT / "docs/adr").glob("*.md") if path.name != "README.md")
    assert [name for _, name, _, _ in rows] == files
    for number, name, title, status in rows:
        assert name.startswith(f"{number}-")
        assert (ROOT / "docs/adr" / name).read_text("utf-8").startswith(f"# {number}: {title}\n")
        assert status.startswith(("accepted", "superseded by "))
        assert all(_decision(other) for other in re.findall(r"superse\w+ (?:by )?(\d{4})", status))
