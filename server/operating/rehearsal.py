"""``train --dry-run``: what a run would cost, what members would learn of each other, and who would say no; nothing is spent."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fedrepay.server.operating import costs
from fedrepay.server.protocol.state import Event
from fedrepay.shared.privacy.delta import usual_delta
from fedrepay.shared.schema.columns import Public
from fedrepay.shared.text import printable
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.terms import NumberedTerms, RunTerms

MEMBERSHIPS = (2, 3)
"""At which one person may be a customer."""


@dataclass(frozen=True)
class SaidToTerms:
    """What one member says to the terms."""

    name: str
    answer: str  # yes, no, or absent
    why: str


@dataclass(frozen=True)
class Rehearsal:
    """A run that is not begun. Every ε is of one customer and an estimate from above; None: none is finite.

    Attributes:
        run: the number it would have.
        mode: of its noise.
        epsilon: for the whole release, at ``delta``.
        delta: of the release.
        rounds: secure sums.
        members: K.
        colluders: c.
        quorum: members that must be there, and sign.
        year_delta: δ of the year's ε, where a member sets no other.
        year_runs: runs of the last 365 days.
        year_before: ε of them.
        year_with: ε of them and this one.
        year_allowed: what terms.toml allows; None where there are no terms.
        composition: how these were composed.
        no_colluders: ε where nobody else colludes with the coordinator.
        all_others: ε where all other members do: what they learn together of one customer of the last.
        memberships: ε of a person who is a customer at 2 and at 3 members.
        said: what every member says; empty where they were not asked.
    """

    run: int
    mode: str
    epsilon: float | None
    delta: float
    rounds: int
    members: int
    colluders: int
    quorum: int
    year_delta: float
    year_runs: int
    year_before: float | None
    year_with: float | None
    year_allowed: float | None
    composition: str
    no_colluders: float | None
    all_others: float | None
    memberships: dict[str, float | None]
    said: tuple[SaidToTerms, ...]

    def as_json(self) -> str:
        """For machines."""
        return json.dumps(asdict(self), indent=1)

    def lines(self) -> tuple[str, ...]:
        """For people."""
        shared = self.mode != "none"
        cost = (
            f"ε = {_shown(self.epsilon)} and δ = {self.delta:g} for every customer" if shared else "NO noise"
        )
        allowed = "" if self.year_allowed is None else f"; terms.toml allows {self.year_allowed:g}"
        over = (
            self.year_allowed is not None
            and self.mode != "none"
            and (self.year_with is None or self.year_with > self.year_allowed)
        )
        lines = [
            (
                f"Run {self.run} would be: mode {self.mode}, {self.rounds} sums, {self.members} members of whom {self.quorum} must be "
                f"there, {self.colluders} colluders; {cost}."
            ),
            (
                f"A customer's year at δ = {self.year_delta:g}: ε at most {_shown(self.year_before)} of {self.year_runs} runs before, "
                f"{_shown(self.year_with)} with this one{allowed}{': TOO MUCH, unless members composed less' if over else ''}."
            ),
            f"  {self.composition}.",
            (
                f"What members could learn of one customer of another: ε at most {_shown(self.no_colluders)} if none colludes, "
                f"{_shown(self.epsilon)} if {self.colluders} do, {_shown(self.all_others)} if all {self.members - 1} others do; of a "
                f"person at {' and '.join(self.memberships)} members {' and '.join(map(_shown, self.memberships.values()))}. The sums "
                "and the model are read by all of them."
            ),
        ]
        for answer in ("no", "absent", "yes"):
            names = [each for each in self.said if each.answer == answer]
            if names and answer == "yes":
                lines.append(f"Yes: {', '.join(each.name for each in names)}.")
            else:
                lines += [f"{each.name}: {each.answer}: {each.why}" for each in names]
        return (*lines, "Nothing was spent.")


def rehearse(
    terms: NumberedTerms,
    before: Sequence[RunTerms],
    public: Public,
    members: int,
    consortium: ConsortiumTerms | None,
    said: Sequence[SaidToTerms],
) -> Rehearsal:
    """Put a rehearsal together.

    Args:
        terms: of the run that is not begun.
        before: of all runs of the last 365 days (``costs.of_year``).
        public: the schema's public bounds.
        members: K.
        consortium: what all accepted.
        said: what members answered (:func:`answers`).
    """
    year = usual_delta(public)
    most = max(members, public.members_max)

    def colluding(number: int) -> float | None:
        return costs.if_colluding(terms, members, number)

    return Rehearsal(
        run=terms.run,
        mode=terms.mode,
        epsilon=None if terms.mode == "none" else terms.epsilon,
        delta=terms.delta,
        rounds=terms.rounds,
        members=members,
        colluders=terms.colluders,
        quorum=quorum(members, terms.colluders),
        year_delta=year,
        year_runs=len(before),
        year_before=costs.composed(before, year, most),
        year_with=costs.composed([*before, terms], year, most),
        year_allowed=None if consortium is None else consortium.epsilon_per_year,
        composition=costs.COMPOSITION,
        no_colluders=colluding(0),
        all_others=colluding(members - 1),
        memberships={
            str(number): costs.if_colluding(terms, members, terms.colluders, number) for number in MEMBERSHIPS
        },
        said=tuple(said),
    )


def answers(names: Sequence[str], events: Sequence[Event]) -> tuple[SaidToTerms, ...]:
    """What each member of the roster said to terms, from the events of an ask.

    Args:
        names: of the roster.
        events: of ``network.training.ask``.
    """
    said = {name: SaidToTerms(name, "absent", "its node is not there") for name in names}
    for event in events:
        if event.name not in said:
            continue
        why = printable(event.body.decode("utf-8", "replace"))
        if event.kind == "answer:terms":
            said[event.name] = SaidToTerms(event.name, "yes", "")
        elif event.kind == "declined":
            said[event.name] = SaidToTerms(event.name, "no", why)
        elif event.kind == "floor":
            said[event.name] = SaidToTerms(event.name, "absent", f"it has answered run {why} already")
        else:
            said[event.name] = SaidToTerms(event.name, "absent", why)
    return tuple(said[name] for name in names)


def _shown(epsilon: float | None) -> str:
    return "unbounded" if epsilon is None else f"{epsilon:.3g}"
