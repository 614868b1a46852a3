"""Everything that a guard's decision is made of, without ceremony, ciphertexts or a store."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import guard
from fedrepay.client.protocol.guard import Place, Submitted, View
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.schema import codebook
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.terms import LocalTerms
from fedrepay.shared.trust.wire import Attempt, Header, RoundConfig, Sum
from support.adversary import roster_of
from support.world import SCHEMA

PEOPLE = {name: Identity.create(name) for name in ("m0", "m1", "m2", "m3", "m4")}
ALL = tuple(PEOPLE)
KEY = Ed25519PrivateKey.generate()
ROSTER = roster_of([each.entry() for each in PEOPLE.values()], keys.public_bytes(KEY))
ID, OTHER = bytes(range(32)), bytes(32)
BOOK = codebook.build(SCHEMA)
FOUR = ALL[:4]  # c + 2 = 4 of five is the least
HISTORY = (
    Attempt(round=0, attempt=0, cohort=ALL, completed=True),
    Attempt(round=1, attempt=1, cohort=ALL, completed=False),
    Attempt(round=1, attempt=2, cohort=FOUR, completed=True),
)
CONFIG = RoundConfig(
    run=7,
    epoch=ID,
    roster_hash=ROSTER.hash(),
    round=2,
    attempt=3,
    cohort=FOUR,
    history=HISTORY,
    schema_hash=BOOK.schema_hash,
    mode="distributed",
    learner="dp-newton",
    dimension=BOOK.dimension,
    heads=BOOK.heads,
    epsilon=1.0,
    delta=1e-5,
    colluders=2,
    rounds=4,
    max_attempts=1,
    timeout=60.0,
)
EPOCH = Epoch(
    run=7,
    colluders=2,
    roster=ROSTER,
    start=ID,
    terms=CONFIG.terms_hash(),
    hellos=dict.fromkeys(ALL),  # type: ignore[arg-type]  # the guard looks at who is there alone
    nonce=ID,
    id=ID,
)
LOCAL = LocalTerms(
    model="mlp",
    model_hash=ID,
    parameters=40,
    sampling_rate=0.1,
    local_steps=2,
    clip=1.0,
    learning_rate=0.1,
    noise_multiplier=2.0,
)


def changed(message: Any, **fields: object) -> Any:
    return message.model_copy(update=fields)


MADE = changed(CONFIG, round=1, attempt=2, history=HISTORY[:2])  # what the members of attempt 2 were told
TAGS = {name: (Q - 1 - i, i) for i, name in enumerate(ALL)}


def header(of: str, **fields: object) -> Signed:
    """One of a member, signed by it."""
    signer = str(fields.pop("signer", of))
    made = Header(
        run=7,
        epoch=ID,
        config=signed(MADE).digest(),
        round=1,
        attempt=2,
        name=of,
        chunks=(ID, ID),
        tags=TAGS[of],
        opened=ID,
        ledger=ID,
    )
    return Signed.make(PEOPLE[signer].signing, changed(made, **fields))


def signed(message: Wire) -> Signed:
    """By the coordinator."""
    return Signed.make(KEY, message)


SUM = Sum(
    round=1,
    attempt=2,
    config=signed(MADE),
    headers=tuple(header(name) for name in FOUR),
    payload=b"",
    tags=(sum(TAGS[n][0] for n in FOUR) % Q, sum(TAGS[n][1] for n in FOUR) % Q),
)
MINE = header("m0")
VIEW = View(
    name="m0",
    epoch=EPOCH,
    book=BOOK,
    counter=2,
    charged=frozenset({Place(0, 0), Place(1, 1), Place(1, 2)}),
    ledger=frozenset({ID}),
    submitted={0: Submitted(0, ID, ID), 1: Submitted(1, ID, ID), 2: Submitted(1, ID, MINE.digest())},
    opened=(0,),
    opening=None,
    opened_mac=ID,
)


def refusal(work: Callable[[], object]) -> str:
    """Code and cause, or "" if nothing was refused."""
    try:
        work()
    except Refusal as refused:
        return f"{refused.code}: {refused.cause}"
    except ProtocolError:
        return "signature"
    return ""


def agreed(view: View, **fields: object) -> View:
    """The same, of a member that said yes to the terms with other fields."""
    terms = changed(CONFIG, **fields).terms_hash()
    return replace(view, epoch=replace(view.epoch, terms=terms))


def told(view: View = VIEW, **fields: object) -> str:
    """What comes of a configuration with other fields."""
    return refusal(lambda: guard.check_config(view, signed(changed(CONFIG, **fields))))


def listed(at: int, **fields: object) -> tuple[Attempt, ...]:
    return (*HISTORY[:at], changed(HISTORY[at], **fields), *HISTORY[at + 1 :])
