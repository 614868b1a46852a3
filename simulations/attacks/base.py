"""What an attack reports: the same figures with the defence on and with it off.

An attack is a module of this folder with ``run(options) -> AttackFinding``; ``catalogue`` lists them.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AttackOptions:
    """What every attack is given.

    Attributes:
        seed: drives the attacked data and the attacker's guesses; never keys, masks or noise.
        transcript: a run's ``transcript/`` to attack, where the attack can use one.
        release: a run's ``release/`` to attack, where the attack can use one.
        quick: a smaller attack, for tests.
    """

    seed: int = 1
    transcript: Path | None = None
    release: Path | None = None
    quick: bool = False


@dataclass(frozen=True)
class Row:
    """One figure of the adversary's, with the defence on and off."""

    what: str
    on: str
    off: str


@dataclass(frozen=True)
class AttackFinding:
    """What came of an attack.

    Attributes:
        attack: its name.
        threat: the row of docs/threat-model.md.
        adversary: who attacks, what it holds and what it wants, in one sentence.
        defence: what is switched off in the control.
        rows: the figures.
        held: with the defence on, every figure stays where the defence promises it.
        bites: with the defence off the attack succeeds, so that ``held`` says something.
        note: what the figures do not show.
    """

    attack: str
    threat: str
    adversary: str
    defence: str
    rows: tuple[Row, ...]
    held: bool
    bites: bool
    note: str = ""
