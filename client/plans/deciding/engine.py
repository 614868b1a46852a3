"""The decision engine: a release, a catalogue, settings and rule packs, loaded once; accounts in, decisions out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.affordability import income_known, sustainable
from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.cases import case_flags, running_contract
from fedrepay.client.plans.deciding.chunk import Accounts, Chunk
from fedrepay.client.plans.deciding.dates import dates_of
from fedrepay.client.plans.deciding.decide import Chosen, decide
from fedrepay.client.plans.deciding.handover import HandedOver, handed
from fedrepay.client.plans.deciding.judged import Judged, judge
from fedrepay.client.plans.deciding.outside import MONEY, Cell, bound_text, impossible, noted
from fedrepay.client.plans.deciding.pairs import PairCodes, PairEncoder, settled
from fedrepay.client.plans.deciding.reasons import Reasons
from fedrepay.client.plans.deciding.rule_inputs import completed, plan_columns
from fedrepay.client.plans.deciding.safeguards import Safeguards, safeguards
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.scoring.score import block_effects, good_value
from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.errors import DataError, ReleaseError
from fedrepay.shared.plans.candidates import Candidates, Debts, candidates
from fedrepay.shared.plans.catalogue import Catalogue, arms
from fedrepay.shared.rules.facts import Column as Fact
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.rules.masks import RulesVerdict, evaluate
from fedrepay.shared.rules.pack import Pack
from fedrepay.shared.schema.bins import Values
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.encode import categories_text

FIRST, KEPT = "first_paid", "kept_90"
"""The outcomes that a plan's value is made of."""
NEEDED = (*MONEY, "income_verified")
"""Account columns that bound and cost of a plan are computed from."""
MOST_PAIRS = 100_000
"""Accounts × plans worked on at a time; small enough to stay in the processor's caches."""


class OwnPart(Protocol):
    """A member's own correction of the shared model, fitted on its own data and never sent."""

    def adjust(self, head: int, shared_logit: F64, pair_codes: PairCodes) -> F64:
        """Log-odds of a head's outcome 1, (n, P), from the shared model's."""


@dataclass(frozen=True, eq=False)
class Batch(Chunk):
    """Decided accounts with everything that reasons need; ``judged`` within the caps of the whole batch."""

    decisions: Chosen
    handed: HandedOver


class Engine:
    """Decides for accounts; holds DuckDB connections until ``close``.

    Args:
        book: schema and code book of the release.
        weights: (H, d), its heads' weights.
        catalogue: what may be offered.
        settings: the member's own.
        packs: rule packs, in the order their rules are numbered.
        personal: the member's own correction, if it has one.
        averages: mean effect of each block on ``kept_90`` over the consortium (``score.Reasons``); without them
            the mean over a block's bins.
        borders: of the tiers, from the release's own distribution.

    Raises:
        ReleaseError: the release predicts other outcomes, or lacks a column that decisions need.
    """

    def __init__(
        self,
        book: CodeBook,
        weights: F64,
        catalogue: Catalogue,
        settings: Settings,
        packs: Sequence[Pack] = (),
        personal: OwnPart | None = None,
        averages: Sequence[float] | None = None,
        borders: Borders | None = None,
    ) -> None:
        check_book(book)
        self.book, self.catalogue, self.settings = book, catalogue, settings
        self.packs, self.personal = tuple(packs), personal
        self.arms = arms(catalogue)
        self.encoder = PairEncoder(book, self.arms)
        names = [each.name for each in book.schema.outcomes]
        self.heads = {name: names.index(name) for name in (FIRST, KEPT)}
        self.effects = {name: block_effects(book, weights[head]) for name, head in self.heads.items()}
        self.towards = {
            name: 1.0 if good_value(book, head) == 1 else -1.0 for name, head in self.heads.items()
        }
        kept = self.effects[KEPT][:-1]
        averages = [float(each.mean()) for each in kept] if averages is None else averages
        self.reasons = Reasons.of(book, kept, averages, self.towards[KEPT])
        local = set(book.schema.public.local_kinds)
        self.shared = ~self.arms.is_kind(*local)
        self.borders = borders or Borders()
        self._made_of = (book, weights, catalogue, settings, self.packs, personal, averages, self.borders)

    def __reduce__(self) -> tuple[object, ...]:
        """To another process goes what it is made of."""
        return Engine, self._made_of

    def close(self) -> None:
        """Close the connections."""
        self.encoder.close()
        if "_bound_arms" in vars(self):
            self._bound_arms.close()

    @property
    def chunk(self) -> int:
        """Accounts worked on at a time."""
        return max(MOST_PAIRS // len(self.arms.kind), 1)

    def chunks(self, accounts: int) -> Iterator[slice]:
        """The rows of so many accounts, as many at a time."""
        return (slice(start, start + self.chunk) for start in range(0, accounts, self.chunk))

    def accounts(
        self, names: Sequence[str], columns: Mapping[str, Values], facts: Mapping[str, Fact] | None = None
    ) -> Accounts:
        """Check and complete account columns that come from no file, (n,) each.

        Args:
            names: of the accounts.
            columns: every column of ``encoder.account_columns``: numbers with NaN, text with None, for missing.
            facts: for rules, by name.

        Raises:
            DataError: a column is absent, or a value is refused, naming column, account and bound.
        """
        known: dict[str, Values] = {}
        outside: list[tuple[int, Cell]] = []
        for column in self.encoder.account_columns:
            if column.name not in columns:
                raise DataError(
                    f"The column {column.name} is missing.", "The release's schema names all columns."
                )
            raw = columns[column.name]
            raw = raw if column.type == "category" else np.asarray(raw, np.float64)
            known[column.name], fine = settled(column, raw)
            never = impossible(column.name, raw)
            if not (fine & ~never).all():
                row = int((fine & ~never).argmin())
                bound = (
                    bound_text(column.name)
                    if never[row]
                    else categories_text(column)
                    if column.categories
                    else f"within {column.bounds}"
                )
                raise DataError(
                    f"{column.name}, account {names[row]}: {raw[row]!r} must be {bound}.",
                    "Mend the value, or leave it out where the schema allows that.",
                )
            moved = (raw != known[column.name]) & (raw == raw)  # noqa: PLR0124 - NaN is missing
            outside += [(int(row), (column.name, raw[row])) for row in np.flatnonzero(moved)]
        values, fine = self.encoder.derive_accounts(known, len(names))
        if not fine.all():
            raise DataError(
                f"Account {names[int(fine.argmin())]}: a derived column lies outside its bounds.",
                "Check the columns it is derived from.",
            )
        cells = noted(len(names), outside) if outside else None
        return Accounts(np.asarray(names, dtype=object), values, dict(facts or {}), outside=cells)

    def debts(
        self, values: Mapping[str, Values], facts: FactTable, part: F64 | None = None
    ) -> tuple[Debts, Bool]:
        """Debts with their affordability bound (their ``part`` of it), and who has an income form, (n,)."""
        numbers = {name: np.asarray(values[name], np.float64) for name in NEEDED if name != "income_verified"}
        income, surplus = numbers["income"], numbers["surplus"]
        known = income_known(income, surplus, values["income_verified"])
        promised = numbers["other_plans"] + numbers["priority_arrears"]
        bound = sustainable(self.settings.affordability, income, surplus, values["income_verified"], promised)
        if part is not None:
            bound = np.floor(bound * part).astype(np.int64)
        balance, fees = (np.rint(numbers[name]).astype(np.int64) for name in ("balance", "fees"))
        fees = np.minimum(fees, balance)
        return Debts(balance, fees, numbers["apr"], bound, running_contract(facts)), known

    def judge(self, accounts: Accounts, today: int) -> Chunk:
        """Score every candidate of n accounts, its first date counted from a day, and hold it against the rules of that day.

        Args:
            accounts: n of them.
            today: day since 1970-01-01.

        Raises:
            DataError: a fact is no such value.
        """
        values = accounts.values
        facts = self.facts(accounts)
        debts, known = self.debts(values, facts, accounts.part)
        beyond = np.asarray(accounts.beyond != "", np.bool_)
        debts, known = replace(debts, bound=np.where(beyond, 0, debts.bound)), known & ~beyond
        dates = dates_of(self.arms, accounts, facts, self.settings.region, today)
        plans = candidates(self.catalogue, self.arms, debts, dates)
        codes, learned, first, kept = self._read(self.encoder, values, plans)
        spared = safeguards(facts)
        judged = self._held(accounts, facts, spared, plans, known, first, kept, learned, today)
        return Chunk(accounts, facts, spared, codes, learned, judged)

    def within(self, now: Chunk, rows: npt.NDArray[np.integer], room: I64, today: int) -> Judged:
        """Some accounts of a chunk as they were judged within other bounds: what a bound changes is worked out again.

        Args:
            now: the accounts, judged within their own.
            rows: which of them, (m,).
            room: the bounds, minor units a month, (m,).
            today: the day on which they were judged.
        """
        accounts, facts, judged = now.accounts.take(rows), now.facts.take(rows), now.judged
        spared, plans = now.safeguards.take(rows), judged.plans.take(rows)
        debts = replace(plans.debts, bound=np.where(accounts.beyond != "", 0, room))
        at, (first, kept, learned) = (
            self.arms.by_bound,
            (each[rows] for each in (judged.first, judged.kept, now.learned)),
        )
        some = candidates(self.catalogue, self._bound_arms.arms, debts, plans.dates.of_arms(at))
        _, learned[:, at], first[:, at], kept[:, at] = self._read(self._bound_arms, accounts.values, some)
        whole = plans.within(debts, at, some)
        known = judged.cases.income_known[rows]
        return self._held(accounts, facts, spared, whole, known, first, kept, learned, today)

    @cached_property
    def _bound_arms(self) -> PairEncoder:
        """Codes plans whose amounts follow from a bound."""
        return PairEncoder(self.book, self.arms.take(self.arms.by_bound))

    def _read(
        self, encoder: PairEncoder, values: Mapping[str, Values], plans: Candidates
    ) -> tuple[PairCodes, Bool, F64, F64]:
        """Codes, what the model knows, and P(first payment) and P(kept), (n, P) each."""
        codes, learned = encoder.encode(values, plans)
        first, kept = (np.where(learned, self.likely(name, codes), 0.0) for name in (FIRST, KEPT))
        return codes, learned, first, kept

    def _held(
        self,
        accounts: Accounts,
        facts: FactTable,
        spared: Safeguards,
        plans: Candidates,
        known: Bool,
        first: F64,
        kept: F64,
        learned: Bool,
        today: int,
    ) -> Judged:
        """Candidates against rules, bound and money; ``known`` is whose income is."""
        cases = case_flags(
            accounts.names,
            accounts.values,
            plans.debts,
            known,
            spared.rests,
            self.settings.relief,
            self.catalogue.smallest_instalment,
            np.asarray(accounts.beyond != "", np.bool_),
        )
        return judge(
            self.settings.value,
            plans,
            cases,
            first,
            kept,
            self.rules(facts, plans, today),
            learned & self.shared,
            relief=self.settings.relief,
            borders=self.borders,
        )

    def rules(self, facts: FactTable, plans: Candidates, today: int) -> RulesVerdict:
        """What the packs say of accounts and candidates."""
        return evaluate(self.packs, facts, plan_columns(plans), today)

    def facts(self, accounts: Accounts) -> FactTable:
        """The accounts' facts, completed by what the columns and the settings say."""
        known = completed(accounts.raw, accounts.facts, self.settings.contact_minute)
        return FactTable(known, len(accounts.names))

    def decide(
        self,
        accounts: Accounts,
        *,
        today: int,
        batch_id: str = "",
        caps: Callable[[Judged], Judged] | None = None,
    ) -> Batch:
        """Decide for n accounts; the same every time.

        Args:
            accounts: as ``accounts`` makes or ``read_accounts`` reads them.
            today: day since 1970-01-01 that decides which rules are in force.
            batch_id: keys the draws of exploration, if settings allow any.
            caps: what the member's caps for the batch do to scores and to who is allowed what.
        """
        chunk = self.judge(accounts, today)
        judged = chunk.judged if caps is None else caps(chunk.judged)
        people = handed(self.settings, chunk, today, judged)
        decisions = decide(judged, people.code, exploration=self.settings.exploration, batch_id=batch_id)
        return Batch(**{**vars(chunk), "judged": judged}, decisions=decisions, handed=people)

    def likely(self, name: str, codes: PairCodes) -> F64:
        """Probabilities of a head's good outcome, the member's own part included, (n, P)."""
        logit = codes.logits(self.effects[name])
        if self.personal is not None:
            logit = self.personal.adjust(self.heads[name], logit, codes)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.towards[name] * logit)))


def check_book(book: CodeBook) -> None:
    """Refuse a release over a schema that decisions cannot be made with.

    Raises:
        ReleaseError: it predicts other outcomes, or lacks a column that decisions need.
    """
    outcomes = [each.name for each in book.schema.outcomes]
    columns = {each.name for each in book.schema.columns if each.role == "account"}
    lacking = [f"the outcome {name}" for name in (FIRST, KEPT) if name not in outcomes]
    lacking += [f"the account column {name}" for name in NEEDED if name not in columns]
    if lacking:
        raise ReleaseError(
            f"The release's schema lacks {', '.join(lacking)}.",
            "Recommending plans needs a release over a schema like `debt_market.toml`; "
            "`fedrepay member score` ranks accounts with any release of one outcome.",
        )
