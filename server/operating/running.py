"""``fedrepay coordinator train``, from its options to its end, and what it would be (``--dry-run``)."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from fedrepay.server.admission.certificates import AUTHORITY
from fedrepay.server.admission.registry import Registry
from fedrepay.server.keyring import key_of
from fedrepay.server.network import training
from fedrepay.server.network.runs import RunWishes, ignored, next_run, planned, under_way
from fedrepay.server.network.superlink import Control, RunSeen
from fedrepay.server.operating import costs, founding, rehearsal, rosters
from fedrepay.server.operating import settings as places
from fedrepay.server.operating.admitting import standing
from fedrepay.server.operating.rehearsal import Rehearsal
from fedrepay.server.protocol.state import Event, State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, NetworkError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.terms import NumberedTerms


@dataclass(frozen=True)
class TrainWishes:
    """What ``train`` was asked for beside the run's own options.

    Attributes:
        schema: the schema's file; None: the only one of the folder.
        members: how many must be there; None: all of the roster.
        without: members left out of this run.
        whole: wait for a roster of everybody who is admitted.
    """

    schema: Path | None = None
    members: int | None = None
    without: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class BegunRun:
    """A run that is to be carried."""

    terms: NumberedTerms
    resumed: bool
    ignored: tuple[str, ...]
    members: int


def book_of(folder: Path, schema: Path | None) -> CodeBook:
    """The schema that was named, or the only one of the coordinator's folder.

    Raises:
        ArgumentError: none was named and there are several, or none.
        SchemaError: it cannot be used.
    """
    if schema is not None:
        return codebook.load(schema)
    known = founding.books_in(folder)
    if len(known) != 1:
        names = ", ".join(str(path) for path in known.values()) or "none"
        raise ArgumentError(
            f"{folder / founding.SCHEMAS} holds {len(known)} schemas: {names}.", "Name one with --schema."
        )
    (path,) = known.values()
    return codebook.load(path)


def begin(
    folder: Path,
    asked: TrainWishes,
    wishes: RunWishes,
    show: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> BegunRun:
    """The run to carry: waits for a roster that people approve, then records a new run, or finds the unfinished one.

    Args:
        folder: the coordinator's.
        asked: options of ``train``.
        wishes: options of the run.
        show: told what is waited for.
        sleep: between two looks.

    Raises:
        ArgumentError: an option is out of bounds, or the consortium's terms do not allow it.
        NetworkError: a roster is waited for, and nobody serves who could make it.
    """
    terms, agreed = founding.terms_in(folder)
    book = book_of(folder, asked.schema)
    registry, store = Registry(folder), CoordinatorStore.in_folder(folder)
    whole = replace(wishes, consortium=terms, agreed=agreed)

    def admitted() -> list[str]:
        return [each.name for each in registry.members() if each.state == "admitted"]

    def pause(seconds: float) -> None:
        _check_served(folder)
        sleep(seconds)

    def gone(roster: Roster) -> list[str]:
        return sorted(set(_shut_out(registry, roster)) - set(asked.without))

    held, run = rosters.enrolled(store).roster, under_way(store)
    _check_between_runs(run, asked)
    if held is None and (known := admitted()):  # what is wrong is told before people are called
        planned(store.terms(), book, max(len(known), terms.minimum_cohort), whole)
    if held is not None and (out := gone(held)):
        show(_told(out, run))
    roster = rosters.wait(
        store,
        admitted,
        show,
        pause,
        lambda: keys.public_bytes(key_of(folder)),
        whole=asked.whole,
        # a run of those who are shut out never gets all of them, and once begun it keeps the next roster from being made
        fits=lambda roster: bool(run) or not gone(roster),
        lacking=lambda: _lacking(registry, max(3, terms.minimum_cohort)),
    )
    if unknown := sorted(set(asked.without) - set(roster.names)):
        raise ArgumentError(
            f"--without {unknown[0]}: nobody of that name is in the roster.",
            f"It holds {', '.join(roster.names)}.",
        )
    begun, resumed = next_run(folder, book, len(roster.names), whole)
    said = ignored(begun, None if asked.schema is None else book, wishes) if resumed else ()
    members = len(roster.names) - len(asked.without) if asked.members is None else asked.members
    return BegunRun(begun, resumed, said, members)


def _check_between_runs(run: int, asked: TrainWishes) -> None:
    if asked.whole and run:
        raise ArgumentError(
            f"Run {run} is not over, and rosters are made between runs only.",
            "Go on with it without --new-roster; or `fedrepay coordinator abandon`, then say this again.",
        )


def _told(out: list[str], run: int) -> str:
    names, options = ", ".join(out), " ".join(f"--without {name}" for name in out)
    if run:
        return f"Run {run} was begun with {names}, now shut out. If it cannot go on: `fedrepay coordinator abandon`."
    return f"{names}, of the roster in force, is shut out: the next roster is waited for. To do without: {options}."


def _shut_out(registry: Registry, roster: Roster) -> list[str]:
    """Who is in the roster and can take part in no run of it: no longer admitted, or admitted with other keys."""
    kept = {each.name: each.signing for each in roster.members}
    return [
        each.name
        for each in registry.members()
        if each.name in kept
        and (each.state != "admitted" or each.entry is None or each.entry.signing != kept[each.name])
    ]


def _lacking(registry: Registry, least: int) -> str:
    """Why no roster can be made now; empty where nothing is in its way."""
    members, now = registry.members(), time.time()
    known = [each.name for each in members if each.state == "admitted"]
    asks = ", ".join(each.name for each in members if each.state == "waiting")
    if len(known) < least:
        return (
            f"{len(known)} members are admitted, and a roster here has {least} or more: "
            f"{f'`fedrepay coordinator admit` {asks}' if asks else '`fedrepay coordinator invite` others'}."
        )
    away = ", ".join(each.name for each in members if standing(each, now) == "away")
    return f"The roster waits for {away}: admitted, and not connected." if away else ""


def _check_served(folder: Path) -> None:
    if not places.listens(places.LOOPBACK, places.load(folder).service):
        raise NetworkError(
            "A roster is to be made, and `fedrepay coordinator serve` does not run, which makes it.",
            f"In another terminal: fedrepay coordinator serve --folder {folder}",
        )


def carry(
    folder: Path,
    begun: BegunRun,
    asked: TrainWishes,
    observe: Callable[[Event], None],
    say: Callable[[str], None],
) -> RunSeen:
    """Carry it to its end; errors as of ``network.training.train``."""
    options: dict[str, str | int] = {"without": " ".join(asked.without)} if asked.without else {}
    with closing(Control(places.load(folder).superlink_address, folder / AUTHORITY)) as control:
        return training.train(control, folder, begun.members, observe, options=options, say=say)


def rehearse(folder: Path, asked: TrainWishes, wishes: RunWishes) -> Rehearsal:
    """What the next run would be; its members are asked, where there is a roster and the coordinator serves.

    Raises:
        ArgumentError: an option is out of bounds, the consortium's terms do not allow it, or a run is not over.
        NetworkError: the SuperLink does not answer.
    """
    terms, agreed = founding.terms_in(folder)
    book, store = book_of(folder, asked.schema), CoordinatorStore.in_folder(folder)
    last = store.terms()
    if last is not None and not State.replayed(store.events(last.run)).over:
        raise ArgumentError(
            f"Run {last.run} is not over: its members have been asked.",
            "`fedrepay coordinator status` shows it; train goes on with it, abandon gives it up.",
        )
    roster = rosters.enrolled(store).roster
    admitted = [each.name for each in Registry(folder).members() if each.state == "admitted"]
    members = len(admitted) if roster is None else len(roster.names)
    run = planned(last, book, members, replace(wishes, consortium=terms, agreed=agreed))
    said: tuple[rehearsal.SaidToTerms, ...] = ()
    if roster is not None:
        there = len(roster.names) if asked.members is None else asked.members
        with closing(Control(places.load(folder).superlink_address, folder / AUTHORITY)) as control:
            said = rehearsal.answers(roster.names, training.ask(control, folder, run, there))
    before = costs.of_year(store, time.time())
    return rehearsal.rehearse(run, before, book.schema.public, members, terms, said)
