"""A member's labels from its own dated payments: three SELECTs in, ``first_paid`` and ``kept_90`` out.

What a label means is shared code (``shared/plans/outcomes.py``). Rows are tied together by ``offer_id`` only,
so that a label depends on rows of its own offer, and with it of one customer.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.data.mappings.mapping import OFFER, Outcomes
from fedrepay.client.data.reading.findings import Group
from fedrepay.client.data.reading.payments import MOST_MONEY, DatedTable, opened
from fedrepay.client.data.reading.reader import MappedTable
from fedrepay.shared.arrays import I8, I64, Bool, Objects
from fedrepay.shared.errors import MappingError
from fedrepay.shared.plans import outcomes
from fedrepay.shared.plans.kinds import FREQUENCIES
from fedrepay.shared.schema.model import Schema

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LABELS = ("first_paid", "kept_90")
"""Outcome columns that can be derived."""
MOST_INSTALMENTS = 1200

_COLUMNS = {
    "offers": (
        *(OFFER, "offered_on", "agreed_on", "first_due_on"),
        *("instalment", "count", "frequency", "censored_on"),
    ),
    "payments": (OFFER, "payment_id", "paid_on", "amount", "reverses"),
    "reprofiles": (OFFER, "from_on", "next_due_on", "instalment"),
}
_MINOR = "a whole number of minor units (cents)"


@dataclass(frozen=True)
class Derived:
    """Labels by name, (n,) in {−1, 0, 1}, and days of offering, (n,), of the offers that ``offers`` numbers 0 … n − 1.

    ``labels`` is empty if a table cannot be used at all. ``spoiled`` (n,) are offers with a refused row in one of
    the tables; ``groups`` says why.
    """

    offers: dict[str, int]
    labels: dict[str, I8]
    spoiled: Bool
    offered_on: I64
    groups: tuple[Group, ...]


def derivable(schema: Schema, given: Outcomes | None, absent: Collection[str]) -> tuple[str, ...]:
    """The schema's outcome columns that this member's payments give.

    Raises:
        MappingError: there are SELECTs for outcomes, and the schema asks for none that they give.
    """
    if given is None:
        return ()
    names = tuple(each.name for each in schema.outcomes if each.name in LABELS and each.name not in absent)
    if not names:
        raise MappingError(
            f"[outcomes] gives {' and '.join(LABELS)}; the schema has no such outcome for this member.",
            "Take [outcomes] out of the mapping, or use the consortium's schema for plans.",
        )
    return names


def read(connection: "DuckDBPyConnection", given: Outcomes, sources: Mapping[str, Path]) -> Derived:
    """Run the SELECTs of ``[outcomes]``, check every cell, and derive.

    Args:
        connection: holds the member's tables.
        given: the SELECTs.
        sources: file by table name, for findings.

    Raises:
        MappingError: a SELECT fails.
        DataError: payments add up to more than can be counted.
    """
    with opened(connection, "offers", given.offers, sources, _COLUMNS["offers"]) as table:
        groups = table.groups
        index, offers, spoiled = _offers(table) if table.usable else ({}, None, np.zeros(0, bool))
        usable = table.usable
    if offers is None or not usable:
        return Derived({}, {}, spoiled, np.zeros(0, np.int64), tuple(groups))
    with opened(connection, "payments", given.payments, sources, _COLUMNS["payments"]) as table:
        payments = _payments(table, index, spoiled) if table.usable else None
        groups, usable = [*groups, *table.groups], table.usable
    reprofiles = outcomes.Reprofiles(*(np.zeros(0, np.int64) for _ in range(4)))
    if given.reprofiles is not None:
        with opened(connection, "reprofiles", given.reprofiles, sources, _COLUMNS["reprofiles"]) as table:
            if table.usable:
                reprofiles = _reprofiles(table, index, offers, spoiled)
            groups, usable = [*groups, *table.groups], usable and table.usable
    if payments is None or not usable:
        return Derived({}, {}, spoiled, np.zeros(0, np.int64), tuple(groups))
    found = outcomes.derive(offers, payments, reprofiles, given.as_of)
    labels = {"first_paid": found.first_paid, "kept_90": found.kept_90}
    return Derived(index, labels, spoiled, offers.offered_on, tuple(groups))


def _offers(table: DatedTable) -> tuple[dict[str, int], outcomes.Offers, Bool]:
    """Offer by id, the offers, and which of them have a refused row."""
    ids = table.ids(OFFER)
    first, index = _numbered(ids)
    table.refuse(OFFER, first != np.arange(table.rows), "unique: one row an offer", ids)
    offered, agreed = table.days("offered_on"), table.days("agreed_on", optional=True)
    due, censored = table.days("first_due_on"), table.days("censored_on", optional=True)
    instalment = table.whole_numbers("instalment", 1, MOST_MONEY, _MINOR)
    count = table.whole_numbers("count", 1, MOST_INSTALMENTS, "a whole number of instalments")
    names = table.ids("frequency")
    known = np.isin(names.astype(str), FREQUENCIES)
    table.refuse("frequency", ~known, f"one of {', '.join(FREQUENCIES)}", names)
    table.refuse("agreed_on", (agreed >= 0) & (agreed < offered), "on or after offered_on", _dates(agreed))
    table.refuse("first_due_on", due < offered, "on or after offered_on", _dates(due))
    code = np.array([FREQUENCIES.index(each) if each in FREQUENCIES else 0 for each in names], np.uint8)
    rows = np.unique(first[first >= 0])  # a doubled offer stands once, spoiled
    spoiled = np.zeros(len(rows), dtype=bool)
    spoiled[np.searchsorted(rows, first[(first >= 0) & table.refused])] = True
    number = {key: int(np.searchsorted(rows, at)) for key, at in index.items()}
    made = outcomes.Offers(
        offer=rows,
        offered_on=offered[rows],
        agreed_on=agreed[rows],
        first_due_on=due[rows],
        instalment=instalment[rows],
        count=count[rows],
        frequency=code[rows],
        censored_on=censored[rows],
    )
    return number, made, spoiled


def _payments(table: DatedTable, index: dict[str, int], spoiled: Bool) -> outcomes.Payments:
    """Payments of known offers; an offer with a refused one is flagged in ``spoiled``."""
    offer = _offer_of(table, index)
    ids, reverses = table.ids("payment_id"), table.ids("reverses", optional=True)
    paid_on = table.days("paid_on")
    amount = table.whole_numbers("amount", -MOST_MONEY, MOST_MONEY, _MINOR)
    _, codes = _numbered(np.concatenate([ids, reverses]))
    payment, target = _coded(ids, codes), _coded(reverses, codes)
    reversal = (target >= 0) | (amount < 0)
    names = np.where(target >= 0, target, payment)
    key, named = offer * len(codes) + payment, offer * len(codes) + names
    usable = (offer >= 0) & ~table.refused
    real = np.flatnonzero(usable & ~reversal)
    _, first, same = np.unique(key[real], return_index=True, return_inverse=True)
    original = real[first[same]]
    differs = np.zeros(table.rows, dtype=bool)
    differs[real] = (paid_on[real] != paid_on[original]) | (amount[real] != amount[original])
    bound = "another one: the same payment_id of the same offer has another date or amount"
    table.refuse("payment_id", differs, bound, ids)
    lost = usable & reversal & ~np.isin(named, key[real])
    column, shown = "reverses", np.where(target >= 0, reverses, ids)
    table.refuse(column, lost, "the payment_id of a payment of the same offer", shown)
    spoiled[offer[table.refused & (offer >= 0)]] = True
    good = ~table.refused
    return outcomes.Payments(offer[good], payment[good], paid_on[good], amount[good], target[good])


def _reprofiles(
    table: DatedTable, index: dict[str, int], offers: outcomes.Offers, spoiled: Bool
) -> outcomes.Reprofiles:
    offer = _offer_of(table, index)
    from_on, due = table.days("from_on"), table.days("next_due_on")
    instalment = table.whole_numbers("instalment", 1, MOST_MONEY, _MINOR)
    table.refuse("next_due_on", due < from_on, "on or after from_on", _dates(due))
    usable = np.flatnonzero((offer >= 0) & ~table.refused)
    early = np.zeros(table.rows, dtype=bool)
    early[usable] = from_on[usable] < offers.offered_on[offer[usable]]
    table.refuse("from_on", early, "on or after the offer's offered_on", _dates(from_on))
    again = np.zeros(table.rows, dtype=bool)
    again[usable] = True
    again[usable[np.unique((offer << 20)[usable] + from_on[usable], return_index=True)[1]]] = False
    table.refuse("from_on", again, "one re-profiling an offer and day", _dates(from_on))
    spoiled[offer[table.refused & (offer >= 0)]] = True
    good = ~table.refused
    return outcomes.Reprofiles(offer[good], from_on[good], due[good], instalment[good])


def _offer_of(table: DatedTable, index: dict[str, int]) -> I64:
    """Each row's offer, (n,), −1 and a finding where it is unknown."""
    ids = table.ids(OFFER)
    found = _coded(ids, index)
    table.refuse(OFFER, found < 0, "an offer_id of outcomes.offers", ids)
    return found


def _numbered(ids: Objects) -> tuple[I64, dict[str, int]]:
    """Where each id stands first, (n,), −1 for none; and the same by id."""
    first: dict[str, int] = {}
    for at, each in enumerate(ids.tolist()):
        if each is not None:
            first.setdefault(each, at)
    return _coded(ids, first), first


def _coded(ids: Objects, codes: dict[str, int]) -> I64:
    return np.array([codes.get(each, -1) for each in ids.tolist()], dtype=np.int64)


def _dates(days: I64) -> Objects:
    return days.astype("datetime64[D]").astype(str).astype(object)


def join(
    reader: MappedTable, schema: Schema, names: Collection[str], derived: Derived, offers: Objects | None
) -> int:
    """Give each row of the mapped table its labels, and leave out rows of which nothing is known yet.

    Args:
        reader: the mapped table; gains the columns ``names``, findings and refused rows.
        schema: says which outcomes may be unknown.
        names: the outcomes to fill in.
        derived: labels by offer.
        offers: the rows' ``offer_id`` (n,), None if the column cannot be used.

    Returns:
        how many rows are left out because no label of theirs has matured (or their offer is censored).
    """
    reader.groups.extend(derived.groups)
    for name in names:
        if name in reader.types:
            reader.whole(name, "left out: [outcomes] derives it from payments")
    if offers is None or not derived.labels:
        return 0
    found = _coded(offers, derived.offers)
    first, _ = _numbered(offers)
    again = (found >= 0) & (first != np.arange(reader.rows))
    for where, bound in (
        (first < 0, "not missing"),
        ((first >= 0) & (found < 0), "an offer_id of outcomes.offers"),
        (again, "unique: an offer's labels belong to one row"),
    ):
        rows = np.flatnonzero(where)
        if len(rows):
            group = Group(reader.file, OFFER, bound, "refuse", reader.source_rows[rows], offers[rows])
            reader.groups.append(group)
            reader.refused[rows] = True
    reader.refused |= derived.spoiled[found] & (found >= 0)
    for name in names:
        label = np.where(found >= 0, derived.labels[name][found], -1)
        reader.columns[name] = np.where(label >= 0, label, np.nan)
    return _leave_out(reader, schema)


def offered_on(derived: Derived, offers: Objects | None) -> I64 | None:
    """Each row's day of offering, (n,), −1 where its offer is not known; None if no row has one."""
    if offers is None or not derived.labels:
        return None
    found = _coded(offers, derived.offers)
    return np.where(found >= 0, derived.offered_on[found], -1)


def _leave_out(reader: MappedTable, schema: Schema) -> int:
    heads = [each for each in schema.outcomes if each.name in reader.columns]
    unknown = np.array([np.isnan(reader.columns[each.name].astype(np.float64)) for each in heads])
    needed = np.array([each.missing == "refuse" and each.name in LABELS for each in heads])
    open_ = (unknown.all(axis=0) | unknown[needed].any(axis=0)) & ~reader.refused
    if open_.any() and not (~reader.refused & ~open_).any():
        reader.whole("(outcomes)", "matured for at least one offer by as_of")
    reader.refused |= open_
    return int(open_.sum())
