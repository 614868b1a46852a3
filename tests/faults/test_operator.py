"""From whatever state: what the errors print leads the honest to a release (B24).

The operator is ``support.consortium.Policy``: it reads causes and remedies, and knows nothing else. One of five members
lies, in one way a test; those marked as failing are dead ends that stand in the issue tracker.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import enrolment
from fedrepay.server.keyring import load_key
from fedrepay.server.protocol import held
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError
from fedrepay.shared.trust.enrolment import Approval, Certificate
from fedrepay.shared.trust.handshake import Confirmation, EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import SealedRelease, Written
from support import liars
from support.consortium import Consortium, Mind, Policy, unencrypted

EVIL = "m4"
HONEST = {"m0", "m1", "m2", "m3"}


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    """The stand-in; closed, it is real BFV."""
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


def consortium(folder: Path, mind: Mind | None = None, *, writer: bool = False) -> Consortium:
    minds = {} if mind is None else {EVIL: mind}
    return Consortium(folder / "c", minds=minds, first=(EVIL,) if writer else (), quick=True)


def goes_on(home: Consortium, *, new_run: bool = False) -> Policy:
    """The operator comes to a release of all who are honest, and all that was sent is paid."""
    policy = Policy(home)
    run = policy.release(new_run=new_run)
    assert home.holders(run) >= set(home.honest()) - home.stopped
    home.check_paid()
    return policy


def zeros(*fields: str) -> Callable[[object], dict[str, object]]:
    return lambda message: {name: bytes(len(getattr(message, name))) for name in fields}


LIARS: dict[str, tuple[Callable[[], Mind], str]] = {
    "honest": (Mind, ""),
    "silent": (liars.Silent, ""),
    "a mask key of low order": (lambda: liars.Hello(mask=bytes(32)), ""),
    "an envelope key of low order": (lambda: liars.Hello(envelope=bytes(32)), ""),
    "copied keys": (liars.Hello, ""),
    "wrong tags": (liars.WrongTag, f"{EVIL}: found at fault by"),
    "a wrong confirmation": (
        lambda: liars.Changed("confirm", Confirmation, zeros("mac")),
        f"{EVIL} confirmed another seed",
    ),
    "refuses the seed": (lambda: liars.Refusing("confirm", "seed"), f"{EVIL}: seed"),
    "another second polynomial": (liars.WrongSeed, f"{EVIL}: found at fault by"),
    "refuses headers": (lambda: liars.Refusing("prepare", "headers", skip=1), ""),
    "says canary": (lambda: liars.Refusing("prepare", "canary", skip=1), ""),
    "refuses a release": (lambda: liars.Refusing("close", "release"), ""),
}


@pytest.mark.parametrize("liar", LIARS)
def test_with_one_liar_the_honest_come_to_a_release(tmp_path: Path, liar: str) -> None:
    make, named = LIARS[liar]
    policy = goes_on(consortium(tmp_path, make()))
    assert any(named in said for said in policy.said)
    assert set(policy.without) <= {EVIL}


def test_wrong_masks_under_right_tags_cannot_be_attributed_and_leaving_out_in_turn_helps(
    tmp_path: Path,
) -> None:
    policy = goes_on(consortium(tmp_path, liars.WrongMask()))
    assert any("nobody can tell whose: leave out" in said for said in policy.said)
    assert policy.without == (EVIL,)


def test_who_takes_anothers_name_is_named_and_its_node_stopped(tmp_path: Path) -> None:
    home = consortium(tmp_path, liars.Squatter())
    policy = goes_on(home)
    assert any(f"registered as '{EVIL}', says it is 'm1'" in said for said in policy.said)
    assert home.stopped == {EVIL}


# --- what was lost ---


def test_an_abandoned_run_is_followed_by_another(tmp_path: Path) -> None:
    home = consortium(tmp_path, liars.WrongTag())
    policy = goes_on(home)
    assert home.database.terms().run == 2  # type: ignore[union-attr]
    assert policy.without == (EVIL,)
    policy.release(new_run=True)
    home.check_paid()


def test_a_lost_coordinator_database_strands_nobody(tmp_path: Path) -> None:
    home = consortium(tmp_path)
    goes_on(home)
    goes_on(home, new_run=True)
    (home.operator / "coordinator.sqlite").unlink()
    goes_on(home)
    assert home.database.terms().run == 3  # type: ignore[union-attr]


def test_a_lost_member_store_comes_back_under_its_keys(tmp_path: Path) -> None:
    home = consortium(tmp_path)
    goes_on(home)
    home.lose("m2")
    goes_on(home, new_run=True)


def test_a_member_set_back_inside_a_run_takes_part_in_the_next(tmp_path: Path) -> None:
    home = consortium(tmp_path)

    class SetBack(Mind):
        """Its disk is restored from a backup after its first upload."""

        old: bytes | None = None
        done = False

        def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
            if kind == "round" and self.old is None:
                self.old = home.backup(self.name)
            elif kind == "round" and not self.done:
                self.done = True
                assert self.old is not None
                home.restore(self.name, self.old)
            return self.honest(kind, shared, own)

    mind = home.minds["m2"] = SetBack()
    mind.home, mind.name = home, "m2"
    goes_on(home)
    assert mind.done
    assert home.refusals["m2", "rollback"] >= 1
    goes_on(home, new_run=True)
    assert home.holders(2) == {*home.names}


# --- what were dead ends ---


class PartlySealed(Mind):
    """As writer it seals the release to some members only."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind != "write" or self.said(body).kind != "ok":
            return body
        written = Written.decode(self.said(body).body)
        sealed = SealedRelease.decode(written.sealed)
        wrapped = tuple((n, bytes(80) if n in ("m1", "m2") else key) for n, key in sealed.wrapped)
        sealed = sealed.model_copy(update={"wrapped": wrapped})
        return self.reply(
            kind, shared, own, body=written.model_copy(update={"sealed": sealed.encode()}).encode()
        )


class Old(Mind):
    """It shows an old call for an epoch as proof that the run's number is too low."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        last = self.home.store(self.name).fact("last_start") or b""
        body = self.honest(kind, shared, own)
        if kind != "terms" or not last:
            return body
        assert EpochStart.decode(Signed.decode(last).body).run
        return self.refuse(kind, shared, own, "run", last)


@pytest.mark.parametrize("chunk", [0, 9999])
def test_a_false_complaint_about_a_tag_harms_its_complainer_alone(tmp_path: Path, chunk: int) -> None:
    """Nobody shares it: the complainer is left out, and the run goes on."""
    liar = liars.Refusing("prepare", "tag", chunk.to_bytes(4, "big"), times=1, skip=1)
    home = consortium(tmp_path, liar)
    policy = goes_on(home)
    assert not any("has ended" in said for said in policy.said)
    assert home.database.terms().run == 1  # type: ignore[union-attr]


def test_wrong_tags_that_are_not_shown_again_are_their_senders(tmp_path: Path) -> None:
    policy = goes_on(consortium(tmp_path, liars.WrongTag(resends=False)))
    assert policy.without == (EVIL,)


def test_an_old_proof_of_a_runs_number_is_no_answer(tmp_path: Path) -> None:
    """It counts as no answer."""
    home = consortium(tmp_path, Old())
    goes_on(home)
    goes_on(home, new_run=True)


def test_nobody_can_use_up_the_numbers_of_proposals(tmp_path: Path) -> None:
    high = (2**31 - 1).to_bytes(4, "big")
    goes_on(consortium(tmp_path, liars.Refusing("propose", "number", high, times=3)))


@pytest.mark.parametrize(
    "liar", [lambda: liars.Refusing("round", "lost-attempt"), lambda: liars.Mute("round"), liars.Unsigned]
)
def test_who_loses_every_attempt_is_named(tmp_path: Path, liar: Callable[[], Mind]) -> None:
    """It is ready each time, and each attempt costs everybody: after two it is left out."""
    home = consortium(tmp_path, liar())
    goes_on(home)
    state = home.state()
    assert state.losses == {EVIL: 2}
    assert EVIL not in state.attempts[-1].config.cohort


def test_a_writer_that_seals_to_some_is_named(tmp_path: Path) -> None:
    policy = goes_on(consortium(tmp_path, PartlySealed(), writer=True))
    assert policy.without == (EVIL,)


def test_a_coordinator_database_lost_after_the_first_run_strands_nobody(tmp_path: Path) -> None:
    """The offer's bytes are those of before; the yes of then is none now, and the proof gives the next number."""
    home = consortium(tmp_path)
    goes_on(home)
    (home.operator / "coordinator.sqlite").unlink()
    goes_on(home)


class Ghosts(Mind):
    """It shows a roster of its own making, signed by all who are in it, in the place of one that was lost."""

    number = 100

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        if kind != "held":
            return self.honest(kind, shared, own)
        self.number += 1
        people = [self.home.identities[self.name], Identity.create("s1"), Identity.create("s2")]
        roster = Roster(
            number=self.number,
            predecessor=bytes(32),
            members=tuple(each.entry() for each in people),
            coordinator=keys.public_bytes(load_key(self.home.operator)),
            released=0,
            release=bytes(32),
            nonces=(bytes(32),) * 3,
        )
        signed = (Signed.make(e.signing, Approval(roster=roster.hash(), name=e.name)) for e in people)
        ours = Signed.make(people[0].signing, Approval(roster=roster.hash(), name="coordinator"))
        certificate = Certificate(roster=roster.encode(), approvals=tuple(signed), coordinator=ours)
        return self.reply(kind, shared, own, body=certificate.encode())


def test_a_roster_of_ghosts_is_not_given_back(tmp_path: Path) -> None:
    """A coordinator takes back what it has signed itself."""
    goes_on(consortium(tmp_path, Ghosts()))


def test_who_is_silent_when_a_roster_is_given_back_keeps_its_seat(tmp_path: Path) -> None:
    """Seeds 300 and 420 of the fault worlds: it is `not there` for ever."""
    home = consortium(tmp_path)
    goes_on(home)
    goes_on(home, new_run=True)
    (home.operator / "coordinator.sqlite").unlink()
    mind = home.minds["m2"] = liars.Refusing("held", "busy", times=1)
    mind.home, mind.name = home, "m2"
    goes_on(home)
    home.stopped = {"m0"}
    goes_on(home, new_run=True)


def test_a_member_set_back_to_an_older_roster_does_not_stop_the_next_one(tmp_path: Path) -> None:
    """It is given the roster it has forgotten before it is asked to follow it."""
    home = consortium(tmp_path)
    goes_on(home)
    old = home.backup("m2")
    Policy(home).release(new_run=True, new_roster=True)
    home.restore("m2", old)
    Policy(home).release(new_run=True, new_roster=True)


def test_a_new_roster_without_a_member_of_the_one_before_is_not_begun(tmp_path: Path) -> None:
    """Nobody is asked to sign what no member could take part in."""
    home = consortium(tmp_path)
    goes_on(home)
    home.stopped = {EVIL}
    with pytest.raises(CohortError, match="of the roster before did not join"):
        home.train(new_run=True, new_roster=True)
    home.train()


def test_a_member_that_signs_no_new_roster_does_not_end_the_old_one(tmp_path: Path) -> None:
    home = consortium(tmp_path)
    goes_on(home)
    mind = home.minds[EVIL] = liars.Mute("approve")
    mind.home, mind.name = home, EVIL
    with pytest.raises(CohortError):
        home.train(new_run=True, new_roster=True)
    home.approve()
    with pytest.raises(CohortError):
        home.train(new_roster=True)
    home.stopped = {EVIL}
    with pytest.raises(CohortError, match="signed a later roster"):
        home.train()
    for name in home.honest():  # all together: `fedrepay member withdraw-roster`
        enrolment.withdraw(home.store(name))
        home.restart(name)
    goes_on(home)


def test_who_approves_after_all_others_withdrew_brings_no_roster_into_force(tmp_path: Path) -> None:
    """Nobody lies: m4's people are a day late."""
    home = consortium(tmp_path)
    goes_on(home)
    with pytest.raises(CohortError):
        home.train(new_run=True, new_roster=True)
    words = home.members["m0"].shown_words()
    for name in HONEST:
        home.members[name].approve_roster(words)
    with pytest.raises(CohortError, match="have not approved"):
        home.train(new_roster=True)
    for name in HONEST:
        enrolment.withdraw(home.store(name))
        home.restart(name)
    home.members[EVIL].approve_roster(words)
    assert home.holders(home.train()) == HONEST, "they go on; it has signed what nobody else wants any more"
    enrolment.withdraw(home.store(EVIL))
    home.restart(EVIL)
    goes_on(home, new_run=True)
    assert {enrolment.held(home.store(name)).number for name in home.names} == {1}  # type: ignore[union-attr]


class Remembers(Mind):
    """Gives back the certificate of a consortium that is no more."""

    certificate = b""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        if kind == "held" and self.certificate:
            return self.reply(kind, shared, own, body=self.certificate)
        return self.honest(kind, shared, own)


@pytest.mark.parametrize("counted", [True, False])
def test_a_roster_of_an_earlier_consortium_is_not_taken_back_and_control_without_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, counted: bool
) -> None:
    """Made anew under the same coordinator's key, as where a member's key is lost."""
    old = Remembers()
    home = consortium(tmp_path, old)
    goes_on(home)
    old.certificate = home.store(EVIL).fact("certificate") or b""
    for name in HONEST:
        home.identities[name] = Identity.create(name)
        home.lose(name)
    (home.operator / "coordinator.sqlite").unlink()
    if counted:
        goes_on(home)
        return
    monkeypatch.setattr(held, "default_colluders", lambda _: 0)
    with pytest.raises(CohortError):
        home.train()
    assert not home.approve(), "it never comes to words of its own"
