"""Whether a run stays within what the consortium's members accepted: the same words at the operator and at a member."""

from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.terms import RunTerms


def broken(terms: RunTerms, members: int, agreed: ConsortiumTerms) -> tuple[str, ...]:
    """What a run breaks of the consortium's terms: field, bound and the run's value; nothing where it is within them.

    What a year costs is each member's own to say: its ledger knows. Nor does a run say how old outcomes are.

    Args:
        terms: of the run.
        members: of the roster.
        agreed: the consortium's terms.
    """
    least = default_colluders(members) if agreed.colluders is None else agreed.colluders
    wrong = {
        f"modes = {list(agreed.modes)}: the run's is {terms.mode!r}": terms.mode not in agreed.modes,
        f"schemas: {terms.schema_hash.hex()} is not among them": terms.schema_hash.hex()
        not in agreed.schemas,
        f"minimum_cohort = {agreed.minimum_cohort}: there are {members} members": members
        < agreed.minimum_cohort,
    }
    if terms.mode != "none":
        wrong |= {
            f"epsilon_per_release = {agreed.epsilon_per_release:g}: the run's is {terms.epsilon:g}": terms.epsilon
            > agreed.epsilon_per_release,
            f"colluders = {least}: the run bears {terms.colluders}": terms.colluders < least,
        }
    return tuple(words for words, is_ in wrong.items() if is_)
