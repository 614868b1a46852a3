"""A roster's making at the coordinator: what begins another proposal, what that says, and what stops it."""

import pytest

from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import AGAIN, Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import CohortError, WordsError
from fedrepay.shared.trust.enrolment import Call
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Reply
from support.enrolling import NODE, NODES, called, close, give, given, honest, machine, refusal, until
from support.joining import ROSTER
from support.parties import ALL, OTHER, SEED, STRANGER, changed, told


@pytest.mark.parametrize("kind", ["propose", "reveal"])
def test_a_void_nonce_begins_another_proposal_a_few_times(kind: str) -> None:
    made = machine()
    for _ in range(AGAIN - 1):
        ask = until(made, kind)
        for node in ask.parts:
            give(made, ask, node, refusal(ask, node, "void") if node == "nm1" else honest(ask, node))
        assert close(made, ask) == [Event("void", "", b"")]
        assert made.ask() == Ask(Kind.CALL, {})
    ask = until(made, kind)
    give(made, ask, "nm1", refusal(ask, "nm1", "void"))
    with pytest.raises(CohortError, match="void: because"):
        made.finish(ask)


def test_another_refusal_stops_it_and_says_why() -> None:
    made = machine()
    ask = until(made, "reveal")
    for node in ask.parts:
        give(made, ask, node, refusal(ask, node, "roster") if node == "nm1" else honest(ask, node))
    with pytest.raises(CohortError, match=r"\(reveal\) lacks 1 of 5 nodes: m1: roster: because"):
        made.finish(ask)


def test_the_predecessor_is_the_one_that_most_hold() -> None:
    made = machine()
    ask = until(made, "reveal")
    for node, known in zip(ask.parts, (SEED, OTHER, SEED, b"short", SEED), strict=True):
        events = give(made, ask, node, refusal(ask, node, "roster", known))
        assert events == ([] if known == b"short" else [Event("before", node, known)])
    assert close(made, ask) == [Event("void", "", b"")]
    until(made, "propose")
    assert called(made).predecessor == SEED


def numbered(*numbers: bytes) -> int:
    """The next number called for, after members said that they have signed these."""
    made = machine()
    ask = until(made, "propose")
    for node, number in zip(ask.parts, numbers, strict=False):
        give(made, ask, node, refusal(ask, node, "number", number))
    close(made, ask)
    until(made, "propose")
    return called(made).number


def test_a_number_is_believed_if_more_say_it_than_may_lie_or_our_signature_proves_it() -> None:
    far, near = (2**31 - 2).to_bytes(4, "big"), (8).to_bytes(4, "big")
    assert numbered(far) == 2  # another one than the last, whose nonces are void
    assert numbered(far, near) == 9
    proof = told(changed(Call.model_validate(dict(CALLED)), number=40)).encode()
    assert numbered(far + proof) == 41
    forged = Signed.make(STRANGER.signing, changed(CALLED, number=40)).encode()
    assert numbered(near + forged) == 2
    assert numbered(near + forged, near + forged) == 9


@pytest.mark.parametrize(("last", "following"), [(999, 1000), (1000, 1)])
def test_a_call_goes_no_further_than_members_follow(last: int, following: int) -> None:
    made = machine()
    made.state.apply(Event("call", "", told(changed(CALLED, number=last)).encode()))
    made.state.apply(Event("void", "", b""))
    until(made, "propose")
    assert called(made).number == following


CALLED = Call(number=3, coordinator=ROSTER.coordinator, predecessor=OTHER, released=0, release=OTHER)


def test_a_proposal_of_nodes_that_are_gone_is_void() -> None:
    made = machine()
    until(made, "reveal")
    fewer = machine([Node(NODE[name], name) for name in ALL[1:]])
    fewer.state = made.state
    assert fewer.ask() == Ask(Kind.VOID, {})
    assert close(fewer, Ask(Kind.VOID, {})) == [Event("void", "", b"")]


def test_a_node_that_is_gone_before_all_have_joined_voids_nothing() -> None:
    made = machine()
    ask = until(made, "propose")
    give(made, ask, "nm0", honest(ask, "nm0"))
    fewer = machine([Node(NODE[name], name) for name in ALL[1:]])
    fewer.state = made.state
    again = fewer.ask()
    assert again is not None
    assert (again.kind, len(again.parts)) == ("propose", 4)


# --- what voids none ---


def stranger_s(ask: Ask, node: str, code: str) -> Signed:
    """A refusal in a member's name, that another has signed."""
    return Signed.make(STRANGER.signing, Reply.decode(refusal(ask, node, code).body))


def one_refuses(made: Enrolment, ask: Ask, signed: Signed) -> None:
    """The node of m1; all others are honest."""
    for node in ask.parts:
        assert give(made, ask, node, signed if node == "nm1" else honest(ask, node)) == [] or node != "nm1"


@pytest.mark.parametrize("kind", ["reveal", "approve"])
def test_nobody_voids_a_proposal_in_a_member_s_name(kind: str) -> None:
    made = machine()
    ask = until(made, kind)
    one_refuses(made, ask, stranger_s(ask, "nm1", "void"))
    with pytest.raises(CohortError, match="does not verify"):
        made.finish(ask)


@pytest.mark.parametrize("body", [SEED, bytes(4) + SEED], ids=["predecessor", "release"])
@pytest.mark.parametrize(
    ("kind", "code"), [("propose", "roster"), ("approve", "roster"), ("reveal", "message")]
)
def test_what_one_holds_counts_where_it_says_no_to_the_proposal_for_that(
    kind: str, code: str, body: bytes
) -> None:
    made = machine()
    ask = until(made, kind)
    one_refuses(made, ask, refusal(ask, "nm1", code, body))
    with pytest.raises(CohortError, match=f"{code}: because"):
        made.finish(ask)


def test_a_void_is_of_one_proposal() -> None:
    """Who is silent in the next stops it."""
    made = machine()
    ask = until(made, "reveal")
    one_refuses(made, ask, refusal(ask, "nm1", "void"))
    assert close(made, ask) == [Event("void", "", b"")]
    ask = until(made, "reveal")
    with pytest.raises(CohortError, match="lacks 5 of 5 nodes"):
        made.finish(ask)


def test_a_new_process_voids_nothing_of_its_own() -> None:
    before, made = machine(), machine()
    until(before, "reveal")
    made.state = before.state
    ask = made.ask()
    assert ask is not None
    with pytest.raises(CohortError, match="lacks 5 of 5 nodes"):
        made.finish(ask)


def test_who_refuses_a_certificate_voids_no_proposal() -> None:
    made = machine(wanted=True)
    given(made, ROSTER)
    ask = until(made, "certify")
    one_refuses(made, ask, refusal(ask, "nm1", "void"))
    assert close(made, ask) == []
    ask = until(made, "propose")
    with pytest.raises(CohortError, match="lacks 5 of 5 nodes"):
        made.finish(ask)


def test_a_node_that_did_not_join_is_called_as_it_is_registered_or_by_its_number() -> None:
    for name, said in (("m1", "m1: gone"), ("", "node nm1: gone")):
        made = machine([Node(node, name if node == "nm1" else "") for node in NODES])
        ask = until(made, "propose")
        made.receive(ask, "nm1", None, "gone")
        for node in ask.parts:
            if node != "nm1":
                give(made, ask, node, honest(ask, node))
        with pytest.raises(CohortError, match=f"nodes: {said}"):
            made.finish(ask)


# --- the release ---


def released(*bodies: bytes) -> Enrolment:
    """After members said that they hold these releases, where their machine knows another."""
    made = machine()
    ask = until(made, "reveal")
    for node, body in zip(ask.parts, bodies, strict=False):
        assert give(made, ask, node, refusal(ask, node, "roster", body)) == []
    assert close(made, ask) == [Event("void", "", b"")]
    until(made, "propose")
    return made


def test_the_next_call_tells_of_the_release_that_most_hold() -> None:
    of_258, last = (258).to_bytes(4, "big") + OTHER, (2**31 - 1).to_bytes(4, "big") + SEED
    call = called(released(of_258, last, of_258))
    assert (call.released, call.release) == (258, OTHER)
    assert called(released(last)).released == 2**31 - 1


def test_a_release_that_no_run_can_have_is_nobody_s() -> None:
    made = machine()
    ask = until(made, "reveal")
    one_refuses(made, ask, refusal(ask, "nm1", "roster", (2**31).to_bytes(4, "big") + SEED))
    with pytest.raises(CohortError, match="tells of release 2147483648"):
        made.finish(ask)


def test_who_voids_what_is_to_be_approved_again_is_named() -> None:
    made = machine()
    for time in (1, 2):
        ask = until(made, "approve")
        for node in list(ask.parts)[1:]:
            give(made, ask, node, refusal(ask, node, "roster"))
        liar = next(iter(ask.parts))
        give(made, ask, liar, refusal(ask, liar, "void"))
        if time == 1:
            assert close(made, ask) == [Event("void", "", b"")]
    with pytest.raises(WordsError, match=f"{made._called(liar)}: void"):
        made.finish(ask)


def test_who_approved_a_proposal_that_became_void_is_asked_for_the_next() -> None:
    made = machine()
    ask = until(made, "approve")
    first, second, *_ = ask.parts
    give(made, ask, first, honest(ask, first))
    give(made, ask, second, refusal(ask, second, "void"))
    assert close(made, ask) == [Event("void", "", b"")]
    assert set(until(made, "approve").parts) == set(ask.parts)


def test_a_second_void_of_one_takes_nothing_from_a_first_of_another() -> None:
    made = machine()
    ask = until(made, "approve")
    liar, other, *_ = ask.parts
    give(made, ask, liar, refusal(ask, liar, "void"))
    assert close(made, ask) == [Event("void", "", b"")]
    again = until(made, "approve")
    for node in (other, liar):
        give(made, again, node, refusal(again, node, "void"))
    assert close(made, again) == [Event("void", "", b"")]
