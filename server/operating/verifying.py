"""``fedrepay coordinator verify``: everything in the database that somebody signed is looked at again, and named if it fails.

A database that was changed, by a person or a disk, shows here; what a member says it never signed does too.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from fedrepay.server.admission.registry import Registry
from fedrepay.server.protocol import ceremony
from fedrepay.server.protocol.state import Event, State
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Revealed
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.joining import JoinRequest
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.roster import Entry, Roster, quorum
from fedrepay.shared.trust.succession import Leaving
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Header, ReleaseVote, RoundConfig, Sum, Verdict, Written

_CHANGED = "The database was changed: restore it from a backup."
_SIGNED: Mapping[str, type[Wire]] = {"header": Header, "vote": ReleaseVote, "verdict": Verdict}


@dataclass(frozen=True)
class Verified:
    """One signed thing: what it is, of whom, and what is wrong with it (empty: it verifies)."""

    what: str
    name: str
    wrong: str


def verify(store: CoordinatorStore, registry: Registry, coordinator: bytes) -> list[Verified]:
    """Everything that is signed, in the order of the database.

    Args:
        store: the coordinator's.
        registry: its members.
        coordinator: its public key in force, 32 bytes; those before it are the ones of rosters that lead up to it.
    """
    rosters = _Rosters(coordinator)
    found = list(_rosters(store, rosters))
    for terms in store.runs():
        found += _run(store, terms, rosters.keys)
    for name, signed in registry.requests().items():
        found.append(_checked("request to join", name, partial(_joins, name, signed)))
    for each in registry.members():
        if each.leaving is not None and each.entry is not None:
            check = partial(each.leaving.verified, each.entry.signing, Leaving)
            found.append(_checked("goodbye", each.name, check))
    return found


class _Rosters:
    """What events of rosters have said so far."""

    def __init__(self, coordinator: bytes) -> None:
        self._coordinator = coordinator
        self.keys = {coordinator}  # and of every roster that verifies
        self.before: Roster | None = None
        self._call = b""
        self._entries: dict[str, Entry] = {}  # by node

    def ours(self) -> None:
        """The key in force is the newest roster's.

        Raises:
            ProtocolError: it is another.
        """
        if self.before is not None and self.before.coordinator != self._coordinator:
            raise ProtocolError(
                "The newest roster is of another coordinator's key.",
                "Restore coordinator.key with its database.",
            )

    def called(self, node: str) -> str:
        """Whose node it is, as far as known."""
        return self._entries[node].name if node in self._entries else node

    def look(self, event: Event) -> None:
        """One event.

        Raises:
            ProtocolError: it is signed, and does not verify.
        """
        if event.kind == "call":
            signed = Signed.decode(event.body)
            self._call, self._entries = signed.digest(), {}
            signed.verified(Call.decode(signed.body).coordinator, Call)
        elif event.kind == "joining":
            joining = enrolment.joined(Signed.decode(event.body), self._call)
            self._entries[event.name] = joining.entry
        elif event.kind in ("revealed", "approval"):
            kind: type[Wire] = Revealed if event.kind == "revealed" else Approval
            Signed.decode(event.body).verified(self._entries[event.name].signing, kind)
        elif event.kind == "roster":
            certificate = Certificate.decode(event.body)
            made, before = Roster.decode(certificate.roster), self.before
            self.before = made
            _certified(certificate, made, before)
            self.keys.add(made.coordinator)


def _rosters(store: CoordinatorStore, rosters: _Rosters) -> Iterator[Verified]:
    for event in store.events(ROSTERS):
        checked = _checked(event.kind, "", partial(rosters.look, event))
        if event.kind in ("call", "joining", "revealed", "approval", "roster"):
            yield Verified(f"roster: {event.kind}", rosters.called(event.name), checked.wrong)
    if rosters.before is not None:
        yield _checked("roster: the coordinator's key", "", rosters.ours)


def _certified(certificate: Certificate, made: Roster, before: Roster | None) -> None:
    """As members check it; the roster before may be one that this database has lost, but not where the key is another."""
    follows = before if before is not None and made.predecessor == before.hash() else None
    if before is not None and made.coordinator != before.coordinator:
        follows = before
    enrolment.certified(certificate, follows)


def _run(store: CoordinatorStore, terms: NumberedTerms, known: Collection[bytes]) -> Iterator[Verified]:
    try:
        state = State.replayed(store.events(terms.run))
    except (ProtocolError, ValueError) as error:
        yield Verified(f"run {terms.run}: its events cannot be read", "", f"{error} {_CHANGED}")
        return
    if state.introduction is None:
        return
    start, roster = state.introduction.start, Roster.decode(state.introduction.roster)
    epoch, coordinator = Epoch.decode(state.introduction.encode()), roster.coordinator
    signing = {entry.name: entry.signing for entry in roster.members}
    check_start = partial(_starts, start, terms, coordinator, known)
    yield _checked(f"run {terms.run}: call for the epoch", "", check_start)
    for event in store.events(terms.run):
        name, body, kind = event.name, event.body, event.kind
        key = signing.get(name, bytes(32))
        check: Callable[[], object]
        if kind in ("attempt", "closing"):
            check = partial(_configured, Signed.decode(body), terms, coordinator)
        elif kind == "sum":
            check = partial(_sum, Sum.decode(body), terms, coordinator, signing)
        elif kind in _SIGNED:
            check = _is(body, key, _SIGNED[kind])
        elif kind == "written":
            check = partial(Written.decode(body).vote.verified, key, ReleaseVote)
        elif kind == "answer:hello":
            check = partial(ceremony.check_hello, name, body, start, roster)
        elif kind.startswith("answer:") and kind != "answer:terms":
            check = partial(ceremony.check_answer, kind.removeprefix("answer:"), name, body, epoch)
        else:
            continue
        yield _checked(f"run {terms.run}: {kind}", name, check)
    if state.done:
        yield _checked(f"run {terms.run}: votes", "", partial(_votes, state, terms, roster))


def _starts(start: Signed, terms: NumberedTerms, coordinator: bytes, known: Collection[bytes]) -> None:
    if coordinator not in known:
        raise ProtocolError("Its roster is of a coordinator's key that no roster here has.", _CHANGED)
    said = start.verified(coordinator, EpochStart)
    if (said.run, said.terms) != (terms.run, terms.terms_hash()):
        raise ProtocolError("It is for other terms than those stored.", _CHANGED)


def _configured(signed: Signed, terms: NumberedTerms, coordinator: bytes) -> RoundConfig:
    config = signed.verified(coordinator, RoundConfig)
    if (config.run, config.terms_hash()) != (terms.run, terms.terms_hash()):
        raise ProtocolError("It is for other terms than those stored.", _CHANGED)
    return config


def _joins(name: str, signed: Signed) -> None:
    entry = JoinRequest.decode(signed.body).entry
    signed.verified(entry.signing, JoinRequest)
    if entry.name != name:
        raise ProtocolError(f"It is by {entry.name}.", _CHANGED)


def _sum(completed: Sum, terms: NumberedTerms, coordinator: bytes, signing: dict[str, bytes]) -> None:
    config = _configured(completed.config, terms, coordinator)
    if len(completed.headers) != len(config.cohort):
        raise ProtocolError("A header of its cohort is missing.", _CHANGED)
    for name, header in zip(config.cohort, completed.headers, strict=True):
        if header.verified(signing[name], Header).config != completed.config.digest():
            raise ProtocolError(f"The header of {name} is of another attempt.", _CHANGED)


def _votes(state: State, terms: NumberedTerms, roster: Roster) -> None:
    """A quorum signed one release, of this run."""
    said = {
        name: vote.verified(roster.entry(name).signing, ReleaseVote) for name, vote in state.votes.items()
    }
    releases = {each.release for each in said.values() if each.run == terms.run}
    least = quorum(len(roster.names), terms.colluders)
    if len(releases) != 1 or len(said) < least:
        raise ProtocolError(
            f"{len(said)} members signed {len(releases)} releases; {least} must sign one.", "Do not use it."
        )


def _is(body: bytes, public: bytes, kind: type[Wire]) -> Callable[[], object]:
    return partial(Signed.decode(body).verified, public, kind)


def _checked(what: str, name: str, check: Callable[[], object]) -> Verified:
    try:
        check()
    except (ProtocolError, KeyError, ValueError) as error:
        return Verified(
            what, name, getattr(error, "cause", None) or "it names somebody who is not in the roster"
        )
    return Verified(what, name, "")
