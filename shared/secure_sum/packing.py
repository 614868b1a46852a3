"""Integers into slots mod t and back: one field a slot, or two or three where a public bound leaves room.

Nothing is refused because of its value: a value out of range runs into its neighbours, as post-processing of the noisy
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

    With one field a slot is the value's representative mod t, and a sum is read as centred. With more, a slot is
    Σⱼ (valueⱼ + offset)·baseʲ mod t, and K offsets are taken off each digit of the sum: single values may be negative,
    only sums must lie in 0 … base − 1.

    Attributes:
        t_bits: b of t = 2ᵇ.
        fields: values a slot, 1 to 3.
        base: what a field's sum must stay below; 0 with one field.
        offset: what a member adds to each of its values; 0 with one field.
        most: the most that one member is meant to add to a field, offset included; 0 with one field.

    Raises:
        ArgumentError: not even one member's fields fit below t.
    """

    t_bits: int
    fields: int = 1
    base: int = 0
    offset: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        several = 0 <= self.offset <= self.most and self.most > 0
        alone = self.base == self.offset == self.most == 0
        if not 1 <= self.fields <= 3 or not (alone if self.fields == 1 else several):
            raise ArgumentError(
                f"{self.fields} fields below {self.base}, {self.offset} to {self.most} from a member, cannot be packed.",
                "Take one field and no field sizes, or two or three fields and their sizes.",
            )
        self.check_cohort(1)

    @property
    def t(self) -> int:
        """The plain modulus."""
        return ring.plain_modulus(self.t_bits)

    def check_cohort(self, k: int) -> None:
        """Sums of ``k`` members decrypt rightly, no field runs into the next, and none wraps mod t.

        K·most < base and base^fields ≤ t.

        Raises:
            ArgumentError: too many members.
        """
        ring.check_cohort(self.t_bits, k)
        if self.fields > 1 and (k * self.most >= self.base or self.base**self.fields > self.t):
            raise ArgumentError(
                f"The sums of {k} members overflow {self.fields} fields below {self.base} in {self.t_bits} bits.",
                "Take fewer members, fewer fields, or smaller values.",
            )

    def filled(self, values: int) -> int:
        """How many slots, from the first on, hold one of ``values`` numbers or a canary; the rest but the very last are 0."""
        chunks = ring.chunk_count(values, self.fields)
        rest = values - (chunks - 1) * self.fields * ring.VALUES
        return (chunks - 1) * ring.SLOTS + min(rest, ring.VALUES)

    def pack(self, values: I64) -> U64:
        """One member's values as slots.

        Args:
            values: (n,) integers.

        Returns:
            (chunks, 4096) slots below t; the last of each chunk is 0, for the caller's canary.
        """
        chunks = ring.chunk_count(values.size, self.fields)
        laid = np.full((chunks, self.fields, ring.VALUES), -self.offset, dtype=np.int64)
        laid.reshape(-1)[: values.size] = values
        laid += self.offset
        slots = np.zeros((chunks, ring.SLOTS), dtype=np.uint64)
        for field in reversed(range(self.fields)):  # Horner; mod 2⁶⁴, of which t is a divisor
            slots[:, :-1] *= np.uint64(self.base)
            slots[:, :-1] += laid[:, field].view(np.uint64)
        slots &= np.uint64(self.t - 1)
        return slots

    def unpack(self, slots: U64, k: int, n_values: int) -> I64:
        """The summed values of ``k`` members.

        Args:
            slots: (chunks, 4096) sums of slots mod t; the canary slots are ignored.
            k: members of the attempt's cohort.
            n_values: how many values were packed.

        Returns:
            (n_values,) integers; with one field in (−t/2 … t/2 − 1).

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
            return np.where(data >= self.t // 2, data - self.t, data).reshape(-1)[:n_values]
        laid = np.empty((len(data), self.fields, ring.VALUES), dtype=np.int64)
        for field in range(self.fields):
            data, laid[:, field] = np.divmod(data, self.base)
        laid -= k * self.offset
        return laid.reshape(-1)[:n_values]


GAM = Packing(46)
"""One field of 46 bits: any sum of the additive model, up to 1,500 members."""

SMALLEST_UPDATE_BITS = 15


def pairs(members: int, most: int, offset: int) -> Packing:
    """Two fields a slot, in the largest plain modulus that a roster of so many members allows.

    Args:
        members: of the roster.
        most: the most that one of them adds to a field, ``offset`` included.
        offset: see :class:`Packing`.

    Raises:
        ArgumentError: they do not fit.
    """
    return Packing(
        ring.most_bits(members), 2, members * most + 1, offset, most
    )  # members · most < base, by its making


def update_packing(members: int) -> Packing:
    """Updates of a torch module at t = 2⁴⁶: 2 × 23 bits with as many bits a value as the members allow.

    Up to 256 members leave 15 bits or more; with more members it is one field a slot, like a GAM sum.
    """
    bits = 23 - max(1, (members - 1).bit_length())
    if bits < SMALLEST_UPDATE_BITS:
        return GAM
    return Packing(46, fields=2, base=1 << 23, offset=1 << (bits - 1), most=(1 << bits) - 1)


def update_limit(packing: Packing) -> int:
    """Largest value of an update that one member may send in this packing, both signs."""
    return (packing.offset or 1 << (SINGLE_UPDATE_BITS - 1)) - 1


SINGLE_UPDATE_BITS = 30
"""Bits of an update alone in its slot: 1,500 members stay far below t/2."""
