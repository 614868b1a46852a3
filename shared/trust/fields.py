"""The plain types that messages are made of, and their bounds."""

from typing import Annotated, Literal

from pydantic import Field

from fedrepay.shared.secure_sum.ring import Q

MAX_MEMBERS = 1500
MAX_CHUNKS = 1 << 14
"""Ciphertexts of one sum: 1 GB a member, above the largest module."""
Key = Annotated[bytes, Field(min_length=32, max_length=32)]
Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", max_length=63)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_MEMBERS)]
Small = Annotated[int, Field(ge=0, lt=2**31)]
Heads = Annotated[int, Field(ge=1, le=8)]
Tag = Annotated[int, Field(ge=0, lt=Q)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=MAX_CHUNKS)]
Hashes = Annotated[tuple[Digest, ...], Field(max_length=MAX_CHUNKS)]
Mode = Literal["distributed", "local", "none"]
LearnerName = Literal["dp-newton", "dp-surrogate", "dp-gd", "dp-sgd"]
GRAM_LEARNERS = ("dp-newton", "dp-surrogate")
"""Learners whose first sum is the Gram matrix."""
ModelName = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_]*)?$")
]
"""Of a torch module: a shipped one's name or ``module:Class``; compared, shown, and never imported."""
