"""Kinds of plan: what no list names asks for money, is held by the bound and stopped by rules."""

from pathlib import Path
from typing import Any

from fedrepay.shared.plans import kinds
from fedrepay.shared.plans.kinds import COLLECTING, CONTACTING, FREE, KINDS, OFFERS, RULED, SILENT, SMALL


def test_the_lists_hold_every_kind_once() -> None:
    assert sorted((*OFFERS, *RULED, *SMALL, *FREE)) == sorted(KINDS)
    assert set(COLLECTING) == {"FULL", "INSTALMENT", "SETTLEMENT", "TOKEN", *RULED}
    assert set(OFFERS) == {"FULL", "INSTALMENT", "SETTLEMENT"}
    assert set(CONTACTING) == set(KINDS) - {"NO_OFFER"}
    assert set(SILENT) <= set(FREE)


def test_a_kind_that_nobody_classified_is_stopped_and_bounded() -> None:
    text = (
        Path(kinds.__file__).read_text("utf-8").replace('    "NO_OFFER",\n', '    "NO_OFFER",\n    "NEW",\n')
    )
    made: dict[str, Any] = {}
    exec(compile(text, "kinds", "exec"), made)  # noqa: S102 - our own source, with one kind more
    assert "NEW" in made["KINDS"]
    for name in ("COLLECTING", "CONTACTING", "OFFERS"):
        assert "NEW" in made[name]
