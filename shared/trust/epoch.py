"""The public facts of an epoch, derived alike by everybody from the introduction."""

from dataclasses import dataclass
from functools import cached_property

from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.trust.handshake import EpochStart, Hello, Introduction
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster, quorum


@dataclass(frozen=True)
class Epoch:
    """One roster, those of it who are present, one set of keys.

    Attributes:
        run: the run's number.
        colluders: c.
        roster: as people approved it.
        start: digest of the signed call.
        terms: hash of the run's terms.
        hellos: of those present, by name in order.
        nonce: of all their nonces.
        id: covers roster, call, and every signed hello.
    """

    run: int
    colluders: int
    roster: Roster
    start: bytes
    terms: bytes
    hellos: dict[str, Hello]
    nonce: bytes
    id: bytes

    @classmethod
    def of(cls, introduction: Introduction) -> "Epoch":
        """Check every signature and key, and that enough of the roster are present.

        Raises:
            ProtocolError: anything else; where one member is at fault, it is named.
        """
        roster = Roster.decode(introduction.roster)
        roster.check()
        start = introduction.start.verified(roster.coordinator, EpochStart)
        members = len(roster.members)
        if not 1 <= start.colluders <= members - 2:
            raise ProtocolError(
                f"{start.colluders} colluders do not fit a roster of {members}.",
                "At least 1, and at least two members must stay honest. Start a new epoch.",
            )
        if start.roster != roster.hash():
            raise ProtocolError("The call for an epoch is for another roster.", "Start a new epoch.")
        hellos: dict[str, Hello] = {}
        for signed in introduction.hellos:
            hello = greeted(signed, introduction.start.digest(), roster)
            hellos[hello.name] = hello
        least = quorum(members, start.colluders)
        if [*hellos] != sorted(hellos) or len(hellos) != len(introduction.hellos) or len(hellos) < least:
            raise ProtocolError(
                f"The hellos are not those of {least} or more members of the roster, in order and one each.",
                "Start a new epoch.",
            )
        nonce = keys.digest(b"epoch nonce", *sorted(hello.nonce for hello in hellos.values()))
        said = keys.digest(*(signed.encode() for signed in introduction.hellos))
        identity = keys.digest(b"epoch", roster.hash(), nonce, introduction.start.digest(), said)
        called = introduction.start.digest()
        return cls(start.run, start.colluders, roster, called, start.terms, hellos, nonce, identity)

    @classmethod
    def decode(cls, introduction: bytes) -> "Epoch":
        """The epoch of an introduction's bytes, all of it checked, once for the same bytes.

        Raises:
            ProtocolError: as :meth:`of`, or not such a message.
        """
        return _epochs.get(introduction, len(introduction), lambda: cls.of(Introduction.decode(introduction)))

    def hello(self, name: str) -> Hello:
        """A member's hello.

        Raises:
            ProtocolError: no such member.
        """
        if name not in self.hellos:
            raise ProtocolError(f"{name!r} is not present in this epoch.", "Refuse the message.")
        return self.hellos[name]

    @cached_property
    def present(self) -> tuple[str, ...]:
        """Who has said hello, in order: the others of the roster are absent, which is no revocation."""
        return tuple(self.hellos)

    @cached_property
    def seeders(self) -> tuple[str, ...]:
        """The c + 1 present members of lowest key hash: one of them is honest, so the seed is unknown outside."""
        return self.roster.by_key_hash(self.present)[: self.colluders + 1]

    @cached_property
    def key_hashes(self) -> dict[str, bytes]:
        """Each member's key hash."""
        return {entry.name: keys.key_hash(entry.signing) for entry in self.roster.members}

    def envelope_info(self, sender: str, recipient: str) -> bytes:
        """HPKE ``info`` of an envelope."""
        return keys.digest(b"envelope", self.nonce, self.roster.hash(), sender.encode(), recipient.encode())


_epochs: Remembered[Epoch] = Remembered(16 << 20)


def greeted(signed: Signed, start: bytes, roster: Roster) -> Hello:
    """A hello by a member of the roster, in answer to this call, with keys that are of use.

    Args:
        signed: as it came.
        start: digest of the signed call.
        roster: who may say hello.

    Raises:
        ProtocolError: otherwise, naming the member where its signature holds.
    """
    name = Hello.decode(signed.body).name
    hello = signed.verified(roster.entry(name).signing, Hello)
    if hello.start != start:
        raise ProtocolError(f"The hello of {name} answers another call for an epoch.", "Start a new epoch.")
    year = hello.declared.year
    if year.runs > year.attempts or len(hello.declared.override) not in (0, 32):
        raise ProtocolError(
            f"What {name} states of its year cannot come from a ledger.", "Leave it out of the run."
        )
    keys.check_exchange(hello.mask, f"The mask key of {name}")
    keys.check_exchange(hello.envelope, f"The envelope key of {name}")
    return hello


def seed_commitment(contribution: bytes, name: str) -> bytes:
    """What a member's hello says of the contribution that it would send to every other member (32 bytes)."""
    return keys.digest(b"seed contribution", name.encode(), contribution)


def confirmation_mac(seed: bytes, epoch_id: bytes, roster_hash: bytes, name: str) -> bytes:
    """HMAC under the group seed over epoch id ‖ roster hash ‖ name (HKDF as the PRF; 32 bytes)."""
    return keys.derive(seed, "confirm", epoch_id + roster_hash + name.encode())
