"""What reaches TenSEAL's C++ parsers at a member, in a whole run and from a maker that means harm (ADR 2)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tenseal as ts

from fedrepay.client.crypto import he
from fedrepay.client.crypto.he import MAX_CONTEXT, GroupContext
from fedrepay.client.protocol import epoch
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.secure_sum.ciphertext import CHUNK_BYTES
from fedrepay.shared.trust.handshake import ContextClosing, ContextOffer
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.attacks.tools.adversary import answer
from fedrepay.simulations.run.world import World


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """Everything that TenSEAL's parsers are given, by name."""
    seen: list[tuple[str, bytes]] = []
    contexts, vectors = ts.context_from, ts.bfv_vector_from

    def context_from(data: bytes) -> object:
        seen.append(("context", data))
        return contexts(data)

    def vector_from(context: ts.Context, data: bytes) -> object:
        seen.append(("vector", data))
        return vectors(context, data)

    monkeypatch.setattr(ts, "context_from", context_from)
    monkeypatch.setattr(ts, "bfv_vector_from", vector_from)
    he._in_use.clear()
    yield seen
    he._in_use.clear()


def test_in_a_whole_run_it_gets_the_makers_context_and_own_headers(
    tmp_path: Path, parsed: list[tuple[str, bytes]]
) -> None:
    world = World(tmp_path, size=3, rounds=2)
    world.until("round")
    state = EpochState.decode(world.store("m0").fact("epoch") or b"")
    world.run()
    contexts = {data for kind, data in parsed if kind == "context"}
    assert contexts == {state.context_secret}
    assert all(len(data) < MAX_CONTEXT for data in contexts)
    headers = {data[:-CHUNK_BYTES] for kind, data in parsed if kind == "vector"}
    assert headers, "the test vector and the sums"
    assert headers <= {GroupContext.from_secret(state.context_secret)._header}


GIANT = 1 << 19


def answer_to_a_giant(folder: Path) -> Reply:
    """The maker signs and seals a context that its message has room for (1 MB), and the limit has not."""
    world = World(folder, size=3)
    ask = world.until("confirm")
    maker = world.coordinator.epoch.maker
    name = next(each for each in world.names if each != maker)
    shared, own = ask.parts[name]
    message = ContextClosing.decode(shared)
    offer = ContextOffer.decode(message.offer.body)
    state = EpochState.decode(world.store(maker).fact("epoch") or b"")
    seed = epoch.group_seed(world.identities[maker], state, ask.parts[maker][1])
    key, bound = epoch._context_key(seed, state.epoch(), offer.public)
    giant = keys.seal_once(key, bytes(GIANT), bound)
    signed = Signed.make(world.identities[maker].signing, offer.model_copy(update={"sealed": giant}))
    planted = message.model_copy(update={"offer": signed}).encode()
    return answer(world.members[name].handle("confirm", planted, own))


def test_a_context_beyond_its_size_is_refused_unparsed(
    tmp_path: Path, parsed: list[tuple[str, bytes]]
) -> None:
    assert answer_to_a_giant(tmp_path).kind == "refused"
    assert all(len(data) <= MAX_CONTEXT for _, data in parsed)


def test_control_without_the_limit_tenseal_parses_it(
    tmp_path: Path, parsed: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(he, "MAX_CONTEXT", 1 << 30)
    assert answer_to_a_giant(tmp_path).kind == "refused", "by TenSEAL itself"
    assert ("context", bytes(GIANT)) in parsed


def test_the_limit_leaves_room_for_both_keys_raw() -> None:
    sizes = [len(GroupContext.create(bits).secret_bytes()) for bits in (46, 48)]
    assert max(sizes) < 2 * 2 * 4096 * 8 + 2 * 4096 * 8 < MAX_CONTEXT
