"""The run's last stage: one member writes the release, the others check and sign it, all store it. Pure.

``ask``, ``receive`` and ``finish`` are the coordinator's own (``server/protocol/coordinator.py``) for this stage.
"""

from collections.abc import Collection

from fedrepay.server.protocol.state import Ask, Event, State
from fedrepay.shared.errors import Code, CohortError, ProtocolError
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster, quorum
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Closing, Kind, ReleaseVote, Reply, Votes, Written


def ask(state: State, terms: NumberedTerms, roster: Roster, seats: Collection[str], failed: set[str]) -> Ask:
    """What to send next, once the sums are complete.

    Args:
        state: what the events have said.
        terms: of the run.
        roster: whose quorum must sign.
        seats: members who are there.
        failed: writers that did not answer in this process.

    Raises:
        CohortError: nobody is left who could write the release.
    """
    if state.closing is None:
        return Ask(Kind.SIGN, {})
    assert state.introduction is not None  # noqa: S101 - the sums are complete
    present = Epoch.decode(state.introduction.encode()).present
    here = [name for name in present if name in seats]
    waiting = set(here) - set(state.votes) - set(state.away)  # not asked yet, or need older sums
    if len(state.votes) >= quorum(len(roster.names), terms.colluders) and not waiting:
        body = Votes(run=terms.run, signed=tuple(state.votes[n] for n in sorted(state.votes))).encode()
        return Ask(Kind.VOTES, {n: (body, b"") for n in here if n not in state.stored})
    if state.written is None:
        writers = roster.by_key_hash(state.last_cohort())
        able = [n for n in writers if n in seats and n not in failed | state.bad_writers]
        if not able:
            raise CohortError("No member of the last cohort wrote the release.", "Run again to resume.")
        kind, targets, sealed = Kind.WRITE, [able[0]], None
    else:
        kind = Kind.CLOSE
        targets, sealed = [n for n in here if n not in state.votes], state.written.sealed
    shared: dict[int, bytes] = {}
    for name in targets:
        first = state.known.get(name, 0)
        if first not in shared:
            closing = Closing(config=state.closing, sums=state.sums_from(first), sealed=sealed)
            shared[first] = closing.encode()
    return Ask(kind, {n: (shared[state.known.get(n, 0)], state.own_header(n)) for n in targets})


def receive(state: State, run: int, roster: Roster, name: str, reply: Reply) -> list[Event]:
    """A member's release with its vote, or its vote on another's.

    Raises:
        ProtocolError: the vote is not this member's, or of another run.
    """
    if state.written is None:
        vote = Written.decode(reply.body).vote
        kind = "written"
    else:
        vote, kind = Signed.decode(reply.body), "vote"
    said = vote.verified(roster.entry(name).signing, ReleaseVote)
    if (said.run, said.name) != (run, name):
        raise ProtocolError(f"{name} voted for another run or member.", "Its vote does not count.")
    return [Event(kind, name, reply.body)]


def finish(state: State, closed: Ask, terms: NumberedTerms, roster: Roster) -> list[Event]:
    """After all were asked to sign: another writer, if nobody but the writer signed what it wrote.

    Raises:
        CohortError: fewer than the quorum have signed.
    """
    votes, names = len(state.votes), roster.names
    waiting = set(closed.parts) - set(state.votes) - set(state.away)  # they need older sums
    codes = {code.value for code in Code}
    unsigned = [name for name in closed.parts if name not in state.votes]
    refused = [name for name in unsigned if state.away.get(name, "").partition(":")[0] in codes]
    if votes == 1 and len(refused) > terms.colluders and not waiting:
        return [Event("unwritten", next(iter(state.votes)), b"")]
    least = quorum(len(names), terms.colluders)
    if votes < least and len(refused) > terms.colluders and not waiting:
        writer = next(iter(state.votes))
        raise CohortError(
            f"{', '.join(refused[:5])} refuse the release that {writer} wrote, and {votes} of {len(names)} have signed it; "
            f"{least} must.",
            f"`fedrepay coordinator abandon`, then train --new-run --without {writer}: whoever writes it must seal it to all.",
        )
    if votes < least and not waiting:
        raise CohortError(
            f"Only {votes} of {len(names)} members signed the release; {least} must.",
            "Bring members back, then run again: the release stage resumes.",
        )
    return []
