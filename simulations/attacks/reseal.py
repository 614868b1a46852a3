"""One key, two plaintexts: a coordinator that asks the maker of the epoch's context again and again.

The maker seals the secret context under a key that the group seed gives, with a nonce of zeros: right for one message,
ruin for two. Public and secret contexts begin alike, and their lengths differ from draw to draw (SEAL compresses keys),
so the longest public part gives the key stream over the first bytes of the shortest one's *secret* key. Two defences
stand against it, each enough alone: a step of the ceremony is answered once an epoch, and the sealing key is bound to
what it seals. Some 1,500 bytes so gained gave the whole key within seconds of lattice reduction, at 4,577 asks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fedrepay.client.protocol import ceremony, epoch
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import ContextOffer, Envelopes
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.adversary import fork, say
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.run.world import World

ASKS, ASKS_QUICK = 200, 60
MAGIC = bytes.fromhex("5ea110040302")
"""How SEAL begins a key that it writes: magic, size of the header, version 4.0 or so, compressed with zstd."""


def xor(left: bytes, right: bytes) -> bytes:
    """Byte by byte, as long as the shorter one."""
    size = min(len(left), len(right))
    return (int.from_bytes(left[:size], "big") ^ int.from_bytes(right[:size], "big")).to_bytes(size, "big")


@dataclass(frozen=True)
class Asked:
    """What the coordinator got.

    Attributes:
        asks: how often it asked.
        second: asks answered with another context than the first.
        said: of the sealed secret of one context, where it begins to differ from its public part: what the coordinator
            holds for it; empty where it sees itself that it holds nothing.
        offer: that context.
        refused: codes of the refusals.
    """

    asks: int
    second: int
    said: bytes
    offer: ContextOffer
    refused: tuple[str, ...]

    def open(self, secret: bytes) -> int:
        """Bytes of the secret key that it holds and that are right, beyond what is public."""
        truth = secret[len(self.offer.public) :]
        return len(self.said) if self.said and truth.startswith(self.said) else 0


def ask_again(world: World, asks: int) -> Asked:
    """Ask for the context ``asks`` times, each time with other bytes where the step uses none, or in another order."""
    due = world.coordinator.ask()
    assert due is not None  # noqa: S101 - the world stands before its context
    assert due.kind == Kind.CONTEXT  # noqa: S101
    ((maker, (shared, own)),) = due.parts.items()
    turned = Envelopes(signed=Envelopes.decode(own).signed[::-1]).encode()
    tries = [(shared, own), (shared, turned)]
    tries += [(number.to_bytes(4, "big"), own) for number in range(asks - len(tries))]
    offers, refused = {}, set()
    for each in tries:
        reply = say(world, maker, Kind.CONTEXT, *each)
        if reply.kind == "ok":
            offers[reply.body] = ContextOffer.decode(Signed.decode(reply.body).body)
        else:
            refused.add(reply.code)
    longest = max(offers.values(), key=lambda offer: len(offer.public))
    shortest = min(offers.values(), key=lambda offer: len(offer.public))
    stream = xor(longest.sealed, longest.public)  # of the key, if there is one key
    start = len(shortest.public)
    said = xor(shortest.sealed[start:], stream[start:])
    return Asked(
        len(tries), len(offers) - 1, said if MAGIC in said else b"", shortest, tuple(sorted(refused))
    )


def secret_of(world: World, offer: ContextOffer) -> bytes:
    """The true secret context of an offer, as any member of the epoch opens it: what the attack is judged by."""
    asked = world.coordinator.ask()
    assert asked is not None  # noqa: S101
    ((maker, (_, own)),) = asked.parts.items()
    state = EpochState.decode(world.store(maker).fact("epoch") or b"")
    seed = epoch.group_seed(world.identities[maker], state, own)
    key, bound = epoch._context_key(seed, state.epoch(), offer.public)  # noqa: SLF001 - bound or not, as it stands now
    return keys.open_once(key, offer.sealed, bound)


def _answer_always(
    step: ceremony.Ceremony, kind: str, shared: bytes, own: bytes
) -> tuple[bytes, dict[str, bytes]]:
    """A build that answers a step as often as it is asked, whatever stands in the parts that it does not use."""
    if kind == Kind.INTRODUCE:
        return step._introduce(shared)  # noqa: SLF001
    if kind == Kind.SEED:
        return step._seed(shared)  # noqa: SLF001
    return step._context(own) if kind == Kind.CONTEXT else step._confirm(shared, own)  # noqa: SLF001


def _unbound(seed: bytes, of: Epoch, _public: bytes) -> tuple[bytes, bytes]:
    """A build whose sealing key is the epoch's, whatever it seals."""
    return keys.derive(seed, "context"), of.id


@contextmanager
def defended(*, once: bool, bound: bool) -> Iterator[None]:
    """The product, less the defences that are off."""
    with ExitStack() as off:
        if not once:
            off.enter_context(switched(ceremony.Ceremony, "answer", _answer_always))
        if not bound:
            off.enter_context(switched(epoch, "_context_key", _unbound))
        yield


def play(world: World, folder: Path, asks: int, *, once: bool, bound: bool) -> tuple[Asked, int]:
    """One coordinator against a copy of the consortium: what it got, and bytes of the secret key that lie open."""
    copy = fork(world, folder)
    with defended(once=once, bound=bound):
        got = ask_again(copy, asks)
        return got, got.open(secret_of(copy, got.offer))


def run(options: AttackOptions) -> AttackFinding:
    """Both defences, each alone, and neither."""
    asks = ASKS_QUICK if options.quick else ASKS
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "world")
        world.until(Kind.CONTEXT)
        on, on_open = play(world, Path(folder) / "on", asks, once=True, bound=True)
        once, once_open = play(world, Path(folder) / "once", asks, once=True, bound=False)
        bound, bound_open = play(world, Path(folder) / "bound", asks, once=False, bound=True)
        off, off_open = play(world, Path(folder) / "off", asks, once=False, bound=False)
    return AttackFinding(
        attack="reseal",
        threat="B20",
        adversary=(
            "The coordinator alone asks the epoch's maker for its sealed context again and again, each time with other "
            "bytes in a part that the step does not use; it wants the secret key of all members."
        ),
        defence="a step is answered once an epoch, and the sealing key is bound to what it seals; off, neither.",
        rows=(
            Row(
                f"of {asks} asks: answered with another context than the first",
                str(on.second),
                str(off.second),
            ),
            Row("bytes of the secret key that lie open", str(on_open), str(off_open)),
            Row("· a step is answered once, the key bound to nothing", str(once_open), "—"),
            Row(
                "· the key is bound, a step answered always",
                f"{bound_open}, of {bound.second + 1} contexts",
                "—",
            ),
            Row("refusals", ", ".join(on.refused) or "none", ", ".join(off.refused) or "none"),
        ),
        held=(on.second, on_open, once.second, once_open, bound_open) == (0,) * 5,
        bites=off.second == asks - 1 and off_open > 0 and bound.second == asks - 1,
        note=(
            "More asks give more bytes: with 1,560, at 4,577 asks, the whole key came out of five seconds of lattice "
            "reduction, and every sum opened. Bytes count only where the coordinator sees itself that they are a key's."
        ),
    )
