"""A coordinator alone, all members honest, makes a release in a consortium of ghosts: no member takes it for theirs.

A member away for a run cannot tell a release that it missed from one that nobody made, and people approve words, not models.
"""

from pathlib import Path

import pytest

from fedrepay.client.protocol.closing import _info
from fedrepay.server.protocol import pulls
from fedrepay.shared import keys
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import FIRST
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Pulled, SealedRelease
from support.company import Company
from support.world import World


@pytest.fixture(scope="module")
def ghosts(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Their run is over; its votes, roster and epoch hold together."""
    world = World(tmp_path_factory.mktemp("ghosts"), size=3, rounds=2)
    world.run()
    return world


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def made(ghosts: World) -> bytes:
    kept = ghosts.store("m0").release()
    assert kept is not None
    return kept[1]


def sealed(ghosts: World, company: Company) -> bytes:
    """The ghosts' release, for the members' own keys."""
    pulled = pulls.pulled(ghosts.coordinator.state, 1)
    assert pulled is not None
    epoch, key = Epoch.decode(pulled.introduction), OsEntropy().draw(32)
    wrapped = tuple(
        (name, keys.hpke_seal(company.identities[name].entry().sealing, key, _info(1, epoch, name)))
        for name in company.names
    )
    payload = keys.seal_once(key, made(ghosts), _info(1, epoch))
    message = SealedRelease(number=1, payload=payload, wrapped=wrapped)
    return Pulled.model_copy(pulled, update={"sealed": message.encode()}).encode()


def names_it(company: Company, ghosts: World, predecessor: bytes) -> Signed:
    return company.call(2, predecessor, (1, keys.digest(made(ghosts))))


@pytest.mark.parametrize("began", ["with a first roster", "after one that nobody knows", "with a second"])
def test_no_roster_names_what_nobody_of_it_holds(company: Company, ghosts: World, began: str) -> None:
    predecessor = FIRST if began == "with a first roster" else bytes([7]) * 32
    if began == "with a second":
        predecessor = company.enrolled().hash()
    proposal = company.proposal(names_it(company, ghosts, predecessor))
    for name in company.names:
        reply = company.say(name, "reveal", proposal)
        assert (reply.kind, reply.code) == ("refused", "roster")
        assert "0 members hold release 1 as the proposal names it" in reply.cause


def test_control_without_that_check_all_take_it_in(
    company: Company, ghosts: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "check_release", lambda *_: None)
    certified = company.certificate(names_it(company, ghosts, FIRST))
    for name in company.names:
        company.told(name, "certify", certified.encode())
        assert company.members[name].pull(sealed(ghosts, company))
        kept = company.store(name).release()
        assert kept is not None
        assert kept[1] == made(ghosts)
