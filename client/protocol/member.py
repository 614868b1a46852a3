"""A member's node: answers one message at a time; every answer is stored before it is sent.

A roster's making (``enrolment``), a run's terms (``terms``), its ceremony and its rounds each have a module; here a
message finds its step, its answer is written to the store, and only then signed and given.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from fedrepay.client.crypto.identity import Identity, Keyring
from fedrepay.client.learning.contribution import Rows
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.protocol import enrolment, guard, pulling, set_back
from fedrepay.client.protocol.ceremony import STEPS, Ceremony
from fedrepay.client.protocol.ended import LONGEST
from fedrepay.client.protocol.enrolling import Certified, MemberEnrolment
from fedrepay.client.protocol.enrolment import ENROLLING
from fedrepay.client.protocol.rounds import Rounds
from fedrepay.client.protocol.terms import Consent
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import (
    BudgetError,
    Code,
    FedrepayError,
    ProtocolError,
    Refusal,
    StorageError,
)
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.text import printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Pulled, Reply, asked

_ONCE = (*ENROLLING, Kind.TERMS, Kind.HELLO, *STEPS, Kind.WRITE, Kind.CLOSE, Kind.VOTES)
"""Kinds whose answer is stored, and given again for the same bytes."""
_KINDS = {kind.value: kind for kind in Kind}
_AT_HOME = "The member's own log says why."
"""Errors of these kinds may name paths, data or other runs: they stay at the member."""
log = logging.getLogger(__name__)
T = TypeVar("T")


class Member:
    """One institution's side of the protocol.

    Args:
        identity: long-term keys.
        store: durable state.
        book: the schema's code book, as this member holds it.
        rows: gives the frozen snapshot of the member's data and its keyed hash (32 bytes).
        limits: the member's veto.
        clock: seconds since 1970, for the ledger's year.
        entropy: noise, keys and nonces; anything but OS entropy makes every release ``not_private``.
        observe: told how long each stage took, in seconds.
        model: the torch module this member trains in local mode, as its own configuration names it.
        override: SHA-256 of the signed override of the checks of this member's mapping; empty where they hold.
        keyring: the folder of its keys, where they may change; None: they stay.
    """

    def __init__(
        self,
        identity: Identity,
        store: MemberStore,
        book: CodeBook,
        rows: Callable[[], tuple[Rows, bytes]],
        limits: Limits,
        clock: Callable[[], float],
        entropy: Entropy | None = None,
        observe: Callable[[str, float], None] = lambda _stage, _seconds: None,
        model: TorchModel | None = None,
        override: bytes = b"",
        keyring: Keyring | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = drawn = entropy or OsEntropy()
        self._enrolment = MemberEnrolment(identity, store, clock, drawn, keyring)
        self._consent = Consent(store, book, limits, model, drawn)

        def equipped(keys: Identity) -> tuple[Ceremony, Rounds]:
            """What works under the keys in force."""
            rounds = Rounds(keys, store, book, rows, limits, clock, drawn, observe, model, override)
            return Ceremony(keys, store, drawn), rounds

        self._equipped = equipped
        self._ceremony, self._rounds = equipped(self._enrolment.identity)

    def approve_roster(self, code: str) -> None:
        """The twelve words that people at the members compared out of band."""
        self._store.remember(approved_code=" ".join(code.lower().split()).encode())

    def shown_words(self) -> str:
        """The words of the newest roster that waits for approval here; empty before there is one."""
        return (self._store.fact("shown") or b"").decode()

    def pull(self, body: bytes) -> bool:
        """Keep the release of a run at whose end this member was away, from a ``Pulled``; errors as ``pulling``'s.

        Returns:
            whether it was new.
        """
        return self._pulled(pulling.open_pulled, Pulled.decode(body))

    def take(self, body: bytes) -> bool:
        """Keep the last release of before this member joined, from a signed ``Resealed``; as :meth:`pull`."""
        return self._pulled(pulling.open_resealed, Signed.decode(body))

    def sent(self, own: bytes, live: int) -> bool:
        """Whether the store turns out to be older than this header of its own; it says so then. As :func:`set_back.look`."""
        with self._store.connected():
            return set_back.look(self._enrolment.identity, self._store, own, live, self._clock())

    def _pulled(self, opened: Callable[[Identity, MemberStore, T], bool], message: T) -> bool:
        with self._store.connected():
            new = opened(self._enrolment.identity, self._store, message)
        if new:
            self._rounds.forget()
        return new

    def handle(self, kind: str, shared: bytes, own: bytes) -> bytes:
        """Answer one message: an encoded, signed ``Reply`` that names it; refusals are answers too."""
        try:
            guard.check_size(kind, shared, own)
            with self._store.connected():
                reply = self._dispatch(kind, shared, own)
            self._rounds.rest()
        except Refusal as refusal:
            said = self._rounds.end_epoch(refusal, asked(kind, shared, own))
            reply = {"code": said.code, "cause": said.cause, "body": said.proof}
        except BudgetError as error:
            log.warning("%s: %s", printable(kind), printable(str(error)))
            reply = {"code": Code.BUDGET, "cause": _AT_HOME}
        except ProtocolError as error:
            reply = {"code": Code.MESSAGE, "cause": error.cause}
        except FedrepayError as error:
            log.warning("%s: %s", printable(kind), printable(str(error)))
            code = Code.STORE if isinstance(error, StorageError) else Code.INTERNAL
            reply = {"code": code, "cause": _AT_HOME}
        except Exception:
            log.exception("%s", printable(kind))
            reply = {"code": Code.INTERNAL, "cause": _AT_HOME}
        joining = kind in ENROLLING and kind != Kind.CERTIFY
        identity = self._enrolment.joins_as if joining else self._enrolment.identity
        return self._signed(reply, asked(kind, shared, own), identity)

    def _signed(self, reply: dict[str, Any], digest: bytes, identity: Identity) -> bytes:
        if "code" in reply:
            reply |= {"kind": "refused", "code": str(reply["code"]), "cause": reply["cause"][:LONGEST]}
        message = Reply(name=identity.name, asked=digest, **({"kind": "ok"} | reply))
        return Signed.make(identity.signing, message).encode()

    def _dispatch(self, said: str, shared: bytes, own: bytes) -> dict[str, Any]:
        kind = _KINDS.get(said)
        if kind != Kind.HELD:
            enrolment.check_stays(self._store)
        if kind in (Kind.PREPARE, Kind.ROUND, Kind.RESEND, Kind.BLAME):
            if own and kind not in (Kind.PREPARE, Kind.ROUND):
                raise Refusal(Code.EPOCH, f"A part of the message that '{kind}' does not use is not empty.")
            rounds = self._rounds
            steps = {
                Kind.PREPARE: rounds.prepare,
                Kind.ROUND: rounds.round,
                Kind.RESEND: rounds.resend,
                Kind.BLAME: rounds.blame,
            }
            return steps[kind](shared, own)
        if kind == Kind.HELD:
            return {"body": self._enrolment.certificate()}
        if kind == Kind.RESEAL and not own:
            return {"body": pulling.reseal(self._enrolment.identity, self._store, shared).encode()}
        if kind is None or kind not in _ONCE:
            raise Refusal(Code.EPOCH, "A message of unknown kind.")
        digest = asked(kind, shared, own)
        stored = self._store.fact(f"reply:{kind}")
        if stored and stored[:32] == digest:
            self._settle(kind)
            return {"body": stored[32:]}
        answer = self._answer(kind, shared, own)
        if isinstance(answer, dict):
            return answer
        if kind in ENROLLING:
            self._rounds.forget()  # an epoch of an earlier roster ends
        body, facts, *entries = answer
        self._store.remember(*entries, **facts, **{f"reply:{kind}": digest + body})
        self._settle(kind)
        return {"body": body}

    def _settle(self, kind: Kind) -> None:
        """New keys come into force with the roster that holds them."""
        if kind == Kind.CERTIFY and self._enrolment.settle():
            self._ceremony, self._rounds = self._equipped(self._enrolment.identity)

    def _answer(self, kind: Kind, shared: bytes, own: bytes) -> dict[str, Any] | Certified:
        """A step's answer and what to remember with it, in one transaction, before it is sent."""
        if kind in STEPS:
            return self._ceremony.answer(kind, shared, own)
        if kind in (Kind.WRITE, Kind.CLOSE):
            return self._rounds.close(shared, own)
        if own:
            raise Refusal(Code.EPOCH, f"A part of the message that '{kind}' does not use is not empty.")
        steps: dict[Kind, Callable[[bytes], Certified]] = {
            Kind.PROPOSE: self._enrolment.propose,
            Kind.REVEAL: self._enrolment.reveal,
            Kind.APPROVE: self._enrolment.approve,
            Kind.CERTIFY: self._enrolment.certify,
            Kind.TERMS: self._agree,
            Kind.HELLO: self._hello,
            Kind.VOTES: self._rounds.votes,
        }
        return steps[kind](shared)

    def _agree(self, shared: bytes) -> tuple[bytes, dict[str, bytes]]:
        answer = self._consent.answer(shared, self._clock())
        self._rounds.put_away()
        return answer

    def _hello(self, shared: bytes) -> tuple[bytes, dict[str, bytes]]:
        answer = self._ceremony.hello(shared, self._rounds.declared())
        self._rounds.forget()
        return answer
