"""Honest members led apart: a coordinator and one member have them open different sums.

Tags are symmetric: every member holds their key. So a colluder makes a sum of its own choice with a right tag, signs
another header for each victim, and the honest members of one round stand at different models. All others are told that
the last sum was zero, so that they repeat their parts of it; the victim is told a huge one and takes a huge step. What
the next round adds up to, less the sum before, is the victim's own function and nobody else's, if the masks cancel.
They do not: they are bound to the HMAC of what was opened.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.learning import make_learner
from fedrepay.client.protocol import guard, session
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.server.protocol.state import Ask
from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, I64, U64
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.secure_sum.ciphertext import PublicSum, summed
from fedrepay.shared.secure_sum.masking import attempt_context, mask_context, pair_mask
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import SLOTS, Q
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header, Kind, PrepareRequest, RoundConfig, Sum, Upload
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.adversary import due, last_sum, say
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.attacks.tools.uniform import TOO_RARE, as_wide_as_stated, p_value
from fedrepay.simulations.run.world import World, rows

MEMBERS = 5
VICTIM, COLLUDER = "m0", "m3"
HUGE = 10**12
NEAR = 8  # deviations of the stated noise within which a value counts as read
T = np.uint64(GAM.t)


class Colluder:
    """The coordinator with one member's epoch secrets and signing key.

    Args:
        world: the consortium, of which it uses what a coordinator and ``COLLUDER`` have.
    """

    def __init__(self, world: World) -> None:
        state = EpochState.decode(world.store(COLLUDER).fact("epoch") or b"")
        self._world = world
        self._seed, self._epoch = state.seed, state.epoch()
        self._group = GroupKey.derive(state.seed, self._epoch.id)
        self._mask = X25519PrivateKey.from_private_bytes(state.mask)

    def forged(self, shared: bytes, values: I64) -> bytes:
        """The ``prepare``, its last sum another one: its tag is right, and the colluder's header makes it add up."""
        request, honest = PrepareRequest.decode(shared), last_sum(shared)
        made = RoundConfig.decode(honest.config.body)
        context = attempt_context(made.run, made.round, made.attempt, keys.digest(made.encode()))
        slots = GAM.pack(values)
        tags = AttemptTags(self._seed, context, made.cohort)
        slots[:, -1] = tags.canary_sums(len(slots), GAM.t)
        _, chunks = self._group.encrypt(slots, GAM.t_bits, OsEntropy())
        wanted = tags.tags(chunks, COLLUDER)
        for name in made.cohort:
            if name != COLLUDER:  # the tag of zeros is a member's pad
                pads = tags.tags(np.zeros_like(chunks), name)
                wanted = [(a + b) % Q for a, b in zip(wanted, pads, strict=True)]
        forged = honest.model_copy(
            update={
                "payload": chunks.astype("<u8").tobytes(),
                "tags": tuple(wanted),
                "headers": self._headers(made, honest, wanted),
            }
        )
        return request.model_copy(update={"sums": (*request.sums[:-1], forged)}).encode()

    def _headers(self, made: RoundConfig, honest: Sum, wanted: list[int]) -> tuple[Signed, ...]:
        said = {
            name: Header.decode(each.body) for name, each in zip(made.cohort, honest.headers, strict=True)
        }
        others = [sum(h.tags[i] for n, h in said.items() if n != COLLUDER) for i in range(len(wanted))]
        mine = said[COLLUDER].model_copy(
            update={"tags": tuple((w - o) % Q for w, o in zip(wanted, others, strict=True))}
        )
        signed = Signed.make(self._world.identities[COLLUDER].signing, mine)
        return tuple(
            signed if name == COLLUDER else each
            for name, each in zip(made.cohort, honest.headers, strict=True)
        )

    def decrypted(self, payload: bytes) -> U64:
        """Slots of a sum of one ciphertext, (1, 4096)."""
        return self._group.decrypt(summed(payload, 1), GAM.t_bits)

    def masks_left(self, config: RoundConfig, uploads: dict[str, Upload], size: int) -> U64:
        """What is left, in the sum, of the masks that it shares with the others, under so many values: it knows both halves of each."""
        total = np.zeros((1, SLOTS), dtype=np.uint64)
        me = self._epoch.key_hashes[COLLUDER]
        mine = Header.decode(uploads[COLLUDER].header.body).opened
        for name, upload in uploads.items():
            if name == COLLUDER:
                continue
            peer = self._epoch.key_hashes[name]
            secret = keys.shared_secret(self._mask, self._epoch.hello(name).mask)
            for opened, adds in (
                (mine, me < peer),
                (Header.decode(upload.header.body).opened, peer < me),
            ):
                hashed = keys.digest(config.encode())
                context = mask_context(config.run, config.round, config.attempt, hashed, opened)
                mask = pair_mask(secret, (me, peer), context, GAM.filled(size), GAM.t)
                total = (total + (mask if adds else T - mask)) % T
        return total


@dataclass(frozen=True)
class Led:
    """What came of one consortium led apart.

    Attributes:
        sums: different sums of one round that honest members opened.
        uploads: honest members that answered the round after.
        read: values of the victim's own function that were read, of ``values``.
        values: how many there are.
        p: of "what the round adds up to is uniform mod t".
        noise: deviation of the noise of both sums, grid units; 0 in mode none.
        size: mean of the victim's own values, grid units.
        scores: squared error of each value in the variance of that noise.
    """

    sums: int
    uploads: int
    read: int
    values: int
    p: float
    noise: float
    size: float
    scores: F64

    @property
    def nothing(self) -> bool:
        """The members were led apart, and their sum still says nothing."""
        return self.sums > 1 and self.uploads == MEMBERS - 1 and self.read == 0 and self.p > TOO_RARE

    @property
    def everything(self) -> bool:
        """The victim's function came out, exactly or under the noise of two sums."""
        return (
            self.read == self.values and self.size > 0 and (not self.noise or as_wide_as_stated(self.scores))
        )


def play(folder: Path, mode: str, *, bound: bool) -> Led:
    """Lead the victim apart from the others, and read what the next round adds up to.

    Args:
        folder: for the stores.
        mode: of the run.
        bound: whether masks are bound to the sums that a member has opened, as in the product.
    """
    world = World(folder, MEMBERS, mode=mode, rounds=4)
    ask = world.until(Kind.PREPARE, 2)  # a Gram matrix and one gradient are summed
    colluder, size = Colluder(world), world.book.heads * world.book.dimension
    nothing, much = np.zeros(size, dtype=np.int64), np.full(size, HUGE)
    total, uploads = PublicSum(1), {}
    with nullcontext() if bound else switched(session.Session, "_masked", _unbound):

        def told(_kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
            return colluder.forged(shared, much if name == VICTIM else nothing), own

        for name, part in ask.parts.items():
            checks = _unseen if name == COLLUDER else guard._check_headers  # noqa: SLF001
            with switched(guard, "_check_headers", checks):
                world.deliver(Ask(ask.kind, {name: part}), told)
        world.take(world.coordinator.finish(ask))
        config = world.coordinator.state.attempts[-1].config
        for name in config.cohort:
            reply = say(world, name, Kind.ROUND, *due(world, name))
            if reply.kind == "ok":
                uploads[name] = upload = Upload.decode(reply.body)
                total.add(upload.payload, Header.decode(upload.header.body).tags)
    before = colluder.decrypted(world.coordinator.state.sums[1].payload)
    slots = colluder.decrypted(total.payload())
    if bound:
        slots = (slots + (T - colluder.masks_left(config, uploads, size))) % T
    got = GAM.unpack(slots, MEMBERS, size) - GAM.unpack(before, MEMBERS, size)
    exact, noise = _truth(world, config)
    away = (got - exact).astype(np.float64)
    honest = [name for name in world.names if name != COLLUDER]
    return Led(
        len({world.store(name).openings(config.run)[1].values for name in honest}),
        len(set(uploads) & set(honest)),
        int((np.abs(away) <= NEAR * noise).sum()),
        size,
        p_value(slots[:, :size]),
        noise,
        float(np.abs(exact).mean()),
        (away / (noise or 1)) ** 2,
    )


def _unseen(*_: object) -> None:
    """A colluder does not look at headers: it has made them."""


def _unbound(_session: session.Session, config: RoundConfig) -> bytes:
    """A build whose masks are the attempt's, whatever a member has opened."""
    return attempt_context(config.run, config.round, config.attempt, keys.digest(config.encode()))


def _truth(world: World, config: RoundConfig) -> tuple[I64, float]:
    """The victim's gradient at the model it was led to less that at the common one, and the noise of two sums."""
    learner = make_learner(config.learner, world.book, config.rounds)
    mine, store = rows(world.book, int(VICTIM[1:])), world.store(VICTIM)
    charged = [
        tuple(Mechanism(**one) for one in each.event) if config.mode != "none" else ()
        for each in store.ledger()
    ]
    states = [learner.start()]
    for index, opening in enumerate(store.openings(config.run)):
        values = np.frombuffer(opening.values or b"", "<i8").astype(np.int64)
        states.append(learner.step(index, states[index], values, charged[index]))
    led, common = (learner.contribution(2, state, mine) for state in (states[2], states[1]))
    variance = sum(each.total_variance for event in charged[1:] for each in event)
    return led - common, float(np.sqrt(variance))


def run(options: AttackOptions) -> AttackFinding:
    """Without noise and with it, masks bound and not."""
    modes = ("none",) if options.quick else ("none", "distributed")
    with TemporaryDirectory() as folder:
        on = [play(Path(folder) / f"on-{mode}", mode, bound=True) for mode in modes]
        off = [play(Path(folder) / f"off-{mode}", mode, bound=False) for mode in modes]
    table = [
        Row(
            "different sums of one round that honest members opened",
            str(on[0].sums),
            str(off[0].sums),
        )
    ]
    for mode, kept, lost in zip(modes, on, off, strict=True):
        exactly = (
            f", under noise of {lost.noise / lost.size:.0%} of their size" if lost.noise else ", exactly"
        )
        table.append(
            Row(
                f"mode {mode}: values of one institution's own function that were read",
                f"{kept.read} of {kept.values} (uniform mod t, p = {kept.p:.2f})",
                f"{lost.read} of {lost.values}{exactly}",
            )
        )
    return AttackFinding(
        attack="isolate",
        threat="B21",
        adversary=(
            f"The coordinator of {MEMBERS} members and one of them show another sum, with a right tag and a header signed "
            "anew, to each honest member; they want one institution's own update out of the next sum."
        ),
        defence="masks are bound to the HMAC of the sums that a member has opened; off, to the attempt alone.",
        rows=tuple(table),
        held=all(each.nothing for each in on),
        bites=all(each.everything and each.sums > 1 for each in off),
        note=(
            "Members do open different sums: tags cannot tell, as each member holds their key. The round after, headers "
            "name other sums and all refuse. The colluder may still choose one sum for all: poisoning (attack poisoning)."
        ),
    )
