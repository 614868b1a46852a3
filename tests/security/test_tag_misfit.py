"""Which ciphertext of a sum does not fit its tag: the one that everybody is asked for again."""

import numpy as np
import pytest

from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.ring import COEFFICIENTS

SEED, CONTEXT = bytes(32), bytes(48)
CHUNKS = np.arange(3 * COEFFICIENTS, dtype=np.uint64).reshape(3, COEFFICIENTS)
TAGS = tag.tags(SEED, CONTEXT, CHUNKS, "m0")


@pytest.mark.parametrize(
    ("tags", "at"),
    [
        (TAGS, 0),
        ([TAGS[0] ^ 1, *TAGS[1:]], 0),
        ([TAGS[0], TAGS[1] ^ 1, TAGS[2]], 1),
        ([*TAGS[:2], TAGS[2] ^ 1], 2),
        ([TAGS[0], TAGS[1] ^ 1, TAGS[2] ^ 1], 1),
        (TAGS[:2], 0),
        ([TAGS[0], TAGS[1] ^ 1], 1),
    ],
)
def test_the_first_that_does_not_fit_is_named(tags: list[int], at: int) -> None:
    assert tag.first_misfit(SEED, CONTEXT, ["m0"], CHUNKS, tags) == at
