"""Text from outside on its way to a log or a screen: no line of its own, no command to the terminal, no endless length.

Outside is whoever is not this process's own code: other parties' names, codes and causes, cells of files, what a release
says of itself. A line break forges a log line, ESC moves a terminal's cursor, a right-to-left mark turns words round.
"""

LONGEST = 400
"""Characters of one outside text; a member's cause has at most some 300."""


def printable(text: str, most: int | None = LONGEST, *, keep: str = "") -> str:
    r"""The text with every character that is not printed by itself written out: ``\n``, ``\x1b``, ``\u202e``.

    Unicode's categories decide (``str.isprintable``): controls, formats and bidirectional marks, separators other than the
    blank, surrogates, private and unassigned characters. What is printable stays as it is, so doing it twice changes nothing.

    Args:
        text: from outside.
        most: the longest result, in characters; a cut one ends in ``…``. None for text that is long on purpose.
        keep: characters that may stay, such as a line break where lines are meant.
    """
    if most is not None:
        text = text[: most + 1]  # never more work than the result is long
    shown = "".join(each if each.isprintable() or each in keep else _written_out(each) for each in text)
    return shown if most is None or len(shown) <= most else shown[: most - 1] + "…"


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
