"""Letting members in and out, in all places at once: the registry, the front's keys, the SuperLink's nodes."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.front import nodes
from fedrepay.server.network.superlink import Control
from fedrepay.server.operating import settings
from fedrepay.shared.errors import ArgumentError, NetworkError
from fedrepay.shared.trust.joining import Invitation
from fedrepay.shared.trust.roster import Entry

AWAY = 120.0
"""Seconds after which a member that is in, and was not heard of, is away."""


def invite(
    folder: Path, registry: Registry, address: str, names: Sequence[str], days: float
) -> list[Invitation]:
    """An invitation for each name.

    Raises:
        ArgumentError: a name is none, or is in use; those before it are invited.
    """
    authority = certificates.authority_digest(folder)
    return [registry.invite(name, address, authority, days) for name in dict.fromkeys(names)]


def admit(folder: Path, registry: Registry, name: str, words: str | None = None) -> MemberSeen:
    """Admit a member that waits: its certificate, and its node at the front. Once more mends what is missing.

    Args:
        folder: the coordinator's.
        registry: its registry.
        name: of the member.
        words: that people compared.

    Raises:
        ArgumentError: nobody of that name waits, with those words.
        StorageError: its node's key cannot be written.
    """
    seen = registry.admit(name, partial(certificates.issue, folder), words)
    assert seen.entry is not None  # noqa: S101 - it has asked to join
    nodes.add(folder, openssh(seen.entry), name)
    return seen


def openssh(entry: Entry) -> bytes:
    """A member's node key as ``node.pub`` has it.

    Raises:
        ArgumentError: it is no public key.
    """
    try:
        key = load_der_public_key(entry.node)
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except ValueError as error:
        raise ArgumentError(
            f"The node key of {entry.name} is no public key.", "Revoke it, and let it join anew."
        ) from error


def let_nodes_in(registry: Registry, control: Control) -> tuple[str, ...]:
    """Make the SuperLink know every admitted member's node; the names of those it did not know.

    Raises:
        NetworkError: it does not answer, or refuses a key.
    """
    new = []
    for seen in registry.members():
        if seen.state == "admitted" and not seen.node and seen.entry is not None:
            known = control.nodes()
            number = known.get(seen.entry.node)
            if number is None:
                number = control.register(openssh(seen.entry), seen.name)
                new.append(seen.name)
            registry.at_node(seen.name, number)
    return tuple(new)


def standing(seen: MemberSeen, now: float) -> str:
    """A member's state for people: an expired invitation and an absence have names of their own."""
    if seen.state == "invited" and seen.expires <= now:
        return "expired"
    if seen.state == "admitted" and seen.seen < now - AWAY:
        return "away"
    return seen.state


def try_nodes(folder: Path, registry: Registry) -> str:
    """As :func:`let_nodes_in`, where the SuperLink may be down: what to tell the operator, if anything."""
    try:
        with closing(
            Control(settings.load(folder).superlink_address, folder / certificates.AUTHORITY)
        ) as control:
            let_nodes_in(registry, control)
    except NetworkError:
        return "The SuperLink does not answer: nodes are let in when `fedrepay coordinator serve` starts."
    return ""
