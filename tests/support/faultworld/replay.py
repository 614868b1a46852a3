"""A failing seed: again, with as few faults as still show it, and its trace to read."""

from dataclasses import dataclass

from support.faultworld.invariants import Violation
from support.faultworld.world import FaultWorld, Outcome

LINES = 60


@dataclass(frozen=True)
class Failure:
    """A world in which something happened that must never be."""

    seed: int
    faults: int  # the fewest, from the first on, that show it
    what: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        shown = self.trace[-LINES:]
        return "\n".join(
            (
                f"seed {self.seed}: {self.what}",
                f"again, to the same step: make faults SEED={self.seed}",
                f"with the first {self.faults} faults alone: make faults SEED={self.seed} LIMIT={self.faults}",
                f"the last {len(shown)} of {len(self.trace)} steps:",
                *shown,
            )
        )


def play(seed: int, limit: int | None = None) -> Outcome | Failure:
    """One world; a violation comes back as a value."""
    return played(FaultWorld(seed, limit))


def played(world: FaultWorld) -> Outcome | Failure:
    """As :func:`play`; where the world itself breaks, the error says which it was."""
    try:
        return world.play()
    except Violation as error:
        return Failure(world.seed, len(world.faults.happened), str(error), tuple(map(str, world.trace)))
    except Exception as error:
        error.add_note(f"in the world of seed {world.seed}: make faults SEED={world.seed}")
        raise


def story(world: FaultWorld) -> list[str]:
    """What was out of the ordinary in a world that was played, in order, by step."""
    nodes = {*world.names, "coordinator"}
    told = []
    for step, entry in enumerate(world.trace):
        written = entry[0] in nodes and len(entry) == 3
        answered = entry[0] in nodes and not written and entry[2] == "ok"
        if not written and not answered:
            told.append(f"{step:5}  " + " ".join(str(part) for part in entry if part not in ("", 0)))
    return told


def shrunk(failure: Failure) -> Failure:
    """The same seed with the shortest list of faults that still fails."""
    for limit in range(failure.faults):
        found = play(failure.seed, limit)
        if isinstance(found, Failure):
            return found
    return failure
