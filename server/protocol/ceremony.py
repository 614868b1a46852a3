"""The ceremony, at the coordinator: what to relay to whom, and a first check of what comes back.

Pure. The coordinator can read none of it: envelopes are sealed.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol.state import State
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.epoch import Epoch, greeted
from fedrepay.shared.trust.handshake import (
    Acceptance,
    Acceptances,
    Confirmation,
    Envelope,
    Envelopes,
    EpochStart,
    Introduction,
)
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Kind, Offer

Parts = dict[str, tuple[bytes, bytes]]
STEPS = (Kind.INTRODUCE, Kind.SEED, Kind.CONFIRM)
"""In which everybody present must answer: else the epoch does not begin."""


def offer(terms: NumberedTerms, roster: Roster, key: Ed25519PrivateKey) -> Signed:
    """The run's terms, to be said yes or no to."""
    return Signed.make(key, Offer(run=terms.run, roster=roster.hash(), terms=terms.terms()))


def start(terms: NumberedTerms, roster: Roster, key: Ed25519PrivateKey) -> Signed:
    """The call for an epoch (Ed25519 is deterministic, so this is the same bytes after a restart)."""
    message = EpochStart(
        run=terms.run,
        coordinator=keys.public_bytes(key),
        colluders=terms.colluders,
        roster=roster.hash(),
        terms=terms.terms_hash(),
    )
    return Signed.make(key, message)


def introduction(begun: Signed, roster: Roster, hellos: Mapping[str, bytes]) -> Introduction:
    """The roster and the hellos of those who are present."""
    ordered = tuple(Signed.decode(hellos[name]) for name in sorted(hellos))
    return Introduction(roster=roster.encode(), start=begun, hellos=ordered)


def pending(state: State, epoch: Epoch) -> tuple[Kind, Parts] | None:
    """The next ask after the hellos (kind and parts), or None when everybody present has confirmed."""
    targets: dict[str, Collection[str]] = {
        Kind.INTRODUCE: epoch.present,
        Kind.SEED: epoch.seeders,
        Kind.CONFIRM: epoch.present,
    }
    for kind in STEPS:
        waiting = [name for name in targets[kind] if name not in state.answers.get(kind, {})]
        if waiting:
            shared = _shared(kind, state)
            sealed = _sealed(epoch, state) if kind == Kind.CONFIRM else None
            return kind, {name: (shared, _own(name, epoch, sealed)) for name in waiting}
    return None


def _shared(kind: Kind, state: State) -> bytes:
    if kind == Kind.INTRODUCE:
        assert state.introduction is not None  # noqa: S101 - stored before it is sent
        return state.introduction.encode()
    accepted = tuple(Signed.decode(body) for _, body in sorted(state.answers[Kind.INTRODUCE].items()))
    return Acceptances(signed=accepted).encode()


def _sealed(epoch: Epoch, state: State) -> list[tuple[Signed, ...]]:
    """Each seeder's envelopes, in the order of those present."""
    return [Envelopes.decode(state.answers[Kind.SEED][seeder]).signed for seeder in epoch.seeders]


def _own(name: str, epoch: Epoch, sealed: list[tuple[Signed, ...]] | None) -> bytes:
    if sealed is None:
        return b""
    at = bisect_left(epoch.present, name)
    return Envelopes(signed=tuple(each[at] for each in sealed)).encode()


def check_hello(name: str, body: bytes, begun: Signed, roster: Roster) -> None:
    """Refuse a hello that is not its sender's, for another call, or with a key of no use.

    Raises:
        ProtocolError: naming the member.
    """
    hello = greeted(Signed.decode(body), begun.digest(), roster)
    if hello.name != name:
        raise ProtocolError(f"{name} says hello as {hello.name!r}.", "It is left out.")


def check_answer(kind: str, name: str, body: bytes, epoch: Epoch) -> None:
    """Refuse an answer that members would refuse anyway, so that its sender is named at once.

    Raises:
        ProtocolError: not such a message, not the sender's, or of another epoch.
    """
    signing = epoch.roster.entry(name).signing
    if kind == Kind.SEED:
        sent = [each.verified(signing, Envelope) for each in Envelopes.decode(body).signed]
        if tuple(each.recipient for each in sent) != epoch.present:
            raise ProtocolError(f"{name} did not send one envelope to each member.", "Ask again.")
        facts = {(each.sender, each.epoch_nonce, each.roster_hash) for each in sent}
        if facts != {(name, epoch.nonce, epoch.roster.hash())}:
            raise ProtocolError(f"The envelopes of {name} are of another epoch.", "Ask again.")
        return
    kinds: dict[str, type[Wire]] = {
        Kind.INTRODUCE: Acceptance,
        Kind.CONFIRM: Confirmation,
    }
    said = Signed.decode(body).verified(signing, kinds[kind])
    if said.epoch != epoch.id or getattr(said, "name", name) != name:  # type: ignore[attr-defined]
        raise ProtocolError(f"The answer of {name} to '{kind}' is of another epoch.", "It is left out.")
