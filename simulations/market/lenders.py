"""The lenders of a market: how large, whose accounts, and how they chose the plans they offered until now.

A preset is a market. ``mixed`` is the plain one; in ``complement`` each lender has only ever offered a part of the
catalogue; in ``unlike`` and ``opposed`` debtors of different lenders truly answer differently, which
should make learning together lose somewhere; in ``confounded`` agents act on what they hear and the records do not say;
``otherworld`` has another link function and another law of shocks, against tuning to the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from fedrepay.shared.arrays import I64, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.simulations.market.people import STAGES, Book, NewAccounts
from fedrepay.simulations.market.truth import Effects

Preset = Literal["mixed", "complement", "alike", "unlike", "opposed", "confounded", "otherworld"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

SIZES = (400,) * 8 + (1500,) * 6 + (5000,) * 4 + (12000,) * 2
"""Offers of each of the 20 lenders."""


@dataclass(frozen=True)
class Policy:
    """How a lender chose a plan: the arm of highest utility, a little at random.

    ``target`` is the part of the known surplus it aims at; ``fit`` how much that counts, ``short`` how much it likes
    short plans, ``discounts`` and ``waivers`` how much it likes to give them, ``noise`` how much agents differ,
    ``exploration`` how often it offers any valid plan at random, ``hearing`` how far agents act on willingness.
    ``part`` names the part of the catalogue it ever offers.
    """

    target: float
    fit: float
    short: float
    discounts: float
    waivers: float
    noise: float
    exploration: float
    hearing: float = 0.0
    part: Literal["all", "short", "long_waiver", "settlement", "long"] = "all"


@dataclass(frozen=True)
class Lender:
    """One simulated institution: ``offers`` it has made, its ``book``, its debtors' ``effects``, its ``policy``."""

    name: str
    offers: int
    book: Book
    effects: Effects
    policy: Policy


def lenders(preset: Preset, seed: int, sizes: Sequence[int] = SIZES) -> tuple[Lender, ...]:
    """The lenders of a market.

    Args:
        preset: which market.
        seed: of what differs between lenders.
        sizes: offers of each lender.
    """
    rng = np.random.default_rng([seed, 11])
    found = []
    for place, size in enumerate(sizes):
        effects = _effects(preset, place, rng)
        found.append(
            Lender(f"m{place + 1:02d}", size, _book(preset, rng), effects, _policy(preset, place, rng))
        )
    return tuple(found)


def _book(preset: Preset, rng: np.random.Generator) -> Book:
    stages = rng.dirichlet(np.full(len(STAGES), 2.0))
    known = rng.dirichlet([2, 8, 5, 5]) * np.array([0.6, 1, 1, 1])
    alike = preset == "alike"
    return Book(
        willingness=0.0 if alike else float(rng.normal(0, 0.25)),
        balance=150_000.0 if alike else float(150_000 * np.exp(rng.normal(0, 0.3))),
        stages=(0.2,) * 5 if alike else tuple(stages.tolist()),
        products=tuple(rng.dirichlet(np.ones(7)).tolist()),
        income_known=tuple((known / known.sum()).tolist()),
        apr=float(rng.choice([0.1, 0.2, 0.3])),
    )


def _policy(preset: Preset, place: int, rng: np.random.Generator) -> Policy:
    parts: tuple[Literal["short", "long_waiver", "settlement", "long"], ...] = (
        "short",
        "long_waiver",
        "settlement",
        "long",
    )
    plain = Policy(
        target=float(rng.uniform(0.35, 0.9)),
        fit=float(rng.uniform(0.6, 1.6)),
        short=float(rng.uniform(0.0, 0.8)),
        discounts=float(rng.uniform(-4.0, 1.5)),
        waivers=float(rng.uniform(-0.5, 1.5)),
        noise=float(rng.uniform(0.3, 0.7)),
        exploration=float(rng.uniform(0.02, 0.05)),
    )
    if preset == "complement":
        return replace(plain, part=parts[place % 4], exploration=0.0)
    if preset == "confounded":
        return replace(plain, hearing=float(rng.uniform(0.6, 1.2)))
    return plain


def _effects(preset: Preset, place: int, rng: np.random.Generator) -> Effects:
    plain = Effects()
    if preset == "otherworld":
        return replace(plain, link="cloglog")
    if preset == "unlike":  # every slope of this lender's debtors by another factor
        slopes = (
            "pay_below",
            "pay_above",
            "pay_waiver",
            "pay_discount",
            "accept_below",
            "accept_above",
            "accept_discount",
            "accept_waiver",
            "accept_month",
            "payday",
            "delay",
        )
        return replace(plain, **{name: getattr(plain, name) * rng.uniform(0.4, 1.6) for name in slopes})
    if preset == "opposed":
        if place % 2:
            return replace(plain, accept_discount=3.0, accept_month=-0.05, accept_waiver=0.1)
        return replace(plain, accept_discount=-0.5, accept_month=0.012, accept_waiver=1.0)
    return plain


def offered_part(policy: Policy, arms: Arms) -> Bool:
    """The arms a lender ever offers, (P,); token plans are everybody's."""
    token, settled = arms.is_kind("TOKEN"), arms.is_kind("SETTLEMENT")
    brief = ((arms.n > 0) & (arms.n <= 9)) | (arms.share >= 0.75)
    waived = arms.interest_waiver > 0
    chosen = {
        "all": np.ones(len(arms.names), bool),
        "short": ~settled & ~waived & brief,
        "long_waiver": ~settled & waived & ~brief,
        "settlement": settled,
        "long": ~settled & ~waived & ~brief,
    }[policy.part]
    return np.asarray(chosen | token)


def choose(policy: Policy, accounts: NewAccounts, plans: Candidates, rng: np.random.Generator) -> I64:
    """The arm a lender's own policy offers each of n accounts, (n,)."""
    known, arms = accounts.columns, plans.arms
    income = np.nan_to_num(known["income"].astype(float), nan=float(known["median_income"][0]))
    surplus = np.nan_to_num(known["surplus"].astype(float), nan=0.0)
    room = np.maximum(surplus - known["other_plans"].astype(float), 0.03 * income)
    room = np.where(np.isnan(known["income"].astype(float)), 0.08 * income, room)
    burden = np.log(np.maximum(plans.monthly, 1) / (policy.target * room[:, None]))
    late = np.isin(known["stage"], STAGES[2:])[:, None]
    liking = policy.discounts * arms.discount * (1 + late) + policy.waivers * arms.interest_waiver
    heard = policy.hearing * accounts.debtors.willingness[:, None]
    utility = (
        -policy.fit * np.abs(burden - 0.5 * heard)  # the willing are asked for more
        - policy.short * plans.months / 12
        + liking
        - heard * (arms.discount * 4 + arms.interest_waiver)  # and given less
        + policy.noise * rng.gumbel(size=plans.valid.shape)
    )
    possible = plans.valid & (arms.is_offer | arms.is_kind("TOKEN")) & offered_part(policy, arms)
    utility = np.where(arms.is_kind("TOKEN"), -6.0, utility)
    best = np.where(possible, utility, -np.inf).argmax(axis=1)
    anything = np.where(possible, rng.random(plans.valid.shape), -np.inf).argmax(axis=1)
    return np.asarray(np.where(rng.random(len(accounts)) < policy.exploration, anything, best), np.int64)
