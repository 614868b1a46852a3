"""Verification as an action: what asking for an income form or for a proof would bring, for each account.

What verifying finds is not known beforehand; what is believed of it is. From that belief (``Caution``: the posterior of a
stated or estimated surplus, what is usual where there is no form) some equally likely surpluses are taken; each gives a
bound, each bound a best decision, and their mean value less that of the best decision now is the gain. It may be
negative: verifying may find less. **It stands beside a plan that can be had now, never in its place.**

The model reads the account as it is known now, as its probabilities are of people known like this. Amounts that are a part of
the bound are looked up among those of two bounds, the present one and a high one, which takes the gain for too small rather
than too large.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.affordability import believed, income_known, sustainable
from fedrepay.client.plans.deciding.chunk import Accounts, Chunk
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.judged import Judged, Why
from fedrepay.shared.arrays import F64, I64, U8, Bool, Objects

ASKS = ("", "FORM", "PROOF")
"""What may be asked for: nothing, an income form where there is none, a proof of what is stated or estimated."""
Rows = npt.NDArray[np.intp]
POINTS = 9
"""Equally likely surpluses that a belief is cut into."""
_USABLE = np.array([each in (Why.OK, Why.NO_DISCOUNT_FOR_SELF_CURE) for each in Why])
_BECOMES = {"none": "stated", "stated": "verified", "estimated": "verified"}


@dataclass(frozen=True, eq=False)
class Verify:
    """What asking would bring n accounts, (n,) each; values are expected, minor units, no-plan cash included.

    ``ask`` into ``ASKS``; ``value_now`` and ``value_then`` of the best decision, alike where nothing is asked;
    ``plan_now`` a plan can be had now; ``plan_then`` how likely one can then; ``no_plan`` the value without any;
    ``balance`` owed.
    """

    ask: U8
    value_now: F64
    value_then: F64
    plan_now: Bool
    plan_then: F64
    no_plan: F64
    balance: F64

    @property
    def gain(self) -> F64:
        """What asking brings, minor units, (n,); 0 where nothing is asked."""
        return np.asarray(self.value_then - self.value_now)

    @property
    def share(self) -> F64:
        """The gain as a part of the balance, (n,)."""
        return np.asarray(self.gain / np.maximum(self.balance, 1))


def verify(
    engine: Engine, accounts: Accounts, today: int, now: Chunk | None = None, *, people: Bool | None = None
) -> Verify:
    """Work out for each account what asking would bring.

    Nothing is asked of who is verified already, who owes nothing, whom a person looks after or whose collection rests, and
    where there is no form and no ``median_income`` to take for an income.

    Args:
        engine: what it decides with.
        accounts: n of them.
        today: day since 1970-01-01.
        now: the same accounts as judged already, without the caps of a batch.
        people: whom a person decides about, (n,).

    Raises:
        DataError: a fact is no such value.
    """
    chunk = engine.judge(accounts, today) if now is None else now
    judged = chunk.judged
    everybody, by_share = np.arange(len(judged.why)), judged.plans.arms.share > 0
    value, has = _Menu.of(judged, everybody).best()
    balance = judged.plans.debts.balance.astype(np.float64)
    found = Verify(
        np.zeros(len(has), np.uint8),
        value,
        value.copy(),
        has,
        has.astype(np.float64),
        judged.no_plan,
        balance,
    )
    income, middle, spread = _belief(engine, accounts)
    care = chunk.safeguards.person | chunk.safeguards.care
    care = care if people is None else care | people
    rows = np.flatnonzero(np.isfinite(middle) & ~(judged.human | judged.stop | care) & (balance > 0))
    if not len(rows):
        return found
    part, known = accounts.take(rows), accounts.values["income_verified"][rows]
    becomes = np.array([_BECOMES[each] for each in known], dtype=object)
    points = np.array([NormalDist().inv_cdf((place + 0.5) / POINTS) for place in range(POINTS)])
    found_then = middle[rows] + points[:, None] * spread[rows]
    rooms = _rooms(engine, part, income[rows], found_then, becomes)
    high = engine.within(chunk, rows, rooms[-1], today)
    menu = _Menu.of(high, np.arange(len(rows))).and_of(_Menu.of(judged, rows, by_share))
    bests = [menu.best(room) for room in rooms]
    found.ask[rows] = np.where(known == "none", ASKS.index("FORM"), ASKS.index("PROOF"))
    found.value_then[rows] = np.mean([each for each, _ in bests], axis=0)
    found.plan_then[rows] = np.mean([each for _, each in bests], axis=0)
    return found


def _belief(engine: Engine, accounts: Accounts) -> tuple[F64, F64, F64]:
    """Income, and mean and spread of the surplus that verifying would find, (n,) each; NaN where it cannot be asked for."""
    settings, values = engine.settings.affordability, accounts.values
    given, surplus = (np.asarray(values[name], np.float64) for name in ("income", "surplus"))
    known = values["income_verified"]
    usual = np.asarray(values.get("median_income", np.full(len(given), np.nan)), np.float64)
    income = np.where(known == "none", usual, given)
    middle, spread = np.full((2, len(given)), np.nan)
    usable = (known == "none") | income_known(given, surplus, known)
    for name, then in _BECOMES.items():
        here = np.asarray(usable & (known == name))
        middle[here], own = believed(settings, name, income[here], surplus[here])
        spread[here] = np.hypot(own, getattr(settings, then).error * income[here])
    return income, middle, spread


def _rooms(engine: Engine, accounts: Accounts, income: F64, surplus: F64, known: Objects) -> I64:
    """The bounds if one of these surpluses were found, minor units a month, (points, n) each."""
    values, times = accounts.values, len(surplus)
    promised = sum(np.asarray(values[name], np.float64) for name in ("other_plans", "priority_arrears"))
    of_all = (np.tile(income, times), surplus.ravel(), np.tile(known, times), np.tile(promised, times))
    room = sustainable(engine.settings.affordability, *of_all).reshape(surplus.shape)
    return room if accounts.part is None else np.floor(room * accounts.part).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Menu:
    """Plans of n accounts that may be offered as far as they are affordable, (n, Q) each; ``no_plan`` (n,).

    ``most`` is what falls due in the dearest month; ``self_cure`` as in ``Borders``.
    """

    usable: Bool
    discount: Bool
    score: F64
    value: F64
    kept: F64
    most: I64
    no_plan: F64
    self_cure: float

    @classmethod
    def of(cls, judged: Judged, rows: Rows, arms: Bool | None = None) -> "_Menu":
        """Offers of some accounts and arms that nothing but the bound or a better plan without a discount stands against."""
        plans = judged.plans
        offers = plans.arms.is_offer & (True if arms is None else arms)
        at = np.ix_(rows, np.flatnonzero(offers))
        return cls(
            _USABLE[judged.why[at]],
            np.broadcast_to(plans.arms.discount[offers] > 0, (len(rows), int(offers.sum()))),
            judged.score[at],
            judged.value[at],
            judged.kept[at],
            np.maximum(plans.monthly, plans.worst_month)[at],
            judged.no_plan[rows],
            judged.borders.self_cure,
        )

    def and_of(self, other: "_Menu") -> "_Menu":
        """The plans of both, of the same accounts."""
        both = {
            name: np.concatenate([each, getattr(other, name)], axis=1)
            for name, each in vars(self).items()
            if name not in ("no_plan", "self_cure")
        }
        return _Menu(**both, no_plan=self.no_plan, self_cure=self.self_cure)

    def best(self, room: I64 | None = None) -> tuple[F64, Bool]:
        """Value of the best decision within some bounds (or those it was judged with), and whether it is a plan, (n,) each."""
        usable = self.usable if room is None else self.usable & (self.most <= room[:, None])
        rows = np.arange(len(usable))
        score = np.where(usable, self.score, -np.inf)
        plain = np.where(self.discount, -np.inf, score)
        first = plain.argmax(axis=1)
        cures = np.isfinite(plain[rows, first]) & (self.kept[rows, first] >= self.self_cure)
        best = np.where(cures, first, score.argmax(axis=1))
        has = np.isfinite(score[rows, best])
        return np.where(has, self.value[rows, best], self.no_plan), has
