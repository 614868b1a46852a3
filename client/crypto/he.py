"""BFV keys and the opening of sums: the only module that imports TenSEAL.

Parameters: N = 4096, coefficient modulus [60, 20] bits, t of 46 or 48 bits (``shared/secure_sum/ring.py``).
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from weakref import WeakValueDictionary

import numpy as np
import tenseal as ts
import tenseal.sealapi  # registers SEAL's own types, which _parameters reads

from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.secure_sum import ring, tag
from fedrepay.shared.secure_sum.ciphertext import CHUNK_BYTES, coefficients
from fedrepay.shared.secure_sum.packing import GAM, Packing

MAX_CONTEXT = 1 << 18
"""Bytes of a context that TenSEAL may parse: both keys raw are 196,608, and its parameters some hundred."""


class GroupContext:
    """The BFV keys of one epoch: to encrypt, and where the secret key is there, to decrypt."""

    def __init__(self, context: ts.Context) -> None:
        degree, t, moduli = _parameters(context)
        bits = [bits for bits, modulus in ring.PLAIN_MODULI.items() if modulus == t]
        if degree != ring.N or moduli != [ring.Q, ring.SPECIAL_PRIME] or not bits:
            raise ProtocolError(
                f"An encryption context with N = {degree}, t = {t} and moduli {moduli}.",
                "Refuse it: fedrepay uses one set of parameters. Start a new epoch.",
            )
        self._context = context
        self.t_bits = bits[0]
        self.t = t
        # Taken before first use: TenSEAL writes a context that has encrypted with other bytes.
        self._public = _serialise(context, secret=False)
        self._secret = _serialise(context, secret=True) if context.is_private() else b""

    @classmethod
    def create(cls, t_bits: int = GAM.t_bits) -> "GroupContext":
        """New keys from TenSEAL's own generator; no Galois and no relinearisation keys.

        Raises:
            ArgumentError: neither 46 nor 48 bits.
        """
        context = ts.context(
            ts.SCHEME_TYPE.BFV,
            poly_modulus_degree=ring.N,
            plain_modulus=ring.plain_modulus(t_bits),
            coeff_mod_bit_sizes=[60, 20],
        )
        return cls(context)

    @classmethod
    def from_secret(cls, serialised: bytes) -> "GroupContext":
        """Keys as :meth:`secret_bytes` gave them, from a member of the epoch.

        Raises:
            ProtocolError: not such bytes.
        """
        asked = sha256(serialised).digest()
        group = _in_use.get(asked)
        if group is None:
            group = cls(_load(serialised))
            if not group._context.is_private():
                raise ProtocolError("The sealed encryption context has no secret key.", "Start a new epoch.")
            _in_use[asked] = group
        return group

    @classmethod
    def from_public(cls, serialised: bytes) -> "GroupContext":
        """The public key alone, as :meth:`public_bytes` gave it; it cannot decrypt.

        Raises:
            ProtocolError: not such bytes, or a secret key among them.
        """
        group = cls(_load(serialised))
        if group._context.is_private():
            raise ProtocolError("A public encryption context holds a secret key.", "Start a new epoch.")
        return group

    def secret_bytes(self) -> bytes:
        """Both keys; to be sealed, never to be sent open. Empty where there is no secret key."""
        return self._secret

    def public_bytes(self) -> bytes:
        """The public key; the same bytes for the same keys at every member."""
        return self._public

    @property
    def context_id(self) -> bytes:
        """SHA-256 of :meth:`public_bytes` (32 bytes)."""
        return sha256(self.public_bytes()).digest()

    def encrypt(self, slots: U64) -> U64:
        """Public-key encryption with fresh randomness from SEAL.

        Args:
            slots: (chunks, 4096) numbers below t.

        Returns:
            (chunks, 8192) coefficients below q.
        """
        out = np.empty((len(slots), ring.COEFFICIENTS), dtype=np.uint64)
        for index, chunk in enumerate(self._centred(slots)):
            # straight to TenSEAL's C++ vector: its Python wrapper copies the numbers three times more
            vector = ts._ts_cpp.BFVVector(self._context.data, chunk.tolist())  # noqa: SLF001
            out[index] = self._stripped(vector.serialize())
        return out

    def decrypt(self, chunks: U64) -> U64:
        """Decrypt what a verified tag vouches for, and nothing else: see :func:`open_sum`.

        Args:
            chunks: (chunks, 8192) coefficients below q.

        Returns:
            (chunks, 4096) numbers below t.

        Raises:
            ProtocolError: this context holds no secret key.
        """
        if not self._context.is_private():
            raise ProtocolError("This context holds no secret key.", "Only members of the epoch open sums.")
        out = np.empty((len(chunks), ring.SLOTS), dtype=np.uint64)
        for index, chunk in enumerate(chunks):
            vector = ts.bfv_vector_from(self._context, self._header + chunk.astype("<u8").tobytes())
            out[index] = np.mod(np.array(vector.decrypt(), dtype=np.int64), self.t)
        return out

    def _centred(self, slots: U64) -> I64:
        """TenSEAL encodes representatives in (−t/2, t/2)."""
        signed = slots.astype(np.int64)
        signed[signed > self.t // 2] -= self.t
        return signed

    @cached_property
    def _header(self) -> bytes:
        """What TenSEAL writes before the coefficients: the same for every ciphertext of a context."""
        zeros = np.zeros(ring.SLOTS, dtype=np.int64)
        first, second = (ts.bfv_vector(self._context, zeros).serialize() for _ in range(2))
        header = first[:-CHUNK_BYTES]
        if not header or len(first) != len(second) or not second.startswith(header):
            raise ProtocolError(
                "This build of TenSEAL writes ciphertexts in another form.",
                "Install tenseal 0.3.18 as the project pins it.",
            )
        return bytes(header)

    def _stripped(self, serialised: bytes) -> U64:
        """The 8,192 coefficients of one serialised ciphertext."""
        if len(serialised) != len(self._header) + CHUNK_BYTES or not serialised.startswith(self._header):
            raise ProtocolError(
                "TenSEAL wrote a ciphertext in another form than its context's.",
                "Nothing was sent. Install tenseal 0.3.18 as the project pins it.",
            )
        return coefficients(serialised[-CHUNK_BYTES:], 1).reshape(ring.COEFFICIENTS)


_in_use: WeakValueDictionary[bytes, GroupContext] = WeakValueDictionary()
"""Members of one process that hold the same keys share one context; it goes with the last of them."""


def _serialise(context: ts.Context, *, secret: bool) -> bytes:
    return bytes(
        context.serialize(
            save_public_key=True, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False
        )
    )


def _load(serialised: bytes) -> ts.Context:
    """Give bytes of another member to a native parser, once they have a size that such a context can have."""
    if len(serialised) > MAX_CONTEXT:
        raise ProtocolError(
            f"An encryption context of {len(serialised)} bytes passes the limit of {MAX_CONTEXT}.",
            "It is not parsed. Start a new epoch, and ask whoever made it.",
        )
    try:
        return ts.context_from(serialised)
    except (RuntimeError, ValueError) as error:
        raise ProtocolError("An encryption context cannot be read.", "Start a new epoch.") from error


def _parameters(context: ts.Context) -> tuple[int, int, list[int]]:
    """N, t and the coefficient moduli of a context."""
    parms = context.seal_context().data.key_context_data().parms()
    moduli = [modulus.value() for modulus in parms.coeff_modulus()]
    return parms.poly_modulus_degree(), parms.plain_modulus().value(), moduli


def verify_sum(
    seed: bytes, context: bytes, members: Sequence[str], payload: bytes, tags: Sequence[int]
) -> U64:
    """Check a sum's tag; nothing is decrypted.

    Args:
        seed: the group seed.
        context: the attempt (``masking.attempt_context``).
        members: the attempt's cohort.
        payload: summed ciphertexts in wire form, 65,536 bytes a chunk.
        tags: summed tags, one a chunk.

    Returns:
        (chunks, 8192) coefficients, to be decrypted.

    Raises:
        Refusal: code ``tag``, whatever is wrong: the answer tells which ciphertext, and not more.
    """
    try:
        chunks = coefficients(payload, len(tags))
    except ProtocolError as error:
        raise _changed(0) from error
    if not tags or not tag.verify(seed, context, members, chunks, tags):
        raise _changed(tag.first_misfit(seed, context, members, chunks, tags))
    return chunks


def _changed(chunk: int) -> Refusal:
    """The refusal, its proof the ciphertext that failed: the coordinator asks everybody for that one again."""
    return Refusal(
        Code.TAG,
        "The summed ciphertexts are not the sum of the cohort's uploads.",
        "The epoch ends at this member; the members' verdicts say whose upload does not fit.",
        chunk.to_bytes(4, "big"),
    )


def open_sum(
    group: GroupContext,
    seed: bytes,
    context: bytes,
    members: Sequence[str],
    payload: bytes,
    tags: Sequence[int],
    n_values: int,
    packing: Packing = GAM,
) -> I64:
    """Open a sum: the tag first, then decryption, then the canaries.

    Args:
        group: the epoch's keys.
        seed: the group seed.
        context: the attempt (``masking.attempt_context``).
        members: the attempt's cohort.
        payload: summed ciphertexts in wire form.
        tags: summed tags.
        n_values: values in the sum.
        packing: how they lie in slots.

    Returns:
        (n_values,) exact integer sums.

    Raises:
        Refusal: code ``tag`` (nothing was decrypted) or ``canary`` (the decryption is wrong).
        ArgumentError: the cohort does not fit the packing, or the sum has another size.
    """
    packing.check_cohort(len(members))
    chunks = verify_sum(seed, context, members, payload, tags)
    slots = group.decrypt(chunks)
    expected = [tag.canary_sum(seed, context, i, members, group.t) for i in range(len(slots))]
    if slots[:, -1].tolist() != expected:
        raise Refusal(
            Code.CANARY,
            "The sum decrypts to wrong numbers: a mask was wrong under a right tag, or encryption noise is exhausted. "
            "Nobody can tell whose.",
            "The epoch ends at this member: leave out as many members at a time as the quorum allows, in turn, or revoke.",
        )
    return packing.unpack(slots, len(members), n_values)
