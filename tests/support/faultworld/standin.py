"""What stands in for slow or random parts: a cipher that hides nothing, contributions that are basis vectors.

Faults are of the state machines, so most worlds need no encryption; the same worlds on the real one are a share.
The stand-in adds alike and is as malleable: a changed coefficient changes one slot and no other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, Self, cast

import numpy as np
import pytest

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning.base import Learner
from fedrepay.client.learning.contribution import Rows, prepare
from fedrepay.client.protocol import contributing
from fedrepay.client.protocol import session as client_session
from fedrepay.client.protocol.session import Session
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, second_polynomial
from fedrepay.shared.trust.wire import RoundConfig, Sum
from support.faultworld.invariants import Watch

_verify = lru_cache(maxsize=4096)(keys.verify)  # pure, and every member checks the same signatures
_mu = lru_cache(maxsize=256)(accounting.gdp_mu)

SCHEMA = b"""
name = "basis"
version = 1
title = "One wide feature: room for a 1 of its own in every attempt of every member"
[public]
n_max = 500
members_max = 16
prior = 0.3
one_row_per_customer = true
[[columns]]
name = "z"
role = "account"
type = "category"
categories = [%s]
missing = "refuse"
[[columns]]
name = "id"
role = "customer"
type = "text"
[[columns]]
name = "y"
role = "outcome"
type = "integer"
good = 0
""" % b", ".join(b'"c%d"' % i for i in range(40))


@cache
def book() -> CodeBook:
    """The code book of all worlds."""
    return codebook.build(SCHEMA)


@cache
def rows() -> Rows:
    """Members' data; the stand-in never looks at it."""
    customers = np.array(["a"], dtype=object)
    return prepare(book(), np.zeros((1, 1), np.uint16), np.zeros((1, 1), np.int8), customers, None)


class Additive:
    """In the place of ``GroupKey``: c = (slots, the expanded seed), adding mod q, read mod t. It hides nothing."""

    @classmethod
    def derive(cls, _seed: bytes, _epoch: bytes) -> Self:
        return cls()

    def encrypt(self, slots: U64, _bits: int, _entropy: Entropy) -> tuple[bytes, U64]:
        payload = b"".join(row.astype("<u8").tobytes() + bytes(SEED_BYTES) for row in slots)
        return payload, np.hstack([slots, np.tile(second_polynomial(bytes(SEED_BYTES)), (len(slots), 1))])

    def decrypt(self, chunks: U64, bits: int) -> U64:
        return chunks[:, : ring.SLOTS] & np.uint64((1 << bits) - 1)


class Basis:
    """The run's learner, but each contribution is a vector of its own: one 1, at attempt · K + member."""

    def __init__(self, learner: Learner[Any], place: int) -> None:
        self._learner, self._place = learner, place

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._learner, attribute)

    def contribution(self, index: int, _state: object, _data: object) -> I64:
        values = np.zeros(sum(s.size for s in self._learner.segments()[index]), dtype=np.int64)
        values[self._place] = 1
        return values


def place(attempt: int, names: tuple[str, ...], name: str) -> int:
    """Where a member's 1 stands in an attempt's contribution."""
    return attempt * len(names) + names.index(name)


@contextmanager
def installed(watch: Watch, *, encrypted: bool) -> Iterator[pytest.MonkeyPatch]:
    """The stand-ins, and the watch's eyes where sums are opened and noise is drawn."""
    learner, open_one, open_verified = Session.learner, Session._open, vars(client_session)["open_verified"]

    def basis(session: Session, config: RoundConfig) -> Learner[Any]:
        names = session.epoch.roster.names
        own = Basis(learner(session, config), place(config.attempt, names, session._name))
        return cast("Learner[Any]", own)

    def opening(session: Session, config: RoundConfig, completed: Sum) -> None:
        watch.opening = (session._name, (session.epoch.id, session.epoch.roster.names), completed)
        open_one(session, config, completed)

    def opened(*args: Any, **named: Any) -> I64:
        values: I64 = open_verified(*args, **named)
        watch.opened(values)
        return values

    def noisy(values: I64, *rest: Any) -> I64:
        made = add_noise(values, *rest)
        watch.drawn(made - values)
        return made

    with pytest.MonkeyPatch.context() as patch:
        if not encrypted:
            patch.setattr(client_session, "GroupKey", Additive)
        patch.setattr(Session, "learner", basis)
        patch.setattr(Session, "_open", opening)
        patch.setattr(client_session, "open_verified", opened)
        patch.setattr(contributing, "add_noise", noisy)
        patch.setattr(keys, "verify", _verify)
        patch.setattr(accounting, "gdp_mu", _mu)
        yield patch
