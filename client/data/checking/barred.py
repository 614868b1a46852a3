"""Customers that stay out of every run: known by a keyed mark alone, so that no list of them lies anywhere.

The mark is of the id without what typing varies (``spellings.plain``): another spelling does not bring a customer back.
"""

import hmac
from collections.abc import Collection

import numpy as np

from fedrepay.client.data.checking.spellings import plain
from fedrepay.client.data.reading.table import Table

_LABEL = b"fedrepay barred customer\x00"


def mark(key: bytes, customer: str) -> bytes:
    """HMAC-SHA256 (32 bytes) of a customer's id.

    Args:
        key: the member's own secret; without it a mark cannot be guessed.
        customer: the id, as the member's rows have it.
    """
    return hmac.digest(key, _LABEL + plain(customer).encode("utf-8", "surrogatepass"), "sha256")


def without(table: Table, barred: Collection[bytes], key: bytes) -> tuple[Table, int]:
    """The rows of all other customers, and how many customers were left out.

    Args:
        table: rows, each with its customer.
        barred: marks.
        key: the member's own secret, with which the marks were made.
    """
    if not barred:
        return table, 0
    gone = {name for name in set(table.customers.tolist()) if mark(key, str(name)) in barred}
    if not gone:
        return table, 0
    kept = np.array([name not in gone for name in table.customers.tolist()], dtype=bool)
    return table.take(kept), len(gone)
