"""What must stay at a member: searched for in everything that the wire and the coordinator hold."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import CohortError
from fedrepay.simulations.market import case, records
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.arguments import MarketArguments
from fedrepay.simulations.run.consortium import Consortium
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms
from support import shop as shops
from support.shop import Shop


def secrets(folder: Folder, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Everything that must never leave a member, from its own folder in the middle of a run."""
    for name in names:
        identity = Identity.load(name, folder.members / name)
        yield "signing key", identity.signing.private_bytes_raw()
        yield "sealing key", identity.sealing.private_bytes_raw()
        yield "key of keyed hashes", identity.local
        store = MemberStore(folder.members / name, time.time)
        state = EpochState.decode(store.fact("epoch") or b"")
        for secret in ("envelope", "mask", "contribution", "seed"):
            yield secret, getattr(state, secret)
        for opening in store.openings(1):
            if opening.values is not None:
                yield "opened sum", opening.values[:512]
    yield from (("customer", shops.customer(index).encode()) for index in range(0, 450, 10))


def found_in(folder: Path, secret: bytes) -> bool:
    """Whether any file holds the secret, raw or in hexadecimal, or 64 bytes in a row of a long one."""
    pieces = [secret[start : start + 64] for start in range(0, len(secret), 64)]
    forms = [form for piece in pieces for form in (piece, piece.hex().encode())]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return any(form in file for file in files for form in forms)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"))


def test_the_wire_and_the_coordinator_hold_no_secret_of_a_run(shop: Shop, tmp_path: Path) -> None:
    arguments = shop.arguments(drop=("Ost@1", "West@1"))  # stops in the middle: below the minimum cohort
    folder = Folder(tmp_path / "middle")
    prepared = prepare(arguments)
    folder.make({})
    drops = frozenset(arguments.parse_drop(each) for each in arguments.drop)
    with pytest.raises(CohortError):
        Consortium(
            folder,
            prepared.book,
            prepared.parties,
            make_terms(arguments, prepared.book, len(prepared.parties)),
            drops,
        ).run()
    kinds = set()
    for kind, secret in secrets(folder, shops.MEMBERS):
        assert len(secret) >= 11
        kinds.add(kind)
        for place in (folder.transcript, folder.coordinator):
            assert not found_in(place, secret), f"{kind} in {place.name}"
        if kind not in ("customer", "key of keyed hashes"):
            assert found_in(folder.members, secret), "the search itself finds what is there"
    assert {"seed", "mask", "opened sum", "signing key"} <= kinds


def test_after_the_release_the_epoch_s_secrets_are_gone(shop: Shop, tmp_path: Path) -> None:
    arguments = shop.arguments()
    folder = Folder(tmp_path / "whole")
    prepared = prepare(arguments)
    folder.make({})
    states: dict[str, EpochState] = {}

    def watch(name: str, exchange: object) -> None:
        if getattr(exchange, "kind", "") == "round":
            stored = consortium.store(name).fact("epoch")
            if stored is not None:
                states[name] = EpochState.decode(stored)

    consortium = Consortium(
        folder,
        prepared.book,
        prepared.parties,
        make_terms(arguments, prepared.book, len(prepared.parties)),
        observe=watch,
    )
    consortium.run()
    assert set(states) == set(shops.MEMBERS)
    for state in states.values():
        for secret in (
            state.envelope,
            state.mask,
            state.contribution,
            state.seed,
        ):
            assert secret
            assert not found_in(folder.path, secret)


def test_the_wire_and_the_coordinator_hold_nothing_of_lenders_tables_and_nobody_the_truth(
    tmp_path: Path,
) -> None:
    arguments = MarketArguments(members=3, scale=0.05, epsilon=4.0, rounds=2)
    folder = Folder(tmp_path / "market")
    folder.make({})
    played = case.market_of(arguments)
    who, market = played.lenders, case.prepare(arguments, played, folder)
    terms = make_terms(arguments, market.book, len(who))
    Consortium(folder, market.book, market.parties, terms).run()
    for lender in who:
        files = [path.read_bytes() for path in (folder.market / lender.name).iterdir()]
        for content in files:
            assert found_in(folder.market, content[-256:]), "the search itself finds what is there"
            for place in (folder.transcript, folder.coordinator, folder.release):
                assert not found_in(place, content[-256:])
        debtors = records.record(lender, arguments.seed).accounts.debtors
        for truth in (debtors.willingness, debtors.surplus):
            assert not found_in(folder.path, truth[:32].tobytes())
            for value in truth[:20].tolist():
                assert not found_in(folder.path, repr(value)[:16].encode()), "nor as text"
    for party in market.parties:
        rows = party.train.codes[:8].tobytes()
        assert not found_in(folder.path, rows)
    (folder.transcript / "leak.bin").write_bytes(b"before" + debtors.willingness.tobytes())
    assert found_in(folder.transcript, debtors.willingness[:32].tobytes()), "control: a leak is found"
