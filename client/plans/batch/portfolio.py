"""Limits of a whole batch: agents, money forgiven, contacts, and a floor for each group of debtors.

What a cap makes scarce gets a price (``programme.py``). The prices are published, and one account scored with
them, ``score − Σ price·use``, gets the batch's answer; only accounts at a tie need the batch (``Portfolio.ties``).
Harm limits are no part of this: they are masks, and only what they allow comes in here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from fedrepay.client.plans.batch.programme import TIE, Programme, solve
from fedrepay.client.plans.deciding.settings import BatchCaps
from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.kinds import CHANNELS
from fedrepay.shared.plans.money import fees_left

CAPPED = ("agents", "discounts", "contacts")
CONTACTING = ("sms", "email", "call", "letter")
"""Channels that reach out; in the portal a debtor comes by."""
NONE = -1


@dataclass(frozen=True, eq=False)
class Uses:
    """What candidates use up: ``agents``, ``contacts`` and ``plan`` (what a floor counts), (P,), 0 or 1.

    ``level`` (P,) is the place in ``levels`` (n, L) of what a plan forgives, minor units; the first is nothing.
    """

    agents: Bool
    contacts: Bool
    plan: Bool
    level: I64
    levels: I64

    @property
    def discounts(self) -> I64:
        """What each candidate forgives, minor units, (n, P)."""
        return self.levels[:, self.level]


def uses(plans: Candidates) -> Uses:
    """What each candidate uses: a human's time, a contact, money forgiven (waived interest and fees apart)."""
    arms, debts = plans.arms, plans.debts
    steps = np.unique(np.append(arms.discount, 0.0))
    levels = np.zeros((len(debts.balance), len(steps)), np.int64)
    for place, step in enumerate(steps[1:], start=1):
        arm = int(np.flatnonzero(arms.discount == step)[0])
        left = debts.balance - debts.fees + fees_left(debts.fees, arms.fee_waiver[arm])
        levels[:, place] = np.maximum(left - plans.principal[:, arm], 0)
    reaches = np.isin(arms.channel, [CHANNELS.index(name) for name in CONTACTING])
    return Uses(
        agents=arms.human,
        contacts=reaches & ~arms.is_kind("DORMANT", "NO_OFFER"),
        plan=arms.pays,
        level=np.searchsorted(steps, arms.discount),
        levels=levels,
    )


@dataclass(frozen=True, eq=False)
class Candidacies:
    """The candidates of n accounts that could be chosen at some prices: nobody else's uses less and is worth more.

    Attributes:
        account: (m,) rising.
        arm: (m,) place in the catalogue.
        value: (m,) score × balance over no plan, minor units.
        use: (m, 4) agents, discounts, contacts, and 1 where it counts as a plan for a floor.
        accounts: n.
        owed: Σ of the balances, minor units.
    """

    account: I64
    arm: I64
    value: F64
    use: F64
    accounts: int
    owed: float

    @classmethod
    def joined(cls, parts: Sequence["Candidacies"]) -> "Candidacies":
        """The options of several lots of accounts, one after the other."""
        starts = np.cumsum([0, *(part.accounts for part in parts)])
        return cls(
            np.concatenate([part.account + start for part, start in zip(parts, starts, strict=False)]),
            np.concatenate([part.arm for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.use for part in parts]),
            int(starts[-1]),
            sum(part.owed for part in parts),
        )


def options(
    caps: BatchCaps, score: F64, allowed: Bool, balance: I64, no_plan: F64, used: Uses
) -> Candidacies:
    """Keep of each account the candidates that matter under these caps, the first among equals.

    Args:
        caps: only those that are set count.
        score: parts of the balance, (n, P).
        allowed: candidates within law, affordability and terms, (n, P).
        balance: minor units, (n,).
        no_plan: the value of no plan, minor units, (n,).
        used: what the candidates use.
    """
    n = len(balance)
    value = np.where(allowed, score * np.maximum(balance, 1)[:, None] - no_plan[:, None], -np.inf)
    zeros = np.zeros(len(used.agents), np.int64)
    keys = np.stack(
        [
            used.agents if caps.agents is not None else zeros,
            used.level if caps.discounts is not None else zeros,
            used.contacts if caps.contacts is not None else zeros,
            used.plan if caps.group_floor > 0 else zeros,
        ],
        axis=1,
    ).astype(np.int64)
    alike, key = np.unique(keys, axis=0, return_inverse=True)
    arm = np.zeros((n, len(alike)), np.int64)
    worth = np.zeros((n, len(alike)))
    for place in range(len(alike)):
        arms = np.flatnonzero(key == place)
        best = arms[value[:, arms].argmax(axis=1)]
        arm[:, place], worth[:, place] = best, value[np.arange(n), best]
    use = np.broadcast_to(alike.astype(np.float64), (n, *alike.shape)).copy()
    use[:, :, 1] = used.levels[:, alike[:, 1]]
    use[:, :, 3] *= np.isfinite(worth)
    keep = np.isfinite(worth) & ~_dominated(worth, use)
    account, _ = np.nonzero(keep)
    owed = float(np.maximum(balance, 1).sum())
    return Candidacies(account, arm[keep], worth[keep], use[keep], n, owed)


def _dominated(worth: F64, use: F64) -> Bool:
    """Which of a few options an account has another, or no plan, that is at least as good on every count, (n, J)."""
    out = (worth <= 0) & (use[:, :, 3] == 0)
    for one in range(worth.shape[1]):
        for other in range(worth.shape[1]):
            better = (worth[:, other] > worth[:, one]) | ((worth[:, other] == worth[:, one]) & (other < one))
            less = (use[:, other, :3] <= use[:, one, :3]).all(axis=1) & (use[:, other, 3] >= use[:, one, 3])
            out[:, one] |= better & less
    return np.asarray(out)


@dataclass(frozen=True)
class Duals:
    """Prices of a batch's caps, minor units: of an agent, of a unit forgiven, of a contact; worth of a group's plan."""

    agents: float = 0.0
    discounts: float = 0.0
    contacts: float = 0.0
    groups: Mapping[str, float] = field(default_factory=dict)

    def priced(self, score: F64, balance: I64, used: Uses, group: Objects | None = None) -> F64:
        """Scores less the price of what each candidate uses, parts of the balance, (n, P); the same with no prices."""
        cost = used.agents * self.agents + used.contacts * self.contacts + used.discounts * self.discounts
        if group is not None and self.groups:
            worth = np.array([self.groups.get(_name(each), 0.0) for each in group])
            cost = cost - worth[:, None] * used.plan
        return np.asarray(score - cost / np.maximum(balance, 1)[:, None])

    def to_json(self) -> str:
        """As published; reads back to the same numbers."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Duals":
        """What ``to_json`` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, eq=False)
class Portfolio:
    """One batch within its caps.

    Attributes:
        choice: the arm of each account or −1 for no plan, (n,).
        duals: the prices.
        used: what the batch uses of each cap that is set, and the plans of each group that has a floor.
        ties: accounts whose choice is not the first best at the prices: an exact tie, or one rounded down.
        value: Σ score × balance over no plan, minor units.
        bound: no choice within the caps is worth more, minor units.
    """

    choice: I64
    duals: Duals
    used: Mapping[str, float]
    ties: int
    value: float
    bound: float

    def beyond(self, priced: F64, allowed: Bool, balance: I64, no_plan: F64) -> Bool:
        """Candidates that the caps take from an account, (n, P): dearer than no plan, or better than its choice.

        Among what is left the choice scores first, with ``priced`` from ``Duals.priced``.
        """
        floor = no_plan / np.maximum(balance, 1)
        rows = np.arange(len(priced))
        mine = np.where(self.choice == NONE, -np.inf, priced[rows, self.choice])
        places = np.arange(priced.shape[1])
        first = (priced > mine[:, None]) | ((priced == mine[:, None]) & (places < self.choice[:, None]))
        out = first | (priced < floor[:, None]) | (self.choice == NONE)[:, None]
        out[rows[self.choice != NONE], self.choice[self.choice != NONE]] = False
        return np.asarray(out & allowed)


def choose(caps: BatchCaps, given: Candidacies, group: Objects | None = None) -> Portfolio:
    """The best choice for a whole batch within its caps.

    Each account takes its best option at the optimal prices. Where a tie would pass a cap, accounts that lose
    least move to what uses less; the value lost by that is ``bound − value``.

    Args:
        caps: of the batch; none set is every account's own best.
        given: the options of n accounts.
        group: what group each account is in, (n,), where a floor is set.

    Raises:
        CatalogueError: a floor without groups, or one that cannot be met within the caps; names group and floor.
    """
    scale = given.owed / max(given.accounts, 1)
    units = np.array([1.0, scale, 1.0])
    most = [getattr(caps, name) for name in CAPPED]
    held = [place for place, each in enumerate(most) if each is not None]
    names, member, floor = _floors(caps, given, group)
    programme = Programme(
        account=given.account,
        value=given.value / scale,
        use=np.hstack([given.use[:, held] / units[held], -given.use[:, 3:] * member[given.account]]),
        limit=np.concatenate([[most[place] / units[place] for place in held], -floor]),
        accounts=given.accounts,
    )
    solution = solve(programme)
    _check(caps, names, floor, -programme.used(solution.choice)[len(held) :])
    first = programme.best(programme.priced(solution.prices))
    chosen = solution.choice[solution.choice != NONE]
    prices = {
        CAPPED[place]: float(solution.prices[at] * scale / units[place]) for at, place in enumerate(held)
    }
    worth = dict(zip(names, (solution.prices[len(held) :] * scale).tolist(), strict=True))
    totals = given.use[chosen].sum(axis=0)
    return Portfolio(
        choice=np.where(solution.choice == NONE, NONE, np.append(given.arm, NONE)[solution.choice]),
        duals=Duals(**prices, groups=worth),
        used={CAPPED[place]: float(totals[place]) for place in held}
        | {
            f"group {name}": float(sum_)
            for name, sum_ in zip(names, _plans(given, chosen, member), strict=True)
        },
        ties=int((first != solution.choice).sum()),
        value=float(given.value[chosen].sum()),
        bound=solution.bound * scale,
    )


def _name(group: object) -> str:
    return "" if group is None else str(group)


def _plans(given: Candidacies, chosen: I64, member: Bool) -> F64:
    """Plans of each group, (groups,)."""
    return np.asarray((given.use[chosen, 3][:, None] * member[given.account[chosen]]).sum(axis=0))


def _floors(caps: BatchCaps, given: Candidacies, group: Objects | None) -> tuple[list[str], Bool, F64]:
    """Names of the groups, who is in them (n, groups), and how many plans each must get (groups,)."""
    if caps.group_floor <= 0:
        return [], np.zeros((given.accounts, 0), np.bool_), np.zeros(0)
    if group is None:
        raise CatalogueError(
            f"caps.group_floor is {caps.group_floor:g}, but there are no groups.",
            "Name the column in caps.group_column.",
        )
    every = np.array([_name(each) for each in group], np.object_)
    names = sorted(set(every.tolist()))
    member = np.stack([every == name for name in names], axis=1).astype(np.bool_)
    can = np.zeros(given.accounts, np.bool_)
    can[given.account[given.use[:, 3] > 0]] = True
    floor = np.ceil(caps.group_floor * (member & can[:, None]).sum(axis=0) - 1e-9)
    some = floor > 0
    return [name for name, one in zip(names, some, strict=True) if one], member[:, some], floor[some]


def _check(caps: BatchCaps, names: Sequence[str], floor: F64, got: F64) -> None:
    short = np.flatnonzero(got < floor - TIE)
    if len(short):
        worst = int(short[(floor - got)[short].argmax()])
        raise CatalogueError(
            f"caps.group_floor {caps.group_floor:g}: group {names[worst]!r} needs {floor[worst]:.0f} plans, "
            f"and the caps leave it {got[worst]:.0f}.",
            "Lower the floor, or raise caps.agents, caps.discounts or caps.contacts.",
        )
