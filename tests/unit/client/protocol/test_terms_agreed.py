"""A run is under the terms of the consortium that people at the member accepted, or it is refused before it costs anything."""

from pathlib import Path

import pytest

from fedrepay.server.protocol.ceremony import offer
from fedrepay.shared.trust.agreement import NOTHING
from fedrepay.shared.trust.terms import NumberedTerms
from support.company import Company

MINE, OTHER = bytes([1]) * 32, bytes([2]) * 32


def said(company: Company, accepted: bytes | None, agreed: bytes) -> str:
    """What m0 answers to a run under these terms of the consortium."""
    roster = company.enrolled()
    if accepted is not None:
        company.store("m0").remember(agreed=accepted)
    book = company.book
    terms = NumberedTerms(
        run=1,
        schema_hash=book.schema_hash,
        mode="distributed",
        learner="dp-newton",
        dimension=book.dimension,
        heads=book.heads,
        epsilon=1.0,
        delta=1e-6,
        colluders=1,
        rounds=5,
        agreed=agreed,
    )
    reply = company.say("m0", "terms", offer(terms, roster, company.key).encode())
    return reply.code or reply.kind


@pytest.mark.parametrize(
    ("accepted", "agreed", "answer"),
    [
        (None, NOTHING, "ok"),
        (MINE, MINE, "ok"),
        (MINE, OTHER, "terms"),
        (MINE, NOTHING, "terms"),
        (None, MINE, "terms"),
    ],
)
def test_a_run_is_under_the_terms_that_were_accepted(
    tmp_path: Path, accepted: bytes | None, agreed: bytes, answer: str
) -> None:
    assert said(Company(tmp_path), accepted, agreed) == answer
