"""Ids of one person in two spellings: to the protocol they are two customers, each with a customer's whole weight."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from fedrepay.client.data.reading.findings import Group
from fedrepay.client.data.reading.table import Table
from fedrepay.shared.arrays import I64

BOUND = "one spelling a customer: ids that differ only in case, blanks, leading zeros or Unicode form"


def folded(name: str) -> str:
    """An id without case, blanks and other unseen characters, and Unicode form; leading zeros stay."""
    if name.isascii() and name.isalnum():  # the common case, thirty times as fast
        return name.lower()
    cased = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(each for each in cased if unicodedata.category(each)[0] not in "ZC")


def plain(name: str) -> str:
    """An id without what typing varies: what ``folded`` takes, and leading zeros."""
    kept = folded(name)
    return kept.lstrip("0") or kept[:1]


def told(column: str, table: Table, file: str) -> tuple[Group, ...]:
    """A finding for the rows of customers that are spelt in two ways.

    Args:
        column: of the customer.
        table: the rows.
        file: named in the finding.
    """
    rows = alike(table.customers.tolist())
    if not len(rows):
        return ()
    return (Group(file, column, BOUND, "warn", table.source_rows[rows], table.customers[rows]),)


def alike(names: Iterable[str | None]) -> I64:
    """Positions of ids that have another spelling among ``names``, grouped by person; (m,)."""
    names = list(names)
    known = {name for name in names if name is not None and name.strip()}
    if len({plain(name) for name in known}) == len(known):
        return np.array([], dtype=np.int64)
    spelt: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    plains: dict[str, str] = {}
    for place, name in enumerate(names):
        if name is not None and name.strip():
            if name not in plains:
                plains[name] = plain(name)
            spelt[plains[name]][name].append(place)
    several = [each for each in spelt.values() if len(each) > 1]
    return np.array(
        [place for each in several for places in each.values() for place in places], dtype=np.int64
    )
