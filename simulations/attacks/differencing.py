"""A false drop: the coordinator says that a member did not answer, though it did, and subtracts two sums.

Attempt a has all K uploads, but is called lost; attempt a + 1 goes on without the member. Who can read both sums has the
member's update in their difference, under the noise of both. The coordinator alone reads none. With one member's key it
reads every sum whose cohort has sent in full, and no part of one: a mask is left in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning import make_learner
from fedrepay.client.protocol import contributing
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.veto import budget
from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, I64, U64
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.secure_sum.ciphertext import PublicSum, summed
from fedrepay.shared.secure_sum.masking import attempt_context, mask_context
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import VALUES
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.sums import run_sizes
from fedrepay.shared.trust.wire import Attempt, Header, Kind, Reply, RoundConfig, Upload
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.collude import unmasked
from fedrepay.simulations.attacks.tools import seen
from fedrepay.simulations.attacks.tools.adversary import opened
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.attacks.tools.uniform import as_wide_as_stated
from fedrepay.simulations.run.world import World, rows

MEMBERS = 4
ROUNDS = 3
Sent = tuple[RoundConfig, dict[str, Upload]]
"""An attempt's configuration, and what came of it by member."""


def drop_falsely(world: World, victim: str, round_: int) -> None:
    """Carry the run until ``round_`` is summed, the victim's answer to its first attempt withheld, and it away."""
    while (ask := world.coordinator.ask()) is not None:
        if round_ in world.coordinator.state.sums or ask.kind == Kind.SIGN:  # a lost last sum ends the run
            return
        for target, (shared, own) in ask.parts.items():
            reply: Signed | None = Signed.decode(world.members[target].handle(ask.kind, shared, own))
            if reply is not None:
                world.replies.append((ask.kind, target, Reply.decode(reply.body)))
            attempts = world.coordinator.state.attempts
            tried = bool(attempts) and attempts[-1].config.round == round_
            away = tried and ask.kind in (Kind.PREPARE, Kind.ROUND)
            if target == victim and away:
                reply = None
            world.take(world.coordinator.receive(ask, target, reply))
        world.take(world.coordinator.finish(ask))


def uploads_of(world: World) -> dict[int, dict[str, Upload]]:
    """Every upload on the wire, by attempt and member."""
    found: dict[int, dict[str, Upload]] = {}
    for kind, name, reply in world.replies:
        if (kind, reply.kind) == (Kind.ROUND, "ok"):
            upload = Upload.decode(reply.body)
            found.setdefault(Header.decode(upload.header.body).attempt, {})[name] = upload
    return found


class Insider:
    """The coordinator with the keys of one member."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self._state = EpochState.decode(world.store(name).fact("epoch") or b"")
        self._epoch = self._state.epoch()
        self._group = GroupKey.derive(self._state.seed, self._epoch.id)
        self.mask = X25519PrivateKey.from_private_bytes(self._state.mask)

    def read(self, config: RoundConfig, uploads: dict[str, Upload]) -> U64 | None:
        """The slots of the sum of these uploads; None where a mask is left in it, as the canaries tell."""
        total, context = _added(uploads), _context(config)
        slots = _decrypted(self._group, total)
        tags = AttemptTags(self._state.seed, context, config.cohort)
        canary = sum(int(tags.canaries(1, name, GAM.t)[0]) for name in uploads) % GAM.t
        return slots if int(slots[0, -1]) == canary else None

    def alone(self, config: RoundConfig, name: str, upload: Upload, helpers: Sequence["Insider"]) -> I64:
        """What one member sent, with the pair keys of all others: revealed by them, or its own if it is its own."""
        mine = self._epoch.hello(name)
        total = _added({name: upload})
        slots = _decrypted(self._group, total)
        secrets = {}
        for each in helpers:
            if each.name in set(config.cohort) - {name}:
                hello = self._epoch.hello(each.name)
                secrets[self._epoch.key_hashes[hello.name]] = keys.shared_secret(each.mask, mine.mask)
        filled = GAM.filled(run_sizes(config)[config.round])
        left = unmasked(slots, filled, self._epoch.key_hashes[name], secrets, _masked(config, upload))
        return GAM.unpack(left, 1, len(total.tags) * VALUES)


def _decrypted(group: GroupKey, total: PublicSum) -> U64:
    return group.decrypt(summed(total.payload(), len(total.tags)), GAM.t_bits)


def _context(config: RoundConfig) -> bytes:
    return attempt_context(config.run, config.round, config.attempt, keys.digest(config.encode()))


def _masked(config: RoundConfig, upload: Upload) -> bytes:
    """What the masks of an upload are for: its header says which sums its member has opened."""
    opened = Header.decode(upload.header.body).opened
    return mask_context(config.run, config.round, config.attempt, keys.digest(config.encode()), opened)


def _added(uploads: dict[str, Upload]) -> PublicSum:
    tags = {name: Header.decode(upload.header.body).tags for name, upload in uploads.items()}
    total = PublicSum(len(next(iter(tags.values()))))
    for name, upload in uploads.items():
        total.add(upload.payload, tags[name])
    return total


@dataclass(frozen=True)
class Drop:
    """One drop point.

    Attributes:
        readable: sums that the coordinator and one member can read, over all subsets of the round's uploads.
        alone: the same for the coordinator alone.
        pairs: pairs of readable sums that differ by one member.
        scores: squared noise in the difference, each in the variance that is stated for it.
        revealed: the same of the victim's upload if pair keys were revealed to recover a drop.
        charged: attempts of the round that the victim's ledger holds.
    """

    readable: int
    alone: int
    pairs: int
    scores: F64
    revealed: F64
    charged: int


def attack(world: World, victim: str, round_: int) -> Drop:
    """Drop the victim falsely in a round and read all that can be read."""
    drop_falsely(world, victim, round_)
    insider = Insider(world, next(name for name in world.names if name != victim))
    configs = {each.config.attempt: each.config for each in world.coordinator.state.attempts}
    sent = [(configs[a], each) for a, each in sorted(uploads_of(world).items()) if configs[a].round == round_]
    found = _readable(insider, sent)
    pairs = [
        (one, other)
        for one in found
        for other in found
        if one[0] != other[0] and len(set(one[1]) ^ set(other[1])) == 1 and set(other[1]) < set(one[1])
    ]
    alone = _readable_without_a_key(sent)
    charged = len({each.attempt for each in world.store(victim).ledger() if each.round == round_})
    scores, revealed = np.zeros(0), np.zeros(0)
    if len(sent) != 1:
        sums = [(found[each], len(each[1])) for each in pairs[0]] if pairs else []
        scores, revealed = _noise(world, victim, insider, sent, sums)
    return Drop(len(found), alone, len(pairs), scores, revealed, charged)


def _readable(insider: Insider, sent: Sequence[Sent]) -> dict[tuple[int, tuple[str, ...]], U64]:
    """The slots of each sum that the insider reads, by attempt and names."""
    found = {}
    for config, uploads in sent:
        for names in _subsets(sorted(uploads)):
            slots = insider.read(config, {name: uploads[name] for name in names})
            if slots is not None:
                found[config.attempt, names] = slots
    return found


def _readable_without_a_key(sent: Sequence[Sent]) -> int:
    """Sums that the coordinator reads with a key of its own making, which is all it has: any number below t/8 looks read."""
    stranger, readable = GroupKey.derive(bytes(32), bytes(32)), 0
    for _, uploads in sent:
        total = _added(uploads)
        values = GAM.unpack(_decrypted(stranger, total), len(uploads), len(total.tags) * VALUES)
        readable += bool((np.abs(values) < GAM.t // 8).all())
    return readable


def _noise(
    world: World, victim: str, insider: Insider, sent: Sequence[Sent], sums: Sequence[tuple[U64, int]]
) -> tuple[F64, F64]:
    """Squared noise, each in its stated variance, in the difference of two sums and in the victim's first upload.

    ``sums`` are slots and uploads of one sum in each attempt that ``sent`` holds; empty if no pair can be read.
    """
    (first, uploads), (second, _) = sent
    truth, shares = _truth(world, insider.name, victim, first, second)
    # less the insider's own, which it knows
    stated = (world.size - 1) * shares[0] + (world.size - 2) * shares[1]

    def squared(update: I64) -> F64:
        return (update[: len(truth)] - truth).astype(np.float64) ** 2 / stated

    helpers = [Insider(world, name) for name in world.names]
    own = [insider.alone(config, insider.name, each[insider.name], helpers) for config, each in sent]
    revealed = squared(insider.alone(first, victim, uploads[victim], helpers))
    if not sums:
        return np.zeros(0), revealed
    left = [GAM.unpack(slots, size, len(own[0])) for slots, size in sums]
    return squared((left[0] - own[0]) - (left[1] - own[1])), revealed


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))


def _truth(
    world: World, insider: str, victim: str, first: RoundConfig, second: RoundConfig
) -> tuple[I64, tuple[F64, F64]]:
    """What the victim contributed before noise, and the variance of one share in each attempt, value by value."""
    learner = make_learner(first.learner, world.book, first.rounds)
    sums = learner.segments()

    def mechanisms(attempt: Attempt | RoundConfig) -> tuple[Mechanism, ...]:
        charged = budget.mechanisms(second, sums, world.size, attempt)
        return tuple(each for each in charged if isinstance(each, Mechanism))

    state = learner.start()
    completed = [each for each in first.history if each.completed]
    for index, values in enumerate(opened(world, insider)[: first.round]):
        state = learner.step(index, state, np.frombuffer(values, "<i8"), mechanisms(completed[index]))
    truth = learner.contribution(first.round, state, rows(world.book, int(victim[1:])))
    shares = tuple(
        np.concatenate([np.full(each.size, each.share_variance) for each in mechanisms(config)])
        for config in (first, second)
    )
    return truth, (shares[0], shares[1])


class Keeping:
    """A build that keeps a round's noisy update and masks it anew for the next attempt."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, bytes], I64] = {}

    def __call__(self, values: I64, mechanisms: Sequence[Mechanism], entropy: Entropy) -> I64:
        """Noise for a contribution, the same every time."""
        return self._kept.setdefault((id(entropy), values.tobytes()), add_noise(values, mechanisms, entropy))


def run(options: AttackOptions) -> AttackFinding:
    """Every drop point over rounds and members; a transcript where one is given."""
    points = [(round_, f"m{i}") for round_ in range(ROUNDS) for i in range(MEMBERS)]
    tried = [points[1], points[6]] if options.quick else points
    controls = [points[1]] if options.quick else points[:-MEMBERS:3]  # the last sum cannot be tried again
    with TemporaryDirectory() as folder:
        on = _drops(Path(folder) / "fresh", tried)
        with switched(contributing, "add_noise", Keeping()):
            off = _drops(Path(folder) / "kept", controls)
    scores, kept = np.concatenate([each.scores for each in on]), np.concatenate([each.scores for each in off])
    revealed = np.concatenate([each.revealed for each in on])
    noise = Row(
        "· noise in the difference, in the stated variance (both attempts' noise)",
        f"{scores.mean():.2f}",
        f"{kept.mean():.2f}, noise kept; {revealed.mean():.2f}, pair keys revealed",
    )
    charged = str(max(each.charged for each in on))
    held = all((each.alone, each.charged) == (0, 1) and each.readable == each.pairs + 1 <= 2 for each in on)
    all_read = sum(each.pairs for each in off) == len(off)
    return AttackFinding(
        attack="differencing",
        threat="B6",
        adversary=(
            f"The coordinator of {MEMBERS} members says that one dropped out though it had answered, alone or with the keys "
            "of one other member; it wants the dropped member's update."
        ),
        defence="fresh noise and masks in every attempt, and no pair key is ever revealed.",
        rows=(
            *_counts(on, off),
            noise,
            Row("· attempts of the round charged to the dropped member", charged, "—"),
            *([_transcript(options.transcript)] if options.transcript is not None else []),
        ),
        held=held and as_wide_as_stated(scores),
        bites=all_read and max(float(kept.mean()), float(revealed.mean())) < 0.5,
        note=(
            "A false drop with a member's help is open, as the threat model says: customers stay covered, as both attempts "
            "are charged; the institution's total is hidden by noise alone. Only the dropped member can tell that it answered."
        ),
    )


def _drops(folder: Path, points: Sequence[tuple[int, str]]) -> list[Drop]:
    """What comes of each drop point, a round and a member, each in a consortium of its own."""
    return [
        attack(World(folder / f"{name}-{round_}", MEMBERS, rounds=ROUNDS), name, round_)
        for round_, name in points
    ]


def _counts(on: list[Drop], off: list[Drop]) -> list[Row]:
    alone = [str(sum(each.alone for each in side)) for side in (on, off)]
    pairs = [str(sum(each.pairs for each in side)) for side in (on, off)]
    return [
        Row("drop points tried (round × member)", str(len(on)), str(len(off))),
        Row("coordinator alone: sums that it can read", *alone),
        Row(
            "coordinator and one member: such pairs",
            f"{pairs[0]}: at most one a false drop, as stated",
            pairs[1],
        ),
    ]


def _transcript(folder: Path) -> Row:
    """Pairs of a run's attempts whose sums one member's key opens, and whose cohorts differ by one member."""
    told = seen.read(folder)
    whole = told.whole()
    pairs = [
        (a, b)
        for a, b in combinations([told.configs[each] for each in whole], 2)
        if a.round == b.round and len(set(a.cohort) ^ set(b.cohort)) == 1
    ]
    return Row(
        f"your transcript: {len(told.configs)} attempts, {len(whole)} sent by all of their cohort",
        f"{len(pairs)} pairs for a coordinator with one member's key",
        "—",
    )
