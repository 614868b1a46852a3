"""How far this machine's clock is off a coordinator's: Flower refuses a node for it and names something else."""

import asyncio
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

AHEAD, BEHIND = 5.0, 300.0
"""Seconds by which a node's clock may be ahead of the coordinator's, and behind it (Flower 1.41; ``server/front/nodes``)."""
SECONDS = 10.0
_WHOLE = 1.0  # the coordinator tells whole seconds


def off(address: str, certificates: Path, proxy: str | None = None) -> float | None:
    """As :func:`off_by`, the authority's certificate in a PEM file; None where that cannot be read."""
    try:
        return off_by(address, certificates.read_bytes(), proxy)
    except OSError:
        return None


def off_by(address: str, authority: bytes, proxy: str | None = None) -> float | None:
    """Seconds that this clock is ahead of the coordinator's (negative: behind), as its HTTP side dates its answers.

    Args:
        address: HOST:PORT of the front.
        authority: the certificate (PEM) that vouches for it.
        proxy: the HTTP proxy to go through.

    Returns:
        to a second, towards 0; None where it does not answer with a date.
    """
    import httpx  # noqa: PLC0415 - heavy

    async def ask() -> tuple[float, float, float]:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(verify=trusted, proxy=proxy, timeout=SECONDS, trust_env=False) as client,
        ):
            begun = time.time()
            async with client.stream("GET", f"https://{address}/v1/consortium") as answer:
                ended = time.time()
        return begun, ended, parsedate_to_datetime(answer.headers["date"]).timestamp()

    try:
        trusted = ssl.create_default_context(cadata=authority.decode("ascii"))
        begun, ended, said = asyncio.run(ask())
    except (httpx.HTTPError, ssl.SSLError, OSError, KeyError, ValueError):
        return None
    return min(0.0, ended - said) if begun < said else max(0.0, begun - said - _WHOLE)


def told(seconds: float | None) -> str:
    """What an offset means for a member's node; empty where it is small enough, or not known."""
    if seconds is None or -BEHIND < seconds < AHEAD:
        return ""
    way = "ahead of" if seconds > 0 else "behind"
    return (
        f"This machine's clock is {abs(seconds):.0f} s {way} the coordinator's; a node may be "
        f"{AHEAD:.0f} s ahead or {BEHIND:.0f} s behind."
    )
