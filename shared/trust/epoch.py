"""The public facts of an epoch, derived alike by everybody from the introduction."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.remembered import Remembered
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import EpochStart, Hello, Introduction

TEST_SLOTS = 4096


@dataclass(frozen=True)
class Epoch:
    """One roster, one set of keys."""

    run: int
    colluders: int
    roster: Roster
    hellos: dict[str, Hello]
    nonce: bytes
    id: bytes

    @classmethod
    def of(cls, introduction: Introduction) -> "Epoch":
        """Check every signature and that hellos and roster are one to one.

        Raises:
            ProtocolError: anything else.
        """
        roster = Roster.decode(introduction.roster)
        roster.check()
        start = introduction.start.verified(roster.coordinator, EpochStart)
        if not 1 <= start.colluders <= len(roster.members) - 2:
            raise ProtocolError(
                f"{start.colluders} colluders do not fit a roster of {len(roster.members)}.",
                "At least 1, and at least two members must stay honest. Start a new epoch.",
            )
        hellos: dict[str, Hello] = {}
        for signed in introduction.hellos:
            claimed = Hello.decode(signed.body)
            hello = signed.verified(claimed.signing, Hello)
            entry = roster.entry(hello.name)
            same = (hello.signing, hello.sealing, hello.node) == (entry.signing, entry.sealing, entry.node)
            if not same or hello.run != start.run or hello.name in hellos:
                raise ProtocolError(
                    f"The hello of {hello.name} does not fit the roster or the run.", "Start a new epoch."
                )
            hellos[hello.name] = hello
        if len(hellos) != len(roster.members):
            raise ProtocolError("Not every member of the roster has said hello.", "Start a new epoch.")
        nonce = keys.digest(b"epoch nonce", *sorted(hello.nonce for hello in hellos.values()))
        identity = keys.digest(b"epoch", roster.hash(), nonce, introduction.start.digest())
        return cls(start.run, start.colluders, roster, hellos, nonce, identity)

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
            raise ProtocolError(f"{name!r} is not in the roster.", "Refuse the message.")
        return self.hellos[name]

    @cached_property
    def seeders(self) -> tuple[str, ...]:
        """The c + 1 members of lowest key hash."""
        return self.roster.seeders(self.colluders)

    @property
    def maker(self) -> str:
        """The member of lowest key hash, who makes the BFV context."""
        return self.seeders[0]

    @cached_property
    def key_hashes(self) -> dict[str, bytes]:
        """Each member's key hash."""
        return {entry.name: keys.key_hash(entry.signing) for entry in self.roster.members}

    def envelope_info(self, sender: str, recipient: str) -> bytes:
        """HPKE ``info`` of an envelope."""
        return keys.digest(b"envelope", self.nonce, self.roster.hash(), sender.encode(), recipient.encode())


_epochs: Remembered[Epoch] = Remembered(16 << 20)


def confirmation_mac(seed: bytes, context_id: bytes, roster_hash: bytes, name: str) -> bytes:
    """HMAC under the group seed over context id ‖ roster hash ‖ name (HKDF as the PRF; 32 bytes)."""
    return keys.derive(seed, "confirm", context_id + roster_hash + name.encode())


def probe_vector(seed: bytes, epoch_id: bytes) -> npt.NDArray[np.uint64]:
    """A vector only the seed's holders know: (1, 4096), below 2³²."""
    stream = b"".join(
        keys.derive(seed, "test-vector", epoch_id + bytes([i >> 8, i & 255])) for i in range(512)
    )
    return np.frombuffer(stream, "<u4").astype(np.uint64).reshape(1, TEST_SLOTS)
