"""Certificates that members hold, for a coordinator that has lost its database, and for members that have lost theirs."""

from collections.abc import Mapping

from fedrepay.server.protocol.enrolled import Enrolled, Node
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Certificate
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind, Reply, asked


class Held:
    """What nodes have answered to ``held``.

    Args:
        public: the coordinator's own key, 32 bytes.
        nodes: who is there, by node.
    """

    def __init__(self, public: bytes, nodes: Mapping[str, Node]) -> None:
        self._public, self._nodes = public, nodes
        self._held: dict[str, tuple[Signed, Certificate | None]] = {}  # by node

    def take(self, node: str, signed: Signed, body: bytes) -> None:
        """One answer: a certificate, or none.

        Raises:
            ProtocolError: it is no certificate, or of no roster.
        """
        certificate = Certificate.decode(body) if body else None
        if certificate is not None:
            Roster.decode_once(certificate.roster)
        self._held[node] = (signed, certificate)

    def given_back(self, ask: Ask, state: Enrolled) -> list[Event]:
        """A later roster of ours that a member holds and this database has lost; its certificate proves it."""
        newest, best = state.roster, None
        for _, certificate in self._held.values():
            if certificate is None:
                continue
            try:
                shown = enrolment.certified(certificate, None)
            except ProtocolError:
                continue  # it proves nothing
            if shown.coordinator == self._public and (newest is None or shown.number > newest.number):
                newest, best = shown, certificate
        if best is None:
            return []
        roster, seats = Roster.decode_once(best.roster), []
        for node, (signed, _) in self._held.items():
            try:
                said = signed.verified(roster.entry(Reply.decode(signed.body).name).signing, Reply)
            except ProtocolError:
                continue
            known = self._nodes[node].name in ("", said.name)
            if known and said.asked == asked(Kind.HELD, *ask.parts[node]):
                seats.append(Event("seat", node, said.name.encode()))
        return [*seats, Event("roster", "", best.encode())]

    def unknown_to(self) -> dict[str, bytes]:
        """Node → certificate of a later roster than it holds, whose proof another gave: its store was set back.

        Also of a coordinator that is gone: nobody else could prove it. Everybody of the roster that the node holds has
        signed it, so no member can make one up.
        """
        held = [certificate for _, certificate in self._held.values() if certificate is not None]
        later: dict[str, bytes] = {}
        for node, (_, own) in self._held.items():
            if own is None:
                continue  # it joins whatever its people approve
            before = Roster.decode_once(own.roster)
            newest = before.number
            for certificate in held:
                try:
                    roster = enrolment.certified(certificate, before)
                except ProtocolError:
                    continue  # it proves nothing to this node
                if roster.number > newest:
                    newest, later[node] = roster.number, certificate.encode()
        return later
