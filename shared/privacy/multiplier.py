"""The bound of local mode's noise that its terms state, apart from what proves it: a coordinator loads no accountant."""

SMALLEST_MULTIPLIER = 0.1
"""Of the noise: less is not worth the name, and the accountant's table of its losses grows beyond memory."""
