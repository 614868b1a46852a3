"""A terminal that has few letters (ISO-8859-1, ASCII) is shown words for the others: no result ends in an error for an ε."""

import codecs
import io
import sys
import unicodedata

_HANDLER = "fedrepay.words"
_WORDS = {
    "ε": "epsilon",
    "δ": "delta",
    "Δ": "Delta",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
    "Σ": "sum ",
    "−": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "│": "|",
    "├": "|",
    "└": "|",
    "…": "...",
    "·": "-",
    "×": "x",
    "→": "->",
    "←": "<-",
    "⇒": "=>",
    "≤": "<=",
    "≥": ">=",
    "±": "+-",
    "√": "root ",
    "∞": "infinite",
    "‖": "||",
    "“": '"',
    "”": '"',
    "⁻": "-",
}


def legible() -> None:
    """Write what standard output and error cannot encode in words; what they can stays as it is."""
    codecs.register_error(_HANDLER, _in_words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors=_HANDLER)


def _in_words(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - it is registered for writing alone
    return "".join(map(_word, error.object[error.start : error.end])), error.end


def _word(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _WORDS.get(character) or plain or "?"
