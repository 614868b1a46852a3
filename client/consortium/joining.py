"""How an institution comes into a consortium: one command that makes its keys, asks, and can be stopped anywhere.

Everything is in the member's folder before it is sent, so the same command goes on where it was. What is sent twice are the
same bytes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fedrepay.client.consortium import first_limits, tls
from fedrepay.client.consortium.web import Web
from fedrepay.client.node import setup
from fedrepay.client.protocol import enrolment, testimony
from fedrepay.client.protocol.accepted import AGREED
from fedrepay.client.store import settings
from fedrepay.client.store.database import FILE as DATABASE
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.settings import MemberSettings
from fedrepay.client.veto.year import lost_mark
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, FedrepayError, NetworkError, ProtocolError, SchemaError
from fedrepay.shared.files import read_bytes, write_atomically
from fedrepay.shared.schema import codebook
from fedrepay.shared.text import printable
from fedrepay.shared.trust import agreement, joining
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.joining import About, Invitation, JoinAnswer, JoinRequest
from fedrepay.shared.trust.message import Signed

REQUEST, SCHEMA = "join.bin", "schema.toml"
FIRST_PAUSE, LONGEST_PAUSE = 3.0, 30.0
"""Seconds between two times of asking how it stands."""
INVITED = "invited"
"""And the digest of the invitation's secret by which it was admitted last: another one is asked with anew."""


@dataclass(frozen=True)
class Offered:
    """What a consortium offers to who holds an invitation: seen over TLS that its authority vouches for."""

    invitation: Invitation
    authority: bytes  # PEM
    about: About
    terms: ConsortiumTerms

    @property
    def agreed(self) -> bytes:
        """Hash of the terms, 32 bytes."""
        return agreement.hashed(self.about.terms)


@dataclass(frozen=True)
class Brought:
    """What a member brings: which of the consortium's schemas (the first digits of its hash), its files, its way out."""

    schema: str | None = None
    data: Path | None = None
    mapping: Path | None = None
    proxy: str | None = None


def look(folder: Path, invitation: Invitation, now: float, *, refounded: bool = False) -> bool:
    """Whether this folder is a member of the invitation's consortium already, by this very invitation.

    One whose certificate is no good, or that holds another invitation (the operator lost its database, or
    revoked it), has to ask.

    Args:
        folder: the member's.
        invitation: as it was given.
        now: seconds since 1970.
        refounded: people here know that the consortium's authority is another: the operator lost its whole folder.

    Raises:
        ArgumentError: it belongs to another consortium, or its keys are another member's.
    """
    if (folder / tls.AUTHORITY).exists():
        _, held = tls.authority_of(read_bytes(folder / tls.AUTHORITY, ArgumentError))
        if held != invitation.authority and not refounded:
            raise ArgumentError(
                f"{folder} belongs to another consortium, at {settings.load(folder).address}.",
                "One folder, one consortium: name another with --folder. If it is the same, and its operator lost everything "
                "and tells you so on a number that you know: --refounded.",
            )
    if (folder / setup.ENTRY).exists():
        name = setup.identity(folder).name
        if name != invitation.name:
            raise ArgumentError(
                f"{folder} holds the keys of {name}; the invitation is for {invitation.name}.",
                "Name another folder; a member keeps its name, also with new keys.",
            )
    if not (folder / tls.CERTIFICATE).exists() or not (folder / DATABASE).exists():
        return False
    try:
        tls.check(folder, now)
    except FedrepayError:
        return False
    store = MemberStore(folder, time.time)
    return not store.fact("left") and store.fact(INVITED) == keys.digest(invitation.secret)


def meet(invitation: Invitation, proxy: str | None) -> Offered:
    """Find the invitation's consortium, and what it agrees on.

    Raises:
        ArgumentError: its terms cannot be read.
        NetworkError: it cannot be reached, or who answers is not it.
        ProtocolError: it has another version.
    """
    web = Web(invitation.address, proxy)
    authority = web.authority(invitation.authority)
    about = web.about(authority)
    return Offered(invitation, authority, about, agreement.parse(about.terms, "the consortium's terms"))


def stored(folder: Path, offered: Offered) -> Signed | None:
    """The request that was made here under this invitation and these terms; None where there is none yet."""
    path = folder / REQUEST
    if not path.exists():
        return None
    signed = Signed.decode(path.read_bytes())
    said = JoinRequest.decode(signed.body)
    same = (said.secret, said.agreed, said.version) == (
        offered.invitation.secret,
        offered.agreed,
        joining.VERSION,
    )
    return signed if same else None


def prepare(folder: Path, offered: Offered, own: Brought) -> Signed:
    """Make keys and files, remember the terms as accepted, and sign the request; what is there already stays.

    Raises:
        ArgumentError: a file that the member brings is not there, or no schema is chosen.
        SchemaError: a schema of the coordinator's is not the one that the terms name.
        StorageError: the folder cannot be written.
    """
    data, codes = _schema(offered, own.schema)
    _check_files(own)
    name = offered.invitation.name
    entry = setup.complete(name, folder)
    write_atomically(folder / tls.AUTHORITY, offered.authority)
    write_atomically(folder / agreement.FILE, offered.about.terms)
    write_atomically(folder / SCHEMA, data)
    write_atomically(codebook.codebook_path(folder / SCHEMA), codes)
    if not (folder / first_limits.FILE).exists():
        write_atomically(folder / first_limits.FILE, first_limits.limits_text(offered.terms).encode())
    bring(folder, offered.invitation, own)
    request = JoinRequest(
        version=joining.VERSION,
        product=version("fedrepay"),
        secret=offered.invitation.secret,
        entry=entry,
        request=tls.create(folder, name),
        agreed=offered.agreed,
    )
    store, now = MemberStore(folder, time.time), time.time()
    if store.fact("left"):
        enrolment.join_anew(store)
    if setup.forgotten(folder, store.fact(AGREED)):
        store.remember(lost_mark(now), **testimony.since(now), **{AGREED: offered.agreed})
    else:
        store.remember(**{AGREED: offered.agreed})
    signed = Signed.make(setup.identity(folder).signing, request)
    write_atomically(folder / REQUEST, signed.encode(), mode=0o600)
    return signed


def bring(folder: Path, invitation: Invitation, own: Brought) -> None:
    """Write into the settings where the coordinator is, and what options name; other lines stay as they are.

    Raises:
        ArgumentError: a file that the member brings is not there.
        StorageError: the folder cannot be written.
    """
    _check_files(own)
    held = settings.load(folder)
    wanted = _settings(held, folder, invitation, own)
    if wanted != held:
        settings.write(folder, wanted)


def _check_files(own: Brought) -> None:
    for path in (own.data, own.mapping):
        if path is not None and not path.is_file():
            raise ArgumentError(f"{path} is not there.", "Check --data and --mapping.")


def words(signed: Signed, authority: bytes) -> str:
    """The twelve words that people here and at the operator compare.

    Args:
        signed: the request.
        authority: SHA-256 of the authority's certificate, 32 bytes.
    """
    said = JoinRequest.decode(signed.body)
    return joining.words(said.entry, said.request, authority)


def ask(folder: Path, offered: Offered, signed: Signed, proxy: str | None) -> JoinAnswer:
    """Ask to be let in; once admitted, the certificate is in the folder.

    Raises:
        NetworkError: the coordinator cannot be reached, or gave a certificate that does not fit.
        ProtocolError: it refuses, and says why.
    """
    answer = Web(offered.invitation.address, proxy).join(offered.authority, signed)
    if answer.state == "refused":
        raise ProtocolError(
            f"The coordinator refuses {offered.invitation.name}: {printable(answer.cause)}",
            answer.remedy or "Ask the operator. The keys in the folder stay as they are.",
        )
    if answer.state == "admitted":
        tls.accept(folder, answer.certificate, time.time())
        MemberStore(folder, time.time).remember(**{INVITED: keys.digest(offered.invitation.secret)})
        (folder / REQUEST).unlink(missing_ok=True)  # with the invitation's secret
    return answer


def wait(
    once: Callable[[], JoinAnswer], pause: Callable[[float], None], say: Callable[[str], None]
) -> JoinAnswer:
    """Ask until people at the coordinator have decided; a line that fails for a while is waited for too.

    Args:
        once: asks.
        pause: waits so many seconds.
        say: told in one line when the line fails and when it is back.

    Raises:
        ProtocolError: refused.
    """
    seconds, away = FIRST_PAUSE, False
    while True:
        pause(seconds)
        seconds = min(LONGEST_PAUSE, 1.5 * seconds)
        try:
            answer = once()
        except NetworkError as error:
            if not away:
                say(f"{error.cause} Still waiting.")
            away = True
            continue
        if away:
            say("The coordinator answers again.")
        away = False
        if answer.state == "admitted":
            return answer


def _settings(held: MemberSettings, folder: Path, invitation: Invitation, own: Brought) -> MemberSettings:
    said = {"data": _named(folder, own.data), "mapping": _named(folder, own.mapping), "proxy": own.proxy}
    facts = {
        "name": invitation.name,
        "address": invitation.address,
        "schema": held.schema_file or SCHEMA,
        "limits": held.limits or first_limits.FILE,
    }
    given = {name: value for name, value in said.items() if value is not None}
    return MemberSettings.model_validate(held.model_dump(by_alias=True) | facts | given)


def _named(folder: Path, path: Path | None) -> str | None:
    """A file of the member's as its settings name it."""
    if path is None:
        return None
    found, inside = path.resolve(), folder.resolve()
    return str(found.relative_to(inside) if found.is_relative_to(inside) else found)


def _schema(offered: Offered, chosen: str | None) -> tuple[bytes, bytes]:
    """Schema file and code book that the terms name, loaded and found to be those."""
    found = {digest.hex(): (data, codes) for digest, data, codes in offered.about.schemas}
    usable = [each for each in offered.terms.schemas if each.startswith(chosen or "")]
    if len(usable) != 1:
        raise ArgumentError(
            f"The consortium learns on {len(offered.terms.schemas)} schemas: {', '.join(each[:12] for each in offered.terms.schemas)}.",
            "Name one by the first digits of its hash: --schema DIGITS.",
        )
    if usable[0] not in found:
        raise SchemaError(f"The coordinator does not hand out schema {usable[0][:12]}.", "Tell the operator.")
    data, codes = found[usable[0]]
    book = codebook.from_bytes(data, codes, "the consortium's schema")
    if book.schema_hash.hex() != usable[0]:
        raise SchemaError(
            "The coordinator's schema is not the one that the terms name.", "Tell the operator."
        )
    return data, codes
