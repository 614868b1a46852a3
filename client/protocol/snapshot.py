"""A member's frozen rows and their keyed hash: what a run may not find changed."""

import hmac
from dataclasses import replace

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning.contribution import Rows, from_table
from fedrepay.shared.schema.codebook import CodeBook


def snapshot(book: CodeBook, table: Table, key: bytes, override: bytes = b"") -> tuple[Rows, bytes]:
    """A member's contribution rows and the keyed hash of all that its sums depend on.

    Args:
        book: the code book.
        table: the rows.
        key: the member's own secret.
        override: digest of its override of the mapping's checks; the hash without one is as it ever was.
    """
    rows = from_table(book, table)
    mac = hmac.new(key, digestmod="sha256")
    for part in (rows.codes, rows.outcomes, rows.weights, rows.owners):
        mac.update(part.nbytes.to_bytes(8, "big") + part.tobytes())
    mac.update(rows.customers.to_bytes(8, "big"))
    mac.update(override)
    return replace(rows, window=_window(table, mac.digest())), mac.digest()


def _window(table: Table, digest: bytes) -> bytes:
    """Whose rows an attempt is made of, for the ledger: the offers' first and last day and the last day of payments.

    All customers where rows have no dates. The keyed hash stands beside either: heads of the ledger leave the member,
    and without a secret in it a window could be guessed from them.
    """
    whose = "all customers"
    if table.offered_on is not None and table.as_of is not None and len(table.offered_on):
        first, last, known = (
            np.datetime64(int(day), "D")
            for day in (table.offered_on.min(), table.offered_on.max(), table.as_of)
        )
        whose = f"offers {first} to {last}, payments to {known}"
    return f"{whose}; snapshot {digest.hex()}".encode()
