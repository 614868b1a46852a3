"""Certificates that members hold, for a coordinator that has lost its database, and for members that have lost theirs."""

from collections.abc import Collection, Mapping

from fedrepay.server.protocol.enrolled import Enrolled, Node
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Certificate
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster, default_colluders
from fedrepay.shared.trust.wire import Kind, Reply, asked


class Held:
    """What nodes have answered to ``held``.

    Args:
        ours: the coordinator's own keys, 32 bytes each.
        nodes: who is there, by node.
    """

    def __init__(self, ours: Collection[bytes], nodes: Mapping[str, Node]) -> None:
        self._ours, self._nodes = ours, nodes
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
        """A later roster of ours that this database has lost, where more of its members hold it than may lie.

        Its certificate alone does not do: one member may hold what all others have withdrawn from, or a roster of an
        earlier consortium under the same key.
        """
        newest, best, seats = state.roster, None, {}
        for certificate in self._distinct().values():
            try:  # a roster that is kept is followed, or stays
                shown = enrolment.certified(certificate, state.roster)
            except ProtocolError:
                continue  # it proves nothing
            if shown.coordinator not in self._ours or (newest is not None and shown.number <= newest.number):
                continue
            here = self._members_of(ask, shown)
            holding = {name for node, name in here.items() if self._holds(node, certificate)}
            if len(holding) > default_colluders(len(shown.names)):
                newest, best, seats = shown, certificate, here
        if best is None:
            return []
        seated = [Event("seat", node, name.encode()) for node, name in seats.items()]
        return [*seated, Event("roster", "", best.encode())]

    def unknown_to(self) -> dict[str, bytes]:
        """Node → certificate of a later roster than it holds, whose proof another gave: its store was set back.

        Also of a coordinator that is gone: nobody else could prove it. Everybody of the roster that the node holds has
        signed it, so no member can make one up.
        """
        distinct = self._distinct()
        numbers = {body: Roster.decode_once(each.roster).number for body, each in distinct.items()}
        proven: dict[bytes, bytes | None] = {}  # what is held → the latest that it proves
        later: dict[str, bytes] = {}
        for node, (_, own) in self._held.items():
            if own is None:
                continue  # it joins whatever its people approve
            body = own.encode()
            if body not in proven:
                proven[body] = _latest(own, distinct, numbers)
            if (found := proven[body]) is not None:
                later[node] = found
        return later

    def _distinct(self) -> dict[bytes, Certificate]:
        """Each certificate once, by its bytes: most members hold the same."""
        return {each.encode(): each for _, each in self._held.values() if each is not None}

    def _holds(self, node: str, certificate: Certificate) -> bool:
        own = self._held[node][1]
        return own is not None and own.roster == certificate.roster

    def _members_of(self, ask: Ask, roster: Roster) -> dict[str, str]:
        """Node → name of those of a roster who have answered this ask under its keys."""
        found = {}
        for node, (signed, _) in self._held.items():
            try:
                said = signed.verified(roster.entry(Reply.decode(signed.body).name).signing, Reply)
            except ProtocolError:
                continue
            known = self._nodes[node].name in ("", said.name)
            if known and said.asked == asked(Kind.HELD, *ask.parts[node]):
                found[node] = said.name
        return found


def _latest(
    own: Certificate, distinct: Mapping[bytes, Certificate], numbers: Mapping[bytes, int]
) -> bytes | None:
    """Of these, the latest roster that everybody of one's own has signed; None where that is one's own."""
    before = Roster.decode_once(own.roster)
    for body in sorted(distinct, key=lambda each: -numbers[each]):
        if numbers[body] <= before.number:
            break
        try:
            enrolment.certified(distinct[body], before)
        except ProtocolError:
            continue  # it proves nothing to this node
        return body
    return None
