"""First dates from a file of accounts: the wished day as its column says, in the output, the hash and the rejects."""

from datetime import date, timedelta

import numpy as np

from fedrepay.client.scoring.score_file import rejects_of
from support.desk import ACCOUNTS, Desk, Row, write_csv
from support.market_accounts import random_accounts

TODAY = date(2026, 1, 5)


def offered(desk: Desk, out: str) -> dict[str, Row]:
    return {row["account"]: row for row in desk.rows(out) if row["rank"] == 1 and row["instalment"]}


def falls(row: Row) -> date:
    return TODAY + timedelta(days=row["first_due_days"])


def test_a_wished_day_is_kept_and_a_wrong_one_refused(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    assert desk.recommend("plain.csv", batch="plain").code == 0
    own["wished_day"] = np.array(["", "32", "16.5", *["16"] * (ACCOUNTS - 3)], object)
    own["jurisdiction"] = np.full(ACCOUNTS, "UK", object)
    write_csv(desk.accounts, own)
    assert desk.recommend("wish.csv", batch="wish").code == 0
    plain, wish = offered(desk, "plain.csv"), offered(desk, "wish.csv")
    names = own["customer"].tolist()
    assert not {names[1], names[2]} & set(wish)
    rejects = rejects_of(desk.folder / "wish.csv").read_text()
    assert rejects.count(",wished_day,") == 2
    assert "1 to 31" in rejects
    kept = {falls(row) for name, row in wish.items() if name != names[0]}
    assert kept <= {date(2026, 1, 16), date(2026, 2, 16)}
    assert len({falls(row) for row in plain.values()}) > 15, "control: without a wish they follow paydays"
    assert all(plain[name]["input_hash"] != wish[name]["input_hash"] for name in set(plain) & set(wish))


def test_the_explanation_says_what_the_date_follows(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    own["wished_day"] = np.full(ACCOUNTS, 16)
    own["human_requested"] = np.ones(ACCOUNTS, np.int64)
    write_csv(desk.accounts, own)
    assert desk.recommend("out.csv").code == 0
    account = next(iter(offered(desk, "out.csv")))
    said = desk.recommend(None, "--explain", account)
    assert said.code == 0
    assert "The first date follows the customer's wish." in said.out
