"""How large δ may be: of one release, and of a year."""

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.schema.columns import Public

LARGEST = "1/(10·members_max·n_max)"
"""The bound as options and refusals name it."""
USUAL = 1e-5
"""δ where nobody asks for another and the bound allows it."""


def largest_delta(public: Public) -> float:
    """1/(10·K·n_max), K being ``members_max`` and n_max the most customers one member may bring.

    A mechanism that names each customer with chance δ is (0, δ)-DP, and names one of N with chance up to N·δ. Everybody
    a consortium may ever hold counts, K·n_max, so that this chance stays below a tenth. ``members_max`` stands for K
    so that a member that joins later shrinks nothing (docs/protocol.md, *Noise and the accountant*).
    """
    return 1 / (10 * public.members_max * public.n_max)


def usual_delta(public: Public) -> float:
    """δ where none was asked for: min(1e-5, the bound)."""
    return min(USUAL, largest_delta(public))


def chosen_delta(asked: float | None, public: Public, name: str = "--delta") -> float:
    """δ as asked for, else the usual one.

    Args:
        asked: what stands in an option or a file; None for the usual one.
        public: the schema's public bounds.
        name: what the person wrote it in.

    Raises:
        ArgumentError: it is not above 0 and at most the bound, which the error names.
    """
    bound = largest_delta(public)
    if asked is None:
        return usual_delta(public)
    if not 0 < asked <= bound:
        raise ArgumentError(
            f"{name} {asked:g} is outside 0 … {LARGEST} = {bound:g}.",
            "δ must stay below the chance of naming one customer of any member: leave it out for the default.",
        )
    return asked
