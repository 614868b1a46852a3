"""The link of a member to its coordinator outside Flower: rosters are made, releases come in, the certificate is renewed.

It holds the TLS key and nothing else: the member's own process signs what is asked and opens what comes (``node/house``). What
the coordinator says here is shown and never believed; what matters is proven by signatures where it goes.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.consortium import requests, standing, tls
from fedrepay.client.consortium.channel import Channel
from fedrepay.client.consortium.own_calls import lacking
from fedrepay.client.consortium.standing import LinkState
from fedrepay.client.node import house, relay
from fedrepay.client.protocol import enrolment
from fedrepay.client.protocol.accepted import AGREED
from fedrepay.client.store import settings
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import FedrepayError, NetworkError, ProtocolError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.text import printable
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import NOTHING
from fedrepay.shared.trust.asking import Standing

LOOK = 60.0
"""Seconds between two times of asking where the consortium stands."""
FIRST_PAUSE, LAST_PAUSE = 2.0, 60.0
"""Seconds before another try after an error; doubled each time."""
OVER = ("no run yet", "done", "abandoned")
"""What the coordinator says of a run in which nobody is asked for anything more (``Standing.state``)."""
SOON = 5.0
"""A long poll that came back empty sooner is not asked again at once."""
log = logging.getLogger("fedrepay.link")


@dataclass(frozen=True)
class Clocks:
    """Time as the link knows it.

    Args:
        now: seconds since 1970.
        ticks: seconds that only grow.
        pause: waits so many seconds, or until it is told to stop; True then.
    """

    now: Callable[[], float]
    ticks: Callable[[], float]
    pause: Callable[[float], bool]


class Link:
    """The link of one member.

    Args:
        folder: the member's.
        socket: its door.
        clocks: time.
    """

    def __init__(self, folder: Path, socket: Path, clocks: Clocks) -> None:
        self._folder, self._socket, self._clocks = folder, socket, clocks
        self._store = MemberStore(folder, clocks.now)
        self._channel: Channel | None = None
        self._due = clocks.ticks()
        self._state = LinkState(at=clocks.now(), since=clocks.now(), connected=False)
        self._told: dict[str, str] = {}
        self._looked: tuple[int, bool] | None = None
        self._shown = b""

    def run(self, stop: threading.Event) -> None:
        """Turn after turn until told to stop; after an error, later and later."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            try:
                self.turn()
                pause = FIRST_PAUSE
            except FedrepayError as error:
                if stop.is_set():
                    return
                self.close()
                self._note(error)
                self._clocks.pause(pause)
                pause = min(LAST_PAUSE, 2 * pause)

    def close(self) -> None:
        """Close the connection; the next turn opens another."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def turn(self) -> None:
        """Look where the consortium stands, if it is time to; then wait for one ask and bring back its answer.

        Raises:
            FedrepayError: the coordinator or the member's own process does not answer.
        """
        if self._clocks.ticks() >= self._due:
            self._look()
            self._due = self._clocks.ticks() + LOOK
        begun = self._clocks.ticks()
        asked = self._open().wait()
        if asked.ask:
            body = relay.carry(f"{relay.UNIX}{self._socket}", asked.kind, asked.shared, asked.own)
            self._open().answer(asked.ask, body)
        elif self._clocks.ticks() - begun < SOON:
            self._clocks.pause(SOON)

    # --- every minute ---

    def _look(self) -> None:
        self._renew()
        held, pending = enrolment.held(self._store), enrolment.waiting(self._store)  # before it is asked
        found = self._open().stand(bytes(32) if held is None else held.hash())
        void = pending is not None and pending.hash() != found.proposed
        self._note(None, found, pending.hash() if pending is not None and void else b"")
        self._terms(found)
        self._sent(found)
        self._pull(found)

    def _sent(self, found: Standing) -> None:
        """Whether the store was set back: asked when the link begins, and again when a run begins or is over.

        The header shown before comes again: that of a run under way proved nothing yet, and where another run follows at once, the
        newest is of that run, by when the store knows its own attempts.
        """
        live = found.run if found.state not in OVER else 0
        if self._looked == (found.run, bool(live)):
            return
        own = self._open().heads()
        shown = dict.fromkeys((self._shown or own, own))
        told = [house.asked_at(self._socket, house.SENT, each, live.to_bytes(4, "big")) for each in shown]
        if b"\x01" in told:
            log.warning(
                "This member's store is older than what it has sent: it was restored from a backup. Its year counts as spent until "
                "a new roster has asked the others: `fedrepay member rotate-keys` has one made."
            )
        self._looked, self._shown = (found.run, bool(live)), own

    def _terms(self, found: Standing) -> None:
        """Terms that people here have not accepted are laid beside the ones that they have."""
        path = self._folder / standing.NEW_TERMS
        if found.agreed in (self._store.fact(AGREED), NOTHING):
            path.unlink(missing_ok=True)
            self._say("terms", "")
            return
        if agreement.hashed(found.terms) != found.agreed:
            raise ProtocolError("The coordinator's terms are not those it names.", "Tell the operator.")
        agreement.parse(found.terms, "the consortium's new terms")
        if not path.exists() or path.read_bytes() != found.terms:
            write_atomically(path, found.terms)
        self._say("terms", "The consortium has new terms: `fedrepay member accept-terms` shows them.")

    def _pull(self, found: Standing) -> None:
        """Take in what was released while this member was away; what its own process refuses is said once."""
        for number in lacking(self._store, found):
            try:
                handed = self._open().pull(number)
                new = house.asked_at(self._socket, house.PULLED, handed, b"") == b"\x01"
                self._say("release", f"Release {number} has come in." if new else "")
            except (ProtocolError, NetworkError) as error:
                self._say("release", f"Release {number} was not taken in: {error.cause} {error.remedy}")
                return

    def _renew(self) -> None:
        """A new certificate for a new key, when half of the old one's time is over."""
        held = self._open().certified
        if self._clocks.now() < held.half:
            return
        name = settings.load(self._folder).name or ""
        pem = self._open().renew(tls.create(self._folder, name, tls.NEXT_KEY))
        tls.accept(self._folder, pem, self._clocks.now(), tls.NEXT_KEY)
        self.close()
        log.info("The certificate was renewed.")

    # --- the rest ---

    def _open(self) -> Channel:
        if self._channel is None:
            self._channel = requests.opened(self._folder, requests.by_door(self._socket))
        return self._channel

    def _note(self, error: FedrepayError | None, found: Standing | None = None, void: bytes = b"") -> None:
        """Write what is known for `status`, and one line to the log where it is news."""
        now, before = self._clocks.now(), self._state
        connected = error is None
        self._state = LinkState(
            at=now,
            since=now if connected != before.connected else before.since,
            connected=connected,
            cause="" if error is None else error.cause[:4000],
            remedy="" if error is None else error.remedy[:4000],
            certificate_ends=self._channel.certified.ends if self._channel else before.certificate_ends,
            standing=before.standing if found is None else found.encode(),
            void=before.void if found is None else void,
        )
        standing.keep(self._folder, self._state)
        self._say(
            "state", "Connected to the coordinator." if error is None else f"{error.cause} {error.remedy}"
        )

    def _say(self, what: str, text: str) -> None:
        """One line a change."""
        if self._told.get(what, "") != text:
            self._told[what] = text
            if text:
                (log.info if what != "state" or self._state.connected else log.warning)(
                    "%s", printable(text, 2000)
                )


def serve(folder: Path, socket: Path) -> None:
    """Keep the link up until SIGTERM, SIGHUP or Ctrl-C.

    Raises:
        NetworkError: it ended by itself.
    """
    import signal  # noqa: PLC0415

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_signal: stop.set())
    link = Link(folder, socket, Clocks(time.time, time.monotonic, stop.wait))
    thread = threading.Thread(target=link.run, args=(stop,), name="link", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.wait(1.0):
        pass
    link.close()  # ends a call under way
    thread.join(10)
    if not stop.is_set():
        raise NetworkError("The link ended by itself.", "The lines above say why: report them.")
