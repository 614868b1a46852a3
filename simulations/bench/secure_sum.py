"""Masked BFV against TenSEAL CKKS with NVFLARE's default parameters, 1M values, one process.

Both sides: values in memory → bytes that go on the wire, and bytes as received → added to the sum.
CKKS as ``nvflare/lighter/impl/he.py`` provisions it: 8192 [60, 40, 40], scale 2⁴⁰, symmetric; the
server's context has no secret key. Ours: two 24-bit fields a slot, t of 48 bits, quantising, masks
for ``PEERS`` peers, canaries, public-key encryption and tags included. Noise is on neither side.
"""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np
from fedrepay.client.crypto.he import GroupContext, open_sum

from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.secure_sum import ring, tag
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context
from fedrepay.shared.secure_sum.packing import TORCH_PAIRS
from fedrepay.simulations.bench.page import table

VALUES = 1_000_000
PEERS = 7
REPEATS = 5
STEP = 2.0**-17  # values in (−1, 1) become integers of 18 bits and a sign
TARGETS = {
    "bytes a value": "≤ 8.1 against 57.6",
    "client time, ms": "ratio ≤ 0.4",
    "coordinator time a client, ms": "ratio ≤ 0.15",
}
_INTRO = (
    f"{VALUES:,} values, one process, medians of {REPEATS}. Masked BFV packs two 24-bit fields a slot and includes "
    f"quantising, masks for {PEERS} peers, public-key encryption, canaries and tags; CKKS is TenSEAL with NVFLARE's "
    "default parameters (8192 [60, 40, 40], scale 2⁴⁰, symmetric). Noise is on neither side."
)

T = TypeVar("T")


class _Ours:
    """One member and the coordinator under masked BFV."""

    def __init__(self) -> None:
        self.group = GroupContext.create(TORCH_PAIRS.t_bits)
        self.seed = sha256(b"bench").digest()
        self.names = [f"m{i}" for i in range(PEERS + 1)]
        self.context = attempt_context(1, 0, 0, bytes(32))
        self.hashes = [sha256(name.encode()).digest() for name in self.names]
        self.sum = PublicSum(ring.chunk_count(VALUES, TORCH_PAIRS.fields))

    def client(self, values: F64, member: int = 0) -> tuple[bytes, list[int]]:
        name, mine = self.names[member], self.hashes[member]
        slots = TORCH_PAIRS.pack(np.trunc(values / STEP).astype(np.int64))
        for chunk in range(len(slots)):
            slots[chunk, -1] = tag.canary(self.seed, self.context, chunk, name, TORCH_PAIRS.t)
        pairs = {
            peer: sha256(min(mine, peer) + max(mine, peer)).digest() for peer in self.hashes if peer != mine
        }
        chunks = self.group.encrypt(apply_masks(slots, mine, pairs, self.context, TORCH_PAIRS.t))
        return chunks.astype("<u8", copy=False).tobytes(), tag.tags(self.seed, self.context, chunks, name)

    def coordinator(self, upload: tuple[bytes, list[int]]) -> None:
        self.sum.add(*upload)

    def open(self, total: PublicSum) -> I64:
        return open_sum(
            self.group,
            self.seed,
            self.context,
            self.names,
            total.payload(),
            total.tags,
            VALUES,
            TORCH_PAIRS,
        )


class _Theirs:
    """One client and the server under CKKS."""

    def __init__(self) -> None:
        # by name: this comparison's engine is not part of the product, where only client/crypto/he.py has TenSEAL
        self.ts = import_module("tenseal")
        self.keys = self.ts.context(
            self.ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=self.ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        self.keys.generate_relin_keys()
        self.keys.global_scale = 2**40
        self.server = self.ts.context_from(
            self.keys.serialize(
                save_public_key=False, save_secret_key=False, save_galois_keys=False, save_relin_keys=True
            )
        )
        self.sum: list[object] = []

    def client(self, values: F64) -> list[bytes]:
        return [
            self.ts.ckks_vector(self.keys, values[start : start + 4096]).serialize()
            for start in range(0, len(values), 4096)
        ]

    def coordinator(self, upload: list[bytes]) -> None:
        received = [self.ts.ckks_vector_from(self.server, chunk) for chunk in upload]
        if not self.sum:
            self.sum = list(received)
            return
        for index, vector in enumerate(received):
            self.sum[index] += vector


def _timed(times: list[float], work: Callable[[], T]) -> T:
    begun = perf_counter()
    result = work()
    times.append(perf_counter() - begun)
    return result


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    values = np.random.default_rng(0).uniform(-1, 1, VALUES)
    ours, theirs = _Ours(), _Theirs()
    check = PublicSum(ring.chunk_count(VALUES, TORCH_PAIRS.fields))
    for member in range(PEERS + 1):
        check.add(*ours.client(values, member))
    exact = (PEERS + 1) * np.trunc(values / STEP).astype(np.int64)
    if not np.array_equal(ours.open(check), exact):
        raise AssertionError("the opened sum is not the integer sum: the figures would say nothing")

    times: dict[str, list[float]] = {}
    ours.coordinator(ours.client(values))
    theirs.coordinator(theirs.client(values))  # both warm
    for _ in range(REPEATS):
        upload = _timed(times.setdefault("our client", []), partial(ours.client, values))
        _timed(times.setdefault("our coordinator", []), partial(ours.coordinator, upload))
        vectors = _timed(times.setdefault("their client", []), partial(theirs.client, values))
        _timed(times.setdefault("their coordinator", []), partial(theirs.coordinator, vectors))
    ms = {name: 1000 * median(each) for name, each in times.items()}
    measured = {
        "bytes a value": (
            (len(upload[0]) + 8 * len(upload[1])) / VALUES,
            sum(len(each) for each in vectors) / VALUES,
        ),
        "client time, ms": (ms["our client"], ms["their client"]),
        "coordinator time a client, ms": (ms["our coordinator"], ms["their coordinator"]),
    }
    rows = []
    for figure, (bfv, ckks) in measured.items():
        rows.append((figure, f"{bfv:.3f}", f"{ckks:.3f}", f"{bfv / ckks:.3f}", TARGETS[figure]))
        print(*rows[-1], sep=" | ", flush=True)
    heads = ("Figure", "masked BFV", "CKKS", "ratio", "target")
    return f"{_INTRO}\n\n{table(heads, rows)}"
