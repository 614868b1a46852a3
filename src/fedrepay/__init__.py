"""fedrepay: creditors learn together which repayment plan works for whom.

What a notebook needs, loaded when it is first used (docs/python.md):

- ``simulate`` runs a whole consortium on this machine and gives a ``Run``;
- ``load_release`` checks a signed release and gives a ``Release``, which scores and explains rows;
- ``recommend`` decides on plans for accounts and gives ``Decisions``;
- ``Market`` is the simulated debt market, whose truth is known;
- ``errors`` are all errors a person can meet, each with a cause and a remedy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedrepay.client.plans.batch_io.decisions import Decisions, recommend
    from fedrepay.client.scoring.release import Release, Scores, load_release
    from fedrepay.shared import errors
    from fedrepay.simulations.market.market import Market
    from fedrepay.simulations.run.finished import Run
    from fedrepay.simulations.simulate import simulate

    __version__: str

__all__ = [
    "Decisions",
    "Market",
    "Release",
    "Run",
    "Scores",
    "__version__",
    "errors",
    "load_release",
    "recommend",
    "simulate",
]
_WHERE = {
    "Decisions": "client.plans.batch_io.decisions",
    "recommend": "client.plans.batch_io.decisions",
    "Release": "client.scoring.release",
    "Scores": "client.scoring.release",
    "load_release": "client.scoring.release",
    "Market": "simulations.market.market",
    "Run": "simulations.run.finished",
    "simulate": "simulations.simulate",
}


if not TYPE_CHECKING:  # types are those above, and a name that is not there is an error

    def __getattr__(name: str) -> Any:
        """Load a public name when it is first used."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - slower than all the rest here

            found: Any = version("fedrepay")
        elif name == "errors":
            found = import_module("fedrepay.shared.errors")
        elif name in _WHERE:
            found = _loaded(name)
        else:
            raise AttributeError(f"module 'fedrepay' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _loaded(name: str) -> Any:
    try:
        return getattr(import_module(f"fedrepay.{_WHERE[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "fedrepay").partition(".")[0] == "fedrepay":
            raise
        from fedrepay.shared.errors import ArgumentError  # noqa: PLC0415 - only where something is missing

        raise ArgumentError(
            f"fedrepay.{name} needs {error.name}, which is not installed.",
            "pip install 'fedrepay[simulation]', or [member] at a member.",
        ) from error
