"""Five members, a roster and an epoch of all: messages made by hand, without ceremony, store or network."""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import epoch as ceremony
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import Declared, EpochStart, Hello, Introduction, Year
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Header, RoundConfig

PEOPLE = {name: Identity.create(name) for name in ("m0", "m1", "m2", "m3", "m4")}
ALL = tuple(PEOPLE)
FOUR = ALL[:4]  # the quorum of five at c = 1
KEY = Ed25519PrivateKey.generate()
STRANGER = Identity.create("m9")
SEED, OTHER = bytes(range(32)), bytes(32)
ROSTER = Roster(
    number=1,
    predecessor=bytes(32),
    members=tuple(PEOPLE[name].entry() for name in ALL),
    coordinator=keys.public_bytes(KEY),
    released=0,
    release=bytes(32),
    nonces=(bytes(32),) * len(ALL),
)
ORDER = ROSTER.by_key_hash()
PLAN = NumberedTerms(
    run=7,
    schema_hash=SEED,
    mode="distributed",
    learner="dp-newton",
    dimension=5,
    heads=1,
    epsilon=1.0,
    delta=1e-5,
    colluders=1,
    rounds=4,
    max_attempts=1,
    timeout=60.0,
)
CALL = EpochStart(
    run=7,
    coordinator=keys.public_bytes(KEY),
    colluders=1,
    roster=ROSTER.hash(),
    terms=PLAN.terms_hash(),
)
YEAR = Declared(year=Year(epsilon=1.5, delta=1e-5, runs=2, attempts=3))


def changed(message: Any, **fields: object) -> Any:
    return message.model_copy(update=fields)


def by(name: str, message: Wire) -> Signed:
    """Signed by a member."""
    return Signed.make(PEOPLE[name].signing, message)


def told(message: Wire) -> Signed:
    """Signed by the coordinator."""
    return Signed.make(KEY, message)


START = told(CALL)
GREETINGS: Mapping[str, tuple[EpochState, Signed]] = {
    name: ceremony.hello(PEOPLE[name], START, CALL, YEAR, OsEntropy()) for name in ALL
}


def hello(of: str, /, **fields: object) -> Signed:
    """A member's hello with other fields."""
    return by(of, changed(Hello.decode(GREETINGS[of][1].body), **fields))


def introduction(names: Iterable[str] = ALL, **fields: object) -> Introduction:
    """Of those present."""
    made = Introduction(
        roster=ROSTER.encode(), start=START, hellos=tuple(GREETINGS[name][1] for name in names)
    )
    return Introduction.model_validate(changed(made, **fields))


EPOCH = Epoch.of(introduction())
CONFIG = RoundConfig(
    **dict(PLAN.terms()),
    run=7,
    epoch=EPOCH.id,
    roster_hash=ROSTER.hash(),
    round=2,
    attempt=3,
    cohort=FOUR,
    history=(),
)
SIGNED = told(CONFIG)


def header(of: str, /, **fields: object) -> Header:
    """Of an upload in the attempt of ``CONFIG``."""
    made = Header(
        run=7,
        epoch=EPOCH.id,
        config=SIGNED.digest(),
        round=2,
        attempt=3,
        name=of,
        chunks=(SEED, SEED),
        tags=(1, 2),
        opened=SEED,
        ledger=SEED,
    )
    return Header.model_validate(changed(made, **fields))
