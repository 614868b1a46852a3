"""The closed lists a plan's codes index into (docs/domain.md section 2)."""

from typing import Literal, get_args

Kind = Literal["FULL", "INSTALMENT", "SETTLEMENT", "TOKEN", "DORMANT", "REFER", "NO_OFFER"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a plan is. Whatever the lists below do not name asks for money: rules stop it and the affordability bound holds it."""

SILENT = ("NO_OFFER",)
"""Reaches nobody, so nothing ever blocks it."""

FREE = (*SILENT, "DORMANT", "REFER")
"""Asks for no money."""

SMALL = ("TOKEN",)
"""Asks for what nobody lacks; never ranked, it is what remains where no plan is affordable."""

CONTACTING = tuple(kind for kind in KINDS if kind not in SILENT)
"""Reaches the debtor."""

COLLECTING = tuple(kind for kind in KINDS if kind not in FREE)
"""Asks for money."""

OFFERS = tuple(kind for kind in COLLECTING if kind not in SMALL)
"""Ranked by score, within the affordability bound."""

CHANNELS = ("sms", "email", "call", "portal", "letter")
"""How it is offered."""

FREQUENCIES = ("weekly", "biweekly", "monthly")
"""How often an instalment falls due."""
