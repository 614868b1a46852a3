"""What a simulation of the market makes of a member's settings, and what it leaves out aloud."""

import pytest

from fedrepay.client.plans.deciding.settings import parse_settings
from fedrepay.simulations.market.case import without_effect


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ()),
        ("[value]\nlambda_first = 0.2\n", ()),
        ('packs = ["uk-fca"]\n', ("packs",)),
        ("exploration = 0.05\n[caps]\nagents = 3\n", ("caps", "exploration")),
    ],
)
def test_settings_without_effect_are_named(text: str, named: tuple[str, ...]) -> None:
    assert without_effect(parse_settings(text.encode(), "mine.toml")) == named
