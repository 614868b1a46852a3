"""`--help` teaches: every command, argument and option says what it is, on the screen too."""

from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
import typer

from fedrepay.cli import app
from support.command import fedrepay

Path = tuple[str, ...]


def commands(group: click.Group, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, click.Group)
ALL = list(commands(ROOT))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_a_command_shows_what_it_does_and_what_it_takes(path: Path, command: click.Command) -> None:
    shown = fedrepay(*path, "--help")
    assert shown.code == 0
    assert command.help
    said = " ".join(shown.out.replace("│", " ").split())
    for each in command.params:
        words = getattr(each, "help", None)
        assert words, f"{each.name} says nothing of itself"
        assert " ".join(words.split())[:40] in said, f"{each.name}'s words are not shown"


@pytest.mark.parametrize("path", [path for path, command in ALL if not command.hidden], ids=" ".join)
def test_every_command_has_an_answer_for_machines(path: Path) -> None:
    """Hidden ones are processes that other commands start."""
    (command,) = (each for of, each in ALL if of == path)
    assert any("--json" in each.opts for each in command.params)


def test_the_command_says_its_version() -> None:
    shown = fedrepay("--version")
    assert (shown.code, shown.out, shown.err) == (0, f"fedrepay {version('fedrepay')}\n", "")
