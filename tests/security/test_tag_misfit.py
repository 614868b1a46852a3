"""Which ciphertext of a sum does not fit its tag: the one that everybody is asked for again."""

import numpy as np
import pytest

from fedrepay.shared.secure_sum.ring import COEFFICIENTS
from fedrepay.shared.secure_sum.tag import AttemptTags

TAG = AttemptTags(bytes(32), bytes(48), ("m0",))
CHUNKS = np.arange(3 * COEFFICIENTS, dtype=np.uint64).reshape(3, COEFFICIENTS)
TAGS = TAG.tags(CHUNKS, "m0")


@pytest.mark.parametrize(
    ("tags", "at"),
    [
        (TAGS, None),
        ([TAGS[0] ^ 1, *TAGS[1:]], 0),
        ([TAGS[0], TAGS[1] ^ 1, TAGS[2]], 1),
        ([*TAGS[:2], TAGS[2] ^ 1], 2),
        ([TAGS[0], TAGS[1] ^ 1, TAGS[2] ^ 1], 1),
        (TAGS[:2], 0),
        ([TAGS[0], TAGS[1] ^ 1], 0),
    ],
)
def test_the_first_that_does_not_fit_is_named(tags: list[int], at: int | None) -> None:
    assert TAG.first_misfit(CHUNKS, tags) == at
