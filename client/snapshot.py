"""A member's frozen rows and their keyed hash: what a run may not find changed."""

import hmac

from fedrepay.client.data.table import Table
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
    return rows, mac.digest()
