"""A coordinator that changes sums: what members open with the homomorphic tag, and without it.

BFV is malleable: whoever holds the public key can add to a sum, and anybody can double it, leave members out or put
another sum in its place. The tag is over the ciphertexts of exactly this attempt's cohort.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fedrepay.client.crypto.he import GroupContext, open_sum
from fedrepay.client.protocol import session
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, SLOTS, VALUES
from fedrepay.shared.trust.handshake import ContextOffer
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools import seen
from fedrepay.simulations.attacks.tools.adversary import config_of, last_sum, mislead, opened, with_sum
from fedrepay.simulations.attacks.tools.cohort import Cohort, SealedUpload
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.run.world import World

Sent = tuple[bytes, list[int]]
N_VALUES = VALUES + 1  # two chunks
VICTIM = "m0"


def chunks_of(payload: bytes) -> U64:
    """Ciphertexts of wire form, (chunks, 8192)."""
    return np.frombuffer(payload, dtype="<u8").reshape(-1, COEFFICIENTS).astype(np.uint64)


def added(uploads: Sequence[SealedUpload]) -> PublicSum:
    """What the coordinator makes of these uploads."""
    total = PublicSum(len(uploads[0].tags))
    for upload in uploads:
        total.add(upload.payload, upload.tags)
    return total


def shift(group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """One added to one slot, with the public key alone."""
    total = added(uploads)
    public = GroupContext.from_public(group.public_bytes())
    slots = np.zeros((len(total.tags), SLOTS), dtype=np.uint64)
    slots[0, 17] = 1
    total.add(public.encrypt(slots).astype("<u8").tobytes(), [0] * len(total.tags))
    return total.payload(), total.tags


def double(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """The sum twice, and its tags."""
    total = added([*uploads, *uploads])
    return total.payload(), total.tags


def double_ciphertexts_only(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """The sum twice, its tags once."""
    return added([*uploads, *uploads]).payload(), added(uploads).tags


def omit(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """One member left out."""
    total = added(uploads[1:])
    return total.payload(), total.tags


def omit_but_keep_its_tags(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """One member's ciphertexts left out."""
    return added(uploads[1:]).payload(), added(uploads).tags


def replay(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """One member's upload twice, in another's place."""
    total = added([uploads[1], *uploads[1:]])
    return total.payload(), total.tags


def swap_chunks(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """The two chunks change places."""
    total = added(uploads)
    return chunks_of(total.payload())[::-1].tobytes(), total.tags[::-1]


def one_upload_alone(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """One member's upload instead of the sum."""
    return uploads[0].payload, list(uploads[0].tags)


def flip_a_bit(_group: GroupContext, uploads: Sequence[SealedUpload]) -> Sent:
    """Two bits of the ciphertext flipped."""
    total = added(uploads)
    payload = bytearray(total.payload())
    payload[40] ^= 1
    payload[46] ^= 8
    return bytes(payload), total.tags


CHANGES: tuple[Callable[[GroupContext, Sequence[SealedUpload]], Sent], ...] = (
    shift,
    double,
    double_ciphertexts_only,
    omit,
    omit_but_keep_its_tags,
    replay,
    swap_chunks,
    one_upload_alone,
    flip_a_bit,
)
"""Ways to change a sum of several uploads of two chunks."""


@contextmanager
def counted_decryptions() -> Iterator[list[int]]:
    """Grows by one with each use of a secret key."""
    used: list[int] = []
    real = GroupContext.decrypt

    def counted(group: GroupContext, chunks: U64) -> U64:
        used.append(len(chunks))
        return real(group, chunks)

    with switched(GroupContext, "decrypt", counted):
        yield used


def _open_all(cohort: Cohort, sent: Sequence[Sent], attempt: bytes, truth: I64) -> tuple[int, int]:
    """(decryptions, wrong sums that a member takes for the truth) over all these sums."""
    wrong = 0
    with counted_decryptions() as used:
        for payload, tags in sent:
            try:
                values = open_sum(cohort.group, cohort.seed, attempt, cohort.names, payload, tags, N_VALUES)
            except Refusal:
                continue
            wrong += not np.array_equal(values, truth)
    return len(used), wrong


def _shift_to_the_victim(world: World) -> Callable[[str, str, bytes, bytes], tuple[bytes, bytes]]:
    """Round 0's sum, with one added to one slot, for one member only."""

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        if kind != Kind.ROUND or name != VICTIM or config_of(shared).round != 1:
            return shared, own
        offer = next(iter(world.coordinator.state.answers[Kind.CONTEXT].values()))
        public = GroupContext.from_public(ContextOffer.decode(Signed.decode(offer).body).public)
        slots = np.zeros((1, SLOTS), dtype=np.uint64)
        slots[0, 1] = 1
        honest = last_sum(shared)
        total = PublicSum(1)
        total.add(honest.payload, honest.tags)
        total.add(public.encrypt(slots).astype("<u8").tobytes(), [0])
        return with_sum(shared, {"payload": total.payload()}), own

    return tamper


def _split_view(folder: Path) -> tuple[int, str]:
    """A live consortium, one member of which gets another sum than the others: (different sums opened, what stops it)."""
    world = World(folder, rounds=3)  # headers that tell of the sum of round 0 come with the sum of round 1
    with suppress(ProtocolError):
        next(ask for ask in mislead(world, _shift_to_the_victim(world)) if ask.kind == Kind.WRITE)
    said = [
        (n, reply.code) for kind, n, reply in world.replies if (kind, reply.kind) == (Kind.ROUND, "refused")
    ]
    stop = f"{said[0][0]} refuses: {said[0][1]}" if said else "nothing"
    return len({opened(world, name)[0] for name in world.names if opened(world, name)}), stop


def run(options: AttackOptions) -> AttackFinding:
    """Changed sums, a split view, and a transcript where one is given."""
    cohort, rng = Cohort(4), np.random.default_rng(options.seed)
    attempt, earlier = cohort.attempt(0), cohort.attempt(1)
    values = {name: rng.integers(-(1 << 30), 1 << 30, N_VALUES) for name in cohort.names}
    uploads = [cohort.upload(name, values[name], attempt) for name in cohort.names]
    truth = np.sum(list(values.values()), axis=0)
    sent = [change(cohort.group, uploads) for change in CHANGES]
    other = added([cohort.upload(name, values[name][::-1], earlier) for name in cohort.names])
    sent.append((other.payload(), other.tags))  # another round's sum
    on = _open_all(cohort, sent, attempt, truth)
    with switched(tag, "verify", lambda *_: True):
        off = _open_all(cohort, sent, attempt, truth)
    with TemporaryDirectory() as folder:
        split_on, stopped = _split_view(Path(folder) / "on")
        with switched(tag, "verify", lambda *_: True):
            _, stopped_late = _split_view(Path(folder) / "late")
            with switched(session.Session, "opened_mac", lambda _self: bytes(32)):
                split_off, stopped_off = _split_view(Path(folder) / "off")
    rows = [
        Row(f"changed sums that reach a secret key, of {len(sent)}", str(on[0]), str(off[0])),
        Row("changed sums opened to wrong numbers, unnoticed", str(on[1]), str(off[1])),
        Row("live, one member is told another sum: different sums opened", str(split_on), str(split_off)),
        Row("· what stops it", stopped, stopped_off),
        Row("· the same without the tag: the headers' HMAC alone", stopped_late, stopped_off),
    ]
    held = on == (0, 0) and split_on <= 1 and "nothing" not in (stopped, stopped_late)
    bites = off[0] == len(sent) and off[1] >= 1 and (split_off, stopped_off) == (2, "nothing")
    if options.transcript is not None:
        told = seen.changed_sums(seen.read(options.transcript))
        rows.append(
            Row(
                "your transcript: sums that are not the sum of the uploads in it",
                f"{told.changed} of {told.sums}",
                f"{told.noticed} of {told.sums}, changed by one in the copy",
            )
        )
        held, bites = held and told.changed == 0, bites and told.noticed == told.sums > 0
    return AttackFinding(
        attack="shift",
        threat="B2",
        adversary="The coordinator holds all uploads and the public key; it wants members to open something else than the sum.",
        defence="the homomorphic tag (and, for the split view, the HMAC of opened sums in the signed headers).",
        rows=tuple(rows),
        held=held,
        bites=bites,
        note="Without the tag the canaries notice most changes, but only after the secret key was used, and not a shift.",
    )
