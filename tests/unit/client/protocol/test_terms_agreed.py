"""A run is under the terms of the consortium that people at the member accepted, or it is refused before it costs anything."""

from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.protocol import accepted
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol.ceremony import offer
from fedrepay.shared.errors import Refusal
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import NOTHING, ConsortiumTerms
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Reply
from support import guard_view
from support.company import Company
from support.world import SCHEMA

BOOK = codebook.build(SCHEMA)


def consortium(**changed: Any) -> bytes:
    """A terms file that a run of this module's fits."""
    facts: dict[str, Any] = {
        "name": "x",
        "address": "a.example:443",
        "minimum_cohort": 4,
        "epsilon_per_release": 1.0,
        "epsilon_per_year": 3.0,
        "schemas": (BOOK.schema_hash.hex(),),
    }
    return agreement.write(ConsortiumTerms.model_validate(facts | changed))


MINE, OTHER = agreement.hashed(consortium()), bytes([2]) * 32


def said(company: Company, accepted: bytes | None, agreed: bytes, terms_file: bytes = consortium()) -> Reply:
    """What m0 answers to a run under these terms of the consortium."""
    roster = company.enrolled()
    if accepted is not None:
        company.store("m0").remember(agreed=accepted)
        (company.folder / "m0" / agreement.FILE).write_bytes(terms_file)
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
    return company.say("m0", "terms", offer(terms, roster, company.key).encode())


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
    reply = said(Company(tmp_path), accepted, agreed)
    assert (reply.code or reply.kind) == answer


@pytest.mark.parametrize(
    ("changed", "bound"),
    [
        ({"epsilon_per_release": 0.5}, "epsilon_per_release = 0.5: the run's is 1"),
        ({"epsilon_per_year": 0.3}, "epsilon_per_year = 0.3: it would bring a customer's year to"),
        ({"minimum_cohort": 5}, "minimum_cohort = 5: there are 4 members"),
        ({"colluders": 2}, "colluders = 2: the run bears 1"),
        ({"modes": ("none",)}, "modes = ['none']: the run's is 'distributed'"),
        ({"schemas": ("ab" * 32,)}, "schemas: "),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_coordinator_that_asks_for_more_than_was_accepted_is_refused_by_field_and_bound(
    tmp_path: Path, changed: dict[str, Any], bound: str
) -> None:
    """It names the right hash, and this member's own limits would allow the run."""
    asked = consortium(**changed)
    digest = agreement.hashed(asked)
    reply = said(Company(tmp_path), digest, digest, asked)
    assert (reply.kind, reply.code) == ("refused", "terms")
    assert bound in reply.cause
    control = said(Company(tmp_path / "control"), MINE, MINE)
    assert control.kind == "ok", "control: within the terms it is taken"


def test_a_terms_file_that_was_changed_or_is_gone_is_refused(tmp_path: Path) -> None:
    reply = said(Company(tmp_path), MINE, MINE, consortium(epsilon_per_release=50.0))
    assert (reply.code, "not the one that its people accepted" in reply.cause) == ("terms", True)
    assert str(tmp_path) not in reply.cause


def test_an_attempt_is_held_to_the_cohort_and_the_year_that_were_accepted(tmp_path: Path) -> None:
    store = MemberStore(tmp_path, lambda: 0.0)
    config = guard_view.changed(guard_view.CONFIG, cohort=guard_view.FOUR)
    limits = Limits(epsilon_per_year=9.0)
    accepted.check_attempt(store, config)  # control: nobody has agreed on terms
    assert accepted.tightened(store, limits).epsilon_per_year == 9.0
    for least in (4, 5):
        data = consortium(minimum_cohort=least)
        (tmp_path / agreement.FILE).write_bytes(data)
        store.remember(agreed=agreement.hashed(data))
        with pytest.raises(Refusal, match="under other terms"):
            accepted.check_attempt(store, config)
        config = guard_view.changed(config, agreed=agreement.hashed(data))
        if least == 4:
            accepted.check_attempt(store, config)
    with pytest.raises(Refusal, match="minimum_cohort = 5: it has 4 members") as refused:
        accepted.check_attempt(store, config)
    assert refused.value.code == "terms"
    assert accepted.tightened(store, limits).epsilon_per_year == 3.0
    assert accepted.tightened(store, Limits(epsilon_per_year=2.0)).epsilon_per_year == 2.0
