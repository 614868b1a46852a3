"""The wire of a world: a queue in virtual time that loses, repeats, delays, reorders and damages.

As on Flower, an answer finds its question by an identifier, and one that comes too late finds nobody; the fault
``stray reply`` hands it over all the same.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fedrepay.server.network.app import Answer, Machine
from fedrepay.server.protocol.state import Ask
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.message import Signed
from support.faultworld.faults import Faults

USUAL = 1.0  # seconds a message takes


@dataclass(frozen=True)
class Packet:
    """A request on its way to a member, or an answer (``body``) on its way back."""

    question: int
    name: str
    kind: str
    shared: bytes = b""
    own: bytes = b""
    body: bytes | None = None


@dataclass
class Network:
    """One seed's wire.

    Args:
        faults: what goes wrong.
        member: gives a member a request; its answer, or None where it has died or is down.
        step: called before each delivery; may bring faults of its own.
    """

    faults: Faults
    member: Callable[[str, str, bytes, bytes], bytes | None]
    step: Callable[[], None]
    now: float = 0.0
    trace: list[tuple[object, ...]] = field(default_factory=list)
    _queue: list[tuple[float, int, Packet]] = field(default_factory=list)
    _sent: list[Packet] = field(default_factory=list)
    _count: int = 0

    def exchange(self, machine: Machine, ask: Ask, timeout: float) -> Iterator[Answer]:
        """Send an ask; what comes back within ``timeout``, and who did not answer."""
        deadline, waiting = self.now + timeout, {}
        for target, (shared, own) in ask.parts.items():
            self._count += 1
            waiting[self._count] = target
            self._send(Packet(self._count, machine.node(target), ask.kind, shared, own), timeout)
        while waiting and self._queue and self._queue[0][0] <= deadline:
            self.now, _, packet = heapq.heappop(self._queue)
            self.step()
            if packet.body is None:
                self._arrive(packet, timeout)
            elif packet.question in waiting:
                yield waiting.pop(packet.question), *self._parse(packet.body)
            elif self.faults.happens("stray reply"):
                self._say("stray", packet)
                yield packet.name, *self._parse(packet.body)
        self.now = deadline if waiting else self.now
        for target in waiting.values():
            self.trace.append(("silent", target, ask.kind))
            yield target, None, "no answer in time"

    def _arrive(self, packet: Packet, timeout: float) -> None:
        body = self.member(packet.name, packet.kind, packet.shared, packet.own)
        if body is None or packet.question < 0:
            return
        answer = Packet(packet.question, packet.name, packet.kind, body=body)
        faults = self.faults
        if faults.happens("reply lost"):
            self._say("reply lost", packet)
            return
        for how in ("truncated", "flipped"):
            if faults.happens(f"reply {how}"):
                self._say(f"reply {how}", packet)
                answer = Packet(packet.question, packet.name, packet.kind, body=faults.damaged(body, how))
        if faults.happens("reply repeated"):
            self._say("reply repeated", packet)
            self._put(answer, self._again(timeout))
        self._put(answer, self._delay("reply", packet, timeout))

    def _send(self, packet: Packet, timeout: float) -> None:
        faults = self.faults
        self._sent.append(packet)
        if faults.happens("old request again"):
            old = faults.dice.choice(self._sent)
            self._say("old request again", old)
            self._put(Packet(-1, old.name, old.kind, old.shared, old.own), self._again(timeout))
        if faults.happens("request misdelivered"):
            other = faults.dice.choice(self._sent).name
            self._say(f"misdelivered to {other}", packet)
            self._put(Packet(-1, other, packet.kind, packet.shared, packet.own), USUAL)
        if faults.happens("request lost"):
            self._say("request lost", packet)
            return
        if faults.happens("request repeated"):
            self._say("request repeated", packet)
            self._put(packet, self._again(timeout))
        for how in ("truncated", "flipped"):
            if faults.happens(f"request {how}"):
                self._say(f"request {how}", packet)
                shared, own = packet.shared, packet.own
                if own and faults.dice.random() < 0.5:
                    own = faults.damaged(own, how)
                else:
                    shared = faults.damaged(shared, how)
                packet = Packet(packet.question, packet.name, packet.kind, shared, own)
        self._put(packet, self._delay("request", packet, timeout))

    def _delay(self, what: str, packet: Packet, timeout: float) -> float:
        for how, spread, least in (("reordered", 0.4, 0.0), ("late", 2.0, 1.0)):
            if self.faults.happens(f"{what} {how}"):
                self._say(f"{what} {how}", packet)
                return timeout * (least + spread * self.faults.dice.random())
        return USUAL

    def _again(self, timeout: float) -> float:
        """When something comes a second time: at once, some messages later, or after its question is closed."""
        return self.faults.dice.choice((USUAL, 2.5, 7.0, 20.0, 1.5 * timeout))

    def _put(self, packet: Packet, delay: float) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, packet))

    def _parse(self, body: bytes) -> tuple[Signed | None, str]:
        try:
            return Signed.decode(body), ""
        except ProtocolError as error:
            return None, error.cause

    def _say(self, what: str, packet: Packet) -> None:
        self.trace.append((what, packet.name, packet.kind))
