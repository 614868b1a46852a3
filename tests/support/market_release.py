"""A signed release over the debt market's schema, without a run."""

from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.trust import Trust
from fedrepay.shared import keys
from fedrepay.shared.arrays import F64
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.wire import ReleaseVote, Votes
from support.adversary import roster_of
from support.market_accounts import market_book


def market_weights(book: CodeBook, seed: int = 6) -> F64:
    """Two heads that like headroom and dislike large instalments, with some noise."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.6, (book.heads, book.dimension))
    for block, columns in zip(book.blocks, book.slices, strict=True):
        if block.name == "headroom":
            weights[:, columns] += np.linspace(-8, 8, columns.stop - columns.start)
    weights[:, book.slices[-1]] = -2.0
    return weights


def roster_words(folder: Path) -> str:
    """What people at the members of this release's roster would read to each other by telephone."""
    return ReleaseContent.decode((folder / release_file.RELEASE).read_bytes()).roster.code()


def compared(folder: Path) -> Trust:
    """What a person knows who has compared the roster of the release in this folder."""
    return Trust(words=roster_words(folder))


def write_release(
    folder: Path, book: CodeBook | None = None, *, not_private: str | None = None, simulated: bool = False
) -> CodeBook:
    """Write ``release.safetensors`` and ``votes.msgpack``; returns the book."""
    book = book or market_book()
    people = [Identity.create(name) for name in ("ada", "bob", "cyd")]
    roster = roster_of([each.entry() for each in people], keys.public_bytes(Ed25519PrivateKey.generate()))
    statement: dict[str, Any] = {"epsilon": 1.0, "unit": "customer", "delta": 1e-7}
    statement |= {"epsilon_by_memberships": {"1": 1.0, "2": 2.0972, "3": 3.2501}}
    statement = (statement if not_private is None else {"not_private": not_private}) | {"colluders": 1}
    made = ReleaseContent(
        number=3,
        weights=market_weights(book),
        sums=(np.zeros(1, np.int64),),
        schema=book.schema_bytes,
        codebook=book.codebook_bytes,
        roster=roster,
        card={
            "learner": "dp-gd",
            "heads": [each.name for each in book.schema.outcomes],
            "simulated": simulated,
        },
        statement=statement,
    )
    data = made.encode()
    votes = [
        Signed.make(each.signing, ReleaseVote(run=3, name=each.name, release=keys.digest(data)))
        for each in people
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / release_file.RELEASE).write_bytes(data)
    (folder / release_file.VOTES).write_bytes(Votes(run=3, signed=tuple(votes)).encode())
    return book
