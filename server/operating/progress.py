"""Where a run stands, from its events alone: its stage, who is waited for and since when, refusals, bytes, time left."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.operating import rosters
from fedrepay.server.operating.admitting import standing
from fedrepay.server.operating.rosters import RosterMaking
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.state import Event, State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import Code, FedrepayError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES
from fedrepay.shared.text import printable
from fedrepay.shared.trust.roster import Roster, quorum
from fedrepay.shared.trust.sums import run_chunks
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Kind

_CODES = frozenset(code.value for code in Code)
_TELLING = ("away", "retry", "declined", "complaint")
STAGES: Mapping[str, str] = {
    Kind.TERMS: "members are asked for the terms",
    Kind.HELLO: "members are called for the epoch",
    Kind.INTRODUCE: "ceremony: members take the others' keys",
    Kind.SEED: "ceremony: seeders send their parts",
    Kind.CONFIRM: "ceremony: members confirm the group's seed",
    Kind.PREPARE: "members prepare the next sum",
    Kind.ROUND: "sum",
    Kind.RESEND: "a sum whose tag failed: uploads are compared",
    Kind.BLAME: "a sum whose tag failed: members say whose upload does not fit",
    Kind.SIGN: "all sums are done",
    Kind.WRITE: "a member writes the release",
    Kind.CLOSE: "members check and sign the release",
    Kind.VOTES: "members store the release",
}


@dataclass(frozen=True)
class RunProgress:
    """A run as its events have it. Times in seconds since 1970.

    Attributes:
        run: its number.
        mode: of its noise.
        epsilon: asked for.
        stage: in words.
        over: whether nothing of it can go on.
        stopped: why it cannot go on as it is, and what to do; empty where it can.
        sums: completed.
        rounds: planned.
        attempts: begun, void ones too.
        begun: when its first event was stored; None before.
        since: when the present stage began, as far as events tell.
        waiting: members whose answer is outstanding, who are not known to be away.
        away: (member, why) of who is not taking part now.
        refusals: how many of each code.
        received: bytes that members sent, ciphertexts too.
        seconds_left: for the sums that are left, if they take as long as those before; None before the first.
    """

    run: int
    mode: str
    epsilon: float
    stage: str
    over: bool
    stopped: str
    sums: int
    rounds: int
    attempts: int
    begun: float | None
    since: float | None
    waiting: tuple[str, ...]
    away: tuple[tuple[str, str], ...]
    refusals: dict[str, int]
    received: int
    seconds_left: float | None


@dataclass(frozen=True)
class CoordinatorStatus:
    """All of it at one moment."""

    at: float
    members: tuple[tuple[str, str], ...]  # (name, state)
    missing: tuple[str, ...]  # of the roster, not heard of
    roster: int
    roster_members: tuple[str, ...]
    quorum: int | None
    making: RosterMaking | None
    run: RunProgress | None
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return asdict(self)


def status(
    store: CoordinatorStore,
    members: Sequence[MemberSeen],
    key: Ed25519PrivateKey,
    clock: Callable[[], float] = time.time,
) -> CoordinatorStatus:
    """Where everything stands.

    Args:
        store: the coordinator's.
        members: of its registry.
        key: the coordinator's; nothing is sent with it.
        clock: seconds since 1970.
    """
    now = clock()
    enrolled, terms = rosters.enrolled(store), store.terms()
    roster = enrolled.roster
    run = None if terms is None else progress(terms, store.timed(terms.run), roster, key)
    states = {each.name: standing(each, now) for each in members}
    names = () if roster is None else roster.names
    return CoordinatorStatus(
        at=now,
        members=tuple(states.items()),
        missing=tuple(name for name in names if states.get(name, "admitted") != "admitted"),
        roster=0 if roster is None else roster.number,
        roster_members=names,
        quorum=None if roster is None or terms is None else quorum(len(names), terms.colluders),
        making=rosters.making(enrolled),
        run=run,
        notes=tuple(f"{each.name}: {each.notes[-1]}" for each in members if each.notes),
    )


def progress(
    terms: NumberedTerms,
    timed: Sequence[tuple[float, Event]],
    roster: Roster | None,
    key: Ed25519PrivateKey,
) -> RunProgress:
    """One run.

    Args:
        terms: of it.
        timed: its events with their times.
        roster: the one in force; None before the first.
        key: the coordinator's; nothing is sent with it.
    """
    state = State.replayed(event for _, event in timed)
    stage, waiting, stopped = _stage(terms, state, [event for _, event in timed], roster, key)
    members = 0 if roster is None else len(roster.names)
    return RunProgress(
        run=terms.run,
        mode=terms.mode,
        epsilon=terms.epsilon,
        stage=stage,
        over=state.over,
        stopped=stopped,
        sums=len(state.sums),
        rounds=terms.rounds,
        attempts=len(state.attempts),
        begun=timed[0][0] if timed else None,
        since=_since(timed),
        waiting=tuple(name for name in waiting if name not in state.away and name not in state.ready),
        away=tuple((name, printable(why)) for name, why in sorted(state.away.items())),
        refusals=refusals(event for _, event in timed),
        received=received(terms, [event for _, event in timed], members),
        seconds_left=None if state.over else _left(terms, timed),
    )


def _stage(
    terms: NumberedTerms,
    state: State,
    events: Sequence[Event],
    roster: Roster | None,
    key: Ed25519PrivateKey,
) -> tuple[str, tuple[str, ...], str]:
    """(in words, who is asked and has not answered, why it cannot go on)."""
    if state.done:
        return "done: the release is out", (), ""
    if state.abandoned:
        return "abandoned", (), ""
    if roster is None:
        return "waits for a roster", (), ""
    try:
        machine = Coordinator(terms, key, roster, {name: name for name in roster.names})
        for event in events:
            machine.state.apply(event)
        ask = machine.ask()
    except FedrepayError as error:
        return ("declined" if state.declined else "stopped"), (), f"{error.cause} {error.remedy}"
    if ask is None:  # a later run was answered: the next takes a number above
        return "its number is in use: the next run takes a higher one", (), ""
    words = STAGES.get(ask.kind, str(ask.kind))
    if ask.kind == Kind.ROUND:
        config = state.attempts[-1].config
        words = f"sum {config.round + 1} of {terms.rounds}, attempt {config.attempt + 1} of the run"
        return words, tuple(name for name in ask.parts if name not in _uploaded(events)), ""
    return words, tuple(ask.parts), ""


def _uploaded(events: Sequence[Event]) -> set[str]:
    """Whose upload of the open attempt has come."""
    names: set[str] = set()
    for event in events:
        if event.kind == "attempt":
            names = set()
        elif event.kind == "header":
            names.add(event.name)
    return names


def _since(timed: Sequence[tuple[float, Event]]) -> float | None:
    """When the open attempt, or what came after the last one, began."""
    begins = ("introduction", "attempt", "sum", "void", "closing", "written", "failed", "done", "abandoned")
    marks = [at for at, event in timed if event.kind in begins]
    return marks[-1] if marks else (timed[0][0] if timed else None)


def _left(terms: NumberedTerms, timed: Sequence[tuple[float, Event]]) -> float | None:
    """Seconds for the sums that are left, by the mean of those done, lost attempts included."""
    first = next((at for at, event in timed if event.kind == "attempt"), None)
    done = [at for at, event in timed if event.kind == "sum"]
    if first is None or not done:
        return None
    return (done[-1] - first) / len(done) * (terms.rounds - len(done))


def refusals(events: Iterable[Event]) -> dict[str, int]:
    """How often members refused, by code; what is no code counts as ``no answer``."""
    counted: Counter[str] = Counter()
    for event in events:
        if event.kind in _TELLING:
            code = event.body.decode("utf-8", "replace").partition(":")[0]
            counted[code if code in _CODES else "no answer"] += 1
    return dict(sorted(counted.items()))


def received(terms: NumberedTerms, events: Sequence[Event], members: int) -> int:
    """Bytes of what members sent in a run: answers, headers, and the ciphertexts that were added and not kept."""
    chunks = run_chunks(terms, members) if members else ()
    total = ciphertexts = 0
    for event in events:
        if event.kind == "attempt":
            record = State.replayed([event]).attempts[-1]
            ciphertexts = chunks[record.config.round] if chunks else 0
        elif event.kind == "header":
            total += len(event.body) + ciphertexts * UPLOAD_BYTES
        elif event.kind.startswith("answer:") or event.kind in ("written", "vote"):
            total += len(event.body)
    return total
