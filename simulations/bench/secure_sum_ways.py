"""One secure sum as our members make it, and as TenSEAL CKKS does: CPU time of each part, figures of ``secure_sum``."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.opening import open_verified, verify_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.crypto.seal import AttemptKeys, add_noise, seal
from fedrepay.client.learning import make_learner
from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.delta import usual_delta
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import PublicSum, hashes
from fedrepay.shared.secure_sum.masking import attempt_context, mask_context
from fedrepay.shared.secure_sum.packing import Packing
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.terms import MAX_ATTEMPTS, RunTerms
from fedrepay.shared.trust.wire import Header, Upload
from fedrepay.simulations.bench.peers import summed
from fedrepay.simulations.engines import clear
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA_MANY

EPSILON, ROUNDS = 1.0, 5
SEND = ("noise", "mask, encrypt, tag", "hash, sign")
OPEN = ("header signatures", "verify tag", "decrypt, canaries")


@dataclass
class Spent:
    """CPU-ms of one way: parts in the order they were measured, and a member's whole rounds."""

    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rounds: list[float] = field(default_factory=list)
    sent: float = 0.0  # bytes a value

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count what is done inside under a part."""
        begun = process_time()
        yield
        self.parts[part].append(1000 * (process_time() - begun))

    def round_done(self, members: int, send: Sequence[str], opening: Sequence[str]) -> None:
        """A round's cost to one member: the mean of what its ``members`` spent on sending, and one's opening."""
        self.rounds.append(
            sum(mean(self.parts[part][-members:]) for part in send)
            + sum(self.parts[part][-1] for part in opening)
        )


@cache
def gram_noise(members: int) -> Mechanism:
    """The mechanism of the first sum on the shipped data as ``simulate`` plans it, for as many values as here."""
    book = codebook.load(Path(SHIPPED_SCHEMA_MANY))
    planned = clear.planned(
        make_learner("dp-newton", book, ROUNDS),
        epsilon=EPSILON,
        delta=usual_delta(book.schema.public),
        members=members,
        colluders=default_colluders(members),
        max_attempts=MAX_ATTEMPTS,
    )
    return replace(planned[0][0], size=summed.VALUES)


@cache
def gram_terms(members: int) -> RunTerms:
    """Terms of a run on the shipped data, as ``simulate`` makes them."""
    book = codebook.load(Path(SHIPPED_SCHEMA_MANY))
    terms = RunTerms(
        schema_hash=book.schema_hash,
        mode="distributed",
        learner="dp-newton",
        dimension=book.dimension,
        heads=book.heads,
        epsilon=EPSILON,
        delta=usual_delta(book.schema.public),
        colluders=default_colluders(members),
        rounds=ROUNDS,
    )
    return terms.model_copy(update={"pairs": gram_pairs(terms, book, members)})


class Sealers:
    """Members of one process with keys of their own, and the coordinator's sum.

    Args:
        members: how many.
        packing: how values lie in slots; with several fields, values are those of a Gram matrix, which is never negative.
        noise: whether each adds its share of :func:`gram_noise`.
    """

    def __init__(self, members: int, packing: Packing, *, noise: bool) -> None:
        self.spent = Spent()
        self._packing = packing
        self._noise = (gram_noise(members),) if noise else ()
        self._seed = sha256(b"bench").digest()
        self._group = GroupKey.derive(self._seed, bytes(32))
        self._entropy = OsEntropy()
        self._names = [f"m{number:03}" for number in range(members)]
        self._signing = [Ed25519PrivateKey.generate() for _ in self._names]
        self._public = [keys.public_bytes(each) for each in self._signing]
        self._hashes = [keys.digest(each) for each in self._public]
        self._attempt = 0

    def play(self) -> None:
        """One attempt, every member and the coordinator; its sum must be the exact one, noise included."""
        self._attempt += 1
        config = sha256(
            self._attempt.to_bytes(4, "big")
        ).digest()  # nothing is remembered of the attempt before
        total, exact, headers = self._coordinator(), np.zeros(summed.VALUES, np.int64), []
        for member in range(len(self._names)):
            upload, noisy = self._send(member, config)
            tags = self._checked(member, upload.header).tags
            with self.spent.timed("add"):
                total.add(upload.payload, tags)
            headers.append(upload.header)
            exact += noisy
        opened = self._open(config, total, headers)
        if not np.array_equal(opened, exact):
            raise AssertionError("the opened sum is not the integer sum: the figures would say nothing")
        self.spent.round_done(len(self._names), SEND, OPEN)

    def _coordinator(self) -> PublicSum:
        return PublicSum(ring.chunk_count(summed.VALUES, self._packing.fields))

    def _keys(self, member: int, config: bytes) -> AttemptKeys:
        """The session's, which makes pair secrets once an epoch."""
        mine = self._hashes[member]
        pairs = {peer: keys.digest(min(mine, peer), max(mine, peer)) for peer in self._hashes if peer != mine}
        masked = mask_context(1, 0, self._attempt, config, bytes(32))
        return AttemptKeys(self._group, self._tags(config), masked, self._names[member], mine, pairs)

    def _tags(self, config: bytes) -> AttemptTags:
        return AttemptTags(self._seed, attempt_context(1, 0, self._attempt, config), tuple(self._names))

    def _send(self, member: int, config: bytes) -> tuple[Upload, I64]:
        """A member's upload as ``client/protocol/rounds.py`` makes it, and the integers in it."""
        values, attempt_keys = self._values(member), self._keys(member, config)
        with self.spent.timed("noise"):
            noisy = add_noise(values, self._noise, self._entropy)
        with self.spent.timed("mask, encrypt, tag"):
            payload, tags = seal(noisy, attempt_keys, self._entropy, self._packing)
        with self.spent.timed("hash, sign"):
            header = Header(
                run=1,
                epoch=bytes(32),
                config=config,
                round=0,
                attempt=self._attempt,
                name=self._names[member],
                chunks=hashes(payload),
                tags=tags,
                opened=bytes(32),
                ledger=bytes(32),
            )
            upload = Upload(header=Signed.make(self._signing[member], header), payload=payload)
            body = upload.encode()
        self.spent.sent = len(body) / summed.VALUES
        return upload, noisy

    def _open(self, config: bytes, total: PublicSum, headers: Sequence[Signed]) -> I64:
        """The sum as ``client/protocol/session.py`` opens it."""
        tags, payload = self._tags(config), total.payload()
        with self.spent.timed("header signatures"):
            for member, each in enumerate(headers):
                self._checked(member, each)
        with self.spent.timed("verify tag"):
            chunks = verify_sum(tags, payload, total.tags)
        with self.spent.timed("decrypt, canaries"):
            return open_verified(self._group, tags, chunks, summed.VALUES, self._packing)

    def _checked(self, member: int, header: Signed) -> Header:
        """Verified and parsed; not by ``Signed.verified``, which would remember it for all members of this process."""
        keys.verify(self._public[member], Header.__name__, header.body, header.signature)
        return Header.decode(header.body)

    def _values(self, member: int) -> I64:
        values = summed.values(member % summed.MEMBERS).astype(np.int64)
        return (
            values % (self._packing.most - 2 * self._packing.offset) if self._packing.fields > 1 else values
        )


class Ckks:
    """One client and the server under CKKS as ``nvflare/lighter/impl/he.py`` provisions it.

    8192 [60, 40, 40], scale 2⁴⁰, symmetric; the server's context has no secret key.

    Args:
        wrapped: through TenSEAL's Python vectors, as NVFLARE has it; else straight to the C++ vectors that they hold,
            without the copies of every number that the wrapper makes.
    """

    def __init__(self, *, wrapped: bool) -> None:
        # by name: this comparison's engine is not part of the product, which has no TenSEAL
        self._ts = import_module("tenseal")
        self.spent = Spent()
        self._keys = self._ts.context(
            self._ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=self._ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        self._keys.generate_relin_keys()
        self._keys.global_scale = 2**40
        self._server = self._ts.context_from(
            self._keys.serialize(
                save_public_key=False, save_secret_key=False, save_galois_keys=False, save_relin_keys=True
            )
        )
        self._wrapped = wrapped
        self._values = summed.values(0) / 2.0 ** (summed.BITS - 1)

    def play(self) -> None:
        """One client's upload, the server's addition of it to another, and the client's opening."""
        with self.spent.timed("send"):
            upload = [
                self._encrypt(self._values[start : start + 4096]) for start in range(0, summed.VALUES, 4096)
            ]
        self.spent.sent = sum(map(len, upload)) / summed.VALUES
        held = [self._read(self._server, each) for each in upload]
        with self.spent.timed("add"):
            for place, each in enumerate(upload):
                held[place] += self._read(self._server, each)
        total = [each.serialize() for each in held]
        with self.spent.timed("open"):
            opened: F64 = np.concatenate([self._read(self._keys, each).decrypt() for each in total])
        if np.abs(opened - 2 * self._values).max() > 1e-4:
            raise AssertionError("CKKS opened another sum: the figures would say nothing")
        self.spent.round_done(1, ("send",), ("open",))

    def _encrypt(self, values: F64) -> bytes:
        if self._wrapped:
            made = self._ts.ckks_vector(self._keys, values)
        else:
            made = self._ts._ts_cpp.CKKSVector(self._keys.data, values.tolist())  # noqa: SLF001
        return bytes(made.serialize())

    def _read(self, context: Any, sent: bytes) -> Any:
        if self._wrapped:
            return self._ts.ckks_vector_from(context, sent)
        return self._ts._ts_cpp.CKKSVector(context.data, sent)  # noqa: SLF001
