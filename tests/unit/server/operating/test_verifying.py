"""Everything that is signed verifies; a database in which one signed thing was changed is found out, and the thing is named."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from fedrepay.server.admission.registry import Registry
from fedrepay.server.database.where import chosen
from fedrepay.server.keyring import load_key
from fedrepay.server.operating import verifying
from fedrepay.server.operating.verifying import Verified
from fedrepay.shared import keys
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.terms import NumberedTerms
from support import liars
from support.consortium import Consortium, unencrypted
from support.newcomers import Newcomer
from support.operated import operated, released


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


@pytest.fixture
def home(tmp_path: Path) -> Consortium:
    """After a run in which a sum was looked into, and with somebody who asked to join."""
    made = operated(tmp_path, {"m4": liars.WrongTag()})
    released(made)
    registry = Registry(made.operator)
    invitation = registry.invite("bank-z", "a.example:443", bytes(32))
    agreed = agreement.hashed((made.operator / "terms.toml").read_bytes())
    assert registry.join(Newcomer("bank-z").asks(invitation, agreed=agreed)).state == "waiting"
    return made


def verified(home: Consortium) -> list[Verified]:
    public = keys.public_bytes(load_key(home.operator))
    return verifying.verify(home.database, Registry(home.operator), public)


def change(home: Consortium, table: str, where: str, column: str = "body") -> None:
    """One byte of the last signature, or of the body, of one row."""
    with sa.create_engine(chosen(home.operator)).begin() as connection:
        row = connection.execute(sa.text(f"select rowid, {column} from {table} where {where} limit 1")).one()
        body = bytearray(row[1])
        body[-1] ^= 1
        connection.execute(
            sa.text(f"update {table} set {column} = :body where rowid = :row"),
            {"body": bytes(body), "row": row[0]},
        )


def test_an_honest_database_verifies_whole(home: Consortium) -> None:
    found = verified(home)
    assert [each for each in found if each.wrong] == []
    what = {each.what.rpartition(": ")[2] for each in found}
    assert what >= {
        *(
            "call",
            "joining",
            "revealed",
            "approval",
            "roster",
            "request to join",
        ),
        *("call for the epoch", "answer:hello", "answer:introduce", "answer:seed", "answer:confirm"),
        *("attempt", "header", "sum", "verdict", "closing", "written", "vote", "votes"),
    }


@pytest.mark.parametrize(
    ("table", "where", "column", "what"),
    [
        ("events", "kind = 'joining'", "body", "roster: joining"),
        ("events", "kind = 'approval'", "body", "roster: approval"),
        ("events", "kind = 'revealed'", "body", "roster: revealed"),
        ("events", "kind = 'roster'", "body", "roster: roster"),
        ("events", "kind = 'header'", "body", "run 1: header"),
        ("events", "kind = 'vote'", "body", "run 2: vote"),
        ("events", "kind = 'verdict'", "body", "run 1: verdict"),
        ("events", "kind = 'attempt'", "body", "run 1: attempt"),
        ("events", "kind = 'closing'", "body", "run 2: closing"),
        ("events", "kind = 'answer:confirm'", "body", "run 1: answer:confirm"),
        ("members", "name = 'bank-z'", "joining", "request to join"),
    ],
)
def test_what_was_changed_is_named(home: Consortium, table: str, where: str, column: str, what: str) -> None:
    change(home, table, where, column)
    wrong = [each.what for each in verified(home) if each.wrong]
    assert what in wrong


def test_other_terms_than_members_agreed_to_are_found_out(home: Consortium) -> None:
    terms, _ = home.database.runs()
    changed = NumberedTerms.model_validate(terms.model_dump() | {"epsilon": 0.1})
    with sa.create_engine(chosen(home.operator)).begin() as connection:
        connection.execute(sa.text("update runs set plan = :plan where run = 1"), {"plan": changed.encode()})
    wrong = {each.what: each.wrong for each in verified(home) if each.wrong}
    assert "other terms" in wrong["run 1: call for the epoch"]
    assert "run 1: attempt" in wrong


def test_bytes_that_are_nothing_any_more_are_found_out(home: Consortium) -> None:
    for kind in ("roster", "joining", "sum", "introduction"):
        with sa.create_engine(chosen(home.operator)).begin() as connection:
            connection.execute(sa.text("update events set body = x'00' where kind = :kind"), {"kind": kind})
        assert [each for each in verified(home) if each.wrong], kind


def test_another_coordinators_key_verifies_nothing_of_its_own(home: Consortium) -> None:
    (home.operator / "coordinator.key").unlink()
    load_key(home.operator)
    wrong = {each.what for each in verified(home) if each.wrong}
    assert wrong == {"roster: the coordinator's key"}
