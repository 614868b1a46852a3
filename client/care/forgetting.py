"""A customer is forgotten: barred from every run to come, and what had learned from them is written down and signed.

A release cannot unlearn one person. What bounds what it may know of them is ε, and that was paid when it was made: the
certificate says which runs, which rows, and how much. The ledger keeps what was spent, for everybody else's sake.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedrepay.client.care.home import Home
from fedrepay.client.care.spending import finite, spending
from fedrepay.client.crypto.identity import Identity
from fedrepay.client.data.checking import barred
from fedrepay.client.store.database import FILE
from fedrepay.client.veto.year import CHARGED, UNPROTECTED, bare
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import read_bytes, write_atomically
from fedrepay.shared.privacy.accounting import charged_of
from fedrepay.shared.privacy.composition import composed_epsilon

LABEL = "forgotten-customer"
_LARGEST = 256 << 20  # bytes of a file that is searched
HOLDS = {
    "rows": "none are kept: rows are read when `member serve` starts, and lie in no file of fedrepay's",
    "label hashes": "none are kept: labels are derived anew from the member's own tables",
    "hold-out marks": "none are kept: no customer is held out by fedrepay",
    "uploads": "sums over all customers under noise, masks and encryption, and those of finished runs are emptied",
    "opened sums and releases": "sums of all members' customers under noise; they stay, bounded by ε",
    "ledger": "what was spent, for all customers alike; it stays",
}
"""What the member's folder holds of one customer, said of each thing that could hold something."""


@dataclass(frozen=True)
class Forgotten:
    """What was done. ``still_named_in`` are files of the member's own in its folder where the id stands as text."""

    certificate: Path
    barred_before: bool
    still_named_in: tuple[str, ...]
    facts: dict[str, Any]


def forget(home: Home, identity: Identity, customer: str, out: Path | None = None) -> Forgotten:
    """Bar a customer and write the certificate; the bar stands first, whatever becomes of the certificate.

    Args:
        home: the member's folder.
        identity: its keys.
        customer: the id, as the member's rows have it.
        out: a new file; None is ``forgotten/`` in the folder, named by the mark.

    Raises:
        ArgumentError: no id, or the schema has no customers, so that no row can be told to be somebody's.
        StorageError: store or certificate cannot be written, or the certificate stands there already.
    """
    if not customer.strip():
        raise ArgumentError("No customer is named.", "Give the id as your rows have it.")
    if home.book.schema.customer is None:
        raise ArgumentError(
            "The schema has no column of customers, so no row can be told to be somebody's.",
            "Leave the rows out in the mapping, by a WHERE.",
        )
    made = barred.mark(identity.local, customer)
    before = made in home.store.barred()
    home.store.bar(made)
    now = home.clock()
    facts = _facts(home, identity, made, now)
    body = _canonical(facts)
    signed = {
        "certificate": facts,
        "signature": keys.sign(identity.signing, LABEL, body).hex(),
        "signing_key": keys.public_bytes(identity.signing).hex(),
    }
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    path = out or home.folder / "forgotten" / f"{made.hex()[:16]}-{stamp}.json"
    text = json.dumps(signed, indent=1, ensure_ascii=False).encode() + b"\n"
    write_atomically(path, text, mode=0o600, over=False)
    return Forgotten(path, before, _named_in(home.folder, customer), facts)


def _facts(home: Home, identity: Identity, made: bytes, now: float) -> dict[str, Any]:
    spent = spending(home)
    charged = [each for each in home.store.ledger() if each.status in (*CHARGED, UNPROTECTED)]
    unknown = spent.lost is not None or any(map(bare, charged))
    mechanisms = [charged_of(facts) for each in charged for facts in each.event]
    runs = [
        {
            "run": run.run,
            "first_charged": _when(min(each.at for each in run.attempts)),
            "rows": list(run.windows),
            "attempts": len(run.attempts),
            "attempts_sent": sum(each.sent for each in run.attempts),
            "released": run.released,
            "epsilon": _bound(charged, run.run, home.delta),
        }
        for run in spent.runs
    ]
    return {
        "what": "A customer of this member was barred from all further runs.",
        "member": identity.name,
        "at": _when(now),
        "customer_mark": made.hex(),
        "mark_is": "HMAC-SHA256 of the customer's id under this member's own key, which only this member can make",
        "schema": f"{home.book.schema.name} {home.book.schema.version}",
        "runs": runs,
        "runs_may_have_learned": "each run listed, if rows of the customer were among those it says; later runs, none",
        "epsilon_of_all_runs": None if unknown else finite(composed_epsilon(mechanisms, home.delta)),
        "delta": home.delta,
        "epsilon_means": "what all of it together may tell of one customer of this member; null: a run had no noise, or the ledger was lost, and nothing bounds it",
        "ledger_head": home.store.ledger_head().hex(),
        "holds": HOLDS,
    }


def _bound(charged: list[Any], run: int, delta: float) -> float | None:
    mine = [each for each in charged if each.run == run]
    if any(map(bare, mine)):
        return None
    return finite(composed_epsilon([charged_of(facts) for each in mine for facts in each.event], delta))


def check(path: Path, identity: Identity, customer: str | None = None) -> dict[str, Any]:
    """A certificate's facts, once its signature is found to be this member's.

    Args:
        path: the certificate.
        identity: who must have signed it.
        customer: whose it must be, by the mark that only this member can make.

    Raises:
        ArgumentError: it is no certificate, or another customer's.
        ProtocolError: it was changed after it was signed, or another member signed it.
    """
    try:
        said = json.loads(read_bytes(path, ArgumentError))
        facts, signature = said["certificate"], bytes.fromhex(said["signature"])
        whose = facts["customer_mark"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArgumentError(f"{path} is no certificate.", "`fedrepay member forget` writes one.") from error
    keys.verify(keys.public_bytes(identity.signing), LABEL, _canonical(facts), signature)
    if customer is not None and whose != barred.mark(identity.local, customer).hex():
        raise ArgumentError(f"{path} is another customer's.", "Check the id.")
    return dict(facts)


def _canonical(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()


def _named_in(folder: Path, customer: str) -> tuple[str, ...]:
    """Files in the folder that hold the id as text; what is packed, as Parquet is, cannot be searched like this."""
    wanted, found = customer.strip().encode("utf-8", "surrogatepass"), []
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()):
        if path.name == FILE or path.stat().st_size > _LARGEST:
            continue
        if wanted in read_bytes(path, StorageError):
            found.append(str(path.relative_to(folder)))
    return tuple(found)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
