"""Text from outside, made fit for a log line or a screen."""


def printable(text: str, most: int = 400) -> str:
    """The text without line ends, control characters and escapes, and not longer than ``most`` characters."""
    shown = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text[:most])
    return shown + ("…" if len(text) > most else "")
