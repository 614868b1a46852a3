"""A member with three CSV files of its own column names: offers, payments, re-profilings, and their mapping."""

from collections.abc import Sequence
from pathlib import Path

from fedrepay.client.data.mappings.mapping import load_mapping
from fedrepay.client.data.reading.findings import Findings
from fedrepay.client.data.reading.table import Table, read_table
from fedrepay.shared.schema.codebook import CodeBook, build
from support.schemas import CUSTOMER, HEAD, column

OUTCOMES = "".join(
    f'[[columns]]\nname = "{name}"\nrole = "outcome"\ntype = "integer"\ngood = 1\nmissing = "outside"\n'
    for name in ("first_paid", "kept_90")
)
SCHEMA = HEAD.format(n_max=1000, public="") + CUSTOMER + OUTCOMES + column("balance")
BOOK = build(SCHEMA.encode())

MAPPING = '''
keys = {{customer = ["Client No"], offer = ["Ref"]}}
sql = """SELECT _row, "Ref" AS offer_id, "Client No" AS who, CAST("Saldo" AS DOUBLE) / 100 AS balance FROM accounts"""
[tables]
accounts = "accounts.csv"
deals = "deals.csv"
cash = "cash.csv"
changes = "changes.csv"
[outcomes]
as_of = {as_of}
offers = """SELECT _row, "Ref" AS offer_id, sent AS offered_on, yes AS agreed_on, strptime(start, '%d.%m.%Y')::DATE
  AS first_due_on, rate AS instalment, times AS count, lower(every) AS frequency, stop AS censored_on FROM deals"""
payments = """SELECT _row, "Ref" AS offer_id, "Booking" AS payment_id, "day" AS paid_on, cents AS amount,
  undoes AS reverses FROM cash"""
reprofiles = """SELECT _row, "Ref" AS offer_id, "from" AS from_on, next AS next_due_on, rate AS instalment
  FROM changes"""
'''
ACCOUNTS = ["Ref,Client No,Saldo", "A1,k1,1000", "A2,k2,2000", "A3,k3,3000", "A4,k4,5000", "A5,k1,900"]
DEALS = [
    "Ref,sent,yes,start,rate,times,every,stop",
    "A1,2026-01-01,2026-01-02,15.01.2026,1000,12,Monthly,",
    "A2,2026-01-01,,15.01.2026,1000,12,MONTHLY,",
    "A3,2026-01-01,2026-01-02,15.01.2026,1000,12,monthly,2026-03-01",
    "A4,2026-04-20,2026-04-20,30.04.2026,1000,12,weekly,",
    "A5,2026-01-01,2026-01-02,15.01.2026,1000,12,monthly,",
]
CASH = [
    "Ref,Booking,day,cents,undoes",
    "A1,b1,2026-01-22,1000,",
    "A1,b2,2026-02-15,1000,",
    "A1,b2,2026-02-15,1000,",
    "A1,b3,2026-03-16,1000,",
    "A3,b4,2026-01-15,1000,",
    "A5,b5,2026-01-15,1000,",
    "A5,b6,2026-01-20,-1000,b5",
    "A5,b7,2026-01-23,1000,",
    "A5,b8,2026-03-10,500,",
]
CHANGES = ["Ref,from,next,rate", "A5,2026-02-12,2026-03-10,500"]


def read(
    folder: Path,
    *,
    accounts: Sequence[str] = ACCOUNTS,
    deals: Sequence[str] = DEALS,
    cash: Sequence[str] = CASH,
    changes: Sequence[str] = CHANGES,
    mapping: str = MAPPING.format(as_of="2026-04-30"),
    book: CodeBook = BOOK,
    need_outcome: bool = True,
) -> tuple[Table, Findings]:
    named = {"accounts": accounts, "deals": deals, "cash": cash, "changes": changes}
    for name, lines in named.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "mine.toml").write_text(mapping)
    return read_table(book, None, load_mapping(folder / "mine.toml"), need_outcome=need_outcome)
