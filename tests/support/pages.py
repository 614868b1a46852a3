"""Reading a report as a browser would: its tree, what it would load, its tables."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Checker(HTMLParser):
    """Collects the tree's faults and everything a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "srcset", "action", "xlink:href"):
                (self.targets if (value or "").startswith("#") else self.loads).append(
                    f"{tag} {name}={value}"
                )
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.faults.append(f"{tag} {name}")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    return checker


def body(html: str) -> str:
    """Visible text and titles, without style."""
    return unescape(html.split("</style>")[1])


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', html, re.DOTALL)
    assert found
    return found.group(0)


def rows(html: str) -> list[list[str]]:
    """The cells of all table rows, as text with single spaces."""
    return [
        [words(cell) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>|<t[hd]>.*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr[ >].*?</tr>", html, re.DOTALL)
    ]


def words(html: str) -> str:
    """What a reader sees of a piece of HTML, with single plain spaces."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
