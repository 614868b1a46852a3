"""Parts of a schema: public constants, columns with bounds and bins, crosses."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedrepay.shared.files import Part
from fedrepay.shared.schema.expressions import LONGEST

MOST_BINS = 4096
"""Bins of one block, crosses included; codes are uint16."""

PAIR = " × "
"""Stands between the two sides in a cross's name and labels."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0.1, le=10)]
LogOdds = Annotated[float, Field(ge=-5, le=5)]
Label = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^×\x00-\x1f]+$")]


class Public(Part):
    """Public constants; each may be shown to anybody.

    ``scale`` is S (grid units per unit of x), ``n_max`` the most customers one member may bring,
    ``members_max`` the most members, ``p_floor`` the propensity at which a weight is 1, ``prior`` the
    outcomes' rate known beforehand. ``ridge_factor`` and ``curvature`` are DP-Newton's shrinkage.
    ``local_kinds`` are the plan kinds that the consortium's terms keep out of the shared model.
    """

    n_max: Annotated[int, Field(ge=1, le=1_000_000_000)]
    prior: Rate
    scale: Annotated[int, Field(ge=8, le=4096)] = 64
    members_max: Annotated[int, Field(ge=3, le=1500)] = 256
    p_floor: Annotated[float, Field(gt=0, le=1)] | None = None
    one_row_per_customer: bool = False
    ridge_factor: Annotated[float, Field(gt=0, le=100)] = 8.0
    curvature: Annotated[float, Field(gt=0, le=0.25)] = 0.12
    local_kinds: tuple[Label, ...] = ()
    confirmed: bool = True


class Column(Part):
    """One canonical column.

    Edges e₁ < … < eₖ make k + 1 bins: (−∞, e₁), [e₁, e₂), … [eₖ, ∞). ``missing = "bin"`` gives missing
    values a bin of their own, ``"refuse"`` refuses the row. ``outside = "clip"`` moves a number to the
    nearest bound (counted and shown) and an unseen category to the missing bin; ``"refuse"`` refuses it.
    ``derived`` is a scalar SQL expression over columns declared earlier. ``model = false`` marks an
    input that only feeds derived columns and crosses.

    An outcome is a head of the model: ``good`` names its good value, ``prior`` its rate known beforehand
    (default: the schema's), ``weight`` its share w of the sensitivity (default 1/√heads), and
    ``missing = "outside"`` says that an empty cell puts the row outside the head's population.
    ``monotone`` makes the released model rise (``up``) or fall with the column towards every good outcome.

    ``share`` is how long the block is beside the others in a row of norm 1 (default 1): a longer one is heard better
    through noise, at the others' cost. ``start`` holds, for outcomes by name, log-odds of value 1 beside the prior, one a
    bin, at which the first gradient is asked: of a public scorecard, never read off the rows.
    """

    name: Name
    role: Literal["account", "plan", "outcome", "customer", "propensity", "audit"]
    type: Literal["number", "integer", "category", "text"]
    title: str = ""
    unit: str = ""
    bounds: tuple[Number, Number] | None = None
    edges: tuple[Number, ...] = ()
    categories: tuple[Label, ...] = ()
    outside: Literal["clip", "refuse"] = "refuse"
    missing: Literal["bin", "refuse", "outside"] = "refuse"
    missing_means: str = ""
    derived: Annotated[str, Field(max_length=LONGEST)] | None = None
    model: bool = True
    good: Literal[0, 1] | None = None
    prior: Rate | None = None
    weight: Annotated[float, Field(gt=0, le=1)] | None = None
    monotone: Literal["up", "down"] | None = None
    share: Share = 1.0
    start: dict[Name, Annotated[tuple[LogOdds, ...], Field(min_length=1)]] = Field(default_factory=dict)
    confirmed: bool = True

    @property
    def is_feature(self) -> bool:
        """Whether the column is a block of the model."""
        return self.role in ("account", "plan") and self.model

    @property
    def is_input(self) -> bool:
        """Whether the column describes an account or a plan, itself a feature or not."""
        return self.role in ("account", "plan")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.role in ("outcome", "customer", "propensity"):
            self._check_special()
        elif self.type == "text":
            raise ValueError("type text is for the customer column only; use category or number")
        elif self.type == "category":
            self._check_category()
        else:
            self._check_numeric()
        if self.role != "outcome":
            self._check_no_head()
        if self.monotone is not None and not (self.is_input and self.type in ("number", "integer")):
            raise ValueError("monotone is for numeric columns of role account or plan")
        if self.derived is not None and not self.is_input:
            raise ValueError("only columns of role account or plan may be derived")
        if not self.model and not self.is_input:
            raise ValueError("model = false is for columns of role account or plan")
        if not self.is_feature and (self.share != 1 or self.start):
            raise ValueError("share and start are for columns that are blocks of the model")
        return self

    def _check_no_head(self) -> None:
        for name in ("good", "prior", "weight"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} belongs to an outcome column only")
        if self.missing == "outside":
            raise ValueError('missing = "outside" is for outcome columns only')

    def _check_special(self) -> None:
        wanted = {"outcome": "integer", "customer": "text", "propensity": "number"}[self.role]
        if self.type != wanted:
            raise ValueError(f"a column of role {self.role} has type {wanted}")
        if self.bounds or self.edges or self.categories or self.missing == "bin" or self.outside == "clip":
            raise ValueError(f"role {self.role} takes no bounds, edges, categories, missing or outside")
        if self.role == "outcome" and self.good is None:
            raise ValueError("the outcome needs good = 0 or good = 1: which value is the good one")

    def _check_category(self) -> None:
        if self.bounds or self.edges:
            raise ValueError("a category takes no bounds and no edges")
        if len(self.categories) < 2 or len(set(self.categories)) != len(self.categories):
            raise ValueError("categories must be at least two, all different")
        if len(self.categories) >= MOST_BINS:
            raise ValueError(f"more than {MOST_BINS - 1} categories")
        if self.outside == "clip" and self.missing != "bin":
            raise ValueError('outside = "clip" sends unseen categories to the missing bin: missing = "bin"')

    def _check_numeric(self) -> None:
        if self.categories:
            raise ValueError("categories need type category")
        if self.bounds is None:
            raise ValueError("bounds = [low, high] are missing; they are public, never read off the data")
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"bounds {low:g}, {high:g}: the low one must be smaller")
        if self.is_feature != bool(self.edges) and self.role != "audit":
            raise ValueError("a feature needs edges" if self.is_feature else "model = false takes no edges")
        check_edges(self.edges, self.bounds, whole=self.type == "integer")


class Cross(Part):
    """A declared pair of columns with coarser edges, or groups of categories, for each side.

    For a category side ``edges`` is a list of groups of categories, or empty for every category alone. ``share`` as of a column.
    """

    columns: tuple[Name, Name]
    edges: tuple[tuple[Number, ...] | tuple[tuple[Label, ...], ...], ...]
    share: Share = 1.0

    @property
    def name(self) -> str:
        """The two columns' names, joined."""
        return PAIR.join(self.columns)

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if len(self.edges) != 2:
            raise ValueError("edges needs one list for each of the two columns")
        if self.columns[0] == self.columns[1]:
            raise ValueError("a column cannot be crossed with itself")
        return self


def check_edges(edges: Sequence[float], bounds: tuple[float, float], *, whole: bool) -> None:
    """Edges must rise strictly and lie above the low and at most at the high bound.

    Raises:
        ValueError: naming the edge and the bound.
    """
    if len(edges) >= MOST_BINS:
        raise ValueError(f"{len(edges)} edges; the bound is {MOST_BINS - 1}")
    for lower, upper in pairwise(edges):
        if not lower < upper:
            raise ValueError(f"edges overlap: {lower:g} is followed by {upper:g}; they must rise strictly")
    low, high = bounds
    for edge in edges:
        if not low < edge <= high:
            raise ValueError(f"edge {edge:g} is outside the bounds ({low:g}, {high:g}]")
    if whole and len({math.ceil(edge) for edge in edges}) < len(edges):
        raise ValueError("two edges with no whole number between them make a bin that stays empty")
