"""A run's report: members, sizes, times, refusals, who signed; and none of what only members may know."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrepay.server.operating import report
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.release import ReleaseContent
from support import liars
from support.consortium import unencrypted
from support.operated import operated, released


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


def test_a_report_tells_who_when_how_much_and_who_signed(tmp_path: Path) -> None:
    home = operated(tmp_path, {"m4": liars.Refusing("round", "lost-attempt", times=1)})
    released(home)
    made = report.report(home.database)
    assert (made.run, made.state, made.roster, made.members) == (1, "done", 1, home.names)
    assert [each.status for each in made.attempts] == ["void", "completed", "completed"]
    assert made.attempts[0].lost == ("m4",)
    assert made.charged == 3
    assert made.refusals == {"lost-attempt": 1}
    _, body, _ = home.store("m0").release() or (0, b"", b"")
    assert made.release == keys.digest(body).hex()
    assert set(made.signed) == set(home.names)
    assert made.writer in home.names
    said = json.loads(made.as_json())
    assert said["terms"]["epsilon"] == 4.0
    page = made.page()
    for words in ("Run 1: done", "1 of them void", "lost by m4", made.release, "signed by m0"):
        assert words in page
    content = ReleaseContent.decode(body)
    assert str(float(content.weights[0, 0])) not in made.as_json(), "no weight is the operator's to know"
    (listed,) = report.releases(home.database)
    assert (listed.number, listed.release, listed.signed) == (1, made.release, made.signed)


def test_another_run_is_asked_for_by_number(tmp_path: Path) -> None:
    home = operated(tmp_path)
    with pytest.raises(ArgumentError, match="no run"):
        report.report(home.database)
    released(home)
    released(home, new_run=True)
    assert report.report(home.database).run == 2
    assert report.report(home.database, 1).run == 1
    with pytest.raises(ArgumentError, match="Runs: 1, 2"):
        report.report(home.database, 7)
    assert [each.number for each in report.releases(home.database)] == [1, 2]


def test_what_members_told_commands_no_terminal(tmp_path: Path) -> None:
    home = operated(tmp_path)
    released(home)
    from fedrepay.server.protocol.state import Event

    home.database.append(1, [Event("away", "m1", b"limits: \x1b[2Jgone\nRun 9: done")])
    assert "\x1b" not in report.report(home.database).page()
    assert "\nRun 9" not in report.report(home.database).page()
