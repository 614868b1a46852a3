"""An invitation is one line that tells when it was cut; the words tell whose keys asked to join."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.joining import Invitation, words
from support.newcomers import Newcomer

MADE = Invitation(
    address="consortium.example:443", name="bank-a", authority=bytes(range(32)), secret=bytes(range(16))
)


def test_it_is_one_line_and_read_again() -> None:
    token = MADE.token()
    assert token.isascii()
    assert not set(token) & set(" \n\t'\"$`\\=/+")
    assert Invitation.read(f"  {token}\n") == MADE


@given(st.integers(0, len(MADE.token()) - 1), st.sampled_from("abcXYZ019-_."))
def test_a_mistyped_one_is_told(at: int, letter: str) -> None:
    token = MADE.token()
    wrong = token[:at] + letter + token[at + 1 :]
    if wrong == token:
        return
    try:
        read = Invitation.read(wrong)
    except ArgumentError:
        return
    assert read == MADE, "the last letter's spare bits mean nothing"


@pytest.mark.parametrize(
    "text", ["", "fedrepay1.", "fedrepay2.abc", MADE.token()[:-6], "fedrepay1.é", "fedrepay1.@@@@"]
)
def test_what_is_no_invitation(text: str) -> None:
    with pytest.raises(ArgumentError):
        Invitation.read(text)


def test_words_cover_keys_request_and_authority() -> None:
    one, other = Newcomer("bank-a"), Newcomer("bank-a")
    request = one.csr()
    shown = words(one.entry(), request, bytes(32))
    assert len(shown.split()) == 12
    assert shown == words(one.entry(), request, bytes(32))
    others = {
        words(other.entry(), request, bytes(32)),
        words(one.entry(), other.csr(), bytes(32)),
        words(one.entry(), request, bytes([1] * 32)),
        words(one.entry(name="bank-b"), request, bytes(32)),
    }
    assert len(others | {shown}) == 5


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_one_to_a_port_that_there_is_not_is_none(port: int) -> None:
    """`member join` ended in a traceback."""
    token = MADE.model_copy(update={"address": f"consortium.example:{port}"}).token()
    with pytest.raises(ArgumentError, match="no invitation"):
        Invitation.read(token)
    good = MADE.model_copy(update={"address": "consortium.example:65535"})
    assert Invitation.read(good.token()) == good, "control"
