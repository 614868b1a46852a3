"""The consortium's terms that people at this member accepted, held against what a run asks for."""

from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import Code, Refusal
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import NOTHING, ConsortiumTerms
from fedrepay.shared.trust.terms import RunTerms
from fedrepay.shared.trust.wire import RoundConfig
from fedrepay.shared.trust.within import broken

AGREED = "agreed"
"""The fact of the member's store: hash of the consortium's terms that its people accepted."""
_REMEDY = (
    "The operator trains within what all have accepted; other terms need a yes of every member's people."
)


def agreed(store: MemberStore) -> bytes:
    """Hash of what was accepted, 32 bytes; ``NOTHING`` where nobody has agreed on terms."""
    return store.fact(AGREED) or NOTHING


def terms(store: MemberStore) -> ConsortiumTerms | None:
    """What was accepted, from the member's folder; None where nobody has agreed on terms.

    Raises:
        Refusal: code ``terms``: what lies there is not what was accepted.
    """
    digest, path = agreed(store), store.folder / agreement.FILE
    if digest == NOTHING and not path.is_file():
        return None
    data = path.read_bytes() if path.is_file() else b""
    if agreement.hashed(data) != digest:
        raise Refusal(
            Code.TERMS,
            f"The {agreement.FILE} of this member is not the one that its people accepted: it was changed, or is gone.",
            "Put it back; the operator has the same file.",
        )
    return agreement.parse(data, agreement.FILE)


def check_run(held: ConsortiumTerms | None, run: RunTerms, members: int) -> None:
    """A run is within what was accepted.

    Args:
        held: :func:`terms`.
        run: its terms.
        members: of the roster.

    Raises:
        Refusal: code ``terms``, naming field and bound.
    """
    if held is not None and (said := broken(run, members, held)):
        raise Refusal(Code.TERMS, f"The accepted terms do not allow this run: {'; '.join(said)}.", _REMEDY)


def check_year(held: ConsortiumTerms | None, epsilon: float, delta: float) -> None:
    """Nor does it bring a customer's year above what was accepted.

    Args:
        held: :func:`terms`.
        epsilon: composed ε of the year, the run included.
        delta: at which it was composed.

    Raises:
        Refusal: code ``terms``, naming field and bound.
    """
    if held is not None and epsilon > held.epsilon_per_year:
        raise Refusal(
            Code.TERMS,
            f"The accepted terms do not allow this run: epsilon_per_year = {held.epsilon_per_year:g}: it would bring a "
            f"customer's year to {epsilon:.4g} at δ = {delta:g}.",
            _REMEDY,
        )


def least_cohort(store: MemberStore, limits: Limits) -> int:
    """The fewest members an attempt may have for this one to take part.

    Raises:
        Refusal: as of :func:`terms`.
    """
    held = terms(store)
    return max(limits.minimum_cohort, 0 if held is None else held.minimum_cohort)


def check_attempt(store: MemberStore, config: RoundConfig) -> None:
    """An attempt is under the terms that hold now, and has as many members as they ask for.

    Raises:
        Refusal: code ``terms``, naming field and bound; or as of :func:`terms`.
    """
    held = terms(store)
    if config.agreed != agreed(store):
        raise Refusal(
            Code.TERMS,
            "The run is under other terms of the consortium than those that this member's people accept by now.",
            "The operator abandons it; the next run is under the terms that all have accepted.",
        )
    if held is not None and len(config.cohort) < held.minimum_cohort:
        raise Refusal(
            Code.TERMS,
            f"The accepted terms do not allow this attempt: minimum_cohort = {held.minimum_cohort}: it has "
            f"{len(config.cohort)} members.",
            _REMEDY,
        )


def tightened(store: MemberStore, limits: Limits) -> Limits:
    """A member's limits, its year no larger than what was accepted.

    Raises:
        Refusal: as of :func:`terms`.
    """
    held = terms(store)
    if held is None:
        return limits
    return limits.model_copy(update={"epsilon_per_year": min(limits.epsilon_per_year, held.epsilon_per_year)})
