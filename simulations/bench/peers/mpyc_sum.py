"""The sum on MPyC: Shamir's shares in a prime field, every member a party and a process of its own on this machine.

MPyC reads ``sys.argv`` when it is imported and starts the other parties with the same, so this is a script too.
"""

import asyncio
import sys
from pathlib import Path
from time import process_time

import numpy as np

from fedrepay.simulations.bench.peers.summed import MEMBERS, REPEATS, VALUES, SumMeasured, check, values

PRIME = (1 << 31) - 1


def run(_name: str) -> SumMeasured:
    """Measure, as party 0."""
    sys.argv = [str(Path(__file__)), f"-M{MEMBERS}"]
    return asyncio.run(party())


async def party() -> SumMeasured:
    """One party's part; the CPU time of all is told to all."""
    from mpyc.runtime import mpc

    field = mpc.SecFld(modulus=PRIME)
    mine = values(mpc.pid)
    await mpc.start()
    times, before = [], 0
    for turn in range(1 + REPEATS):
        begun, before = process_time(), _sent(mpc)
        shared = mpc.input(field.array(field.field.array(mine)))
        opened = await mpc.output(sum(shared[1:], start=shared[0]))
        used, sent = process_time() - begun, _sent(mpc) - before
        spent = await mpc.transfer(used)
        if turn in (0, REPEATS):
            residues = opened.value.astype(np.int64)
            check(np.where(residues > PRIME // 2, residues - PRIME, residues))
        if turn:
            times.append(1000 * sum(spent) / MEMBERS)
    await mpc.shutdown()
    return SumMeasured(times, sent / VALUES)


def _sent(mpc: object) -> int:
    return sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)  # type: ignore[attr-defined]


if __name__ == "__main__":
    asyncio.run(party())
