"""Renews the server's certificate while it serves, at half of its life."""

import logging
from collections.abc import Callable
from pathlib import Path

from fedrepay.server.admission import certificates
from fedrepay.shared.errors import StorageError

PAUSE = 3600.0
"""Seconds between two looks: where a renewal fails it is tried again, for the other half of the life."""
log = logging.getLogger(__name__)


class Renewal:
    """Looks after the certificate.

    Args:
        folder: the coordinator's.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder, self._clock = folder, clock
        self._due = clock()

    def look(self) -> None:
        """Renew it, if it is time to look and half of its life is over; a failure is said, and nothing else."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + PAUSE
        try:
            if certificates.refresh(self._folder, now):
                log.info("The server's certificate was renewed: new connections get it, open ones go on.")
        except StorageError as error:
            log.warning("The server's certificate cannot be renewed: %s %s", error.cause, error.remedy)
