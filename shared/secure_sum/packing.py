"""Integers into slots mod t and sums back out.

One field a slot (GAM sums): centred representatives, no offset. Two or three fields a slot (large
modules): each value gets an offset of 2^(VB−1), and a sum of K carries K offsets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ring import SLOTS, T46, T48, VALUES, check_cohort


@dataclass(frozen=True)
class Packing:
    """How values lie in slots.

    Attributes:
        t: plain modulus.
        fields: values a slot, 1 to 3.
        field_bits: width FB of a field, carries of the sum included.
        value_bits: width VB of one value with its offset, noise included.
    """

    t: int
    fields: int = 1
    field_bits: int = 0
    value_bits: int = 0

    def chunk_count(self, values: int) -> int:
        """Ciphertexts for that many values."""
        return -(-values // (VALUES * self.fields))

    def check(self, members: int) -> None:
        """K(2^VB − 1)·Σⱼ 2^(FB·j) < t, and the (t, K) table.

        Raises:
            ProtocolError: a sum of so many could overflow a field or t.
        """
        check_cohort(self.t, members)
        if self.fields > 1:
            most = members * ((1 << self.value_bits) - 1)
            if (
                most >= 1 << self.field_bits
                or most * sum(1 << (self.field_bits * j) for j in range(self.fields)) >= self.t
            ):
                raise ProtocolError(
                    f"{members} members overflow fields of {self.field_bits} bits.", "Use a wider packing."
                )

    def pack(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Values (n,) into slots (chunks, 4096) mod t; the last slot of a chunk is left 0 for the canary.

        Raises:
            ProtocolError: a value does not fit; nothing is clipped.
        """
        bound = self.t // 2 if self.fields == 1 else 1 << (self.value_bits - 1)
        if values.size and (int(values.max()) >= bound or int(values.min()) < -bound):
            raise ProtocolError(
                f"A value passes ±{bound}.",
                "The schema's public scales do not fit this data; build it again.",
            )
        chunks = self.chunk_count(len(values))
        padded = np.zeros((chunks, VALUES, self.fields), np.int64)
        padded.reshape(-1)[: len(values)] = values
        slots = np.zeros((chunks, SLOTS), np.uint64)
        if self.fields == 1:
            slots[:, :VALUES] = np.where(padded[..., 0] < 0, padded[..., 0] + self.t, padded[..., 0])
            return slots
        for j in range(self.fields):
            slots[:, :VALUES] += (padded[..., j] + bound).astype(np.uint64) << np.uint64(self.field_bits * j)
        return slots

    def unpack(self, slots: npt.NDArray[np.uint64], members: int, values: int) -> npt.NDArray[np.int64]:
        """Sums (values,) out of the summed slots of ``members`` uploads."""
        used = slots[:, :VALUES].astype(np.int64)
        if self.fields == 1:
            return np.where(used > self.t // 2, used - self.t, used).reshape(-1)[:values]
        mask = (1 << self.field_bits) - 1
        offset = members << (self.value_bits - 1)
        parts = [((used >> (self.field_bits * j)) & mask) - offset for j in range(self.fields)]
        return np.stack(parts, axis=-1).reshape(-1)[:values]


GAM = Packing(T46)
TWO_FIELDS = Packing(T48, 2, 24, 19)
THREE_FIELDS = Packing(T48, 3, 16, 11)
