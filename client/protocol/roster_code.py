"""The twelve words of a roster as a person types them."""

from mnemonic import Mnemonic

from fedrepay.shared.errors import ArgumentError


def parse(words: str) -> str:
    """The words in lower case with one blank between them, as ``Roster.code`` writes them.

    Raises:
        ArgumentError: they are no roster code: the BIP-39 check bits, or the number of words, are wrong.
    """
    code = " ".join(words.lower().split())
    if len(code.split()) != 12 or not Mnemonic("english").check(code):
        raise ArgumentError(
            "These are not twelve words of a roster code: a word is misspelt or missing.",
            "`member roster` shows them; compare them with the other members by telephone.",
        )
    return code
