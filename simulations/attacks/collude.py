"""Members that give the coordinator everything they hold: K − 2 of them, and K − 1.

All members hold the group's decryption key, so a colluder opens any upload; what it finds is masked. A mask between two
members is known to both: K − 2 colluders take theirs off a victim's upload, and the one it shares with the last honest
member is left, uniform mod t. K − 1 take all off. Then the victim's own share of noise is all that is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto import seal
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, uploaded
from fedrepay.shared.secure_sum.masking import mask_context, pair_mask
from fedrepay.shared.secure_sum.packing import GAM, Packing
from fedrepay.shared.secure_sum.ring import VALUES
from fedrepay.shared.trust.sums import packing, run_sizes
from fedrepay.shared.trust.wire import Header
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools import seen
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.attacks.tools.uniform import TOO_RARE, p_value

N_VALUES = 4 * VALUES
FILLED = GAM.filled(N_VALUES)
SHARE = 100.0  # standard deviation of one member's share of noise, grid units
T = np.uint64(GAM.t)
SIGMAS = 6  # a bound on a statistic's own error
REACH = 8  # shares of noise within which a value counts as read: none of 16,380 lies beyond


def unmasked(
    slots: U64,
    filled: int,
    mine: bytes,
    secrets: Mapping[bytes, bytes],
    context: bytes,
    packing: Packing = GAM,
) -> U64:
    """A decrypted upload less the masks whose secrets are known.

    Args:
        slots: (chunks, 4096) as decrypted.
        filled: of the sum (``Packing.filled``).
        mine: the victim's key hash.
        secrets: colluder's key hash → the X25519 secret it shares with the victim.
        context: the attempt.
        packing: of the sum.
    """
    left = slots.copy()
    for peer, secret in secrets.items():
        mask = pair_mask(secret, (mine, peer), context, filled, packing.t)
        left = left - mask if mine < peer else left + mask
    return left & np.uint64(packing.t - 1)


@dataclass(frozen=True)
class Leftover:
    """What is left of a victim's upload.

    Attributes:
        p: of "uniform mod t".
        read: values that lie within ``REACH`` shares of noise of the update's.
        noise: standard deviation around the update, in shares.
    """

    p: float
    read: int
    noise: float

    @classmethod
    def of(cls, left: U64, truth: I64, members: int = 1) -> "Leftover":
        """Compare with what ``members`` brought before their noise."""
        values = GAM.unpack(left, members, N_VALUES)
        away = (values - truth).astype(np.float64)
        return cls(
            p_value(left[:, :-1]),
            int((np.abs(away) <= REACH * SHARE * members**0.5).sum()),
            float(np.sqrt(np.mean(away**2))) / SHARE,
        )

    @property
    def as_stated(self) -> bool:
        """Everything is read, under noise of exactly one share."""
        return self.read == N_VALUES and abs(self.noise**2 - 1) < SIGMAS * (2 / N_VALUES) ** 0.5


@dataclass(frozen=True)
class Played:
    """One cohort of K members."""

    k: int
    some: Leftover  # K − 2 colluders and one victim
    both: Leftover  # K − 2 colluders and the sum of the last two
    most: Leftover  # K − 1 colluders


def play(k: int, seed: int) -> Played:
    """Noisy updates through the members' own road, then every coalition against m00 (and m01)."""
    cohort, rng = Cohort(k), np.random.default_rng(seed)
    attempt = cohort.attempt(0)
    made = {name: 64 * rng.integers(-1000, 1000, N_VALUES) for name in cohort.names}
    noise = (Mechanism(64, SHARE**2 * (k - 1), k, 1, N_VALUES),)
    victim, other, *colluders = cohort.names
    left = {}
    for name in (victim, other):
        upload = cohort.upload(name, seal.add_noise(made[name], noise, OsEntropy()), attempt)
        slots = cohort.group.decrypt(uploaded(upload.payload, len(upload.tags)), GAM.t_bits)
        secrets = cohort.pair_secrets(name, colluders)
        left[name] = unmasked(slots, FILLED, cohort.keys(name, attempt).key_hash, secrets, attempt)
    secret = cohort.pair_secrets(victim, [other])
    alone = unmasked(left[victim], FILLED, cohort.keys(victim, attempt).key_hash, secret, attempt)
    return Played(
        k,
        Leftover.of(left[victim], made[victim]),
        Leftover.of((left[victim] + left[other]) % T, made[victim] + made[other], 2),
        Leftover.of(alone, made[victim]),
    )


def without_masks(k: int, seed: int) -> Leftover:
    """The same upload as peers send it: under the shared key alone; one colluder opens it."""
    cohort, rng = Cohort(k), np.random.default_rng(seed)
    attempt = cohort.attempt(0)
    made = 64 * rng.integers(-1000, 1000, N_VALUES)
    noisy = seal.add_noise(made, (Mechanism(64, SHARE**2 * (k - 1), k, 1, N_VALUES),), OsEntropy())
    with switched(seal, "apply_masks", lambda slots, *_: slots):
        upload = cohort.upload(cohort.names[0], noisy, attempt)
    return Leftover.of(cohort.group.decrypt(uploaded(upload.payload, len(upload.tags)), GAM.t_bits), made)


@dataclass(frozen=True)
class Recorded:
    """A run's own transcript and, beside it, its members' stores.

    Attributes:
        uploads: how many were seen.
        ciphertext: p of "the ciphertexts' numbers are uniform mod q".
        stores: members' stores found beside the transcript.
        holding: names of members whose stores still hold the epoch's keys.
        left: p of "uniform mod t" for an upload opened by K − 2 of them; None where fewer hold keys.
    """

    uploads: int
    ciphertext: float
    stores: int
    holding: tuple[str, ...]
    left: float | None


def recorded(transcript: Path) -> Recorded:
    """What a coordinator with this transcript and all but two of these members' stores reads.

    Raises:
        DataError: no transcript.
    """
    told = seen.read(transcript)
    stores = sorted(each.parent for each in (transcript.parent / "members").glob("*/member.sqlite"))
    states = {folder.name: MemberStore(folder, lambda: 0.0).fact("epoch") for folder in stores}
    holding = {name: EpochState.decode(fact) for name, fact in states.items() if fact is not None}
    holding = {name: state for name, state in holding.items() if state.seed}
    numbers = np.concatenate(
        [
            uploaded(upload.payload, len(upload.payload) // UPLOAD_BYTES).ravel()
            for sent in told.uploads.values()
            for upload in sent.values()
        ]
    )
    uploads = sum(len(sent) for sent in told.uploads.values())
    left = None
    attempt, sent = next(iter(sorted(told.uploads.items())))
    cohort = told.configs[attempt].cohort
    if set(cohort) <= set(holding) and len(sent) > 0:
        victim = min(sent)
        colluders = [name for name in cohort if name != victim][1:]
        left = p_value(*_residual(told, attempt, victim, {name: holding[name] for name in colluders}))
    return Recorded(uploads, p_value(numbers, 64), len(stores), tuple(holding), left)


def _residual(
    told: seen.Seen, attempt: int, victim: str, colluders: Mapping[str, EpochState]
) -> tuple[U64, int]:
    """The victim's upload, opened with a colluder's key and less the colluders' masks: its filled slots, below 2ᵇ, and b."""
    config = told.configs[attempt]
    state = next(iter(colluders.values()))
    epoch = state.epoch()
    group = GroupKey.derive(state.seed, epoch.id)
    payload = told.uploads[attempt][victim].payload
    packed, size = packing(config, config.round, len(epoch.roster.names)), run_sizes(config)[config.round]
    slots = group.decrypt(uploaded(payload, len(payload) // UPLOAD_BYTES), packed.t_bits)
    secrets = {
        epoch.key_hashes[name]: keys.shared_secret(
            X25519PrivateKey.from_private_bytes(each.mask), epoch.hello(victim).mask
        )
        for name, each in colluders.items()
    }
    opened = Header.decode(told.uploads[attempt][victim].header.body).opened
    context = mask_context(config.run, config.round, attempt, keys.digest(config.encode()), opened)
    mine, filled = epoch.key_hashes[victim], packed.filled(size)
    return unmasked(slots, filled, mine, secrets, context, packed).ravel()[:filled], packed.t_bits


def _small(p: float) -> str:
    return f"< {TOO_RARE:g}" if p < TOO_RARE else f"= {p:.2g}"


def run(options: AttackOptions) -> AttackFinding:
    """Cohorts of 3, 5 and 8 members; a transcript where one is given."""
    rows, held, bites = [], True, True
    for k in (3,) if options.quick else (3, 5, 8):
        on, off = play(k, options.seed), without_masks(k, options.seed)
        rows += [
            Row(
                f"K = {k}, K − 2 colluders: values of one update read",
                f"{on.some.read} of {N_VALUES:,} (uniform mod t, p = {on.some.p:.2f})",
                f"{off.read:,} by one colluder (p {_small(off.p)})",
            ),
            Row(
                "· what they do learn: the sum of the last two, under",
                f"{on.both.noise**2:.2f} shares of noise's variance (2 stated)",
                "—",
            ),
            Row(
                "· K − 1 colluders: values read",
                f"{on.most.read:,}, under {on.most.noise**2:.2f} shares (1 stated)",
                f"{off.read:,}, under {off.noise**2:.2f}",
            ),
        ]
        held = held and on.some.read == 0 and on.some.p > TOO_RARE and on.most.as_stated
        held = held and abs(on.both.noise**2 / 2 - 1) < SIGMAS * (2 / N_VALUES) ** 0.5
        bites = bites and off.as_stated and off.p < TOO_RARE
    note = "K − 1 colluders always read the last update: the release's statement gives that ε as well."
    if options.transcript is not None:
        found = recorded(options.transcript)
        rows += [
            Row(
                f"your transcript: {found.uploads} uploads",
                f"numbers uniform mod q, p = {found.ciphertext:.2f}",
                "—",
            ),
            Row(
                "· members' stores that still hold the epoch's keys",
                f"{len(found.holding)} of {found.stores}",
                "—",
            ),
        ]
        held = held and found.ciphertext > TOO_RARE
        if found.left is not None:
            rows.append(
                Row("· K − 2 of them against the first upload", f"uniform mod t, p = {found.left:.2f}", "—")
            )
            held = held and found.left > TOO_RARE
    return AttackFinding(
        attack="collude",
        threat="B3",
        adversary=(
            "The coordinator, with all uploads, and members that gave it their keys, seeds, pair secrets and noise; they "
            "want one institution's update."
        ),
        defence="pairwise masks; off is one shared key and no masks, as peers run homomorphic encryption.",
        rows=tuple(rows),
        held=held,
        bites=bites,
        note=note,
    )
