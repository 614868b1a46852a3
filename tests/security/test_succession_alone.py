"""From one roster to the next: each check alone, with messages made by hand; and what would pass without it."""

from typing import Any

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import enrolment, succession
from fedrepay.shared.trust.enrolment import Call, Proposal
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked, Roster
from fedrepay.shared.trust.succession import Changes, Leaving, Rotation, changes, revokers, signers
from support.joining import CALL, ROSTER, approval, certificate, entry, joining
from support.parties import ALL, OTHER, PEOPLE, SEED, STRANGER, by, changed, told

RENEWED = Identity("m1", STRANGER.signing, STRANGER.sealing, b"")
JOINER = Identity.create("m7")
OLD = {name: PEOPLE[name].entry().signing for name in ALL}


def following(*out: str, joins: tuple[Any, ...] = (), revoked: tuple[str, ...] = (), **fields: Any) -> Roster:
    """The roster after ``ROSTER``, without these and with others."""
    members = {each.name: each for each in (*ROSTER.members, *joins)}
    kept = tuple(members[name] for name in sorted(members) if name not in (*out, *revoked))
    said = {
        "number": 4,
        "predecessor": ROSTER.hash(),
        "members": kept,
        "nonces": (SEED,) * len(kept),
        "revoked": tuple(Revoked(name=name, reason="left the market") for name in revoked),
    }
    return Roster.model_validate(dict(changed(ROSTER, **(said | fields))))


def leaving(of: str, /, signer: str = "", **fields: Any) -> Signed:
    return by(signer or of, changed(Leaving(roster=ROSTER.hash(), name=of), **fields))


def rotation(of: str = "m1", /, signer: str = "", **fields: Any) -> Signed:
    made = Rotation(roster=ROSTER.hash(), name=of, signing=keys.public_bytes(RENEWED.signing))
    return by(signer or of, changed(made, **fields))


# --- what people see ---


def test_what_changes_is_told_apart() -> None:
    made = following("m0", joins=(JOINER.entry(), RENEWED.entry()), revoked=("m4",))
    found = changes(ROSTER, made)
    assert found == Changes(("m7",), ("m0",), (("m4", "left the market"),), ("m1",))
    assert str(found) == "revoked: m4 (left the market); leave: m0; join: m7; with new keys: m1"
    resealed = entry("m2", sealing=keys.public_bytes(JOINER.sealing))
    assert changes(ROSTER, following(joins=(resealed,))).rekeyed == ("m2",)
    signing = entry("m2", signing=keys.public_bytes(JOINER.signing))
    assert changes(ROSTER, following(joins=(signing,))).rekeyed == ("m2",)
    assert str(changes(ROSTER, changed(ROSTER, revoked=(Revoked(name="m9"),)))) == "revoked: m9"


def test_nothing_changes_and_all_are_new() -> None:
    assert str(changes(ROSTER, following())) == ""
    assert changes(None, ROSTER) == Changes(ALL, (), (), ())


def test_more_than_half_revoke_and_more_than_may_collude() -> None:
    assert [revokers(size) for size in (3, 4, 5, 10, 11, 1500)] == [2, 3, 3, 6, 6, 751]


# --- who must sign ---


def test_who_left_or_is_revoked_need_not_sign() -> None:
    assert signers(following(), ROSTER, (), ()) == OLD
    assert signers(following("m4"), ROSTER, (), ()) == OLD, "left out, and asked all the same"
    assert set(signers(following("m4"), ROSTER, (leaving("m4"),), ())) == set(ALL[:4])
    assert set(signers(following(revoked=("m3", "m4")), ROSTER, (), ())) == set(ALL[:3])
    both = following("m4", joins=(JOINER.entry(),), revoked=("m3",))
    assert set(signers(both, ROSTER, (leaving("m4"),), ())) == {*ALL[:3], "m7"}


def test_so_many_leave_as_wish_to() -> None:
    made = following("m2", "m3", "m4", joins=(JOINER.entry(),))
    left = tuple(leaving(name) for name in ("m2", "m3", "m4"))
    assert set(signers(made, ROSTER, left, ())) == {"m0", "m1", "m7"}


def test_no_more_leave_than_there_can_be() -> None:
    fields = dict(CALL) | {"leaving": (leaving("m4"),) * 1500}
    assert len(Call.model_validate(fields).leaving) == 1500
    with pytest.raises(ValueError, match="at most 1500"):
        Call.model_validate(fields | {"leaving": (leaving("m4"),) * 1501})


def test_a_renewed_key_signs_in_the_old_ones_place() -> None:
    made = following(joins=(RENEWED.entry(),))
    found = signers(made, ROSTER, (), (rotation(),))
    assert found == OLD | {"m1": RENEWED.entry().signing}
    resealed = entry("m2", sealing=keys.public_bytes(JOINER.sealing))
    assert signers(following(joins=(resealed,)), ROSTER, (), ()) == OLD, (
        "the sealing key is its own to change"
    )


WITHOUT = following("m4")
REVOKING = following(revoked=("m4",))
RENEWING = following(joins=(RENEWED.entry(),))


@pytest.mark.parametrize(
    ("made", "left", "renewed", "cause"),
    [
        (WITHOUT, (leaving("m4", roster=OTHER),), (), "m4 left another roster"),
        (WITHOUT, (leaving("m4", "m3"),), (), "does not verify"),
        (WITHOUT, (leaving("m4"), leaving("m4")), (), "left twice"),
        (WITHOUT, (leaving("m4"), leaving("m0")), (), "m0, who is in the roster"),
        (REVOKING, (leaving("m4"),), (), "revoked, or left twice"),
        (WITHOUT, (leaving("m4", name="m9"),), (), "'m9' is not in the roster"),
        (RENEWING, (), (), "key of m1 changed without"),
        (RENEWING, (), (rotation(roster=OTHER),), "m1 changed its key in another roster"),
        (RENEWING, (), (rotation("m1", "m2"),), "does not verify"),
        (RENEWING, (), (rotation(signing=SEED),), "m1 that is not to its key"),
        (RENEWING, (), (rotation(), rotation()), "m1 that is not to its key"),
        (RENEWING, (), (rotation(), rotation("m2")), "m2 that is not to its key"),
        (following(), (), (rotation("m1", signing=OLD["m1"]),), "m1 that is not to its key"),
        (following("m1"), (leaving("m1"),), (rotation(),), "m1 that is not to its key"),
        (following(joins=(JOINER.entry(),), revoked=("m2", "m3", "m4")), (), (), "2 of 5 members would revoke"),
        (following("m4", joins=(JOINER.entry(),), revoked=("m2", "m3")), (leaving("m4"),), (), "2 of 5 members would revoke"),
        (changed(REVOKING, revoked=(Revoked(name="m9"),)), (), (), "m9: revoked, and not in the roster before"),
        (
            following(joins=(entry("m4", name="m8"),), revoked=("m4",)),
            (),
            (),
            "m4 is revoked, and its key is in the roster as m8's",
        ),
    ],
    ids=[
        *("leaving another", "another's leaving", "left twice", "stays", "leaves and is revoked", "stranger"),
        *("no rotation", "rotation in another", "another's rotation", "to another key", "rotated twice"),
        *("rotation of one who keeps its key", "to its own key", "rotated and gone"),
        *("too few revoke", "too few are left to revoke", "revoked stranger", "back under another name"),
    ],
)  # fmt: skip
def test_another_succession_is_refused(
    made: Roster, left: tuple[Signed, ...], renewed: tuple[Signed, ...], cause: str
) -> None:
    with pytest.raises(ProtocolError, match=cause):
        signers(made, ROSTER, left, renewed)


def test_all_this_is_for_the_direct_successor_alone() -> None:
    """Who holds an older roster knows nothing of the one between: everybody it knows has signed, or it does not follow."""
    made = changed(REVOKING, predecessor=SEED)
    assert signers(made, ROSTER, (leaving("m3"),), (rotation(),)) == OLD
    assert "m4" in signers(changed(WITHOUT, predecessor=SEED), ROSTER, (leaving("m4"),), ())
    with pytest.raises(ProtocolError, match="key of m1 changed"):
        signers(changed(RENEWING, predecessor=SEED), ROSTER, (), (rotation(),))


def test_a_newcomer_believes_the_words_and_a_first_roster_has_none_before() -> None:
    assert set(signers(REVOKING, None, (leaving("m4"),), ())) == set(ALL[:4])
    first = changed(ROSTER, predecessor=bytes(32))
    assert signers(first, None, (), ()) == OLD
    for made, left, renewed in (
        (first, (leaving("m4"),), ()),
        (first, (), (rotation(),)),
        (changed(first, revoked=(Revoked(name="m9"),)), (), ()),
    ):
        with pytest.raises(ProtocolError, match="in a first roster"):
            signers(made, None, left, renewed)


@pytest.mark.parametrize(
    ("key", "said", "cause"),
    [
        (PEOPLE["m1"].entry(), None, ""),
        (RENEWED.entry(), rotation(), ""),
        (JOINER.entry(), None, ""),
        (RENEWED.entry(), None, "key of m1 changed"),
        (RENEWED.entry(), rotation("m1", "m2"), "does not verify"),
        (PEOPLE["m1"].entry(), rotation(), "not to its key"),
        (JOINER.entry(), rotation(), "not to its key"),
    ],
)
def test_the_key_of_one_who_joins(key: Any, said: Signed | None, cause: str) -> None:
    if not cause:
        succession.check_key(key, ROSTER, said)
        return
    with pytest.raises(ProtocolError, match=cause):
        succession.check_key(key, ROSTER, said)


# --- a certificate of all this ---


def test_a_certificate_carries_what_stands_in_for_approvals() -> None:
    made = following("m4", joins=(RENEWED.entry(),), revoked=("m3",))
    said = {"leaving": (leaving("m4"),), "rotations": (rotation(),)}
    kept = certificate(made, ("m0", "m2", "m1"), **said)
    ours = Signed.make(RENEWED.signing, enrolment.Approval(roster=made.hash(), name="m1"))
    whole = changed(kept, approvals=(*kept.approvals[:2], ours))
    assert enrolment.certified(whole, ROSTER) == made
    assert enrolment.certified(changed(whole, leaving=(), rotations=()), None) == made, (
        "a newcomer sees the words"
    )
    for lacking, cause in (
        (changed(whole, leaving=()), "No approval by m4"),
        (changed(whole, rotations=()), "key of m1 changed"),
        (changed(whole, approvals=whole.approvals[:2]), "No approval by m1"),
        (
            changed(whole, approvals=(*whole.approvals, approval("m3", roster=made))),
            "doubled or from outside",
        ),
    ):
        with pytest.raises(ProtocolError, match=cause):
            enrolment.certified(lacking, ROSTER)


def proposal(call: Call, *names: str, renews: Signed | None = None) -> bytes:
    signed = told(call)
    said = {name: joining(name, call=signed.digest()) for name in names}
    if renews is not None:
        made = {"entry": RENEWED.entry(), "rotation": renews, "call": signed.digest()}
        said["m1"] = joining("m1", RENEWED, **made)
    return Proposal(call=signed, joinings=tuple(said[name] for name in names)).encode()


NEXT = changed(CALL, number=4, predecessor=ROSTER.hash())


@pytest.mark.parametrize(
    ("call", "names", "cause"),
    [
        (changed(NEXT, revoked=(Revoked(name="m4"), Revoked(name="m3"))), ALL[:3], "not sorted"),
        (changed(NEXT, revoked=(Revoked(name="m4"),)), ALL, "m4: revoked, and in the roster"),
        (changed(NEXT, leaving=(leaving("m4"),)), ALL, "leaves is named twice"),
        (changed(NEXT, leaving=(leaving("m4"), leaving("m3"))), ALL[:3], "leaves is named twice"),
        (
            changed(NEXT, leaving=(leaving("m4"),), revoked=(Revoked(name="m4"),)),
            ALL[:4],
            "leaves is named twice",
        ),
    ],
)
def test_a_call_names_who_goes_once_and_who_joins_stays(
    call: Call, names: tuple[str, ...], cause: str
) -> None:
    with pytest.raises(ProtocolError, match=cause):
        enrolment.checked(proposal(call, *names))


def test_in_a_first_roster_nobody_goes_or_changes_its_key() -> None:
    """A member that said so would have everybody refuse the certificate, after all had signed."""
    for message in (
        proposal(changed(CALL, revoked=(Revoked(name="m4"),)), *ALL[:4]),
        proposal(changed(CALL, leaving=(leaving("m4"),)), *ALL[:4]),
        proposal(CALL, *ALL, renews=rotation()),
    ):
        with pytest.raises(ProtocolError, match="in a first roster"):
            enrolment.checked(message)


def test_a_proposal_follows_if_it_can_come_into_force() -> None:
    gone = changed(NEXT, leaving=(leaving("m4"),), revoked=(Revoked(name="m3"),))
    enrolment.check_follows(proposal(gone, *ALL[:3], renews=rotation()), ROSTER)
    for message, cause in (
        (proposal(NEXT, *ALL[:4]), "m4 of the roster before: left out"),
        (proposal(gone, *ALL[:3], renews=rotation("m1", "m2")), "does not verify"),
        (proposal(changed(NEXT, leaving=(leaving("m4", "m3"),)), *ALL[:4]), "does not verify"),
    ):
        with pytest.raises(ProtocolError, match=cause):
            enrolment.check_follows(message, ROSTER)
