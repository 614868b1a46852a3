"""Members that lie, one way each."""

from collections.abc import Callable

import numpy as np
import pytest

from fedrepay.client.crypto import seal as client_seal
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, UPLOAD_BYTES, hashes
from fedrepay.shared.trust import handshake, wire
from fedrepay.shared.trust.enrolment import Joining
from fedrepay.shared.trust.message import Signed, Wire
from support.consortium import Mind


class Silent(Mind):
    """It joins, and says no more."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        enrolling = kind in ("held", "propose", "reveal", "approve", "certify")
        return self.honest(kind, shared, own) if enrolling else None


class Unsigned(Mind):
    """Its answers to rounds are somebody's whose key nobody knows."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind != "round":
            return body
        return Signed.decode(body).model_copy(update={"signature": bytes(64)}).encode()


class Hello(Mind):
    """Its hello holds other keys: of low order, or another member's."""

    def __init__(self, **keys: bytes) -> None:
        self._keys = keys

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind != "hello" or self.said(body).kind != "ok":
            return body
        hello = handshake.Hello.decode(Signed.decode(self.said(body).body).body)
        keys = self._keys or {"mask": self._others("mask"), "envelope": self._others("envelope")}
        changed = hello.model_copy(update=keys)
        return self.reply(kind, shared, own, body=Signed.make(self.key, changed).encode())

    def _others(self, key: str) -> bytes:
        """Of the first member, which has said hello before."""
        body = self.home.store("m0").fact("reply:hello") or b""
        hello = handshake.Hello.decode(Signed.decode(body[32:]).body)
        return bytes(getattr(hello, key))


class Changed(Mind):
    """What it signs in one kind of answer is changed before."""

    def __init__(self, kind: str, signed: type[Wire], change: Callable[[Wire], dict[str, object]]) -> None:
        self._kind, self._signed, self._change = kind, signed, change

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind != self._kind or self.said(body).kind != "ok":
            return body
        said = self._signed.decode(Signed.decode(self.said(body).body).body)
        changed = said.model_copy(update=self._change(said))
        return self.reply(kind, shared, own, body=Signed.make(self.key, changed).encode())


class WrongTag(Mind):
    """Its header holds tags that do not fit.

    Args:
        resends: whether it shows its ciphertext again.
    """

    def __init__(self, *, resends: bool = True) -> None:
        self._resends = resends

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        if kind == "resend" and not self._resends:
            return None
        body = self.honest(kind, shared, own)
        if kind not in ("round", "resend") or self.said(body).kind != "ok":
            return body
        upload = wire.Upload.decode(self.said(body).body)
        header = wire.Header.decode(upload.header.body)
        header = header.model_copy(update={"tags": tuple((tag + 1) % (1 << 59) for tag in header.tags)})
        signed = Signed.make(self.key, header)
        return self.reply(kind, shared, own, body=upload.model_copy(update={"header": signed}).encode())


class WrongSeed(Mind):
    """The seed of its first ciphertext is another than its tag is over."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind not in ("round", "resend") or self.said(body).kind != "ok":
            return body
        upload = wire.Upload.decode(self.said(body).body)
        payload = bytearray(upload.payload)
        payload[UPLOAD_BYTES - SEED_BYTES] ^= 1
        header = wire.Header.decode(upload.header.body)
        chunks = (hashes(bytes(payload))[0], *header.chunks[1:])
        signed = Signed.make(self.key, header.model_copy(update={"chunks": chunks}))
        changed = upload.model_copy(update={"header": signed, "payload": bytes(payload)})
        return self.reply(kind, shared, own, body=changed.encode())


class WrongMask(Mind):
    """One mask of its is another; its tags are right."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        apply = vars(client_seal)["apply_masks"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                client_seal, "apply_masks", lambda *a: (apply(*a) + np.uint64(1)) % np.uint64(a[-1])
            )
            return self.honest(kind, shared, own)


class Refusing(Mind):
    """It refuses one kind of message, so often, in words of its own."""

    def __init__(self, kind: str, code: str, body: bytes = b"", times: int = 1 << 30, skip: int = 0) -> None:
        self._kind, self._code, self._body, self._times, self._skip = kind, code, body, times, skip

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind != self._kind or self._times == 0:
            return body
        if self._skip:
            self._skip -= 1
            return body
        self._times -= 1
        return self.refuse(kind, shared, own, self._code, self._body)


class Squatter(Mind):
    """It joins under another's name."""

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        if kind != "propose":
            return body
        joining = Joining.decode(Signed.decode(self.said(body).body).body)
        taken = joining.model_copy(update={"entry": joining.entry.model_copy(update={"name": "m1"})})
        signed = Signed.make(self.key, taken).encode()
        message = wire.Reply.decode(Signed.decode(body).body)
        return Signed.make(self.key, message.model_copy(update={"name": "m1", "body": signed})).encode()


class Mute(Mind):
    """It says nothing to one kind of message."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        body = self.honest(kind, shared, own)
        return None if kind == self._kind else body
