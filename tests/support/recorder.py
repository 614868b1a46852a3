"""Sees every stream that a member's secrets make, and what each of them hides: one stream, one thing, ever.

A stream is a sealing key with its nonce, a pair's mask as added to one's own upload, a pad as added to one's own tag, a
canary in one's own slots, the seed of a ciphertext's second polynomial. They are taken where they are made, so a
derivation that forgets what tells two uses apart is found out by the second use. Verification derives others' pads and
its own anew: they hide nothing, and do not count. HPKE draws a fresh key each time and is left out.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from fedrepay.client.crypto import seal as client_seal
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.protocol import contributing
from fedrepay.shared import keys
from fedrepay.shared.arrays import U64
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.secure_sum import masking
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, UPLOAD_BYTES
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.faultworld.invariants import Violation


class Reused(Violation):
    """One stream has met two different things; no handler of the product may swallow it."""


def _digest(numbers: U64) -> bytes:
    return keys.digest(str(numbers.shape).encode(), np.ascontiguousarray(numbers).tobytes())


class Recorder:
    """What each stream has met.

    Args:
        excused: whether what the member of this name seals now is what its restored store has forgotten.
    """

    def __init__(self, excused: Callable[[str], bool] = lambda _name: False) -> None:
        self._excused = excused
        self._met: dict[tuple[str, str, bytes], bytes] = {}
        self.seen: Counter[str] = Counter()
        self.excuses = 0
        self._name = ""  # whose upload is being sealed
        self._hides: bytes | None = None  # what the masks derived now will hide

    def meets(self, what: str, name: str, stream: bytes, hidden: bytes) -> None:
        """A stream of one member hides something.

        Raises:
            Reused: and something else before.
        """
        self.seen[what] += 1
        before = self._met.setdefault((what, name, stream), hidden)
        if before == hidden:
            return
        if not self._excused(name):
            raise Reused(f"{name or 'somebody'}: one {what} for two things")
        self.excuses += 1

    # --- where streams are made ---

    def derived(self, key: bytes) -> None:
        """The key of a pair's mask was made."""
        if self._hides is not None:
            self.meets("mask", self._name, key, self._hides)

    def masking(self, slots: U64) -> None:
        """From here, masks go over these slots, whose canaries are complete."""
        for row in slots:
            self.meets("canary", self._name, row[-1].tobytes(), _digest(row))
        self._hides = _digest(slots)

    def encrypting(self, slots: U64, payload: bytes) -> None:
        """These slots have become these ciphertexts."""
        for index, row in enumerate(slots):
            seed = payload[UPLOAD_BYTES * (index + 1) - SEED_BYTES : UPLOAD_BYTES * (index + 1)]
            self.meets("second polynomial", "", seed, _digest(row))  # whoever it is, the seed is one

    def tagging(self, chunks: U64, pads: U64) -> None:
        """These pads go over these ciphertexts' tags."""
        for chunk, pad in zip(chunks, pads, strict=True):
            self.meets("pad", self._name, pad.tobytes(), _digest(chunk))

    def begin(self, name: str) -> None:
        """A member seals."""
        self._name, self._hides = name, None

    def end(self) -> None:
        """It is sealed, or was not."""
        self.begin("")

    def sealing(self, key: bytes, nonce: bytes, plaintext: bytes, info: bytes) -> None:
        """An AEAD seals: whoever it is, the key is one."""
        self.meets("sealing key", "", key + nonce, keys.digest(plaintext, info))


@contextmanager
def recording(excused: Callable[[str], bool] = lambda _name: False) -> Iterator[Recorder]:
    """Record every member of this process; :class:`Reused` is raised where a stream is used twice."""
    recorder = Recorder(excused)
    pair_key, aead = masking._pair_key, vars(keys)["ChaCha20Poly1305"]
    seal, apply, tags = client_seal.seal, vars(client_seal)["apply_masks"], AttemptTags.tags
    encrypt = GroupKey.encrypt

    class Watched:
        """In the place of the AEAD."""

        def __init__(self, key: bytes) -> None:
            self._key, self._aead = key, aead(key)

        def encrypt(self, nonce: bytes, plaintext: bytes, info: bytes) -> bytes:
            recorder.sealing(self._key, nonce, plaintext, info)
            return bytes(self._aead.encrypt(nonce, plaintext, info))

        def decrypt(self, nonce: bytes, sealed: bytes, info: bytes) -> bytes:
            return bytes(self._aead.decrypt(nonce, sealed, info))

    def sealed(values: Any, attempt: Any, *rest: Any, **named: Any) -> Any:
        recorder.begin(attempt.name)
        try:
            return seal(values, attempt, *rest, **named)
        finally:
            recorder.end()

    def masked(slots: U64, *rest: Any) -> U64:
        recorder.masking(slots)
        made: U64 = apply(slots, *rest)
        return made

    def masking_key(secret: bytes, pair: tuple[bytes, bytes], context: bytes) -> bytes:
        key = pair_key(secret, pair, context)
        recorder.derived(key)
        return key

    def encrypted(group: GroupKey, slots: U64, bits: int, entropy: Entropy) -> tuple[bytes, U64]:
        payload, chunks = encrypt(group, slots, bits, entropy)
        recorder.encrypting(slots, payload)
        return payload, chunks

    def tagged(attempt: AttemptTags, chunks: U64, member: str) -> list[int]:
        mine = attempt.members.index(member)
        pads = np.array([attempt._pads(index)[mine] for index in range(len(chunks))], dtype=np.uint64)
        recorder.tagging(chunks, pads)
        return tags(attempt, chunks, member)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "ChaCha20Poly1305", Watched)
        patch.setattr(masking, "_pair_key", masking_key)
        patch.setattr(contributing, "seal", sealed)
        patch.setattr(client_seal, "apply_masks", masked)
        patch.setattr(GroupKey, "encrypt", encrypted)
        patch.setattr(AttemptTags, "tags", tagged)
        yield recorder
