"""What this member says of those who start with an empty ledger, and what it takes over where it is one of them.

The newcomer believes no single word: what anybody names is charged, and what somebody cannot say any more (who left,
was revoked, lost its own store, or knows more than there is room for) makes the year count as spent. So a liar can cost
it its year at most, as it could by leaving; the ledger says who told what. docs/adr/0029.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fedrepay.client.protocol.enrolment import held
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import LedgerEntry, SeenAttempt
from fedrepay.client.veto.year import CHARGED, LOST, TOLD, UNPROTECTED, WHOLE, YEAR, lost_mark
from fedrepay.shared.errors import Code, Refusal
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.trust import enrolment, testimony
from fedrepay.shared.trust.enrolment import Joining, Revealed, Reveals
from fedrepay.shared.trust.message import Wire, parts
from fedrepay.shared.trust.roster import Roster, default_colluders
from fedrepay.shared.trust.succession import Leaving
from fedrepay.shared.trust.testimony import Cost, Gone, Told, ToldRun

FEW = "enough members of the roster before"
MOST_TAKEN, MOST_COSTS = 4096, 128
"""Attempts, and different mechanisms among them, that one takes over: more is no year, and slow to compose."""
_SHOWN = 5  # names on a line of the ledger
Place = tuple[int, int, int]
"""Run, round, attempt."""


class Departed(Wire):
    """Who has gone since, and when: the newest first, as the store keeps it."""

    gone: Gone


def empty(store: MemberStore) -> bool:
    """Whether this member's ledger may lack attempts that named it: it is new here, or its store was lost."""
    ledger = store.ledger()
    marks = [each.status for each in ledger if each.status in (LOST, WHOLE)]
    return marks[-1:] == [LOST] or (held(store) is None and not ledger)


# --- saying ---


def said(store: MemberStore, joinings: Sequence[Joining], name: str, now: float) -> dict[str, object]:
    """The fields of this member's reveal that tell of others.

    Args:
        store: its own.
        joinings: of the proposal.
        name: its own.
        now: seconds since 1970, UTC.

    Raises:
        Refusal: code ``roster``: more whom it knows start empty at once than a proposal can bear.
    """
    roster = held(store)
    starting = [each.entry.name for each in joinings if each.empty and each.entry.name != name]
    seen = [each for each in store.noted() if each.at > now - YEAR] if starting else []
    members = {*(() if roster is None else roster.names), *(who for each in seen for who in each.cohort)}
    told = [_told(who, [each for each in seen if who in each.cohort]) for who in starting if who in members]
    if len(told) > testimony.MOST_LOST:
        raise Refusal(
            Code.ROSTER,
            f"{len(told)} members that this one knows start with empty ledgers; {testimony.MOST_LOST} may at once.",
            "Let them join in several rosters, one after the other.",
        )
    since = int(store.fact("since") or 0)
    gone = tuple((who, at) for who, at in _gone(store) if at > now - YEAR)
    return {"told": testimony.fitted(told, len(joinings)), "since": since, "gone": gone}


def _told(name: str, seen: Sequence[SeenAttempt]) -> Told:
    """What was seen of one member; of an attempt shown with two cohorts, what costs more."""
    runs: dict[int, dict[tuple[int, int], tuple[Cost, ...]]] = {}
    newest: dict[int, float] = {}
    for each in seen:
        costs = tuple(map(testimony.cost_of, each.event))
        known = runs.setdefault(each.run, {})
        place = (each.round, each.attempt)
        if testimony.possible(costs) and (place not in known or _weight(costs) > _weight(known[place])):
            known[place] = costs
        newest[each.run] = max(each.at, newest.get(each.run, 0.0))
    if len(runs) > testimony.MOST_RUNS or any(len(each) > testimony.MOST_ATTEMPTS for each in runs.values()):
        return Told(name=name, whole=False, runs=())
    made = (_run(run, newest[run], attempts) for run, attempts in sorted(runs.items()) if attempts)
    return Told(name=name, whole=True, runs=tuple(made))


def _run(run: int, at: float, attempts: Mapping[tuple[int, int], tuple[Cost, ...]]) -> ToldRun:
    costs = list(dict.fromkeys(attempts.values()))
    places = tuple((*place, costs.index(cost)) for place, cost in sorted(attempts.items()))
    return ToldRun(run=run, at=math.ceil(at), costs=tuple(costs), attempts=places)


def _weight(costs: Sequence[Cost]) -> float:
    """What an attempt costs, for comparing: Σ(qΔ/σ)² of its steps; without noise, most."""
    if not costs:
        return math.inf
    return sum(
        (sensitivity * (rate or 1.0)) ** 2 / variance * (steps or 1)
        for sensitivity, variance, _, _, _, rate, steps in costs
    )


# --- what this store has forgotten, and who has gone ---


def since(now: float) -> dict[str, bytes]:
    """To be remembered by a store that was lost or set back: what it says of others is whole from now on only."""
    return {"since": str(int(now)).encode()}


def _gone(store: MemberStore) -> Gone:
    kept = store.fact("gone")
    return Departed.decode(kept).gone if kept else ()


def departed(store: MemberStore, before: Roster | None, roster: Roster, now: float) -> bytes:
    """Who has gone, once a roster is in force: to be remembered with it as ``gone``."""
    left = set() if before is None else {*before.names} - {*roster.names}
    earlier = [(name, at) for name, at in _gone(store) if name not in {*left, *roster.names}]
    found = sorted([*earlier, *((name, int(now)) for name in left)], key=lambda each: -each[1])
    return Departed(gone=tuple(found[:2])).encode()


# --- taking over ---


@dataclass
class _Union:
    """Of one attempt: the costliest that anybody told, when the last saw it, and who told it, that one first."""

    costs: tuple[Cost, ...]
    at: float
    by: list[str] = field(default_factory=list)


def taken(message: Reveals, name: str, ledger: Sequence[LedgerEntry], now: float) -> tuple[LedgerEntry, ...]:
    """The entries that one who starts empty takes over from all others, and one that says whether that is the whole year.

    Args:
        message: of its proposal, found to hold (``enrolment.roster_of``).
        name: whose they are.
        ledger: what it has.
        now: seconds since 1970, UTC.

    Returns:
        nothing where nobody knows it and its ledger tells of no loss: it is new.
    """
    about = _about(message)
    mine = {who: told for who, told in about.get(name, {}).items() if who != name}
    marks = [each.status for each in ledger if each.status in (LOST, WHOLE)]
    if not mine and marks[-1:] != [LOST]:
        return ()
    call, joinings = enrolment.checked(message.proposal)
    words = [Revealed.decode_once(each.body) for each in message.revealed]
    others = {each.name: each for each in words if each.name != name}
    starting = {*enrolment.starting(joinings)}
    lost = dict.fromkeys((starting & set(about)) - {name}, now)
    lost |= dict.fromkeys((Leaving.decode_once(each.body).name for each in call.leaving), now)
    lost |= dict.fromkeys((each.name for each in call.revoked), now)
    lost |= {who: now for who, told in mine.items() if not told.whole}
    for who, at in _holes(others, starting, name):
        lost[who] = max(float(min(at, now)), lost.get(who, 0.0))
    if len(set(others) - starting) <= default_colluders(len(joinings)):
        lost[FEW] = now
    union = _united(mine)
    if len(union) > MOST_TAKEN or len({_coarse(each.costs) for each in union.values()}) > MOST_COSTS:
        lost |= dict.fromkeys(mine, now)
        union = {}
    entries = [
        _entry(place, each, now) for place, each in sorted(union.items()) if not _charged(place, each, ledger)
    ]
    own = _lacks_until(ledger, now)
    lost = {who: min(at, own) for who, at in lost.items()}
    missing = {who: at for who, at in lost.items() if who != name and at > now - YEAR}
    if missing:
        return (*entries, lost_mark(max(missing.values()), f"no word of {_names(sorted(missing))}"))
    text = f"all {len(others)} others of the roster have told what they know"
    return (*entries, LedgerEntry(now, 0, 0, 0, WHOLE, (), text.encode()))


def _lacks_until(ledger: Sequence[LedgerEntry], now: float) -> float:
    """Until when one's own ledger may lack attempts: who cannot say what was later takes nothing away."""
    last = max((at for at, each in enumerate(ledger) if each.status == WHOLE), default=-1)
    return max((each.at for each in ledger[last + 1 :] if each.status == LOST), default=now)


def _about(message: Reveals) -> Mapping[str, Mapping[str, Told]]:
    """What is told of each, by whom: nothing, for most rosters and all their members."""
    asked = (message.proposal, parts(message.revealed))

    def read() -> dict[str, dict[str, Told]]:
        found: dict[str, dict[str, Told]] = {}
        for each in (Revealed.decode_once(signed.body) for signed in message.revealed):
            for told in each.told:
                found.setdefault(told.name, {})[each.name] = told
        return found

    return _told_of.get(asked, len(message.proposal), read)


_told_of: Remembered[Mapping[str, Mapping[str, Told]]] = Remembered(16 << 20)


def shown(entries: Sequence[LedgerEntry]) -> str:
    """What people need to see of it beside the roster's words; nothing where there is nothing."""
    if not entries:
        return ""
    *attempts, last = entries
    said = f" This member starts with an empty ledger; others name {len(attempts)} attempts that it was in"
    return f"{said}, and {'the year counts as spent: ' * (last.status == LOST)}{last.window.decode()}."


def _holes(others: Mapping[str, Revealed], starting: Collection[str], name: str) -> Iterable[tuple[str, int]]:
    """Who cannot tell all of the year, and until when: whose store was lost or set back, who has gone, as somebody says."""
    gone: dict[str, tuple[int, str]] = {}
    for each in others.values():
        yield each.name, each.since
        for who, at in each.gone:
            if who != name and (who not in others or who in starting) and at > gone.get(who, (-1, ""))[0]:
                gone[who] = at, each.name
    for who, (at, teller) in gone.items():
        yield f"{who} (gone, as {teller} says)", at


def _united(mine: Mapping[str, Told]) -> dict[Place, _Union]:
    union: dict[Place, _Union] = {}
    for who, told in sorted(mine.items()):
        for run in told.runs:
            for round_, attempt, index in run.attempts:
                costs, place = run.costs[index], (run.run, round_, attempt)
                found = union.setdefault(place, _Union(costs, run.at))
                found.at = max(found.at, run.at)
                if _weight(costs) > _weight(found.costs):
                    found.costs, found.by = costs, [who, *found.by]
                else:
                    found.by.append(who)
    return union


def _entry(place: Place, found: _Union, now: float) -> LedgerEntry:
    window = f"not known here, told by {_names(found.by)}"
    return LedgerEntry(
        float(min(found.at, now)), *place, TOLD, testimony.event_of(found.costs), window.encode()
    )


def _charged(place: Place, found: _Union, ledger: Iterable[LedgerEntry]) -> bool:
    """Whether this ledger has charged the attempt: by itself, or as others told it before and no less."""
    for each in ledger:
        if (each.run, each.round, each.attempt) == place and each.status in (*CHARGED, UNPROTECTED):
            costs = tuple(map(testimony.cost_of, each.event))
            if each.status != TOLD or _weight(costs) >= _weight(found.costs) * (1 - 1e-9):
                return True
    return False


def _coarse(costs: Sequence[Cost]) -> tuple[object, ...]:
    """Mechanisms as far as their cost differs."""
    return tuple(
        (f"{sensitivity**2 / variance:.9e}", rate, steps)
        for sensitivity, variance, _, _, _, rate, steps in costs
    )


def _names(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
