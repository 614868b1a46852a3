"""A request to join by itself: its signature, its version, its keys; and the terms that it must have accepted."""

from importlib.metadata import version
from pathlib import Path

from fedrepay.server.admission.certificates import request_key
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError, StorageError
from fedrepay.shared.files import read_bytes
from fedrepay.shared.text import printable
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.joining import LONGEST_JOIN, VERSION, JoinRequest
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import COORDINATOR


def read(signed: Signed) -> JoinRequest:
    """A request that the key it names has signed, of our version, whose keys are of use.

    Raises:
        ProtocolError: otherwise; of another version it names both, and who must upgrade.
    """
    if len(signed.body) > LONGEST_JOIN:
        raise ProtocolError(
            f"A request to join of {len(signed.body)} bytes is not read.", "Send a smaller one."
        )
    request = signed.verified(JoinRequest.decode(signed.body).entry.signing, JoinRequest)
    if request.version != VERSION:
        theirs = f"version {request.version} (fedrepay {printable(request.product)})"
        who = "the member" if request.version < VERSION else "the coordinator's operator"
        raise ProtocolError(
            f"The member speaks {theirs}, the coordinator version {VERSION} (fedrepay {version('fedrepay')}).",
            f"Upgrade fedrepay at {who}.",
        )
    if request.entry.name.casefold() == COORDINATOR:
        raise ProtocolError(f"No member is called {request.entry.name!r}.", "Choose another name.")
    if not request.entry.node:
        raise ProtocolError("The request names no key of a node.", "Make it with `fedrepay member join`.")
    keys.check_exchange(request.entry.sealing, "The sealing key of this request")
    keys_of(request)
    return request


def keys_of(request: JoinRequest) -> dict[str, bytes]:
    """Every public key of a request that must be nobody else's, by what it is for.

    Raises:
        ProtocolError: its certificate request is none, or one key stands in two places.
    """
    entry = request.entry
    found = {
        "signing key": entry.signing,
        "sealing key": entry.sealing,
        "key of a node": entry.node,
        "key for TLS": request_key(request.request),
    }
    if len(set(found.values())) != len(found):
        raise ProtocolError("One key stands in two places of this request.", "Make a key for each purpose.")
    return found


def agreed_in(folder: Path) -> bytes:
    """Hash of the terms in force (32 bytes).

    Raises:
        StorageError: the terms cannot be read.
    """
    return agreement.hashed(read_bytes(folder / agreement.FILE, StorageError, "Restore it from a backup."))
