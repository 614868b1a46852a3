"""The sum on SPU: every member shares its values among the parties, they add, and everybody adds the shares of the result.

Its parties are threads of one process with links in memory, as SPU's own simulator has them: no network is charged.
"""

from collections.abc import Sequence
from threading import Thread
from time import process_time
from typing import Any

import numpy as np
import spu
import spu.utils.frontend as spu_frontend
from spu import libspu

from fedrepay.simulations.bench.peers.summed import MEMBERS, REPEATS, VALUES, SumMeasured, check, values

PARTIES = {"SEMI2K": MEMBERS, "ABY3": 3}
"""Who computes: all members, or three servers (ABY3 has no other number)."""


def run(name: str) -> SumMeasured:
    """Measure one of SPU's protocols on its ring of 32 bits."""
    parties = PARTIES[name]
    config = libspu.RuntimeConfig(protocol=getattr(libspu.ProtocolKind, name), field=libspu.FieldType.FM32)
    io = spu.Io(parties, config)
    names = [f"in{member}" for member in range(MEMBERS)]
    inputs = [values(member) for member in range(MEMBERS)]
    secret = libspu.Visibility.VIS_SECRET
    added, _ = spu_frontend.compile(
        spu_frontend.Kind.JAX,
        lambda *each: sum(each[1:], start=each[0]),
        inputs,
        {},
        names,
        [secret] * MEMBERS,
        lambda _: ["out"],
    )
    runtimes = _runtimes(parties, config)

    def once() -> tuple[Any, float]:
        shares = [io.make_shares(each, secret) for each in inputs]

        def party(rank: int) -> None:
            for each, shared in zip(names, shares, strict=True):
                runtimes[rank].set_var(each, shared[rank])
            runtimes[rank].run(added)

        _together(party, parties)
        results = [runtime.get_var("out") for runtime in runtimes]
        opened = io.reconstruct(results)
        if parties < MEMBERS:  # servers: a member sends each its share, and does not compute
            return opened, sum(map(_bytes, shares[0])) / VALUES
        own = _bytes(results[0]) * (MEMBERS - 1)
        return opened, (sum(map(_bytes, shares[0][1:])) + own) / VALUES

    check(np.asarray(once()[0], dtype=np.int64))
    times = []
    for _ in range(REPEATS):
        begun = process_time()
        opened, sent = once()
        times.append(1000 * (process_time() - begun) / MEMBERS)
    check(np.asarray(opened, dtype=np.int64))
    return SumMeasured(times, sent)


def _bytes(share: Any) -> int:
    return sum(len(chunk) for chunk in share.share_chunks)


def _runtimes(parties: int, config: Any) -> Sequence[Any]:
    """Every party's runtime, linked to the others'; setting up is not timed."""
    described = libspu.link.Desc()
    for rank in range(parties):
        described.add_party(f"id_{rank}", f"thread_{rank}")
    found: dict[int, Any] = {}

    def make(rank: int) -> None:
        found[rank] = spu.Runtime(libspu.link.create_mem(described, rank), libspu.RuntimeConfig(config))

    _together(make, parties)
    return [found[rank] for rank in range(parties)]


def _together(work: Any, parties: int) -> None:
    threads = [Thread(target=work, args=(rank,)) for rank in range(parties)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
