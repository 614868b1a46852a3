"""The attacks by name; a module is loaded only when its attack runs."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from fedrepay.shared.errors import ArgumentError, AttackError
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions


@dataclass(frozen=True)
class Listed:
    """One line of the list.

    Attributes:
        threat: the row of docs/threat-model.md.
        line: what the adversary does.
        reads: which folders of a run it can attack: ``transcript``, ``release``.
    """

    threat: str
    line: str
    reads: tuple[str, ...] = ()


ATTACKS = {
    "ckks": Listed("B9", "compute the members' key from one decrypted CKKS sum"),
    "oracle": Listed("B9", "learn the key from what a member accepts or refuses"),
    "shift": Listed("B2", "change, double, omit or swap sums", ("transcript",)),
    "ghost": Listed("B3", "put members of one's own into the roster"),
    "differencing": Listed("B6", "call a member dropped, subtract two sums", ("transcript",)),
    "collude": Listed("B3", "K − 2 or K − 1 members open an update", ("transcript",)),
    "isolate": Listed("B21", "lead members apart, read one of them"),
    "fork": Listed("B22", "lead two halves to two releases of one run"),
    "subtract": Listed("B18", "subtract one's own book from the opened sum", ("release",)),
    "inversion": Listed("B1", "compute records back from a gradient"),
    "membership": Listed("B4", "tell whether a customer was trained on", ("release",)),
    "canary": Listed("B4", "measure the noise on the real path against the claim"),
    "poisoning": Listed("B5", "send a false update, 1 member of 10"),
}
"""Every attack, in the order of the list."""


def load(name: str) -> Callable[[AttackOptions], AttackFinding]:
    """The attack of that name.

    Raises:
        ArgumentError: there is none.
    """
    if name not in ATTACKS:
        raise ArgumentError(f"There is no attack {name!r}.", f"Choose one of {', '.join(ATTACKS)}.")
    attack: Callable[[AttackOptions], AttackFinding] = import_module(
        f"fedrepay.simulations.attacks.{name}"
    ).run
    return attack


def check(finding: AttackFinding) -> None:
    """Refuse a finding that is bad news, or none.

    Raises:
        AttackError: a defence did not hold, or the control did not succeed.
    """
    if not finding.bites:
        raise AttackError(
            f"The attack {finding.attack!r} did not succeed even with its defence off, so it says nothing.",
            "It is broken here: report it with the table above, the seed and the folder it was given.",
        )
    if not finding.held:
        raise AttackError(
            f"The attack {finding.attack!r} got more than it may with its defence on ({finding.threat}).",
            "Use no release of this build. Report the table above; docs/attacks.md says what it must show.",
        )
