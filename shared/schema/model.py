"""The schema: canonical columns with public bounds and bins, as a TOML file checked by pydantic.

Every number in it is public: it comes from the product, a code list or common sense, never from rows.
"""

import math
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from fedrepay.shared.errors import SchemaError
from fedrepay.shared.files import Part, content_of, fitted, read_bytes
from fedrepay.shared.rules.facts import RESTRICTED
from fedrepay.shared.schema import expressions
from fedrepay.shared.schema.columns import MOST_BINS, PAIR, Column, Cross, Name, Public, check_edges

__all__ = ["PAIR", "Column", "Cross", "Public", "Schema", "load_schema", "parse_schema"]

MOST_HEADS = 8
LONGEST_START = 5.0
"""Of a head's public starts, all columns' largest together: p stays between 0.5 and 99.5 % beside an even prior."""
WEIGHT_SLACK = 1e-9
"""Of Σw² above 1, for weights written with few digits; ``head_weights`` takes it off again."""

KIND = "kind"
"""The plan column that ``public.local_kinds`` speaks of."""


class Schema(Part):
    """A whole schema."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    title: str = ""
    public: Public
    columns: Annotated[tuple[Column, ...], Field(min_length=2, max_length=512)]
    crosses: Annotated[tuple[Cross, ...], Field(max_length=64)] = ()

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises:
            KeyError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def of_role(self, role: str) -> tuple[Column, ...]:
        """All columns of one role, in schema order."""
        return tuple(column for column in self.columns if column.role == role)

    @property
    def outcomes(self) -> tuple[Column, ...]:
        """The outcome columns, one a head of the model."""
        return self.of_role("outcome")

    @property
    def priors(self) -> tuple[float, ...]:
        """Each head's rate of outcome 1 known beforehand."""
        return tuple(self.public.prior if each.prior is None else each.prior for each in self.outcomes)

    @property
    def starts(self) -> tuple[tuple[int, int, tuple[float, ...]], ...]:
        """(block, head, log-odds a bin) of every public start."""
        heads = [each.name for each in self.outcomes]
        return tuple(
            (block, heads.index(outcome), given)
            for block, column in enumerate(self.features)
            for outcome, given in column.start.items()
        )

    @property
    def shares(self) -> tuple[float, ...]:
        """Each block's share, features then crosses; the intercept's is 1."""
        return (*(each.share for each in self.features), *(each.share for each in self.crosses))

    @property
    def head_weights(self) -> tuple[float, ...]:
        """Each head's w, Σw² ≤ 1 to the last bits: the joint gradient is as sensitive as one head's."""
        even = 1 / math.sqrt(len(self.outcomes))
        given = [even if each.weight is None else each.weight for each in self.outcomes]
        norm = max(1.0, math.hypot(*given))
        return tuple(each / norm for each in given)

    @property
    def customer(self) -> Column | None:
        """The column that names the customer, if there is one."""
        return next(iter(self.of_role("customer")), None)

    @property
    def propensity(self) -> Column | None:
        """The column of logged propensities, if there is one."""
        return next(iter(self.of_role("propensity")), None)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that are blocks of the model, in schema order."""
        return tuple(column for column in self.columns if column.is_feature)

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """What is still marked to confirm: ``public``, and columns by name."""
        public = () if self.public.confirmed else ("public",)
        return public + tuple(column.name for column in self.columns if not column.confirmed)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names = [column.name for column in self.columns]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"columns: declared twice: {', '.join(doubled)}")
        restricted = [column.name for column in self.columns if column.is_input and column.name in RESTRICTED]
        if restricted:
            raise ValueError(
                f"columns: {', '.join(restricted)}: a restricted fact is for rules only and never part of a model; leave it out"
            )
        self._check_heads()
        for role in ("customer", "propensity"):
            if len(self.of_role(role)) > 1:
                raise ValueError(f"columns: at most one column of role {role}")
        if (self.propensity is None) != (self.public.p_floor is None):
            raise ValueError("public.p_floor goes with a column of role propensity, and only with one")
        if not self.features:
            raise ValueError("columns: no feature; at least one account or plan column must be in the model")
        self._check_derived()
        self._check_local_kinds()
        crossed = [cross.columns for cross in self.crosses]
        for cross in self.crosses:
            if crossed.count(cross.columns) > 1 or cross.columns[::-1] in crossed:
                raise ValueError(f"crosses: {cross.name} is declared twice")
            bins = math.prod(self._side(cross, side) for side in (0, 1))
            if bins > MOST_BINS:
                raise ValueError(f"crosses: {cross.name} has {bins} bins; the bound is {MOST_BINS}")
        return self

    def _check_heads(self) -> None:
        heads = self.outcomes
        if not 1 <= len(heads) <= MOST_HEADS:
            raise ValueError(
                f"columns: 1 to {MOST_HEADS} columns of role outcome are needed, not {len(heads)}"
            )
        given = [each.weight for each in heads if each.weight is not None]
        if given and len(given) < len(heads):
            without = ", ".join(each.name for each in heads if each.weight is None)
            raise ValueError(f"columns: every outcome needs a weight, or none has one; without: {without}")
        names = {each.name for each in heads}
        for column in self.columns:
            unknown = sorted(set(column.start) - names)
            if unknown:
                raise ValueError(
                    f"columns: {column.name}.start: {', '.join(unknown)}: no outcome of this name"
                )
        self._check_starts()
        total = math.fsum(weight * weight for weight in given)
        if total > 1 + WEIGHT_SLACK:
            raise ValueError(f"columns: the outcomes' squared weights add up to {total:.10g}; the bound is 1")

    def _check_starts(self) -> None:
        """Starts of columns add up, and steps reckon with likelihoods that are neither 0 nor 1."""
        for outcome in self.outcomes:
            reach = {
                each.name: max(map(abs, each.start[outcome.name]))
                for each in self.columns
                if outcome.name in each.start
            }
            total = math.fsum(reach.values())
            if total > LONGEST_START:
                raise ValueError(
                    f"columns: start of {', '.join(reach)}: log-odds of {outcome.name} add up to {total:g}; the bound is {LONGEST_START:g}"
                )

    def _check_local_kinds(self) -> None:
        """A kind that is missing or unseen could be a local one, so it must be refused."""
        local = self.public.local_kinds
        if not local:
            return
        where = "public.local_kinds"
        kind = next((each for each in self.of_role("plan") if each.name == KIND), None)
        if kind is None or kind.type != "category" or kind.missing != "refuse":
            raise ValueError(f'{where}: needs a category column "{KIND}" of role plan, missing = "refuse"')
        unknown = sorted(set(local) - set(kind.categories))
        if unknown or len(set(local)) < len(local):
            raise ValueError(f"{where}: {', '.join(unknown) or 'one kind twice'}; use categories of {KIND}")

    def _check_derived(self) -> None:
        earlier: set[str] = set()
        for column in self.columns:
            if column.derived is not None:
                try:
                    expressions.checked(column.derived, earlier)
                except SchemaError as error:
                    raise ValueError(f"columns.{column.name}.derived: {error.cause}") from error
            if column.is_input:
                earlier.add(column.name)

    def _side(self, cross: Cross, side: int) -> int:
        """Check one side of a cross and count its bins."""
        name, edges = cross.columns[side], cross.edges[side]
        where = f"crosses: {cross.name}: {name}"
        inputs = [column for column in self.columns if column.is_input and column.name == name]
        if not inputs:
            raise ValueError(f"{where} is not a column of role account or plan")
        column = inputs[0]
        missing = column.missing == "bin"
        if column.type == "category":
            grouped = [each for group in edges if isinstance(group, tuple) for each in group]
            if edges and sorted(grouped) != sorted(column.categories):
                raise ValueError(f"{where}: the groups must hold each category exactly once")
            return len(edges or column.categories) + missing
        if not edges or any(isinstance(edge, tuple) for edge in edges):
            raise ValueError(f"{where} needs a list of numbers as edges")
        assert column.bounds is not None  # noqa: S101 - checked by the column itself
        try:
            numbers = [edge for edge in edges if not isinstance(edge, tuple)]
            check_edges(numbers, column.bounds, whole=column.type == "integer")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        return len(edges) + 1 + missing


def parse_schema(data: bytes, source: str) -> Schema:
    """Check the bytes of a schema file.

    Args:
        data: TOML in UTF-8.
        source: the file's name, for errors.

    Raises:
        SchemaError: naming file, field and bound; all that is wrong at once.
    """
    remedy = "See `fedrepay schema check --help`."
    content = content_of(data, source, SchemaError, remedy)
    return fitted(content, source, Schema, SchemaError, remedy, _named)


def load_schema(path: Path) -> Schema:
    """Read and check a schema file; raises SchemaError if it cannot be read or is wrong."""
    return parse_schema(read_bytes(path, SchemaError), str(path))


def _named(entry: dict[str, object]) -> object:
    """What an error calls a column or a cross."""
    pair = entry.get("columns")
    return PAIR.join(map(str, pair)) if isinstance(pair, list) else entry.get("name")
