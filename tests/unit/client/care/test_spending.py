"""`member budget`: what the ledger says, by the veto's own composition."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from fedrepay.client.care import home
from fedrepay.client.care.spending import EVERYBODY, spending, window_of
from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.year import YEAR, of_year
from fedrepay.shared.errors import ArgumentError, BudgetError, ReleaseError
from fedrepay.shared.privacy.composition import composed_epsilon
from support import member_folder
from support.command import fedrepay
from support.member_folder import NOW, store_of

DAY = 86400.0


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return member_folder.played(tmp_path_factory.mktemp("world"), ("distributed",) * 2).folder / "m0"


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "member")


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("time.time", return_value=NOW + DAY):
        yield


def limited(folder: Path, **lines: float) -> Path:
    path = folder / "limits.toml"
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in lines.items()))
    return path


def test_the_year_is_what_the_veto_composes(folder: Path) -> None:
    here = home.of(folder)
    found, ledger = spending(here), here.store.ledger()
    exact = composed_epsilon(of_year(ledger, NOW), here.delta)
    assert found.epsilon is not None
    assert found.epsilon == pytest.approx(exact, rel=1e-5)
    assert found.epsilon >= exact
    assert found.delta == Limits().year_delta(here.book.schema.public)
    assert [each.run for each in found.runs] == [1, 2]
    for run in found.runs:
        assert run.released
        assert [(each.round, each.attempt, each.sent, each.opened) for each in run.attempts] == [
            (0, 0, True, True),
            (1, 1, True, True),
        ]
        assert run.epsilon is not None
        alone = [each.epsilon for each in run.attempts]
        assert run.epsilon < found.epsilon
        assert all(each is not None and each < run.epsilon for each in alone)
    assert found.oldest_falls_out == NOW + YEAR
    for number, cost in found.at_members.items():
        assert cost == composed_epsilon(of_year(ledger, NOW), here.delta, memberships=number)


def test_what_the_limits_allow_is_what_the_veto_would_say(folder: Path) -> None:
    spent = spending(home.of(folder)).epsilon
    assert spent is not None
    for limit, left in ((spent * 1.5, spent * 0.5), (spent * 0.9, 0.0)):
        here = home.of(folder, limits_file=limited(folder, epsilon_per_year=limit))
        assert spending(here).left == pytest.approx(left)
        if left:
            here.limits.check_year(spent, here.delta)
        else:
            with pytest.raises(BudgetError):
                here.limits.check_year(spent, here.delta)


def test_a_year_later_nothing_counts_and_everything_is_still_shown(folder: Path) -> None:
    here = replace(home.of(folder), clock=lambda: NOW + YEAR)
    found = spending(here)
    assert (found.epsilon, found.oldest_falls_out, found.by_window) == (0.0, None, {})
    assert [len(each.attempts) for each in found.runs] == [2, 2]
    assert not any(each.counts for run in found.runs for each in run.attempts)
    assert all(each.epsilon for run in found.runs for each in run.attempts), (
        "what it cost when it was charged"
    )


def test_an_attempt_without_noise_leaves_no_figure(folder: Path) -> None:
    store_of(folder).charge(9, 0, 0, "unprotected", ())
    found = spending(home.of(folder))
    assert (found.epsilon, found.left, {*found.at_members.values()}) == (None, None, {None})
    assert found.runs[-1].epsilon is None
    assert not found.runs[-1].released
    assert found.runs[0].epsilon is not None
    shown = fedrepay("member", "budget", "--folder", folder)
    assert "none holds" in shown.out
    assert "nothing is left" in shown.out


def test_windows_are_told_apart_and_their_keyed_hashes_are_not_shown(folder: Path) -> None:
    store = store_of(folder)
    event = store.ledger()[0].event
    for number, whose in enumerate((b"offers 2025-01-01 to 2025-06-30", b"all customers"), start=7):
        window = whose + b"; snapshot " + b"ab" * 32
        store.charge(number, 0, 0, "reserved", event, window=window)
    found = spending(home.of(folder))
    named = {"offers 2025-01-01 to 2025-06-30", "all customers"}
    assert set(found.by_window) >= named
    one, other = (found.by_window[each] for each in sorted(named))
    assert one == other == spending(home.of(folder)).runs[-1].epsilon
    assert found.epsilon is not None
    assert one is not None
    assert one < found.epsilon
    shown = fedrepay("member", "budget", "--folder", folder, "--json").out
    assert "abab" not in shown
    assert window_of(LedgerEntry(0, 1, 0, 0, "reserved", ())) == EVERYBODY


def test_the_screen_and_json_say_the_same(folder: Path) -> None:
    found = spending(home.of(folder))
    assert found.epsilon is not None
    said = json.loads(fedrepay("member", "budget", "--folder", folder, "--json").out)
    assert (said["epsilon"], said["limit"]) == (found.epsilon, 4.0)
    shown = fedrepay("member", "budget", "--folder", folder)
    assert shown.code == 0, shown.err
    assert "at 2 members" in shown.out
    assert "The oldest of these is a year old on 2028-01-15" in shown.out


def test_without_a_schema_anywhere_the_command_says_what_is_missing(tmp_path: Path) -> None:
    assert fedrepay("member", "budget", "--folder", tmp_path).code == ReleaseError.exit_code
    assert fedrepay("member", "init", "a", "--folder", tmp_path / "a").code == 0
    done = fedrepay("member", "budget", "--folder", tmp_path / "a")
    assert done.code == ArgumentError.exit_code
    assert "--schema" in done.err
