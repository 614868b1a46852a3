"""Letting members in: the registry, and the front's keys. The service's keeper tells the SuperLink of their nodes."""

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fedrepay.server.admission import certificates
from fedrepay.server.admission.node_keys import ENDING, FOLDER
from fedrepay.server.admission.registry import DAYS, Registry
from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.front import nodes
from fedrepay.server.service.standing import AWAY
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.joining import Invitation
from fedrepay.shared.trust.roster import Entry


def invite(
    folder: Path, registry: Registry, address: str, names: Sequence[str], days: float = DAYS
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
    asked = registry.member(name)

    def issue(request: bytes, of: str) -> bytes:
        """The node's key is in its place before the registry says that the member is in: others act on that."""
        pem = certificates.issue(folder, request, of)
        let_in(asked)
        return pem

    def let_in(member: MemberSeen | None) -> None:
        assert member is not None  # noqa: S101 - it has asked to join
        assert member.entry is not None  # noqa: S101
        nodes.add(folder, openssh(member.entry), name)

    seen = registry.admit(name, issue, words or (asked.words if asked is not None else None))
    let_in(seen)
    return seen


def forgotten(folder: Path, registry: Registry) -> tuple[str, ...]:
    """Names of members whose nodes' keys are in the folder while the database knows nobody of that name: it was lost."""
    known = {each.name for each in registry.members()}
    keys = sorted((folder / FOLDER).glob(f"*{ENDING}"))
    return tuple(
        path.name.removesuffix(ENDING) for path in keys if path.name.removesuffix(ENDING) not in known
    )


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


FORGOTTEN = (
    "This folder was a coordinator of {names}, whom its database does not know: it was lost, and is empty. With a copy, stop "
    "`serve` and use `coordinator restore`. Without one, keep coordinator.key and `invite` each of them: their people run "
    "`member join` with the new line and the folder that they have, and you `admit` them. Roster and run numbers come back from them."
)


def standing(seen: MemberSeen, now: float) -> str:
    """A member's state for people: an expired invitation and an absence have names of their own."""
    if seen.state == "invited" and seen.expires <= now:
        return "expired"
    if seen.state == "admitted" and seen.seen < now - AWAY:
        return "away"
    return seen.state
