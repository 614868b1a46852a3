"""The front's certificate, loaded anew when its file changes: a renewal needs no restart."""

import logging
import ssl
from pathlib import Path

_log = logging.getLogger(__name__)
_Changed = tuple[tuple[int, int], ...]


class Credentials:
    """A certificate and its key, as their files have them now.

    Args:
        certificate: PEM file, with the chain where there is one.
        key: PEM file.

    Raises:
        OSError: they cannot be read, or do not belong together (``ssl.SSLError``).
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._changed()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """For the next handshake. New files that do not load (one is written before the other) leave the old in use."""
        try:
            seen = self._changed()
            if seen != self._seen:
                self._seen = seen
                self._context = self._load()
                _log.info("The front has a new certificate.")
        except OSError as error:  # ssl.SSLError is one
            _log.warning("The front keeps its certificate, the new one does not load: %s", error.strerror)
        return self._context

    def _changed(self) -> _Changed:
        return tuple((state.st_mtime_ns, state.st_ino) for state in (path.stat() for path in self._files))

    def _load(self) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(*self._files)
        made.set_alpn_protocols(["http/1.1"])  # to who offers h2 as well, this is what we speak
        return made
