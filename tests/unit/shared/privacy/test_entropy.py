"""B13: no bytes of noise are given twice, whoever forks, copies or shares the source; and which key gave which bytes."""

import copy
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fedrepay.shared.privacy.entropy import MIB, SHORT, Entropy, OsEntropy, SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian

LONG = 1 << 17  # a block of the sampler's words
LENGTHS = (0, 1, SHORT, SHORT + 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5)
RFC_8439 = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
"""Appendix A.1, test vector 1: the keystream of key, nonce and counter 0."""


class Kept:
    """The control: one key for the whole life of the source, as if nothing were given up after a draw."""

    private = True

    def __init__(self) -> None:
        self._source = SeededEntropy(os.urandom(32))

    def draw(self, n: int) -> bytes:
        return self._source.draw(n)


def in_a_fork(draw: Callable[[], bytes]) -> bytes:
    """What a forked child draws."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(write, "wb") as pipe:
                pipe.write(draw())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        drawn = pipe.read()
    os.waitpid(child, 0)
    assert drawn
    return drawn


def repeats(parts: list[bytes]) -> bool:
    """Whether any 32 bytes, aligned as a sampler reads them, stand twice in all that was drawn."""
    words = np.concatenate([np.frombuffer(part, dtype="V32") for part in parts])
    assert len(words)
    return len(np.unique(words)) < len(words)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the operating system gives, in order."""
    given: list[bytes] = []
    system = os.urandom

    def noted(n: int) -> bytes:
        given.append(system(n))
        return given[-1]

    monkeypatch.setattr(os, "urandom", noted)
    return given


# --- nothing twice ---


@pytest.mark.parametrize(("source", "twice"), [(OsEntropy, False), (Kept, True)])
@pytest.mark.parametrize("n", [32, LONG])
def test_two_forks_and_their_parent_draw_other_bytes(
    source: Callable[[], Entropy], n: int, *, twice: bool
) -> None:
    entropy = source()
    entropy.draw(LONG)
    children = [in_a_fork(lambda: entropy.draw(n)) for _ in range(2)]
    assert repeats([*children, entropy.draw(n)]) == twice


@pytest.mark.parametrize(("source", "twice"), [(OsEntropy, False), (Kept, True)])
def test_two_forked_members_give_different_noise(source: Callable[[], Entropy], *, twice: bool) -> None:
    entropy, sampler = source(), DiscreteGaussian(1e10)
    one, two = (in_a_fork(lambda: sampler.sample(5_000, entropy).tobytes()) for _ in range(2))
    assert (one == two) == twice


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_that_were_handed_one_source_draw_other_bytes(start: str) -> None:
    entropy = OsEntropy()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(start)) as pool:
        parts = [*pool.map(entropy.draw, [LONG] * 4)]  # the method goes with its source
    assert not repeats([*parts, entropy.draw(LONG)])


def pickled(entropy: OsEntropy) -> OsEntropy:
    made: OsEntropy = pickle.loads(pickle.dumps(entropy))  # noqa: S301 - of this very process
    return made


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_draws_other_bytes_for_there_is_nothing_to_copy(
    duplicate: Callable[[OsEntropy], OsEntropy],
) -> None:
    entropy = OsEntropy()
    entropy.draw(LONG)
    other = duplicate(entropy)
    assert vars(entropy) == vars(other) == {}
    assert not repeats([entropy.draw(LONG), other.draw(LONG)])


def test_threads_on_one_source_never_get_the_same_bytes() -> None:
    entropy = OsEntropy()
    with ThreadPoolExecutor(8) as pool:
        parts = [*pool.map(entropy.draw, [SHORT + 32, LONG, MIB + LONG] * 16)]
    assert not repeats(parts)


def test_control_a_system_that_gives_one_key_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    with ThreadPoolExecutor(2) as pool:
        parts = [*pool.map(OsEntropy().draw, [LONG] * 2)]
    assert repeats(parts)
    assert repeats([OsEntropy().draw(MIB + LONG)]), "the second MiB has a key of its own, here the same"


# --- which key gives which bytes ---


def stream(key: bytes, n: int) -> bytes:
    return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(n))


@pytest.mark.parametrize("n", LENGTHS)
def test_every_mib_of_a_draw_has_its_own_key_and_a_short_draw_is_the_systems(
    n: int, keys: list[bytes]
) -> None:
    drawn = OsEntropy().draw(n)
    assert len(drawn) == n
    if n <= SHORT:
        assert keys == [drawn]
        return
    assert [len(key) for key in keys] == [32] * -(-n // MIB)
    pieces = [stream(key, min(MIB, n - i * MIB)) for i, key in enumerate(keys)]
    assert drawn == b"".join(pieces)


def test_keys_and_nonces_are_not_of_a_stream(keys: list[bytes]) -> None:
    """What members draw at once for keys, and the 24 bytes that decide an undecided word."""
    entropy = OsEntropy()
    assert [entropy.draw(n) for n in (24, 32, 64)] == keys


def test_no_key_gives_more_than_a_mib_or_serves_two_draws(keys: list[bytes]) -> None:
    entropy = OsEntropy()
    for _ in range(50):
        entropy.draw(LONG)
    assert len(set(keys)) == len(keys) == 50
    DiscreteGaussian(1e6).sample(100_000, entropy)
    assert len(set(keys)) == len(keys) > 50


def test_the_stream_is_chacha20(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    assert OsEntropy().draw(SHORT + 1)[:32].hex() == RFC_8439


def test_a_negative_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="negative"):
        OsEntropy().draw(-1)


def test_the_interval_is_what_the_argument_counts_with_and_only_the_systems_bits_protect() -> None:
    assert (MIB, SHORT) == (1_048_576, 2_048)
    assert OsEntropy().private
    assert not SeededEntropy(b"").private
