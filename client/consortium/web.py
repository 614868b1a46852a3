"""What a member asks over HTTPS before it has a certificate: who the coordinator is, and to be let in.

Nothing is believed before the authority's certificate has the fingerprint that the invitation carries, and nothing secret is
sent before the connection itself is verified by that authority.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import httpx

from fedrepay.client.consortium import tls
from fedrepay.client.consortium.reach import NO_WAY
from fedrepay.client.store.settings import shown_proxy
from fedrepay.shared.errors import NetworkError, ProtocolError
from fedrepay.shared.text import printable
from fedrepay.shared.trust import joining
from fedrepay.shared.trust.joining import About, JoinAnswer
from fedrepay.shared.trust.message import Signed

SECONDS, WHOLE = 30.0, 300.0
"""Without a byte, and for all of an answer: a line that lets a byte through now and then holds nobody for ever."""
LONGEST_ABOUT = 64 << 20
"""Bytes of what a coordinator says of itself: terms, schemas and their code books."""
LONGEST_ANSWER = 64 << 10
_PREFLIGHT = "`fedrepay member preflight` with its address finds out why."
_AGAIN = f"Nothing is lost: run the same command again. {_PREFLIGHT}"
_LATER = (408, 429, 502, 503, 504)
"""HTTP's words for a line or a coordinator that is slow, busy or away."""


@dataclass(frozen=True)
class Web:
    """The HTTP side of a coordinator's port.

    Args:
        address: HOST:PORT.
        proxy: the HTTP proxy to go through, or None; the environment's are never asked.
    """

    address: str
    proxy: str | None = None

    def authority(self, fingerprint: bytes) -> bytes:
        """The authority's certificate (PEM, alone), asked for over a connection that nobody vouches for.

        Args:
            fingerprint: of the invitation, 32 bytes.

        Raises:
            NetworkError: the coordinator cannot be reached, or has another authority.
        """
        pem, found = tls.authority_of(self.said_authority())
        if found != fingerprint:
            raise NetworkError(
                f"Who answers at {self.address} is not the consortium of this invitation: its authority has the "
                f"fingerprint {found.hex()[:16]}…, the invitation names {fingerprint.hex()[:16]}…. Somebody is in the middle, "
                "or the invitation is old. Nothing was sent.",
                "A proxy that inspects TLS must let this address pass (`fedrepay member preflight`); else ask the operator.",
            )
        return pem

    def said_authority(self) -> bytes:
        """The authority's certificate (PEM) as whoever answers gives it: to be compared, and believed by nobody.

        Raises:
            NetworkError: nobody answers.
            ProtocolError: the answer cannot be read.
        """
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE  # nothing is sent
        return self._about(blind).authority

    def about(self, authority: bytes) -> About:
        """What the coordinator says of itself, over TLS that the authority vouches for.

        Args:
            authority: its certificate (PEM).

        Raises:
            NetworkError: it cannot be reached, or is not who the authority says.
            ProtocolError: it has another version; naming both, and who must upgrade.
        """
        said = self._about(_trusting(authority))
        check_version(said)
        return said

    def join(self, authority: bytes, request: Signed) -> JoinAnswer:
        """Ask to be let in, or how it stands: the same bytes.

        Raises:
            NetworkError: the coordinator cannot be reached.
            ProtocolError: its answer cannot be read.
        """
        headers = {"content-type": "application/octet-stream"}
        options = {"content": request.encode(), "headers": headers}
        return JoinAnswer.decode(
            self._asked(_trusting(authority), "POST", joining.JOIN, LONGEST_ANSWER, **options)
        )

    def _about(self, context: ssl.SSLContext) -> About:
        return About.decode(self._asked(context, "GET", joining.ABOUT, LONGEST_ABOUT))

    def _asked(self, context: ssl.SSLContext, method: str, path: str, most: int, **options: object) -> bytes:
        """The body of an answer, within its bytes and its time."""

        async def ask() -> bytes:
            async with (
                asyncio.timeout(WHOLE),
                httpx.AsyncClient(
                    base_url=f"https://{self.address}",
                    verify=context,
                    proxy=self.proxy,
                    timeout=SECONDS,
                    trust_env=False,
                ) as client,
            ):
                return await _within(client, method, path, most, **options)

        with self._told():
            return asyncio.run(ask())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        try:
            yield
        except httpx.ProxyError as error:
            assert self.proxy is not None  # noqa: S101 - there is none without
            raise NetworkError(
                f"The proxy {shown_proxy(self.proxy)} does not let us through: {printable(str(error), 120)}.",
                NO_WAY,
            ) from error
        except httpx.TimeoutException as error:
            raise NetworkError(f"{self._where()} does not answer within {SECONDS:.0f} s.", _AGAIN) from error
        except TimeoutError as error:
            raise NetworkError(f"{self._where()} did not say all within {WHOLE:.0f} s.", _AGAIN) from error
        except httpx.ConnectError as error:
            raise NetworkError(f"{self._where()} cannot be reached: {_why(error)}.", _PREFLIGHT) from error
        except httpx.HTTPError as error:
            raise NetworkError(
                f"The connection to {self._where()} broke off: {_why(error)}.", _AGAIN
            ) from error

    def _where(self) -> str:
        return self.address if self.proxy is None else f"{self.address} (through {shown_proxy(self.proxy)})"


def check_version(said: About) -> None:
    """Both sides speak the same version.

    Raises:
        ProtocolError: naming both, and who must upgrade.
    """
    if said.version == joining.VERSION:
        return
    ours = f"version {joining.VERSION} (fedrepay {version('fedrepay')})"
    older = "the coordinator" if said.version < joining.VERSION else "this member"
    raise ProtocolError(
        f"The coordinator speaks version {said.version} (fedrepay {printable(said.product, 40)}), this member {ours}.",
        f"Upgrade fedrepay at {older}.",
    )


def _trusting(authority: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.decode("ascii"))


def _why(error: BaseException) -> str:
    """What failed at the bottom, where a text is: above it "All connection attempts failed", or nothing."""
    said, at = "somebody on the way hangs up", error
    while True:
        said = str(at) or said
        below = at.__cause__ or at.__context__
        if below is None:
            return printable(said, 200).rstrip(".")
        at = below


async def _within(client: httpx.AsyncClient, method: str, path: str, most: int, **options: object) -> bytes:
    """The body of an answer that is no longer than it may be."""
    body = bytearray()
    async with client.stream(method, path, **options) as answer:  # type: ignore[arg-type]
        async for block in answer.aiter_bytes():
            body += block
            if len(body) > most:
                raise NetworkError(
                    f"The coordinator's answer has more than {most} bytes.", "Tell the operator."
                )
    if answer.status_code != httpx.codes.OK:
        raise NetworkError(
            f"The coordinator answers {path} with HTTP {answer.status_code}: {printable(body.decode(errors='replace'), 200)}.",
            "Nothing is lost: run the same command again in a minute."
            if answer.status_code in _LATER
            else "Is it a fedrepay coordinator, and the invitation's address right? Ask the operator.",
        )
    return bytes(body)
