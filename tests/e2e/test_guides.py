"""The guides: the researcher's is followed from its first line to its last, and no page shows a command that there is not.

`make guides` follows the operator's and the members' too (`tests/e2e/network_guides.py`): a network of theirs takes minutes.
"""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from fedrepay.cli import app
from support.guides import ROOT, Reader


def test_the_researchers_guide(tmp_path: Path) -> None:
    reader = Reader("researcher", tmp_path / "clone")
    for section in reader.sections:
        reader.types(section)
    for made in ("small/report.html", "loans/release", "grid/sweep.html"):
        assert (reader.home / "runs" / made).exists()


def shown(text: str) -> list[list[str]]:
    """The words of each command that a page shows, in its blocks and within its lines."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(
        r"`(fedrepay [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    return [shlex.split(line, comments=True)[1:] for line in lines if line.strip().startswith("fedrepay ")]


def check(words: list[str]) -> None:
    """That there is such a command, and that it takes these options.

    Raises:
        click.UsageError: otherwise.
    """
    found, name = typer.main.get_command(app), "fedrepay"
    while isinstance(found, click.Group) and not (found.invoke_without_command and words[0].startswith("-")):
        below = found.get_command(click.Context(found), words[0]) if words else None
        if below is None:
            raise click.UsageError(f"{name} has no {words[:1]}")
        found, name, words = below, f"{name} {words[0]}", words[1:]
    found.make_parser(click.Context(found, info_name=name)).parse_args(list(words))


@pytest.mark.parametrize(("page", "least"), [("operator", 12), ("member", 18), ("researcher", 6)])
def test_no_guide_shows_a_command_that_there_is_not(page: str, least: int) -> None:
    commands = shown((ROOT / f"docs/guide-{page}.md").read_text())
    assert len(commands) >= least
    for words in commands:
        check(words)


@pytest.mark.parametrize("line", ["fedrepay member fly", "fedrepay member pull --wings 2", "fedrepay oracle"])
def test_control_a_command_that_there_is_not_is_found(line: str) -> None:
    (words,) = shown(f"```sh\n{line}   # well\n```")
    with pytest.raises(click.UsageError):
        check(words)
