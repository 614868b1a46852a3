"""``make faults``: worlds until 50,000 faults were injected; SEED=N plays one world, LIMIT=n its first n faults.

Prints worlds, faults by kind, where processes died, and how runs ended; of one world, what happened in order.
Exit code 1: an invariant broke, a write point of the enumerated lists was never died at, or time was up before.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from multiprocessing import get_context
from time import monotonic

from support.faultworld.faults import KINDS, TARGETS
from support.faultworld.replay import Failure, play, played, shrunk, story
from support.faultworld.world import FaultWorld, Outcome

WANTED = 50_000
SECONDS = 30 * 60.0


def main() -> int:
    """Play worlds and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="play this world alone")
    parser.add_argument("--limit", type=int, help="stop its faults after so many")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--faults", type=int, default=WANTED, help="faults to inject")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    if asked.seed is not None:
        return _one(asked.seed, asked.limit)
    outcomes: list[Outcome] = []
    faults, begun = 0, monotonic()
    with get_context("spawn").Pool(asked.processes) as pool:
        for result in pool.imap_unordered(play, _seeds(asked.first, begun), chunksize=4):
            if isinstance(result, Failure):
                print(shrunk(result))
                return 1
            outcomes.append(result)
            faults += sum(result.faults.values())
            if faults >= asked.faults or monotonic() - begun > SECONDS:
                break
        pool.terminate()
    print(summary(outcomes))
    lacking = missed(outcomes)
    if faults < asked.faults:
        print(
            f"not enough: {asked.faults:,} faults were wanted; time was up after {SECONDS / 60:.0f} minutes"
        )
    if lacking:
        print("nobody died at: " + ", ".join(" ".join(target) for target in lacking))
    return 1 if lacking or faults < asked.faults else 0


def _seeds(first: int, begun: float) -> Iterator[int]:
    for seed in count(first):
        if monotonic() - begun > SECONDS:
            return
        yield seed


def _one(seed: int, limit: int | None) -> int:
    world = FaultWorld(seed, limit)
    result = played(world)
    if isinstance(result, Failure):
        print(result if limit is not None else shrunk(result))
        return 1
    print(
        f"seed {seed}: {len(world.names)} members, mode {world.mode}, {world.rounds} sums; what happened, by step:"
    )
    print("\n".join(story(world)))
    print(summary([result]))
    print(f"trace {result.trace}")
    return 0


def missed(outcomes: list[Outcome]) -> list[tuple[str, str, str]]:
    """Write points at which nobody died."""
    died = {target for outcome in outcomes for target in outcome.killed}
    return [target for target in TARGETS if target not in died]


def summary(outcomes: list[Outcome]) -> str:
    """What all these worlds met; of one, without what it did not meet."""
    many = len(outcomes) != 1
    faults: Counter[str] = Counter()
    killed: Counter[tuple[str, str, str]] = Counter()
    stops: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for outcome in outcomes:
        faults += outcome.faults
        killed += outcome.killed
        stops += outcome.stops
        refusals += outcome.refusals
    lines = [
        f"{len(outcomes)} worlds, {sum(faults.values()):,} faults, no invariant broken",
        f"messages {sum(o.messages for o in outcomes):,}, runs {sum(o.runs for o in outcomes):,}",
        f"lives of the coordinator {sum(o.lives for o in outcomes):,}",
        f"releases {sum(o.releases for o in outcomes):,}",
        "faults by kind:",
        *(f"  {kind:24} {faults[kind]:7,}" for kind in KINDS if faults[kind] or many),
        "deaths at each write (inside the commit, after it):",
    ]
    for who, point in dict.fromkeys((who, point) for who, point, _ in TARGETS):
        inside, after = (killed[who, point, moment] for moment in ("commit", "committed"))
        if many or inside or after:
            lines.append(f"  {who:12} {point:24} {inside:6,} {after:6,}")
    lines += [
        "stops: " + ", ".join(f"{kind} {number:,}" for kind, number in sorted(stops.items())),
        "refusals: " + ", ".join(f"{code} {number:,}" for code, number in sorted(refusals.items())),
        f"attempts answered again by restored stores, undiscovered: {sum(o.twice for o in outcomes)}",
    ]
    if many:
        lines.append(f"write points never died at: {len(missed(outcomes))} of {len(TARGETS)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
