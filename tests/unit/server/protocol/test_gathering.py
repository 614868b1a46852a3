"""Who is there for the next attempt: asked until all who are asked answer, and soon; then nobody else is in its cohort."""

import math
from pathlib import Path

import pytest

from fedrepay.client.protocol import contributing
from fedrepay.client.protocol.contributing import Contributor
from fedrepay.server.protocol.gathering import ASKS, BRIEF, FRESH, LONGEST, Gathering
from fedrepay.server.protocol.state import Ask
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import CohortError
from support.world import World

NAMES = ("m0", "m1", "m2", "m3")
SOON = LONGEST  # for as few as these


def asked(gathering: Gathering, *silent: str) -> list[str]:
    """One ask, to which all answer but these."""
    names = gathering.waiting(NAMES)
    for name in names:
        (gathering.lost if name in silent else gathering.answered)(name)
    assert gathering.waiting(NAMES) == []
    return names


def again(gathering: Gathering, seconds: float) -> bool:
    gathering.took(seconds)
    return gathering.again()


def test_where_all_answer_soon_one_ask_does() -> None:
    made = Gathering()
    assert not made.brief
    assert asked(made) == list(NAMES)
    assert not again(made, SOON)
    assert set(made.there) == {*NAMES}


def test_where_answers_took_long_all_are_asked_once_more() -> None:
    made = Gathering()
    asked(made)
    assert again(made, SOON + 0.1)
    assert made.brief
    assert asked(made) == list(NAMES)
    assert not again(made, SOON)
    assert set(made.there) == {*NAMES}


def test_the_more_there_are_the_sooner_answers_grow_old() -> None:
    few, many = Gathering(), Gathering()
    for number in range(100):
        if number < 10:
            few.answered(str(number))
        many.answered(str(number))
    assert not again(few, FRESH / 50)
    assert again(many, FRESH / 50)


def test_where_a_brief_ask_takes_long_another_would_too() -> None:
    made = Gathering()
    asked(made)
    assert again(made, 1e9)
    asked(made)
    assert not again(made, 1e9)
    lossy = Gathering()
    asked(lossy)
    assert again(lossy, 1e9)
    asked(lossy, "m1")
    assert again(lossy, 1e9), "control: somebody was lost"


def test_a_member_that_has_a_brief_ask_wait_again_and_again_leaves_the_others_answers_old() -> None:
    """It asks for older sums, a round further each time: others that vanish meanwhile would lose the attempt."""
    made = Gathering()
    asked(made, "m1")
    assert again(made, 0.0)
    made.answered("m0")
    made.answered("m2")
    for _ in range(20):
        made.took(SOON)
        assert made.waiting(NAMES) == ["m3"]
    made.answered("m3")
    assert again(made, 1.0)
    assert asked(made) == ["m0", "m2", "m3"]
    assert not again(made, 1.0)
    soon = Gathering()
    asked(soon, "m1")
    assert again(soon, 0.0)
    soon.took(1.0)
    asked(soon)
    assert not again(soon, 1.0), "control: it was soon all the same"


def test_where_somebody_is_silent_the_others_are_asked_once_more() -> None:
    made = Gathering()
    asked(made, "m1")
    assert again(made, 0.0)
    assert asked(made, "m3") == ["m0", "m2", "m3"]
    assert again(made, 0.0)
    assert asked(made) == ["m0", "m2"]
    assert not again(made, 0.0)
    assert set(made.there) == {"m0", "m2"}


def test_it_is_asked_so_often_and_no_more() -> None:
    made = Gathering()
    for name in NAMES[: ASKS - 1]:
        asked(made, name)
        assert again(made, 0.0)
    asked(made, NAMES[-1])
    assert not again(made, 0.0)
    made.reset()
    assert asked(made) == list(NAMES)
    assert not made.brief


def test_too_few_after_a_brief_ask_get_longer_and_no_longer_than_any_answer() -> None:
    made, given = Gathering(), []
    for _ in range(10):
        assert made.patience == math.inf, "who has work to do is not hurried"
        asked(made)
        assert again(made, 1e9)
        given.append(made.patience)
        asked(made, "m1", "m2", "m3")
        while again(made, 0.0):
            asked(made)
        if not made.longer(100.0):
            break
    assert given == [BRIEF, 2 * BRIEF, 4 * BRIEF]


def test_who_did_not_answer_an_ask_that_was_not_brief_is_not_asked_for_ever() -> None:
    made = Gathering()
    asked(made, "m1", "m2", "m3")
    assert again(made, 0.0)
    asked(made)
    assert not again(made, 0.0)
    assert not made.longer(600.0)


def test_nobody_there_is_an_answer_too() -> None:
    made = Gathering()
    asked(made, *NAMES)
    assert not again(made, 0.0)
    assert made.there == {}


def test_where_somebody_needed_something_first_the_others_answers_have_grown_old() -> None:
    made = Gathering()
    for name in NAMES[:3]:
        made.answered(name)
    made.took(SOON)  # and m3 asked for older sums
    assert made.waiting(NAMES) == ["m3"]
    made.answered("m3")
    assert again(made, 1.0)
    assert asked(made) == [*NAMES]
    assert not again(made, SOON), "control: counted anew"


# --- in a run ---


def silent_once(world: World, kind: str, name: str) -> list[Ask]:
    """Carry a run in which one member does not answer the first message of a kind; what was asked of round 0."""
    left = [name]

    def tamper(asked_: str, who: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        if asked_ == kind and who in left:
            left.remove(who)
            return None
        return shared, own

    return [ask for ask in world.steps(tamper) if not world.coordinator.state.sums]


def statuses(world: World) -> list[tuple[str, int]]:
    return [(each.status, len(each.config.cohort)) for each in world.coordinator.state.attempts]


def test_who_is_silent_before_an_attempt_costs_nobody_one(tmp_path: Path) -> None:
    world = World(tmp_path / "before", mode="none")
    said = silent_once(world, "prepare", "m3")
    assert [ask.patience for ask in said if ask.kind == "prepare"] == [math.inf, BRIEF]
    assert statuses(world) == [("completed", 3), ("completed", 4), ("completed", 4)]
    control = World(tmp_path / "inside", mode="none")
    silent_once(control, "round", "m3")
    assert statuses(control)[0] == ("void", 4), "one lost inside it does"


def carried_slowly(world: World, seconds: float) -> list[float]:
    """Carry a run whose messages take so long; how long answers to each ``prepare`` were waited for."""
    given = []
    while (ask := world.coordinator.ask()) is not None:
        prepare = ask.kind == "prepare"
        late = {"m1", "m2", "m3"} if prepare and ask.patience < seconds else set[str]()
        if prepare:
            given.append(ask.patience)
        world.deliver(ask, lambda _, who, *parts, late=late: None if who in late else parts)
        world.take(world.coordinator.finish(ask, seconds if prepare else 0.0))
    return given


def test_messages_that_take_longer_than_a_brief_answer_do_not_hold_a_run_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "slow", mode="none")
    given = carried_slowly(world, 3.5 * BRIEF)
    assert statuses(world) == [("completed", 4)] * 3
    brief = [each for each in given if each < math.inf]
    assert brief[:3] == [BRIEF, BRIEF, 2 * BRIEF], "the second of them alone"
    assert brief.count(4 * BRIEF) == 3, "learned once, for all that follows"
    monkeypatch.setattr(Gathering, "longer", lambda *_: False)
    control = World(tmp_path / "control", mode="none")
    with pytest.raises(CohortError):
        carried_slowly(control, 3.5 * BRIEF)


def test_a_member_that_was_started_again_prepares_the_open_attempt_once_more(tmp_path: Path) -> None:
    world = World(tmp_path, mode="none")
    world.until("round")
    world.members["m2"] = world.member("m2")
    kinds = [(ask.kind, sorted(ask.parts)) for ask in world.steps() if not world.coordinator.state.sums]
    assert kinds == [("round", [*NAMES]), ("prepare", ["m2"]), ("round", ["m2"])]
    assert [status for status, _ in statuses(world)] == ["completed"] * 3


def test_one_that_forgets_again_and_again_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, mode="none")
    prepare = Contributor.prepare

    def forgetful(made: Contributor, *args: object) -> None:
        prepare(made, *args)  # type: ignore[arg-type]
        if made._identity.name == "m3":
            made.forget()

    monkeypatch.setattr(Contributor, "prepare", forgetful)
    world.run()
    assert [each for each in statuses(world) if each[0] == "void"] == [("void", 4)] * 2, (
        "each after one more ask"
    )
    assert world.coordinator.state.losses == {"m3": 2}
    assert world.coordinator.state.done


def test_a_coordinator_that_was_started_again_asks_who_is_there(tmp_path: Path) -> None:
    world = World(tmp_path, mode="none")
    world.deliver(world.until("prepare"))
    world.restart_coordinator()
    assert world.coordinator.state.ready == {*NAMES}
    ask = world.coordinator.ask()
    assert ask is not None
    assert (ask.kind, sorted(ask.parts)) == ("prepare", [*NAMES])
    world.run()
    assert statuses(world) == [("completed", 4)] * 3


def test_a_contribution_without_noise_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, kept = World(tmp_path, mode="none"), []  # type: World, list[I64]

    def noted(number: int, attempt: bytes, values: I64, *rest: object) -> contributing.PreparedPart:
        kept.append(values)
        return prepared(number, attempt, values, *rest)  # type: ignore[arg-type]

    prepared = contributing.PreparedPart
    monkeypatch.setattr(contributing, "PreparedPart", noted)
    world.deliver(world.until("prepare"))
    values = kept[0].tobytes()[:64]
    assert any(values)

    def found() -> list[Path]:
        return [file for file in tmp_path.rglob("*") if file.is_file() and values in file.read_bytes()]

    assert found() == []
    world.store("m0").remember(values=kept[0].tobytes())
    assert found(), "control"
