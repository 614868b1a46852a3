"""What stands beside a decision, as text: reasons, who takes over, and why not another plan."""

from itertools import pairwise

import numpy as np

from fedrepay.client.plans.deciding.decide import HANDOFFS
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.grounds import grounds
from fedrepay.client.plans.deciding.handover import HandedOver
from fedrepay.client.plans.deciding.judged import NONE, Why
from fedrepay.client.plans.deciding.reasons import CODES, MOST, NAMES, reference_of
from fedrepay.client.plans.deciding.reasons import NONE as NO_REASON
from fedrepay.client.plans.explaining.messages import say
from fedrepay.shared.arrays import F64, I8, I64, Objects

CONTRADICTED = {
    "PERSON_UNREAD": "another row of this customer cannot be read",
    "PERSON_DIFFERS": "this customer's accounts state different incomes or other plans",
    "SURPLUS_ABOVE_INCOME": "surplus above income",
    "SURPLUS_WITHOUT_INCOME": "a surplus, but no income",
    "FORM_WITHOUT_INCOME": "an income form, but no income",
    "FEES_ABOVE_BALANCE": "fees above the balance",
    "KEPT_WITHOUT_PROMISE": "a share of promises kept, but no promise",
    "NO_WORK_HIGH_INCOME": "out of work, with more than one and a half median incomes",
    "LATE_WITHOUT_ARREARS": "late, but nothing overdue",
    "LATE_STAGE_IN_TIME": "the stage late, but not a day late",
}
"""Words for ``handover.CONTRADICTIONS``."""
_CLOSE = 1e-9
LOWER = "LOWER_SCORE"
"""What is said of plans that may be offered, but bring less than those shown."""


def reasons_of(engine: Engine, batch: Batch, row: I64, arm: I64) -> tuple[I8, F64]:
    """Up to four reasons of each chosen pair, places in ``NAMES`` or −1, and their parts, (m, 4) each.

    Args:
        engine: that decided.
        batch: what it decided.
        row: accounts, (m,).
        arm: their plans, (m,).
    """
    judged = batch.judged
    reference = reference_of(judged.plans)[row]
    true = grounds(NAMES, batch.accounts.raw, judged.cases.income_known, judged.plans, row, arm, reference)
    return engine.reasons.top(batch.codes.of(row, arm), batch.codes.of(row, reference), true)


def reason_texts(engine: Engine, batch: Batch, row: I64, arm: I64) -> list[Objects]:
    """The same as text, (m,) each, strongest first."""
    made = texts(*reasons_of(engine, batch, row, arm))
    return [made[:, rank] for rank in range(MOST)]


def texts(place: I8, part: F64) -> Objects:
    """Reasons as they stand in a file: ``+R01 AFFORD_BUFFER (0.42)``; None for none. Of the shape of places and parts."""
    known, many = np.unique(_hundredths(part) * len(NAMES) + np.maximum(place, 0), return_inverse=True)
    made = np.empty(len(known), dtype=object)
    made[:] = [_text(each % len(NAMES), each // len(NAMES)) for each in known.tolist()]
    found: Objects = made[many.reshape(place.shape)]
    found[place == NO_REASON] = None
    return found


def _hundredths(part: F64) -> I64:
    """Parts to two decimals as text has them, in hundredths; −0.00 and below are odd, 0.00 and above even numbers."""
    size = np.abs(100 * part)
    found = np.rint(size).astype(np.int64)
    for at in np.argwhere(
        np.abs(np.abs(size - found) - 0.5) < _CLOSE
    ):  # a product's last bit may round the other way
        found[tuple(at)] = int(f"{abs(part[tuple(at)]):.2f}".replace(".", ""))
    return 2 * found + (part <= 0)


def _text(place: int, part: int) -> str:
    """One of ``texts`` from ``_hundredths``."""
    name = NAMES[place]
    return f"{'−' if part % 2 else '+'}{name} {CODES[name]} ({part // 2 // 100}.{part // 2 % 100:02})"


def handover_texts(handed: HandedOver) -> Objects:
    """Why each account goes to a human, (n,) text; None for nobody."""
    found = np.array([None, *(say("en", "handover", name) for name in HANDOFFS[1:])], np.object_)[handed.code]
    for row in np.flatnonzero(handed.code == HANDOFFS.index("CONTRADICTION")):
        found[row] += f": {CONTRADICTED[handed.contradiction[row]]}"
    for row in np.flatnonzero(handed.code == HANDOFFS.index("OUT_OF_BOUNDS")):
        found[row] += f": {handed.beyond[row]}"
    for row in np.flatnonzero(handed.code == HANDOFFS.index("DATE_CHANGES")):
        found[row] += f": {handed.changes[row]:.0f} times in 90 days"
    for row in np.flatnonzero(handed.uncovered != ""):
        matters = f"covered by no pack given: {handed.uncovered[row]}"
        alone = handed.code[row] == HANDOFFS.index("UNCOVERED")
        found[row] = matters if alone else f"{found[row]}; {matters}"
    return found


def handover_words(table: str, handed: HandedOver) -> Objects:
    """What each hand-over rests on, or what happens if nobody decides (a table of ``messages.toml``), (n,) text; None for nobody."""
    return np.array([None, *(say("en", table, name) for name in HANDOFFS[1:])], np.object_)[handed.code]


def why_not(batch: Batch) -> Objects:
    """For each account how many candidates each reason took out, with rule, article and version; (n,) text."""
    judged = batch.judged
    shown = judged.plans.arms.pays
    names = [LOWER, *(each.name for each in Why if each != Why.OK)]
    rules = judged.verdict.rules
    cited = [f"{each.pack} {each.pack_version}, {each.rule} {each.version}, {each.article}" for each in rules]
    why, blocked = judged.why[:, shown], judged.blocked[:, shown]
    width = len(names)
    code = np.where(why == Why.RULE, width + blocked, why).astype(np.int64)
    top = batch.decisions.top
    counted_all = _counts(code, width + len(rules))
    rows = np.arange(len(code))[:, None]
    offers = judged.offers
    counted_all[:, Why.OK] = offers.sum(axis=1) - ((top != NONE) & offers[rows, top]).sum(axis=1)
    row, which = np.nonzero(counted_all)
    count = counted_all[row, which]
    known, many = np.unique(which * (code.shape[1] + 1) + count, return_inverse=True)
    told = np.empty(len(known), dtype=object)
    for at, (each, number) in enumerate(
        zip(*(part.tolist() for part in np.divmod(known, code.shape[1] + 1)), strict=True)
    ):
        told[at] = f"{names[each]} {number}" if each < width else f"RULE {number} ({cited[each - width]})"
    parts, ends = told[many].tolist(), np.searchsorted(row, np.arange(len(code) + 1)).tolist()
    found = np.empty(len(code), dtype=object)
    found[:] = ["; ".join(parts[begin:end]) or None for begin, end in pairwise(ends)]
    return found


def _counts(code: I64, width: int) -> I64:
    rows = np.arange(len(code))[:, None] * width
    return np.bincount((rows + code).ravel(), minlength=len(code) * width).reshape(len(code), width)
