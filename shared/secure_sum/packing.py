"""Integers into slots mod t and back: one field a slot for GAM sums, two or three for torch modules.

Nothing is refused because of its value: a value out of range wraps, as post-processing of the noisy
number. The range is chosen beforehand from public constants (docs/protocol.md, *Integers*).
"""

from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.secure_sum import ring


@dataclass(frozen=True)
class Packing:
    """How values lie in slots.

    With one field a slot is the value's representative mod t, and a sum is read as centred. With
    more, field j holds value + 2^(value_bits − 1) at bit j·field_bits, and K offsets are taken off
    the sum.

    Attributes:
        t_bits: bits of the plain modulus, 46 or 48.
        fields: values a slot, 1 to 3.
        field_bits: bits between fields; 0 with one field.
        value_bits: bits of one member's value, noise included; 0 with one field.

    Raises:
        ArgumentError: not even one member's fields fit below t.
    """

    t_bits: int
    fields: int = 1
    field_bits: int = 0
    value_bits: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.fields <= 3 or (self.fields == 1) != (self.field_bits == self.value_bits == 0):
            raise ArgumentError(
                f"{self.fields} fields of {self.field_bits} bits for values of {self.value_bits} bits "
                "cannot be packed.",
                "Take one field and no field sizes, or two or three fields and their sizes.",
            )
        self.check_cohort(1)

    @property
    def t(self) -> int:
        """The plain modulus."""
        return ring.plain_modulus(self.t_bits)

    def check_cohort(self, k: int) -> None:
        """Sums of ``k`` members decrypt rightly, no field runs into the next, and none wraps mod t.

        K(2^value_bits − 1) < 2^field_bits and K(2^value_bits − 1)·Σⱼ 2^(field_bits·j) < t.

        Raises:
            ArgumentError: too many members.
        """
        ring.check_cohort(self.t_bits, k)
        if self.fields == 1:
            return
        top = k * ((1 << self.value_bits) - 1)
        spread = sum(1 << (self.field_bits * j) for j in range(self.fields))
        if self.value_bits < 1 or top >= 1 << self.field_bits or top * spread >= self.t:
            raise ArgumentError(
                f"The sums of {k} members overflow {self.fields} fields of {self.field_bits} bits.",
                "Take fewer members, fewer fields, or values of fewer bits.",
            )

    def pack(self, values: I64) -> U64:
        """One member's values as slots.

        Args:
            values: (n,) integers.

        Returns:
            (chunks, 4096) slots below t; the last of each chunk is 0, for the caller's canary.
        """
        chunks = ring.chunk_count(values.size, self.fields)
        laid = np.zeros((chunks, self.fields, ring.VALUES), dtype=np.int64)
        laid.reshape(-1)[: values.size] = values
        slots = np.zeros((chunks, ring.SLOTS), dtype=np.uint64)
        if self.fields == 1:
            slots[:, :-1] = np.mod(laid[:, 0], self.t).astype(np.uint64)
            return slots
        laid += 1 << (self.value_bits - 1)
        laid &= (1 << self.value_bits) - 1
        for field in range(self.fields):
            slots[:, :-1] |= (laid[:, field] << (field * self.field_bits)).astype(np.uint64)
        return slots

    def unpack(self, slots: U64, k: int, n_values: int) -> I64:
        """The summed values of ``k`` members.

        Args:
            slots: (chunks, 4096) sums of slots mod t; the canary slots are ignored.
            k: members of the attempt's cohort.
            n_values: how many values were packed.

        Returns:
            (n_values,) integers; with one field in ((1 − t)/2 … (t − 1)/2).

        Raises:
            ArgumentError: ``k`` members do not fit, or the number of chunks is another's.
        """
        self.check_cohort(k)
        if slots.shape != (ring.chunk_count(n_values, self.fields), ring.SLOTS):
            raise ArgumentError(
                f"{n_values} values do not lie in slots of shape {slots.shape}.",
                f"There must be {ring.chunk_count(n_values, self.fields)} chunks of {ring.SLOTS}.",
            )
        data = slots[:, :-1].astype(np.int64)
        if self.fields == 1:
            return np.where(data > self.t // 2, data - self.t, data).reshape(-1)[:n_values]
        mask, offset = (1 << self.field_bits) - 1, k << (self.value_bits - 1)
        laid = [((data >> (field * self.field_bits)) & mask) - offset for field in range(self.fields)]
        return np.stack(laid, axis=1).reshape(-1)[:n_values]


GAM = Packing(46)
"""One field of 46 bits: the sums of the additive model, up to 1,500 members."""

TORCH_PAIRS = Packing(48, fields=2, field_bits=24, value_bits=19)
"""Two values a slot (8.0 bytes a value on the wire), up to 32 members."""

TORCH_TRIPLES = Packing(48, fields=3, field_bits=16, value_bits=11)
"""Three values a slot (5.3 bytes a value), up to 32 members."""

SMALLEST_UPDATE_BITS = 15


def update_packing(members: int) -> Packing:
    """Updates of a torch module at t = 46 bits: 2 × 23 bits with as many bits a value as the members allow.

    Up to 256 members leave 15 bits or more; with more members it is one field a slot, like a GAM sum.
    """
    bits = 23 - max(1, (members - 1).bit_length())
    return GAM if bits < SMALLEST_UPDATE_BITS else Packing(46, fields=2, field_bits=23, value_bits=bits)


def update_limit(packing: Packing) -> int:
    """Largest value of an update that one member may send in this packing, both signs."""
    return (1 << ((packing.value_bits or SINGLE_UPDATE_BITS) - 1)) - 1


SINGLE_UPDATE_BITS = 30
"""Bits of an update alone in its slot: 1,500 members stay far below t/2."""
