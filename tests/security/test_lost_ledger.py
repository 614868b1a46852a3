"""A member that lost its store: what its year has cost comes back from all others, and nobody can make it less.

docs/protocol.md, *Rosters that change*; docs/adr/0029. Every attack has its control: with that defence off, the
ledger is shorter and the year's ε too small.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fedrepay.client.protocol import enrolment as at_member
from fedrepay.client.protocol import testimony as at_testimony
from fedrepay.client.store.database import FILE
from fedrepay.client.store.tables import LedgerEntry, SeenAttempt
from fedrepay.client.veto import budget
from fedrepay.client.veto.year import YEAR, loss, year_before
from fedrepay.server.protocol.state import Event
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError, Refusal, WordsError
from fedrepay.shared.privacy.accounting import Mechanism, SampledSteps
from fedrepay.shared.trust import asking, enrolment, testimony
from fedrepay.shared.trust.enrolment import Joining, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.testimony import Told, ToldRun
from support.lost import NOW, Lost, played, shortened, without

LOSER, OTHER = (
    "m4",
    "m3",
)  # m3 did not get what the first attempt was asked with, and was charged nothing for it
REST = ("m0", "m1", "m2", "m3")


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    return played(tmp_path_factory.mktemp("over") / "world")


@pytest.fixture
def lost(over: Lost, tmp_path: Path) -> Lost:
    return over.copy(tmp_path / "copy")


def unproven(joining: Joining, signed: Signed, proposal: bytes, empty: object) -> Revealed:
    """A build in which what is said beside a nonce is not under its signature."""
    return Revealed.decode(signed.body)


def offer(lost: Lost, run: int = 2) -> tuple[str, str]:
    """What the loser says to a run that it is offered: code and cause; nothing for a yes."""
    world = lost.world
    world.events, world.replies = [], []
    world.coordinator = world.new_coordinator(run)
    ask = world.coordinator.ask()
    assert ask is not None
    assert ask.kind == "terms"
    reply = lost.say(LOSER, "terms", ask.parts[LOSER][0])
    return reply.code, reply.cause


def forgets(lost: Lost, *names: str) -> None:
    """These lie: they know nothing of anybody."""
    for name in names:
        with closing(sqlite3.connect(lost.world.folder / name / FILE)) as connection, connection:
            connection.execute("DELETE FROM seen")


# --- what comes back ---


def test_what_the_year_cost_comes_back_with_the_next_roster_whole(lost: Lost) -> None:
    before, spent = sorted(lost.charged(LOSER)), lost.epsilon(LOSER)
    assert len(before) == 3, "two sums, one of them asked for twice"
    lost.lose(LOSER)
    machine = lost.machine()
    lost.until(machine, "propose")
    assert (lost.charged(LOSER), lost.marks(LOSER)) == ([], ["lost"]), (
        "the roster came back, the ledger did not"
    )
    assert offer(lost)[0] == "budget"
    lost.complete(machine)
    assert sorted(lost.charged(LOSER)) == before
    assert lost.epsilon(LOSER) == spent > 0
    assert lost.marks(LOSER) == ["lost", "whole"]
    said = {each.window.decode() for each in lost.ledger(LOSER) if each.status == "told"}
    assert said == {"not known here, told by m0, m1, m2, m3"}
    assert offer(lost) == ("", ""), "it takes part again"


def test_who_lost_its_keys_too_is_revoked_and_joins_under_new_ones_with_what_its_name_cost(
    lost: Lost,
) -> None:
    before = sorted(lost.charged(LOSER))
    lost.lose(LOSER, keys_too=True)
    lost.complete(lost.machine(REST, revoked=[LOSER]))
    lost.complete(lost.machine())
    assert sorted(lost.charged(LOSER)) == before
    assert lost.marks(LOSER) == ["whole"]


def test_a_name_that_nobody_knows_joins_with_an_empty_ledger_as_ever(lost: Lost) -> None:
    lost.lose(LOSER)
    lost.add("m5")
    lost.complete(lost.machine())
    assert lost.ledger("m5") == ()
    assert lost.world.store("m5").fact("since") is None
    assert lost.marks(LOSER)[-1] == "whole", "control: beside it, one that is known"


def test_who_takes_the_name_of_one_that_left_takes_what_it_had_cost(lost: Lost) -> None:
    before = sorted(lost.charged(LOSER))
    left = at_member.leave(lost.world.identities[LOSER], lost.world.store(LOSER))
    lost.complete(lost.machine(REST, leaving=[left]))
    lost.lose(LOSER, keys_too=True)
    machine = lost.machine()
    lost.until(machine, "approve")
    with pytest.raises(WordsError, match="not approved"):
        lost.deliver(machine, lost.until(machine, "approve"))
    shown = machine._away[LOSER]
    assert "others name 3 attempts that it was in" in shown, "people see it before they approve"
    lost.complete(machine)
    assert sorted(lost.charged(LOSER)) == before


def test_people_are_shown_the_words_as_ever_where_nothing_is_taken_over(lost: Lost) -> None:
    machine = lost.machine()
    ask = lost.until(machine, "approve")
    reply = lost.say("m0", "approve", ask.parts["m0"][0])
    assert reply.code == "roster"
    assert "empty ledger" not in reply.cause


# --- a ledger shortened by withholding ---


def shortening(lost: Lost, change: Callable[[Reveals], Reveals]) -> Lost:
    """The loser is shown other words than were said."""
    lost.lose(LOSER)
    machine = lost.machine()

    def tamper(kind: str, name: str, shared: bytes) -> bytes:
        if (kind, name) != ("approve", LOSER):
            return shared
        return change(Reveals.decode(shared)).encode()

    lost.complete(machine, tamper)
    return lost


def test_a_ledger_shortened_by_withholding(lost: Lost) -> None:
    """Nobody's words can be struck out, and nobody's be left away."""
    with pytest.raises(WordsError, match=r"m4: message: .*verify"):
        shortening(lost, lambda message: without(message, REST))


def test_control_without_signatures_over_it_the_ledger_is_shorter_and_the_year_counts_too_little(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = lost.epsilon(LOSER)
    monkeypatch.setattr(enrolment, "said", unproven)
    monkeypatch.setattr(at_testimony, "held", lambda _store: None)
    shortening(lost, lambda message: without(message, REST))
    assert lost.charged(LOSER) == []
    assert lost.epsilon(LOSER) == 0 < spent


def test_one_member_s_words_cannot_be_left_away(lost: Lost) -> None:
    def left_away(message: Reveals) -> Reveals:
        return message.model_copy(update={"revealed": message.revealed[1:]})

    with pytest.raises(WordsError, match="Not every member of the proposal has revealed"):
        shortening(lost, left_away)


def test_words_of_another_proposal_are_not_taken(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it lost anything, nobody had anything to tell of it."""
    machine = lost.machine()
    earlier = lost.reveals(machine)
    machine.state.apply(Event("void", "", b""))
    lost.lose(LOSER)
    later = lost.reveals(lost.machine())
    replayed = Reveals(proposal=later.proposal, revealed=(*earlier.revealed[:4], later.revealed[4]))
    with pytest.raises(ProtocolError, match="revealed its nonce to another proposal"):
        enrolment.roster_of(replayed.proposal, replayed.revealed)
    monkeypatch.setattr(enrolment, "said", unproven)
    assert enrolment.roster_of(replayed.proposal, replayed.revealed)
    assert at_testimony.taken(later, LOSER, (), NOW)[:-1]
    assert at_testimony.taken(replayed, LOSER, (), NOW) == (), (
        "control: with replayed words it had cost nothing"
    )


@pytest.mark.parametrize("revoked", [False, True], ids=["left", "revoked"])
def test_a_witness_that_goes_makes_the_year_count_as_spent(
    lost: Lost, monkeypatch: pytest.MonkeyPatch, *, revoked: bool
) -> None:
    """The others would know of less than was spent: here of nothing."""
    spent = lost.epsilon(LOSER)
    forgets(lost, "m0", "m1", "m2")
    left = at_member.leave(lost.world.identities[OTHER], lost.world.store(OTHER))
    lost.lose(LOSER)
    names = ("m0", "m1", "m2", "m4")
    gone = {"revoked": [OTHER]} if revoked else {"leaving": [left]}
    lost.complete(lost.machine(names, **gone))
    found = loss(lost.ledger(LOSER), NOW)
    assert found is not None
    assert (found.window.decode(), found.at) == ("no word of m3", NOW)
    code, cause = offer(lost)
    assert code == "budget"
    assert "spent until 2028-01-15: no word of m3" in cause
    assert loss(lost.ledger(LOSER), NOW + YEAR) is None, "a year later it is over"
    monkeypatch.setattr(budget, "loss", lambda _ledger, _now: None)
    assert offer(lost) == ("", ""), "control: without that rule it takes part"
    assert lost.epsilon(LOSER) == 0 < spent, "and its year counts too little"


def test_a_witness_that_had_gone_before_counts_until_it_is_a_year_ago(lost: Lost) -> None:
    left = at_member.leave(lost.world.identities[OTHER], lost.world.store(OTHER))
    names = ("m0", "m1", "m2", "m4")
    lost.complete(lost.machine(names, leaving=[left]))
    lost.lose(LOSER)
    lost.complete(lost.machine(names))
    found = loss(lost.ledger(LOSER), NOW)
    assert found is not None
    assert found.window.decode() == "no word of m3 (gone, as m0 says)"
    assert len(lost.charged(LOSER)) == 3, "what the others know is charged all the same"


def test_who_comes_back_with_its_store_is_a_witness_again(lost: Lost) -> None:
    left = at_member.leave(lost.world.identities[OTHER], lost.world.store(OTHER))
    names = ("m0", "m1", "m2", "m4")
    lost.complete(lost.machine(names, leaving=[left]))
    at_member.join_anew(lost.world.store(OTHER))
    lost.lose(LOSER)
    lost.complete(lost.machine())
    assert lost.marks(LOSER)[-1] == "whole"


def test_two_that_lost_their_stores_at_once_cannot_tell_of_each_other(lost: Lost) -> None:
    before = sorted(lost.charged(LOSER))
    lost.lose(LOSER)
    lost.lose(OTHER)
    lost.complete(lost.machine())
    for name, other in ((LOSER, OTHER), (OTHER, LOSER)):
        assert sorted(lost.charged(name)) == before, (
            "each attempt that named it, whether it was charged or not"
        )
        found = loss(lost.ledger(name), NOW)
        assert found is not None
        assert found.window.decode() == f"no word of {other}"


def test_one_that_lost_its_store_before_cannot_tell_of_the_time_before(lost: Lost) -> None:
    lost.lose(OTHER)
    lost.complete(lost.machine())
    assert lost.marks(OTHER)[-1] == "whole"
    lost.lose(LOSER)
    lost.complete(lost.machine())
    found = loss(lost.ledger(LOSER), NOW)
    assert found is not None
    assert found.window.decode() == "no word of m3"


def test_a_store_known_to_be_lost_is_not_made_whole_by_strangers(lost: Lost) -> None:
    """A coordinator and its colluder found what looks like a first roster, of newcomers who know nothing."""
    lost.lose(LOSER)
    lost.until(lost.machine(), "propose")
    marked = lost.ledger(LOSER)
    message = lost.reveals(lost.machine())
    call, joinings = enrolment.checked(message.proposal)
    fresh = [each.model_copy(update={"empty": True}) for each in joinings]
    strangers = without(message, REST)
    enrolment._proposals.get(b"fresh", 0, lambda: (call, fresh))
    strangers = strangers.model_copy(update={"proposal": b"fresh"})
    assert at_testimony.taken(strangers, LOSER, marked, NOW)[-1].status == "lost"
    assert at_testimony.taken(strangers, LOSER, (), NOW) == (), "control: one that knows of no loss is new"


# --- liars ---


def lies(lost: Lost, name: str, *attempts: SeenAttempt) -> None:
    """This member says that it has seen what never was."""
    lost.world.store(name).note(attempts)


def invented(lost: Lost, run: int, attempt: int = 0) -> SeenAttempt:
    (true, *_) = [each for each in lost.world.store("m0").noted() if each.round == 1]
    return SeenAttempt(run, 0, attempt, ("m0", "m1", LOSER), true.event)


def test_a_liar_costs_a_year_at_most_and_is_named(lost: Lost) -> None:
    honest = len(lost.charged(LOSER))
    lies(lost, "m0", *(invented(lost, 7, attempt) for attempt in range(40)))
    lost.lose(LOSER)
    lost.complete(lost.machine())
    ledger = lost.ledger(LOSER)
    said = [each for each in ledger if each.window == b"not known here, told by m0"]
    assert len(said) == 40, "what one alone tells says so"
    assert len(lost.charged(LOSER)) == honest + 40
    assert all(each.at <= NOW for each in ledger), "none counts longer than a year"


def test_who_tells_too_much_is_named_and_the_year_counts_as_spent(lost: Lost) -> None:
    (event, *_) = [each.event for each in lost.world.store("m0").noted()]
    many = (
        SeenAttempt(7, 0, at, (LOSER,), ({**event[0], "variance": event[0]["variance"] * (1 + at)},))
        for at in range(at_testimony.MOST_COSTS + 9)
    )
    lies(lost, "m0", *many)
    lost.lose(LOSER)
    lost.complete(lost.machine())
    found = loss(lost.ledger(LOSER), NOW)
    assert found is not None
    assert "m0" in found.window.decode()
    assert lost.charged(LOSER) == [], "nothing of it has to be composed"


def test_an_invented_attempt_of_a_run_to_come_stops_nobody_there(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard refuses a list that lacks what the ledger holds: but for what others have told."""
    lies(lost, "m0", invented(lost, 2, 9))
    lost.lose(LOSER)
    lost.complete(lost.machine())
    world = lost.world
    world.events, world.replies = [], []
    world.coordinator = world.new_coordinator(2)
    world.until("round")
    view = world.members[LOSER]._rounds._working().view()
    assert (view.charged, len(lost.charged(LOSER))) == (frozenset(), 4)


def test_a_late_word_does_not_charge_what_is_charged(lost: Lost) -> None:
    lost.lose(LOSER)
    message = lost.reveals(lost.machine())
    entries = at_testimony.taken(message, LOSER, (), NOW)
    assert at_testimony.taken(message, LOSER, entries[:-1], NOW)[:-1] == ()


# --- nothing by halves ---


@pytest.mark.parametrize("moment", ["commit", "committed"])
def test_a_process_that_dies_leaves_roster_and_ledger_both_or_neither(lost: Lost, moment: str) -> None:
    class Killed(BaseException):
        pass

    def die(point: str, when: str) -> None:
        if (point, when) == ("remember reply:certify", moment):
            raise Killed

    world, before = lost.world, sorted(lost.charged(LOSER))
    lost.lose(LOSER, keys_too=True)
    lost.complete(lost.machine(REST, revoked=[LOSER]))
    machine = lost.machine()
    ask = lost.approved(machine)
    world.members[LOSER]._store._writes = die
    shared = ask.parts[LOSER][0]
    with pytest.raises(Killed):
        world.members[LOSER].handle("certify", shared, b"")
    held = world.store(LOSER).fact("roster")
    assert (sorted(lost.charged(LOSER)), bool(held)) == (
        (before, True) if moment == "committed" else ([], False)
    )
    world.members[LOSER] = world.member(LOSER)
    for _ in range(2):
        assert lost.say(LOSER, "certify", shared).kind == "ok"
    assert sorted(lost.charged(LOSER)) == before, "once, however often it is told"
    assert keys.digest(world.store(LOSER).fact("roster") or b"") == keys.digest(
        world.store("m0").fact("signed") or b""
    )


def test_a_word_changed_in_one_place_is_no_word(lost: Lost) -> None:
    lost.lose(LOSER)
    message = lost.reveals(lost.machine())
    assert enrolment.roster_of(message.proposal, message.revealed)
    for fields in ({"since": 5}, {"gone": (("m1", 5),)}, {"told": ()}):
        changed = shortened(message, 0, **fields)
        with pytest.raises(ProtocolError, match="does not verify"):
            enrolment.roster_of(changed.proposal, changed.revealed)


# --- what one word may be ---


COST = (10, 4e4, 7, 2, 9, 0.0, 0)
RUN = ToldRun(run=1, at=5, costs=((COST,),), attempts=((0, 0, 0),))
STARTING = ("", "m1", "m2", "")


def told(name: str = "m1", **fields: object) -> Told:
    return Told.model_validate({"name": name, "whole": True, "runs": (RUN,)} | fields)


def with_cost(**fields: object) -> Told:
    names = ("sensitivity", "variance", "cohort", "colluders", "size", "rate", "steps")
    cost = tuple({**dict(zip(names, COST, strict=True)), **fields}.values())
    return told(runs=(ToldRun.model_validate(RUN.model_dump() | {"costs": ((cost,),)}),))


def test_what_can_have_been_is_heard() -> None:
    for words in ((), (told(),), (told(), told("m2")), (with_cost(rate=0.2, steps=5, variance=16.0),)):
        testimony.check("m0", 2048, words, STARTING)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ((told("m3"),), "does not start with an empty ledger"),
        ((told("m2"), told("m1")), "does not start"),
        ((told(), told()), "does not start"),
        ((with_cost(variance=79.9),), "noise that no attempt has"),
        ((with_cost(colluders=7),), "noise that no attempt has"),
        ((with_cost(steps=3),), "noise that no attempt has"),
        ((with_cost(rate=0.5),), "noise that no attempt has"),
        ((with_cost(rate=0.2, steps=5, variance=15.9),), "noise that no attempt has"),
        ((told(runs=(RUN.model_copy(update={"attempts": ((0, 0, 1),)}),)),), "attempts that no run has"),
        ((told(runs=(RUN.model_copy(update={"attempts": ((0, 0, 0),) * 2}),)),), "attempts that no run has"),
    ],
)
def test_what_cannot_have_been_is_refused_by_name(words: tuple[Told, ...], cause: str) -> None:
    with pytest.raises(ProtocolError, match=f"m0 tells of .*{cause.removeprefix('does')}"):
        testimony.check("m0", 2048, words, STARTING)


def test_nobody_tells_of_itself_or_more_than_there_is_room_for() -> None:
    with pytest.raises(ProtocolError, match="m1 tells of somebody"):
        testimony.check("m1", 2048, (told(),), STARTING)
    most = testimony.longest(len(STARTING)) + (1 << 10)
    testimony.check("m0", most, (told(),), STARTING)
    with pytest.raises(ProtocolError, match="m0 says more of lost ledgers than there is room for"):
        testimony.check("m0", most + 1, (told(),), STARTING)


@pytest.mark.parametrize("members", [3, 32, 200, 1024, 1500])
def test_what_all_say_fits_into_one_message(members: int) -> None:
    assert members * testimony.longest(members) <= 3 << 20 < asking.LONGEST
    names = [f"{at:02}" + "x" * 61 for at in range(testimony.MOST_LOST)]
    many = tuple(RUN.model_copy(update={"run": run}) for run in range(60))
    for runs in (1, 60):
        made = testimony.fitted([told(name, runs=many[:runs]) for name in names], members)
        assert [each.name for each in made] == names
        assert sum(len(each.encode()) for each in made) <= testimony.longest(members)
        assert all(each.whole == bool(each.runs) for each in made), "what is left out is said to be"
    assert testimony.fitted([told(runs=many), told("m2")], 1500)[1].whole, "the longest goes first"


def test_more_that_start_empty_at_once_than_there_is_room_for_are_refused(lost: Lost) -> None:
    store, names = lost.world.store("m0"), [f"x{at}" for at in range(testimony.MOST_LOST + 1)]
    store.note([SeenAttempt(1, 5, 5, tuple(names), ())])
    entry = lost.world.identities["m1"].entry()
    joinings = [
        Joining(
            call=bytes(32), entry=entry.model_copy(update={"name": name}), commitment=bytes(32), empty=True
        )
        for name in names
    ]
    assert len(at_testimony.said(store, joinings[1:], "m0", NOW)["told"]) == testimony.MOST_LOST  # type: ignore[arg-type]
    with pytest.raises(Refusal, match="17 members that this one knows start with empty ledgers; 16 may"):
        at_testimony.said(store, joinings, "m0", NOW)


def test_of_local_mode_and_without_noise_what_is_told_is_what_was_charged() -> None:
    steps = SampledSteps(sensitivity=10, variance=4e4, sampling_rate=0.2, steps=5, cohort=7, size=9)
    shared = Mechanism(sensitivity=10, variance=4e4, cohort=7, colluders=2, size=9)
    for charged in ((steps,), (shared, shared), ()):
        event = budget.as_event(charged)
        assert testimony.event_of([testimony.cost_of(each) for each in event]) == event
    bare = LedgerEntry(NOW - 1, 1, 0, 0, "told", ())
    assert year_before("m", (bare,), 1e-6, NOW).epsilon is None, (
        "an attempt without noise that others tell of"
    )
