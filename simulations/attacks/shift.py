"""A coordinator that changes sums: what members open with the homomorphic tag, and without it.

Ciphertexts are malleable: anybody can add to a sum, without any key, and double it, leave members out or put
another sum in its place. The tag is over the ciphertexts of exactly this attempt's cohort.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fedrepay.client.crypto.opening import open_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.protocol import session
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, VALUES, N, Q
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools import seen
from fedrepay.simulations.attacks.tools.adversary import last_sum, mislead, opened, prepare_of, with_sum
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


def shift(uploads: Sequence[SealedUpload]) -> Sent:
    """One added to one slot, without any key."""
    total = added(uploads)
    return with_one_more(total.payload(), 17), total.tags


def with_one_more(payload: bytes, slot: int) -> bytes:
    """A sum's ciphertexts, Δ added to one coefficient of the first: one more in that slot."""
    chunks = chunks_of(payload)
    chunks[0, slot] = (int(chunks[0, slot]) + Q // GAM.t) % Q
    return chunks.tobytes()


def shift_the_second(uploads: Sequence[SealedUpload]) -> Sent:
    """One added to the second polynomial, which moves what opens by the secret key: the key oracle."""
    total = added(uploads)
    chunks = chunks_of(total.payload())
    chunks[0, N] = (int(chunks[0, N]) + Q // GAM.t) % Q
    return chunks.tobytes(), total.tags


def double(uploads: Sequence[SealedUpload]) -> Sent:
    """The sum twice, and its tags."""
    total = added([*uploads, *uploads])
    return total.payload(), total.tags


def double_ciphertexts_only(uploads: Sequence[SealedUpload]) -> Sent:
    """The sum twice, its tags once."""
    return added([*uploads, *uploads]).payload(), added(uploads).tags


def omit(uploads: Sequence[SealedUpload]) -> Sent:
    """One member left out."""
    total = added(uploads[1:])
    return total.payload(), total.tags


def omit_but_keep_its_tags(uploads: Sequence[SealedUpload]) -> Sent:
    """One member's ciphertexts left out."""
    return added(uploads[1:]).payload(), added(uploads).tags


def replay(uploads: Sequence[SealedUpload]) -> Sent:
    """One member's upload twice, in another's place."""
    total = added([uploads[1], *uploads[1:]])
    return total.payload(), total.tags


def swap_chunks(uploads: Sequence[SealedUpload]) -> Sent:
    """The two chunks change places."""
    total = added(uploads)
    return chunks_of(total.payload())[::-1].tobytes(), total.tags[::-1]


def one_upload_alone(uploads: Sequence[SealedUpload]) -> Sent:
    """One member's upload instead of the sum."""
    total = added(uploads[:1])
    return total.payload(), total.tags


def flip_a_bit(uploads: Sequence[SealedUpload]) -> Sent:
    """Two bits of the ciphertext flipped."""
    total = added(uploads)
    payload = bytearray(total.payload())
    payload[40] ^= 1
    payload[46] ^= 8
    return bytes(payload), total.tags


CHANGES: tuple[Callable[[Sequence[SealedUpload]], Sent], ...] = (
    shift,
    shift_the_second,
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
    real = GroupKey.decrypt

    def counted(group: GroupKey, chunks: U64, bits: int) -> U64:
        used.append(len(chunks))
        return real(group, chunks, bits)

    with switched(GroupKey, "decrypt", counted):
        yield used


def _open_all(cohort: Cohort, sent: Sequence[Sent], attempt: bytes, truth: I64) -> tuple[int, int]:
    """(decryptions, wrong sums that a member takes for the truth) over all these sums."""
    wrong = 0
    with counted_decryptions() as used:
        for payload, tags in sent:
            try:
                values = open_sum(cohort.group, cohort.tags(attempt), payload, tags, N_VALUES)
            except Refusal:
                continue
            wrong += not np.array_equal(values, truth)
    return len(used), wrong


def _shift_to_the_victim() -> Callable[[str, str, bytes, bytes], tuple[bytes, bytes]]:
    """Round 0's sum, with one added to one slot, for one member only."""

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        if kind != Kind.PREPARE or name != VICTIM or prepare_of(shared).round != 1:
            return shared, own
        return with_sum(shared, {"payload": with_one_more(last_sum(shared).payload, 1)}), own

    return tamper


def _split_view(folder: Path) -> tuple[int, str]:
    """A live consortium, one member of which gets another sum than the others: (different sums opened, what stops it)."""
    world = World(folder, rounds=3)  # headers that tell of the sum of round 0 come with the sum of round 1
    with suppress(ProtocolError):
        next(ask for ask in mislead(world, _shift_to_the_victim()) if ask.kind == Kind.WRITE)
    said = [
        (n, reply.code) for kind, n, reply in world.replies if (kind, reply.kind) == (Kind.PREPARE, "refused")
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
    sent = [change(uploads) for change in CHANGES]
    other = added([cohort.upload(name, values[name][::-1], earlier) for name in cohort.names])
    sent.append((other.payload(), other.tags))  # another round's sum
    on = _open_all(cohort, sent, attempt, truth)
    with switched(AttemptTags, "first_misfit", lambda *_: None):
        off = _open_all(cohort, sent, attempt, truth)
    with TemporaryDirectory() as folder:
        split_on, stopped = _split_view(Path(folder) / "on")
        with switched(AttemptTags, "first_misfit", lambda *_: None):
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
        adversary="The coordinator holds all uploads; it wants members to open something else than the sum.",
        defence="the homomorphic tag (and, for the split view, the HMAC of opened sums in the signed headers).",
        rows=tuple(rows),
        held=held,
        bites=bites,
        note="Without the tag the canaries notice most changes, but only after the secret key was used, and not a shift.",
    )
