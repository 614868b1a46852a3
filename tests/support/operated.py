"""A consortium of five within this process, in a coordinator's folder with terms, schema and registry."""

from pathlib import Path
from typing import Any

from fedrepay.server.operating import founding
from support.consortium import Consortium, Mind, Policy
from support.founded import settings


def operated(
    folder: Path, minds: dict[str, Mind] | None = None, database: str = "", **terms: Any
) -> Consortium:
    """Its operator's folder is ``coordinator`` in ``folder``; ``database`` is that of its settings."""
    home = Consortium(folder / "c", minds=minds or {}, quick=True)
    home.operator.rmdir()
    facts = {"name": "Debt learners", "address": "127.0.0.1:8443", "epsilon_per_release": 4.0} | terms
    founding.found(
        home.operator,
        founding.terms_of(facts, [home.book]),
        settings(database=database),
        [home.book],
        ["consortium.example"],
    )
    return home


def released(home: Consortium, *, new_run: bool = False) -> int:
    """People approve, and a run comes to its release: its number."""
    return Policy(home).release(new_run=new_run)
