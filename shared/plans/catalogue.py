"""The plan catalogue: what a member may offer, as a TOML file of templates that expand to plan arms.

A template's lists multiply out: three terms × two waivers × two first dates are twelve arms. Amounts come from
the balance (``n``: balance ÷ n) or from the affordability bound (``share``: a part of the bound, n follows).
"""

import hashlib
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from fedrepay.shared.arrays import F64, I64, U8, Bool
from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.files import Part, parse_toml, read_bytes
from fedrepay.shared.plans.kinds import (
    ALL_AFFORDABLE,
    CHANNELS,
    COLLECTING,
    FREQUENCIES,
    KINDS,
    OFFERS,
    RULED,
    SMALL,
    Kind,
)

MOST_ARMS = 500
"""Candidates of one account."""

BY_TERM = ("TOKEN", *RULED)
"""Kinds that take a number of payments: until the next look at a debt that rests, or of a contract's new terms."""

MONTHS_EACH = {"weekly": 12 / 52, "biweekly": 12 / 26, "monthly": 1.0}
"""Months between two instalments."""
MOST_A_MONTH = {"weekly": 5, "biweekly": 3, "monthly": 1}
"""Instalments that can fall due in one calendar month."""

Share = Annotated[float, Field(gt=0, le=1)]
Part01 = Annotated[float, Field(ge=0, le=1)]
Discount = Annotated[float, Field(ge=0, le=0.6)]
Term = Annotated[int, Field(ge=1, le=60)]
Day = Annotated[int, Field(ge=1, le=45)]


class Template(Part):
    """One family of plans; each list is a choice, and all choices are combined.

    ``n`` instalments of balance ÷ n, or ``share`` of the affordability bound; of other kinds ``n`` is how many months
    until the review (TOKEN, REVIEW, REDUCED), in which arrears are caught up (CATCH_UP), or are added (EXTEND); ``discount`` of the balance that
    is forgiven when the plan is kept; ``interest_waiver`` and ``fee_waiver`` as parts of interest and fees;
    ``first_due`` days from the offer to the first instalment; ``dormant_months`` without any collection.
    """

    kind: Kind
    n: tuple[Term, ...] = ()
    share: tuple[Share, ...] = ()
    frequency: tuple[Literal["weekly", "biweekly", "monthly"], ...] = ("monthly",)
    discount: tuple[Discount, ...] = (0.0,)
    interest_waiver: tuple[Part01, ...] = (0.0,)
    fee_waiver: tuple[Part01, ...] = (0.0,)
    first_due: tuple[Day, ...] = (14,)
    dormant_months: tuple[Literal[12, 24, 36], ...] = ()
    channel: tuple[Literal["sms", "email", "call", "portal", "letter"], ...] = ("portal",)
    human: bool = False

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind in ("INSTALMENT", "SETTLEMENT") and bool(self.n) == bool(self.share):
            raise ValueError(f"{self.kind} needs n = […] or share = […], one of the two")
        if self.kind in BY_TERM and (self.share or not self.n):
            raise ValueError(f"{self.kind} takes n = […], and its amount follows from the account")
        if self.kind not in ("INSTALMENT", "SETTLEMENT", *BY_TERM) and (self.n or self.share):
            raise ValueError(f"{self.kind} takes neither n nor share")
        if self.kind in RULED and self.frequency != ("monthly",):
            raise ValueError(f"{self.kind} is monthly")
        if self.kind in ("REVIEW", "REDUCED") and self.interest_waiver != (1.0,):
            raise ValueError(f"under {self.kind} a debt rests: it takes interest_waiver = [1.0]")
        if (self.kind == "SETTLEMENT") != any(each > 0 for each in self.discount):
            raise ValueError("a discount above 0 makes a SETTLEMENT, and a SETTLEMENT needs one")
        if self.kind == "SETTLEMENT" and min(self.discount) <= 0:
            raise ValueError("a SETTLEMENT's discounts are all above 0")
        if bool(self.dormant_months) != (self.kind == "DORMANT"):
            raise ValueError("dormant_months = [12, 24, 36] goes with DORMANT, and only with it")
        for name in ("frequency", "discount", "interest_waiver", "fee_waiver", "first_due", "channel"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must hold at least one value, all different")
        return self


class Catalogue(Part):
    """What a member may offer.

    ``rounding`` rounds instalments (minor units), ``smallest_instalment`` is the least worth collecting,
    ``token_amount`` what a token plan asks a month, no more than that, ``longest_months`` the longest plan.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[int, Field(ge=1)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    token_amount: Annotated[int, Field(ge=1)] = 100
    rounding: Annotated[int, Field(ge=1)] = 100
    smallest_instalment: Annotated[int, Field(ge=1)] = 500
    longest_months: Annotated[int, Field(ge=1, le=60)] = 60
    plans: Annotated[tuple[Template, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _tokens_are_small(self) -> Self:
        if self.token_amount > self.smallest_instalment and any(each.kind in SMALL for each in self.plans):
            raise ValueError(
                f"token_amount {self.token_amount} is above smallest_instalment {self.smallest_instalment}: "
                "a token is held by no bound, so it asks for what nobody lacks"
            )
        return self

    @model_validator(mode="after")
    def _is_small_enough(self) -> Self:
        if len(_expanded(self)) > MOST_ARMS:
            raise ValueError(f"{len(_expanded(self))} plans an account; the bound is {MOST_ARMS}")
        return self


@dataclass(frozen=True)
class Arms:
    """The catalogue multiplied out: P plans, (P,) each, in the catalogue's order.

    ``kind``, ``frequency`` and ``channel`` are codes into ``KINDS``, ``FREQUENCIES``, ``CHANNELS``; ``n`` is 0
    where the amount is a ``share`` of the bound (0 where it is not); ``names`` tell the arms apart.
    """

    names: tuple[str, ...]
    kind: U8
    n: I64
    share: F64
    frequency: U8
    discount: F64
    interest_waiver: F64
    fee_waiver: F64
    first_due: I64
    dormant_months: I64
    channel: U8
    human: Bool
    _kinds: dict[tuple[str, ...], Bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    _orders: dict[tuple[str, ...], I64] = field(default_factory=dict, init=False, repr=False, compare=False)

    def take(self, index: npt.NDArray[np.integer]) -> "Arms":
        """The chosen arms, in the order of ``index``, (m,)."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        names = given.pop("names")
        return Arms(
            tuple(names[each] for each in index), **{name: each[index] for name, each in given.items()}
        )

    @cached_property
    def months_each(self) -> F64:
        """Months between two instalments, (P,)."""
        return np.array([MONTHS_EACH[name] for name in FREQUENCIES])[self.frequency]

    @cached_property
    def most_a_month(self) -> I64:
        """Instalments that can fall due in one calendar month, (P,)."""
        return np.array([MOST_A_MONTH[name] for name in FREQUENCIES], np.int64)[self.frequency]

    def is_kind(self, *names: str) -> Bool:
        """Which arms are of one of these kinds, (P,); to be read, not written."""
        found = self._kinds.get(names)
        if found is None:
            found = self._kinds[names] = np.array([name in names for name in KINDS])[self.kind]
            found.flags.writeable = False
        return found

    def in_order(self, kinds: tuple[str, ...]) -> I64:
        """The arms of some kinds, kind by kind, the shortest pause before a longer one."""
        found = self._orders.get(kinds)
        if found is None:
            places = [np.flatnonzero(self.is_kind(kind)) for kind in kinds]
            found = np.concatenate(
                [each[np.argsort(self.dormant_months[each], kind="stable")] for each in places]
            )
            self._orders[kinds] = found
        return found

    @cached_property
    def is_offer(self) -> Bool:
        """Which arms are ranked by score, (P,)."""
        return self.is_kind(*OFFERS)

    @cached_property
    def by_bound(self) -> I64:
        """The arms whose amounts follow from the affordability bound, (m,)."""
        return np.flatnonzero((self.share > 0) | self.is_kind(*ALL_AFFORDABLE))

    @cached_property
    def pays(self) -> Bool:
        """Which arms have instalments, (P,)."""
        return self.is_kind(*COLLECTING)

    @cached_property
    def but_for_the_day(self) -> tuple[tuple[I64, I64], ...]:
        """Arms that differ in their first day alone: (later, earlier) neighbours, all pairs that touch no common arm at once.

        The n-th entry holds each group's n-th and (n − 1)-th arms by day, (g,) each.
        """
        columns = (
            *(self.kind, self.n, self.share, self.frequency, self.discount, self.interest_waiver),
            *(self.fee_waiver, self.dormant_months, self.channel, self.human),
        )
        alike = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        order = np.lexsort((self.first_due, alike))
        first = np.searchsorted(alike[order], alike[order])
        rank = np.arange(len(order)) - first
        later = [np.flatnonzero(rank == each) for each in range(1, int(rank.max(initial=0)) + 1)]
        return tuple((order[each], order[each - 1]) for each in later)


def _expanded(catalogue: Catalogue) -> list[tuple[Template, tuple[object, ...]]]:
    """Every template with one choice of each list: (template, (n, share, …))."""
    return [
        (template, choice)
        for template in catalogue.plans
        for choice in product(
            template.n or (1 if template.kind == "FULL" else 0,),
            template.share or (0.0,),
            template.frequency,
            template.discount,
            template.interest_waiver,
            template.fee_waiver,
            template.first_due,
            template.dormant_months or (0,),
            template.channel,
        )
    ]


def arms(catalogue: Catalogue) -> Arms:
    """Multiply a catalogue out, always in the same order."""
    rows = [(template.kind, *choice, template.human) for template, choice in _expanded(catalogue)]
    columns = list(zip(*rows, strict=True))
    kind, n, share, frequency, discount, interest, fee, due, dormant, channel, human = columns
    return Arms(
        names=tuple(_name(row) for row in rows),
        kind=np.array([KINDS.index(str(each)) for each in kind], np.uint8),
        n=np.array(n, np.int64),
        share=np.array(share, np.float64),
        frequency=np.array([FREQUENCIES.index(str(each)) for each in frequency], np.uint8),
        discount=np.array(discount, np.float64),
        interest_waiver=np.array(interest, np.float64),
        fee_waiver=np.array(fee, np.float64),
        first_due=np.array(due, np.int64),
        dormant_months=np.array(dormant, np.int64),
        channel=np.array([CHANNELS.index(str(each)) for each in channel], np.uint8),
        human=np.array(human, np.bool_),
    )


def _name(row: tuple[object, ...]) -> str:
    kind, n, share, frequency, discount, interest, fee, due, dormant, channel, _ = row
    parts = [str(kind)]
    parts += [f"n{n}"] if n and kind != "FULL" else []
    parts += [f"share{share:g}"] if share else []
    parts += [str(frequency)] if frequency != "monthly" else []
    parts += [f"less{discount:g}"] if discount else []
    parts += [f"interest-{interest:g}"] if interest else []
    parts += [f"fees-{fee:g}"] if fee else []
    parts += [f"dormant{dormant}"] if dormant else [f"day{due}"] if kind in COLLECTING else []
    return " ".join([*parts, str(channel)])


def parse_catalogue(data: bytes, source: str) -> Catalogue:
    """Check the bytes of a catalogue.

    Args:
        data: TOML in UTF-8.
        source: the file's name, for errors.

    Raises:
        CatalogueError: naming file, plan, field and bound; all that is wrong at once.
    """
    return parse_toml(
        data, source, Catalogue, CatalogueError, "docs/plans.md explains each field of a catalogue."
    )


def load_catalogue(path: Path) -> tuple[Catalogue, bytes]:
    """Read a catalogue; returns it with the sha256 of its bytes.

    Raises:
        CatalogueError: unreadable or wrong.
    """
    data = read_bytes(path, CatalogueError)
    return parse_catalogue(data, str(path)), hashlib.sha256(data).digest()
