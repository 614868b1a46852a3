"""Where a roster's making stands, told from its events alone; and waiting for its end."""

from pathlib import Path

import pytest

from fedrepay.server.operating import rosters
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared import keys
from support.company import Company


class Made:
    """A roster of four, made step by step into a store."""

    def __init__(self, folder: Path, url: str) -> None:
        self.store = CoordinatorStore(url)
        self.company = Company(folder / "members")
        self.machine = self.company.enrolment()
        apply = self.machine.state.apply

        def noted(event: Event) -> None:
            self.store.append(ROSTERS, [event])
            apply(event)

        self.machine.state.apply = noted  # type: ignore[method-assign]

    def approve(self) -> None:
        """Members are asked, their people compare words and approve them."""
        for name, parts in self.company.until(self.machine, "approve").parts.items():
            self.company.members[name].handle("approve", *parts)
        (words,) = {member.shown_words() for member in self.company.members.values()}
        for member in self.company.members.values():
            member.approve_roster(words)


def test_each_stage_and_who_is_lacking(tmp_path: Path, database_url: str) -> None:
    made = Made(tmp_path, database_url)
    assert rosters.making(rosters.enrolled(made.store)) is None
    made.company.until(made.machine, "propose")
    made.company.until(made.machine, "reveal")
    seen = rosters.making(rosters.enrolled(made.store))
    assert seen is not None
    assert (seen.stage, seen.members, seen.lacking) == ("revealing", made.company.names, made.company.names)
    made.company.until(made.machine, "approve")
    seen = rosters.making(rosters.enrolled(made.store))
    assert seen is not None
    assert (seen.stage, seen.lacking, seen.number) == ("approving", made.company.names, 1)
    assert len(seen.words.split()) == 12
    assert seen.words in seen.text
    assert "m3" in seen.text


def test_train_waits_shows_the_words_once_and_goes_on(tmp_path: Path, database_url: str) -> None:
    made = Made(tmp_path, database_url)
    shown: list[str] = []
    steps = iter(("reveal", "approve", "people", "end"))

    def sleep(_seconds: float) -> None:
        step = next(steps)
        if step == "people":
            made.approve()
        elif step == "end":
            assert made.company.until(made.machine, "certify")
        else:
            made.company.until(made.machine, step)

    roster = rosters.wait(
        made.store,
        lambda: made.company.names,
        shown.append,
        sleep,
        lambda: keys.public_bytes(made.company.key),
    )
    assert roster.names == made.company.names
    assert shown[0] == "A roster of m0, m1, m2, m3 is to be made."
    (words,) = [line for line in shown if "waits for approval by m0, m1, m2, m3" in line]
    assert roster.code() in words, "the same words that people approved"
    assert next(steps, None) is None


def test_a_roster_of_others_is_waited_over_where_that_is_wanted(tmp_path: Path, database_url: str) -> None:
    made = Made(tmp_path, database_url)
    made.company.until(made.machine, "approve")
    made.approve()
    made.company.until(made.machine, "certify")
    assert (
        rosters.wait(
            made.store,
            lambda: ["m0"],
            lambda _line: None,
            lambda _s: None,
            lambda: keys.public_bytes(made.company.key),
        ).number
        == 1
    )

    class WaitedError(Exception):
        pass

    def sleep(_seconds: float) -> None:
        raise WaitedError

    with pytest.raises(WaitedError):
        rosters.wait(
            made.store,
            lambda: ["m0"],
            lambda _line: None,
            sleep,
            lambda: keys.public_bytes(made.company.key),
            whole=True,
        )
    assert (
        rosters.wait(
            made.store,
            lambda: made.company.names,
            lambda _: None,
            sleep,
            lambda: keys.public_bytes(made.company.key),
            whole=True,
        ).number
        == 1
    )
