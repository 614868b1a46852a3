"""The closed lists a plan's codes index into (docs/domain.md section 2)."""

from typing import Literal, get_args

Kind = Literal[
    "FULL",
    "INSTALMENT",
    "SETTLEMENT",
    "TOKEN",
    "DORMANT",
    "REFER",
    "NO_OFFER",
    "REVIEW",
    "CATCH_UP",
    "EXTEND",
    "REDUCED",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a plan is. Whatever the lists below do not name asks for money: rules stop it and the affordability bound holds it."""

SILENT = ("NO_OFFER",)
"""Reaches nobody, so nothing ever blocks it."""

FREE = (*SILENT, "DORMANT", "REFER")
"""Asks for no money."""

SMALL = ("TOKEN",)
"""Asks for what nobody lacks; never ranked, it is what remains where no plan is affordable."""

CONTRACT = ("CATCH_UP", "EXTEND", "REDUCED")
"""For a contract that still runs: arrears beside the contractual instalment, a longer term, a smaller instalment for a while."""

ALL_AFFORDABLE = ("REVIEW", "REDUCED")
"""Asks for all that is affordable while the debt rests."""

RULED = ("REVIEW", *CONTRACT)
"""Chosen by what is owed and affordable alone: no model has learned them, so none ranks them."""

LEAVES_A_REST = (*SMALL, "REVIEW", "REDUCED")
"""The debt rests under it, free of interest, and what is not paid stays owed."""

CONTACTING = tuple(kind for kind in KINDS if kind not in SILENT)
"""Reaches the debtor."""

COLLECTING = tuple(kind for kind in KINDS if kind not in FREE)
"""Asks for money."""

OFFERS = tuple(kind for kind in COLLECTING if kind not in (*SMALL, *RULED))
"""Ranked by score, within the affordability bound: plans for a balance that is due."""

CHANNELS = ("sms", "email", "call", "portal", "letter")
"""How it is offered."""

FREQUENCIES = ("weekly", "biweekly", "monthly")
"""How often an instalment falls due."""
