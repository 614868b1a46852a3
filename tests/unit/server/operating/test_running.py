"""`train` from its options to a begun run, and `--dry-run`: who says no is asked, and nothing is begun or spent."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fedrepay.client.protocol import accepted
from fedrepay.client.veto.limits import Limits
from fedrepay.server.admission.registry import Registry
from fedrepay.server.keyring import load_key
from fedrepay.server.network import app, training
from fedrepay.server.network.runs import RunWishes, planned
from fedrepay.server.network.superlink import RunSeen
from fedrepay.server.operating import founding, rehearsal, rosters, running
from fedrepay.server.operating import settings as places
from fedrepay.server.operating.running import TrainWishes
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.server.store import ASKED
from fedrepay.shared.errors import ArgumentError, NetworkError, ProtocolError
from fedrepay.shared.trust.terms import NumberedTerms
from support.consortium import Consortium, unencrypted
from support.operated import operated, released


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


@pytest.fixture
def home(tmp_path: Path) -> Consortium:
    return operated(tmp_path)


def never(_seconds: float) -> None:
    raise AssertionError("nobody is waited for")


def begin(home: Consortium, asked: TrainWishes = TrainWishes(), **wishes: object) -> running.BegunRun:  # noqa: B008
    return running.begin(home.operator, asked, RunWishes(**wishes), lambda _line: None, never)  # type: ignore[arg-type]


def test_defaults_are_the_folders_schema_and_everybody_of_the_roster(home: Consortium) -> None:
    released(home)
    begun = begin(home, again=True, epsilon=2.0)
    assert (begun.members, begun.resumed, begun.ignored) == (5, False, ())
    assert begun.terms.schema_hash == home.book.schema_hash
    _, agreed = founding.terms_in(home.operator)
    assert begun.terms.agreed == agreed
    again = begin(home, TrainWishes(without=("m3",)), epsilon=1.0)
    assert (again.terms, again.resumed, again.ignored, again.members) == (
        begun.terms,
        True,
        ("--epsilon",),
        4,
    )


def test_a_finished_run_is_not_repeated_by_accident(home: Consortium) -> None:
    released(home)
    with pytest.raises(ArgumentError, match="costs every customer its ε again"):
        begin(home)


def test_who_is_left_out_must_be_in(home: Consortium) -> None:
    released(home)
    with pytest.raises(ArgumentError, match="nobody of that name"):
        begin(home, TrainWishes(without=("m9",)), again=True)


def revoked(home: Consortium, name: str) -> None:
    registry = Registry(home.operator)
    registry.invite(name, "127.0.0.1:8443", bytes(32))
    registry.revoke(name, "merged away")


def test_a_roster_with_somebody_who_is_shut_out_begins_no_run(
    home: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(home)
    revoked(home, "m3")
    shown: list[str] = []

    class WaitedError(Exception):
        pass

    def sleep(_seconds: float) -> None:
        raise WaitedError

    def train(asked: TrainWishes) -> running.BegunRun:
        return running.begin(home.operator, asked, RunWishes(again=True), shown.append, sleep)

    with pytest.raises(NetworkError, match="coordinator serve"):
        train(TrainWishes())  # nobody is there who could make the next one
    monkeypatch.setattr(places, "listens", lambda *_: True)
    with pytest.raises(WaitedError):
        train(TrainWishes())
    assert "m3, of the roster in force, is shut out" in shown[0]
    assert home.database.terms().run == 1  # type: ignore[union-attr]
    assert train(TrainWishes(without=("m3",))).members == 4, "control: without it, this roster will do"


def test_no_roster_is_waited_for_while_a_run_is_under_way(home: Consortium) -> None:
    released(home)
    run = begin(home, again=True).terms.run
    assert begin(home, TrainWishes(members=4)).resumed, "control: planned, and nobody has answered"
    home.database.append(run, [Event("answer:terms", "m0", b"")])
    with pytest.raises(ArgumentError, match=f"Run {run} is not over.*made between runs") as told:
        begin(home, TrainWishes(whole=True))
    assert "abandon" in told.value.remedy
    revoked(home, "m3")
    shown: list[str] = []
    running.begin(home.operator, TrainWishes(), RunWishes(), shown.append, never)
    assert "begun with m3, now shut out" in shown[0]


def test_why_no_roster_can_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, shown = operated(tmp_path), []  # type: Consortium, list[str]
    monkeypatch.setattr(places, "listens", lambda *_: True)

    class WaitedError(Exception):
        pass

    def sleep(_seconds: float) -> None:
        raise WaitedError

    with pytest.raises(WaitedError):
        running.begin(home.operator, TrainWishes(), RunWishes(), shown.append, sleep)
    assert shown == [
        "0 members are admitted, and a roster here has 5 or more: `fedrepay coordinator invite` others."
    ]


def test_several_schemas_must_be_chosen_from(home: Consortium) -> None:
    (path,) = (home.operator / "schemas").glob("*.toml")
    assert running.book_of(home.operator, None).schema_hash == home.book.schema_hash
    assert running.book_of(home.operator, path).schema_hash == home.book.schema_hash
    path.with_name(f"{'ab' * 32}.toml").write_bytes(path.read_bytes())
    with pytest.raises(ArgumentError, match="--schema"):
        running.book_of(home.operator, None)


class Asked:
    """A SuperLink that carries an ask within this process."""

    def __init__(self, home: Consortium) -> None:
        self.home, self.kinds = home, []  # type: Consortium, list[str]

    def runs(self, run_id: int | None = None) -> dict[int, RunSeen]:
        return {} if run_id is None else {run_id: RunSeen("finished", "completed", "", 0, 0)}

    def stop(self, run_id: int) -> None:
        raise AssertionError(run_id)

    def start(self, _bundle: bytes, config: dict[str, str | int]) -> int:
        home = self.home

        def exchange(machine: app.Machine, ask: Ask, _timeout: float) -> Iterator[app.Answer]:
            self.kinds.append(ask.kind)
            for target, (shared, own) in ask.parts.items():
                name = f"m{int(machine.node(target)) - 1}"
                yield target, *home._arrived(name, home.minds[name].answer(ask.kind, shared, own))

        about = app._terms(str(config["ask-only"]))
        assert about is not None
        app.carry(home.database, load_key(home.operator), home.nodes(), exchange, about=about)
        return 7


def next_terms(home: Consortium, wishes: RunWishes) -> NumberedTerms:
    return planned(home.database.terms(), home.book, 5, replace(wishes, again=True))


def test_members_are_asked_and_nothing_is_begun_or_spent(home: Consortium) -> None:
    released(home)
    before, ledgers = home.database.terms(), {n: home.store(n).ledger() for n in home.names}
    home.members["m2"] = type(home.members["m2"])(
        home.identities["m2"],
        home.store("m2"),
        home.book,
        lambda: (_ for _ in ()).throw(AssertionError("rows were read")),
        Limits(minimum_cohort=3, epsilon_per_release=0.5, epsilon_per_year=9.0),
        lambda: 1.8e9,
    )
    home.stopped = {"m4"}
    link = Asked(home)
    events = training.ask(link, home.operator, next_terms(home, RunWishes(epsilon=1.0)), 4, never)
    said = {each.name: each for each in rehearsal.answers(home.names, events)}
    assert {name: each.answer for name, each in said.items()} == {
        **dict.fromkeys(("m0", "m1", "m3"), "yes"),
        "m2": "no",
        "m4": "absent",
    }
    assert "epsilon = 1 passes this member's limit of 0.5" in said["m2"].why
    assert set(link.kinds) <= {"terms", "certify"}
    assert home.database.terms() == before
    assert {n: home.store(n).ledger() for n in home.names} == ledgers
    assert len(home.database.events(ASKED)) == 4
    events = training.ask(link, home.operator, next_terms(home, RunWishes(epsilon=0.5)), 4, never)
    assert [each.answer for each in rehearsal.answers(home.names, events)].count("no") == 0, "control"


def test_an_ask_waits_for_no_other_flower_run(home: Consortium) -> None:
    class Busy(Asked):
        def runs(self, run_id: int | None = None) -> dict[int, RunSeen]:
            return {3: RunSeen("running", "", "", 0, 0)}

    released(home)
    with pytest.raises(ProtocolError, match="Flower run 3 is under way"):
        training.ask(Busy(home), home.operator, next_terms(home, RunWishes()), 4, never)


def test_a_rehearsal_says_what_it_costs_and_who_refuses(
    home: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(home)
    monkeypatch.setattr(running, "Control", lambda *_: Closing(home))
    others = running.rehearse(home.operator, TrainWishes(), RunWishes(epsilon=2.0))
    assert [each.answer for each in others.said] == ["no"] * 5, "nobody has accepted the terms in force"
    # their stores are in memory, and have no folder for the file
    wide = founding.terms_in(home.operator)[0].model_copy(update={"epsilon_per_year": 99.0})
    monkeypatch.setattr(accepted, "terms", lambda _store: wide)
    for name in home.names:
        home.store(name).remember(agreed=founding.terms_in(home.operator)[1])
    made = running.rehearse(home.operator, TrainWishes(), RunWishes(epsilon=2.0))
    assert (made.run, made.members, made.quorum, made.year_runs) == (2, 5, 4, 1)
    assert made.year_before is not None
    assert made.year_with is not None
    assert 0 < made.year_before < made.year_with
    assert made.no_colluders is not None
    assert made.all_others is not None
    assert made.no_colluders < 2.0 < made.all_others
    assert [each.answer for each in made.said] == ["yes"] * 5
    text = "\n".join(made.lines())
    assert "Yes: m0, m1, m2, m3, m4." in text
    assert "Nothing was spent." in text
    assert json.loads(made.as_json())["said"][0] == {"name": "m0", "answer": "yes", "why": ""}
    assert home.database.terms().run == 1  # type: ignore[union-attr]
    begin(home, again=True)
    with pytest.raises(ArgumentError, match="is not over"):
        running.rehearse(home.operator, TrainWishes(), RunWishes())


class Closing(Asked):
    def close(self) -> None:
        """As a Control."""


def test_without_a_roster_only_the_figures_are_told(home: Consortium) -> None:
    assert rosters.enrolled(home.database).roster is None
    with pytest.raises(ArgumentError, match="0 members"):
        running.rehearse(home.operator, TrainWishes(), RunWishes())
