"""The closed lists a plan's codes index into (docs/domain.md section 2)."""

KINDS = ("FULL", "INSTALMENT", "SETTLEMENT", "TOKEN", "DORMANT", "REFER", "NO_OFFER")
"""What a plan is."""

CHANNELS = ("sms", "email", "call", "portal", "letter")
"""How it is offered."""

FREQUENCIES = ("weekly", "biweekly", "monthly")
"""How often an instalment falls due."""
