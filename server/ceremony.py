"""The ceremony, at the coordinator: what to relay to whom, and a first check of what comes back.

Pure. The coordinator can read none of it: envelopes and the secret context are sealed.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.plan import RunPlan
from fedrepay.shared.trust.roster import Entry, Roster, check_size
from fedrepay.shared.trust.wire import (
    Acceptance,
    Acceptances,
    Confirmation,
    ContextClosing,
    ContextOffer,
    Envelope,
    Envelopes,
    EpochStart,
    Hello,
    Introduction,
)

Answers = Mapping[str, Mapping[str, bytes]]
STEPS = ("hello", "introduce", "seed", "context", "confirm")


def start(plan: RunPlan, key: Ed25519PrivateKey) -> Signed:
    """The call for an epoch (Ed25519 is deterministic, so this is the same bytes after a restart)."""
    message = EpochStart(run=plan.run, coordinator=keys.public_bytes(key), colluders=plan.colluders)
    return Signed.make(key, message)


def name_in(hello: bytes) -> str:
    """The name that a signed hello gives."""
    return Hello.decode(Signed.decode(hello).body).name


def introduction(begun: Signed, hellos: Mapping[str, bytes]) -> Introduction:
    """Roster and hellos, from the hellos alone; members compare the roster's words out of band."""
    signed = {Hello.decode(Signed.decode(b).body).name: Signed.decode(b) for b in hellos.values()}
    said = {name: Hello.decode(each.body) for name, each in signed.items()}
    entries = [Entry(name=n, signing=h.signing, sealing=h.sealing, node=h.node) for n, h in said.items()]
    roster = Roster.of(entries, EpochStart.decode(begun.body).coordinator)
    ordered = tuple(signed[name] for name in roster.names)
    return Introduction(roster=roster.encode(), start=begun, hellos=ordered)


def pending(
    begun: Signed, answers: Answers, nodes: tuple[str, ...]
) -> tuple[str, dict[str, tuple[bytes, bytes]]] | None:
    """The ceremony's next ask (kind and parts), or None when all K have confirmed.

    Raises:
        ArgumentError: K and c do not fit.
        ProtocolError: the hellos contradict each other.
    """
    kind = "hello"
    shared = begun.encode()
    waiting = [node for node in nodes if node not in answers.get(kind, {})]
    if waiting:
        return kind, dict.fromkeys(waiting, (shared, b""))
    check_size(len(nodes), EpochStart.decode(begun.body).colluders)
    intro = introduction(begun, answers["hello"])
    epoch = Epoch.decode(intro.encode())
    targets = {
        "introduce": epoch.roster.names,
        "seed": epoch.seeders,
        "context": (epoch.maker,),
        "confirm": epoch.roster.names,
    }
    for kind, names in targets.items():
        waiting = [name for name in names if name not in answers.get(kind, {})]
        if waiting:
            shared = _shared(kind, intro, answers)
            sealed = _sealed(epoch, answers) if kind in ("context", "confirm") else None
            return kind, {name: (shared, _own(name, epoch, sealed)) for name in waiting}
    return None


def _shared(kind: str, intro: Introduction, answers: Answers) -> bytes:
    if kind == "introduce":
        return intro.encode()
    accepted = tuple(Signed.decode(body) for _, body in sorted(answers["introduce"].items()))
    if kind == "seed":
        return Acceptances(signed=accepted).encode()
    if kind == "context":
        return b""
    (offer,) = answers["context"].values()
    return ContextClosing(acceptances=accepted, offer=Signed.decode(offer)).encode()


def _sealed(epoch: Epoch, answers: Answers) -> list[tuple[Signed, ...]]:
    """Each seeder's envelopes, in the roster's order."""
    return [Envelopes.decode(answers["seed"][seeder]).signed for seeder in epoch.seeders]


def _own(name: str, epoch: Epoch, sealed: list[tuple[Signed, ...]] | None) -> bytes:
    if sealed is None:
        return b""
    at = bisect_left(epoch.roster.names, name)
    return Envelopes(signed=tuple(each[at] for each in sealed)).encode()


def check_hello(node: str, body: bytes, run: int, taken: Collection[str]) -> None:
    """Refuse a hello that is not its sender's, for another run, or under a taken name; raises ProtocolError."""
    signed = Signed.decode(body)
    hello = signed.verified(Hello.decode(signed.body).signing, Hello)
    if hello.run != run or hello.name in taken:
        raise ProtocolError(
            f"Node {node} says it is {hello.name!r}, for another run or a name already taken.",
            "Give every member a name of its own.",
        )


def check_answer(kind: str, name: str, body: bytes, epoch: Epoch) -> None:
    """Refuse an answer that members would refuse anyway, so that its sender is named at once.

    Raises:
        ProtocolError: not such a message, or not the sender's.
    """
    signing = epoch.roster.entry(name).signing
    if kind == "seed":
        sent = Envelopes.decode(body).signed
        recipients = tuple(each.verified(signing, Envelope).recipient for each in sent)
        if recipients != epoch.roster.names:
            raise ProtocolError(f"{name} did not send one envelope to each member.", "Ask again.")
        return
    kinds: dict[str, type[Wire]] = {
        "introduce": Acceptance,
        "context": ContextOffer,
        "confirm": Confirmation,
    }
    Signed.decode(body).verified(signing, kinds[kind])
