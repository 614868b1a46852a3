"""The ceremony, at the coordinator: what to relay to whom, and a first check of what comes back.

Pure. The coordinator can read none of it: envelopes and the secret context are sealed.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.epoch import Epoch
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
    Signed,
    Wire,
)

Answers = Mapping[str, Mapping[str, bytes]]
STEPS = ("hello", "introduce", "seed", "context", "confirm")


def start(plan: RunPlan, key: Ed25519PrivateKey) -> Signed:
    """The call for an epoch (Ed25519 is deterministic, so this is the same bytes after a restart)."""
    message = EpochStart(run=plan.run, coordinator=keys.public_bytes(key), colluders=plan.colluders)
    return Signed.make(key, message)


def nodes_by_name(hellos: Mapping[str, bytes]) -> dict[str, str]:
    """Member name → the node it answers at."""
    return {Hello.decode(Signed.decode(body).body).name: node for node, body in hellos.items()}


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
    epoch = Epoch.of(intro)
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
            return kind, {name: (shared, _own(kind, name, epoch, answers)) for name in waiting}
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


def _own(kind: str, name: str, epoch: Epoch, answers: Answers) -> bytes:
    if kind not in ("context", "confirm"):
        return b""
    at = epoch.roster.names.index(name)
    return Envelopes(
        signed=tuple(Envelopes.decode(answers["seed"][seeder]).signed[at] for seeder in epoch.seeders)
    ).encode()


def check_answer(kind: str, name: str, body: bytes, begun: Signed, answers: Answers) -> None:
    """Refuse an answer that members would refuse anyway, so that its sender is named at once.

    Raises:
        ProtocolError: not such a message, not the sender's, or for another run.
    """
    if kind == "hello":
        signed = Signed.decode(body)
        hello = signed.verified(Hello.decode(signed.body).signing, Hello)
        others = nodes_by_name(answers.get("hello", {}))
        if hello.run != EpochStart.decode(begun.body).run or hello.name in others:
            raise ProtocolError(
                f"Node {name} says it is {hello.name!r}, for another run or a name already taken.",
                "Give every member a name of its own.",
            )
        return
    epoch = Epoch.of(introduction(begun, answers["hello"]))
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
