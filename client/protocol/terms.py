"""A run's terms at a member: the learner they mean, and yes or no to them before anything costs.

What is checked here is checked again at every attempt (``guard``, ``budget``): a yes reserves nothing, and a
coordinator that asks for something else later gets nothing.
"""

from typing import Any

from fedrepay.client.learning import dp_sgd, make_learner
from fedrepay.client.learning.base import Learner
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.protocol import accepted, enrolment, guard
from fedrepay.client.protocol.enrolment import newest_run
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto import budget, room
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.year import of_year
from fedrepay.shared.errors import ArgumentError, BudgetError, Code, Refusal, SchemaError
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.enrolment import FAR
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.terms import RunTerms
from fedrepay.shared.trust.wire import Offer


def learner(
    terms: RunTerms, book: CodeBook, members: int, model: TorchModel | None, entropy: Entropy
) -> Learner[Any]:
    """The run's learner on this member's code book.

    Args:
        terms: of the run.
        book: schema and code book.
        members: of the roster.
        model: the torch module that this member's own configuration names.
        entropy: of local mode's sampling and noise.

    Raises:
        Refusal: code ``model`` or ``schema``: the member cannot train it.
    """
    made: Learner[Any]
    if terms.local is not None and model is None:
        raise Refusal(Code.MODEL, "The run trains a torch module, and this member is configured with none.")
    try:
        if model is None or terms.local is None:
            made = make_learner(terms.learner, book, terms.rounds)
        else:
            made = dp_sgd.make(book, terms, members, model, entropy)
    except (ArgumentError, SchemaError) as error:
        raise Refusal(Code.SCHEMA, error.cause) from error
    sizes = tuple(sum(segment.size for segment in segments) for segments in made.segments())
    if sizes != guard.sizes(terms):
        raise Refusal(Code.SCHEMA, "The learner's sums and the run's differ in size.")
    return made


def check_run(store: MemberStore, roster: Roster, run: int) -> None:
    """The run's number is new, and so near that no coordinator can use the numbers up.

    Raises:
        Refusal: code ``run``, its proof the newest call for an epoch that this member has answered, signed by the
            coordinator: a coordinator that lost its database believes that, and no member's word alone.
    """
    last = newest_run(store)
    if run <= last:
        raise Refusal(
            Code.RUN,
            f"Run {run} is not above run {last}, whose call this member has answered.",
            "The operator's next run takes a number above.",
            store.fact("last_start") or b"",
        )
    if run > max(last, roster.released) + FAR:
        raise Refusal(Code.RUN, f"Run {run} is more than {FAR} above run {max(last, roster.released)}.")


class Consent:
    """Says yes or no to terms.

    Args:
        store: ledger, roster and runs so far.
        book: schema and code book.
        limits: the member's veto.
        model: the torch module that this member's own configuration names.
        entropy: as the member's; nothing is drawn here.
    """

    def __init__(
        self,
        store: MemberStore,
        book: CodeBook,
        limits: Limits,
        model: TorchModel | None,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._book = book
        self._limits = limits
        self._model = model
        self._entropy = entropy

    def answer(self, shared: bytes, now: float) -> tuple[bytes, dict[str, bytes]]:
        """Yes, and what to remember with it.

        Args:
            shared: the signed offer.
            now: seconds since 1970, for the ledger's year.

        Raises:
            Refusal: no, with the limit that says so; code ``budget`` where the whole run would pass what a run, or
                this member's year, may cost.
        """
        signed, roster = Signed.decode(shared), enrolment.current(self._store)
        offer = signed.verified(roster.coordinator, Offer)
        if offer.roster != roster.hash():
            raise Refusal(
                Code.ROSTER, "The run is for another roster than the one this member takes part in."
            )
        check_run(self._store, roster, offer.run)
        if offer.terms.agreed != accepted.agreed(self._store):
            raise Refusal(
                Code.TERMS,
                "The run is under other terms of the consortium than people at this member have accepted.",
                "`fedrepay member accept-terms` shows the new ones.",
            )
        self.judge(offer.terms, len(roster.names), now)
        return b"", {"offer": shared}

    def judge(self, terms: RunTerms, members: int, now: float) -> None:
        """Say no to terms that this member, its limits or its year do not allow.

        Args:
            terms: of a run, offered or only thought of.
            members: of the roster.
            now: seconds since 1970, for the ledger's year.

        Raises:
            Refusal: as :meth:`answer`, but for the run's number and roster; code ``terms`` where the consortium's terms
                that were accepted here do not allow it.
        """
        held = accepted.terms(self._store)
        accepted.check_run(held, terms, members)
        guard.check_terms(terms, self._book, guard.held(self._model))
        self._limits.check_terms(terms, members, self._book.schema.public)
        room.check_pairs(terms, self._book, members)
        segments = learner(terms, self._book, members, self._model, self._entropy).segments()
        plan = budget.whole_run(terms, segments, members)
        try:
            budget.judge(terms, (), plan, self._store.ledger(), self._limits, self._book, now)
        except BudgetError as error:
            raise Refusal(Code.BUDGET, error.cause, error.remedy) from error
        if (
            held is not None and held.epsilon_per_year < self._limits.epsilon_per_year
        ):  # else it is judged above
            delta = self._limits.year_delta(self._book.schema.public)
            year = composed_epsilon(of_year(self._store.ledger(), now) + plan, delta) if plan else 0.0
            accepted.check_year(held, year, delta)
