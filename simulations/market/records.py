"""What a lender's systems hold of the offers it made: accounts, offers, and dated payments with their quirks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from fedrepay.client.data.reading import columns as sql
from fedrepay.client.data.reading.table import Table
from fedrepay.shared.arrays import I64
from fedrepay.shared.plans.candidates import Candidates, candidates
from fedrepay.shared.plans.catalogue import Arms, Catalogue, arms, load_catalogue
from fedrepay.shared.plans.due import due_dates
from fedrepay.shared.plans.kinds import KINDS
from fedrepay.shared.plans.outcomes import Offers, Payments, Reprofiles, derive
from fedrepay.shared.schema import codebook, encode
from fedrepay.shared.schema.bins import Values
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.market import paths, people
from fedrepay.simulations.market.lenders import Lender, choose
from fedrepay.simulations.market.people import Columns, NewAccounts

HERE = Path(__file__).parent
SCHEMA = HERE / "debt_market.toml"
CATALOGUE = HERE / "catalogue.toml"
AS_OF = int(np.datetime64("2026-10-31").astype(np.int64))
"""The day the records were drawn up."""

REPEATS = 0.1
"""Share of offers that go to a customer who had one before."""
RECENT = 0.05
"""Offers beside the matured ones, too young for a label."""


@cache
def book() -> CodeBook:
    """The code book of the market's schema."""
    return codebook.load(SCHEMA)


@cache
def catalogue() -> tuple[Catalogue, Arms]:
    """What lenders of the market may offer."""
    found, _ = load_catalogue(CATALOGUE)
    return found, arms(found)


@dataclass(frozen=True)
class Records:
    """A lender's records, one row an offer, (n,).

    ``accounts`` as known when the offer was made, ``customer`` numbers, ``plans`` the candidates then, ``arm`` the one
    offered; ``offers`` and ``payments`` as dated rows.
    """

    accounts: NewAccounts
    customer: I64
    plans: Candidates
    arm: I64
    offers: Offers
    payments: Payments

    def columns(self) -> Columns:
        """Canonical account and plan columns of each offer, derived ones left out."""
        at, the_arms = np.arange(len(self.arm)), self.plans.arms
        return self.accounts.columns | {
            "kind": np.array(KINDS, object)[the_arms.kind[self.arm]],
            "months": self.plans.months[at, self.arm],
            "monthly": self.plans.monthly[at, self.arm].astype(np.float64),
            "first_due": the_arms.first_due[self.arm].astype(np.float64),
            "discount": the_arms.discount[self.arm],
            "interest_waiver": the_arms.interest_waiver[self.arm],
        }


def stated_bound(accounts: NewAccounts) -> I64:
    """What lenders took for affordable until now: the surplus as known, less other plans, (n,)."""
    known = accounts.columns
    left = known["surplus"].astype(float) - known["other_plans"].astype(float)
    usual = 0.08 * known["median_income"].astype(float)
    return np.floor(np.maximum(np.where(np.isnan(left), usual, left), 0)).astype(np.int64)


def record(lender: Lender, seed: int, again: int = 0) -> Records:
    """Draw a lender's past: its matured offers and a few recent ones.

    Args:
        lender: who, how many offers, which policy.
        seed: of the draws; lenders of one market need different names.
        again: 0, or which other past that this lender might have had as well.
    """
    rng = np.random.default_rng([seed, 12, int(lender.name[1:]), *([again] if again else [])])
    recent = round(RECENT * lender.offers)
    n = lender.offers + recent
    people_count = n - int(REPEATS * n)
    heavy = lender.effects.link != "logit"
    drawn = people.draw(lender.book, people_count, rng, heavy_shocks=heavy)
    customer = np.concatenate([np.arange(people_count), rng.choice(people_count, n - people_count)])
    accounts = drawn.take(customer)
    rules, the_arms = catalogue()
    plans = candidates(rules, the_arms, accounts.debts(stated_bound(accounts)))
    arm = choose(lender.policy, accounts, plans, rng)
    happened = paths.draw(lender.effects, accounts.debtors, plans, arm, rng)
    age = np.concatenate([rng.integers(150, 700, lender.offers), rng.integers(1, 15, recent)])
    return recorded(accounts, customer, plans, arm, happened, age, rng)


def recorded(
    accounts: NewAccounts,
    customer: I64,
    plans: Candidates,
    arm: I64,
    happened: paths.Paths,
    age: I64,
    rng: np.random.Generator,
) -> Records:
    """Offers and what came of them as a lender's systems write them down.

    Args:
        accounts: as known when the offer was made, n.
        customer: whose, (n,).
        plans: the candidates then, (n, P).
        arm: the one offered, (n,).
        happened: what came of each.
        age: days from the offer to ``AS_OF``, (n,).
        rng: of dates and of the quirks of payments.
    """
    offers = _offers(plans, arm, AS_OF - age, happened, rng)
    return Records(accounts, customer, plans, arm, offers, _payments(offers, happened, rng))


def _offers(
    plans: Candidates, arm: I64, offered: I64, happened: paths.Paths, rng: np.random.Generator
) -> Offers:
    at = np.arange(len(arm))
    due = plans.arms.first_due[arm]
    agreed = offered + rng.integers(0, np.minimum(due, 14) + 1)
    return Offers(
        offer=at.astype(np.int64),
        offered_on=offered,
        agreed_on=np.where(happened.agreed, agreed, -1),
        first_due_on=offered + due,
        instalment=plans.instalment[at, arm],
        count=plans.count[at, arm],
        frequency=plans.arms.frequency[arm],
        censored_on=np.full(len(arm), -1, np.int64),
    )


def _payments(offers: Offers, happened: paths.Paths, rng: np.random.Generator) -> Payments:
    """Dated rows: most on time, some early, in two parts, booked twice, or bounced and paid no more."""
    offer, step = np.nonzero(happened.paid)
    amount = offers.instalment[offer] * happened.paid[offer, step]
    due = due_dates(offers.first_due_on, offers.frequency, paths.LONGEST)[offer, step]
    paid_on = np.maximum(due + rng.integers(-3, 6, len(offer)), offers.offered_on[offer])
    rows = [(offer, paid_on, amount)]
    split = rng.random(len(offer)) < 0.05
    half = amount // 2
    rows[0] = (offer, paid_on, np.where(split, amount - half, amount))
    rows.append((offer[split], due[split], half[split]))
    missed = np.flatnonzero(happened.agreed & ~happened.first & (rng.random(len(happened.agreed)) < 0.1))
    rows.append((missed, offers.first_due_on[missed], offers.instalment[missed]))  # bounces below
    numbers = np.arange(sum(len(each[0]) for each in rows))
    bounced = numbers[len(numbers) - len(missed) :]
    again = (
        rng.choice(numbers[: len(offer)], int(0.01 * len(offer)), replace=False)
        if len(offer)
        else numbers[:0]
    )
    whole = [np.concatenate([each[place] for each in rows]) for place in range(3)]
    back = (missed, offers.first_due_on[missed] + 3, offers.instalment[missed])
    reverses = np.concatenate([np.full(len(numbers) + len(again), -1), bounced])
    fresh = len(numbers) + np.arange(len(missed))
    parts = [np.concatenate([whole[place], whole[place][again], back[place]]) for place in range(3)]
    kept = parts[1] <= AS_OF
    identities = np.concatenate([numbers, again, fresh])
    columns = [parts[0], identities, parts[1], parts[2], reverses]
    return Payments(*(each[kept].astype(np.int64) for each in columns))


NO_REPROFILES = Reprofiles(*(np.zeros(0, np.int64) for _ in range(4)))


def training_table(records: Records) -> Table:
    """The lender's training rows without the way through files; ``tests`` show that both give the same."""
    return training_tables({"": records})[""]


def training_tables(records: Mapping[str, Records]) -> dict[str, Table]:
    """The same of several lenders: what DuckDB derives, it derives of all their rows at once."""
    given = [each.columns() for each in records.values()]
    whole = canonical(book(), {name: np.concatenate([each[name] for each in given]) for name in given[0]})
    codes, found, start = encode.encode(book().schema, whole), {}, 0
    for lender, each in records.items():
        end = start + len(each.arm)
        labels = derive(each.offers, each.payments, NO_REPROFILES, AS_OF)
        outcomes = np.stack([labels.first_paid, labels.kept_90], axis=1).astype(np.int8)
        table = Table(
            codes=codes[start:end],
            outcomes=outcomes,
            customers=each.customer.astype(str).astype(object),
            propensity=None,
            audit={},
            extra={},
            source_rows=np.arange(1, len(outcomes) + 1),
            values={name: column[start:end] for name, column in whole.items()},
        )
        found[lender] = table.take(np.flatnonzero((outcomes >= 0).any(axis=1)))
        start = end
    return found


def canonical(the_book: CodeBook, given: Columns) -> dict[str, Values]:
    """Settled columns, derived ones included, of rows that were drawn inside the schema."""
    rows = len(next(iter(given.values())))
    settled: dict[str, Values] = {}
    for column in the_book.schema.columns:
        if not column.is_input:
            continue
        raw = given[column.name] if column.derived is None else sql.derive(column, settled, rows)
        settled[column.name], found = encode.settle(column, raw, np.zeros(rows, bool))
        if encode.refused_rows(found, rows).any():
            raise ValueError(f"{column.name}: the market drew a value outside its own schema")
    return settled
