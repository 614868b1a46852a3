"""Ways of choosing plans, compared on new accounts of each lender against the market's truth.

``own`` is the lender's policy until now, ``own_affordable`` the same among affordable plans, ``alone`` the optimiser with
the better of the lender's own two models (by its own cross-validation, without privacy), ``alone_value`` with the own
expert ridge at the λ that was worth most on development seeds, ``trees`` with its own LightGBM,
``shared`` with the released model, ``shared_own`` with the released model and the lender's own part, ``perfect`` with the
true heads, ``oracle`` the affordable plan of highest true value. All but ``own`` keep within the same bound.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.plans.deciding import personal
from fedrepay.client.plans.deciding.affordability import sustainable
from fedrepay.client.plans.deciding.objective import affordable
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.deciding.relief import as_waived, waived_part, within_cost
from fedrepay.client.plans.deciding.settings import CLASSES, Caution, Settings
from fedrepay.shared.arrays import I64, Bool
from fedrepay.shared.plans.candidates import Candidates, candidates
from fedrepay.simulations.market import lenders, models, people, records
from fedrepay.simulations.market import truth as market_truth
from fedrepay.simulations.market.lenders import Lender
from fedrepay.simulations.market.models import FittedAdditive, Heads, HeadsModel, Scored
from fedrepay.simulations.market.people import ERRORS, NewAccounts
from fedrepay.simulations.market.records import catalogue, stated_bound
from fedrepay.simulations.market.truth import Outcome
from fedrepay.simulations.market.value import NO_PLAN, Worth, choose, with_rests, worth

WAYS = ("own", "own_affordable", "alone", "trees", "shared", "shared_own", "perfect", "oracle")


@dataclass(frozen=True, eq=False)
class Ground:
    """New accounts of one lender with what the optimiser may choose from, and what is true of it."""

    lender: Lender
    accounts: NewAccounts
    settings: Settings
    plans: Candidates
    within: Bool
    truth: Outcome
    scored: Scored

    def worth(self, heads: Heads, settings: Settings | None = None) -> Worth:
        """The true worth of the optimiser's choice with these heads."""
        arm = choose(settings or self.settings, self.accounts, self.plans, heads, self.within)
        return worth(self.accounts, self.plans, self.truth, arm)

    @cached_property
    def oracle(self) -> Worth:
        """The affordable plan of highest true value, or none."""
        value = np.where(self.possible, self.truth.value, -np.inf)
        arm = np.where(value.max(axis=1) > self.truth.no_plan, value.argmax(axis=1), NO_PLAN)
        arm = with_rests(self.plans, self.within, arm, np.asarray(self.possible.any(axis=1)))
        return worth(self.accounts, self.plans, self.truth, arm)

    @cached_property
    def possible(self) -> Bool:
        """Which plans clear the debt within every hard condition, whatever any model says, (n, P)."""
        relief, plans = self.settings.relief, self.plans
        fits = plans.clears & self.within & within_cost(relief, plans)
        return fits & plans.valid & plans.arms.is_offer & as_waived(plans, waived_part(relief, plans, fits))


def ground(
    encoder: PairEncoder,
    lender: Lender,
    seed: int,
    size: int,
    settings: Settings,
    accounts: NewAccounts | None = None,
) -> Ground:
    """Draw new accounts of a lender (or take given ones) and evaluate every plan for them.

    Args:
        encoder: of the market's pairs.
        lender: whose accounts.
        seed: of the draw; the market's own.
        size: how many accounts.
        settings: the optimiser's.
        accounts: use these instead of drawing.
    """
    new = new_accounts(lender, seed, size) if accounts is None else accounts
    rules, arms = catalogue()
    plans = candidates(rules, arms, new.debts(bound(settings.affordability, new)))
    truth = market_truth.outcome(lender.effects, new.debtors, plans)
    return Ground(lender, new, settings, plans, affordable(plans), truth, models.scored(encoder, new, plans))


def new_accounts(lender: Lender, seed: int, size: int) -> NewAccounts:
    """Draw new accounts of a lender, the same whenever seed and size are."""
    rng = np.random.default_rng([seed, 31, int(lender.name[1:])])
    return people.draw(lender.book, size, rng, heavy_shocks=lender.effects.link != "logit")


def bound(settings: Caution, accounts: NewAccounts) -> I64:
    """The affordability bound of each account, (n,)."""
    known = accounts.columns
    promised = known["other_plans"].astype(float) + known["priority_arrears"].astype(float)
    income, surplus = known["income"].astype(float), known["surplus"].astype(float)
    return sustainable(settings, income, surplus, known["income_verified"], promised)


def logged(the_ground: Ground, seed: int) -> tuple[Worth, Worth]:
    """What the lender's own policy brings: as it was, and the same kept to affordable plans."""
    lender, accounts = the_ground.lender, the_ground.accounts
    rng = np.random.default_rng([seed, 32, int(lender.name[1:])])
    rules, arms = catalogue()
    plans = candidates(rules, arms, accounts.debts(stated_bound(accounts)))
    truth = market_truth.outcome(lender.effects, accounts.debtors, plans)
    own = worth(accounts, plans, truth, lenders.choose(lender.policy, accounts, plans, rng))
    return own, within_policy(the_ground, rng)


def within_policy(the_ground: Ground, rng: np.random.Generator) -> Worth:
    """What the lender's own policy brings when it is kept to affordable plans."""
    lender, accounts = the_ground.lender, the_ground.accounts
    arms = the_ground.plans.arms
    kept = replace(the_ground.plans, valid=the_ground.plans.valid & the_ground.within)
    possible = kept.valid & arms.is_offer & lenders.offered_part(lender.policy, arms)
    arm = np.where(possible.any(axis=1), lenders.choose(lender.policy, accounts, kept, rng), NO_PLAN)
    payable = np.asarray((kept.valid & arms.is_offer).any(axis=1))
    arm = with_rests(kept, the_ground.within, arm, payable)
    return worth(accounts, the_ground.plans, the_ground.truth, arm)


@dataclass(frozen=True, eq=False)
class Own:
    """A member's own models; ``additive`` or ``expert`` is None where a head has one class only."""

    additive: FittedAdditive | None
    expert: models.Expert | None
    for_value: models.Expert | None = None
    trees: models.Trees | None = None

    @property
    def best(self) -> FittedAdditive | models.Expert | None:
        """The better of the two by the member's own cross-validation."""
        found = [each for each in (self.additive, self.expert) if each is not None]
        return min(found, key=lambda each: each.loss, default=None)


def value_penalties(offers: int) -> tuple[float, ...] | None:
    """λ of each head of the own expert ridge that brought most value on seeds 0 and 1, as the shared model's ridge was chosen.

    Without it (b) would be tuned for log-loss and (c) for value. None: nothing beat cross-validation.
    """
    if offers >= 3000:
        return None
    return (100.0 if offers < 1000 else 300.0,) * records.book().heads


def own_models(table: Table, seed: int) -> Own:
    """The two models that a member chooses its own from, by cross-validation."""
    return Own(models.own_additive(table, seed), models.own_expert(table, seed))


def all_own_models(table: Table, seed: int, *, trees: bool) -> Own:
    """These, and those they are compared with."""
    return replace(
        own_models(table, seed),
        for_value=models.own_expert(table, seed, value_penalties(len(table.codes))),
        trees=models.own_trees(table, seed) if trees else None,
    )


def with_part(the_ground: Ground, shared: FittedAdditive, part: personal.Personal) -> Heads:
    """The released model's heads with a member's own part."""
    logits = shared.logits(the_ground.scored)
    codes = the_ground.scored.codes
    first, kept = (models.sigmoid(part.adjust(head, each, codes)) for head, each in enumerate(logits))
    return first, kept


def before(the_ground: Ground, own: Own, seed: int) -> dict[str, Worth]:
    """The worth of each of ``WAYS`` that no release has a part in (``trees`` only where fitted)."""
    was, within = logged(the_ground, seed)
    heads: dict[str, HeadsModel | None] = {
        "alone": own.best,
        "additive": own.additive,
        "alone_value": own.for_value,
        "expert": own.expert,
        "trees": own.trees,
        "perfect": models.Perfect(the_ground.truth),
    }
    found = {"own": was, "own_affordable": within, "oracle": the_ground.oracle}
    found |= {name: _worth(the_ground, model) for name, model in heads.items() if model is not None}
    return {"alone": within} | found  # no model of its own: it goes on as before, kept to affordable plans


def after(the_ground: Ground, shared: FittedAdditive, part: personal.Personal) -> dict[str, Worth]:
    """The worth of the released model, and of it with the member's own part."""
    return {
        "shared": _worth(the_ground, shared),
        "shared_own": the_ground.worth(with_part(the_ground, shared, part)),
    }


def _worth(the_ground: Ground, model: HeadsModel) -> Worth:
    return the_ground.worth(model.predict(the_ground.scored))


def ranked_right(the_ground: Ground, heads: Heads) -> tuple[int, int]:
    """Pairs of affordable plans of one account that P(kept) orders as the truth does, and all pairs."""
    kept, true = heads[1], the_ground.truth.kept
    usable = the_ground.within & the_ground.plans.valid & the_ground.plans.arms.is_offer
    right = pairs = 0
    for row in np.flatnonzero(usable.sum(axis=1) >= 2):
        arms = np.flatnonzero(usable[row])
        said = np.sign(kept[row, arms][:, None] - kept[row, arms])
        is_so = np.sign(true[row, arms][:, None] - true[row, arms])
        counted = (said != 0) & (is_so != 0)
        right += int((said[counted] == is_so[counted]).sum())
        pairs += int(counted.sum())
    return right, pairs


def at_the_middle(encoder: PairEncoder, the_ground: Ground) -> Ground:
    """The same accounts with the bound at the middle of what is believed: no caution."""
    usual = the_ground.settings.affordability
    middle = {name: getattr(usual, name).model_copy(update={"level": 0.5}) for name in CLASSES[1:]}
    settings = the_ground.settings.model_copy(update={"affordability": usual.model_copy(update=middle)})
    return ground(encoder, the_ground.lender, 0, 0, settings, the_ground.accounts)


def price_of_caution(the_ground: Ground, careful: Worth, bold: Worth) -> dict[str, float]:
    """Value at the bound's level over value at the middle, less 1, by class of income."""
    known = the_ground.accounts.columns["income_verified"]
    found = {"all": float(careful.value.mean() / bold.value.mean() - 1)}
    for name in CLASSES[1:]:
        here = known == name
        if here.any():
            found[name] = float(careful.value[here].mean() / bold.value[here].mean() - 1)
    return found


@dataclass(frozen=True, eq=False)
class Proved:
    """Accounts of one class with their incomes proved: which they are, and what may be chosen for them then."""

    here: I64
    ground: Ground


def proved(encoder: PairEncoder, the_ground: Ground, seed: int) -> dict[str, Proved]:
    """The accounts of classes none and stated, those that have any, had they brought documents."""
    found = {}
    known = the_ground.accounts.columns["income_verified"]
    rng = np.random.default_rng([seed, 33, int(the_ground.lender.name[1:])])
    for name in ("none", "stated"):
        here = np.flatnonzero(known == name)
        if not len(here):
            continue
        accounts = the_ground.accounts.take(here)
        true = accounts.debtors
        seen = np.round(true.surplus + ERRORS["verified"] * true.income * rng.normal(0, 1, len(here)))
        columns = accounts.columns | {
            "income": np.round(true.income),
            "surplus": seen,
            "income_verified": np.full(len(here), "verified", object),
        }
        new = NewAccounts(true, columns)
        found[name] = Proved(here, ground(encoder, the_ground.lender, 0, 0, the_ground.settings, new))
    return found
