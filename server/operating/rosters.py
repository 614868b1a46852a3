"""Where the making of a roster stands, from its events; and waiting until it is made."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared.trust.enrolment import Call
from fedrepay.shared.trust.roster import Roster

LOOK = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class RosterMaking:
    """A roster that is being made.

    Attributes:
        number: of its proposal.
        stage: joining, revealing or approving.
        words: to be compared; empty before everybody has revealed its nonce.
        members: who has joined so far, sorted.
        lacking: of them, who has not done its part of the stage.
    """

    number: int
    stage: str
    words: str
    members: tuple[str, ...]
    lacking: tuple[str, ...]

    @property
    def text(self) -> str:
        """For people."""
        if self.stage == "approving":
            return (
                f"Roster {self.number} waits for approval by {', '.join(self.lacking) or 'nobody'}. Its words, which people at "
                f"the members compare among themselves: {self.words}"
            )
        what = "join" if self.stage == "joining" else "reveal their nonces"
        return f"Roster {self.number} is being made: members {what} ({', '.join(self.members) or 'nobody yet'} so far)."


def enrolled(store: CoordinatorStore) -> Enrolled:
    """What the events of rosters have said."""
    found = Enrolled()
    for event in store.events(ROSTERS):
        found.apply(event)
    return found


def making(state: Enrolled) -> RosterMaking | None:
    """The roster that is being made, if one is."""
    if state.call is None:
        return None
    number = Call.decode(state.call.body).number
    members = tuple(sorted(state.member(node) for node in state.joinings))
    if not state.proposal:
        return RosterMaking(number, "joining", "", members, ())
    done = state.approvals if len(state.revealed) == len(state.joinings) else state.revealed
    lacking = tuple(sorted(state.member(node) for node in state.joinings if node not in done))
    if len(state.revealed) < len(state.joinings):
        return RosterMaking(number, "revealing", "", members, lacking)
    return RosterMaking(number, "approving", state.proposed().code(), members, lacking)


def wait(
    store: CoordinatorStore,
    wanted: Callable[[], Collection[str]],
    show: Callable[[str], None],
    sleep: Callable[[float], None],
    coordinator: Callable[[], bytes],
    *,
    whole: bool = False,
    fits: Callable[[Roster], bool] = lambda _roster: True,
    lacking: Callable[[], str] = lambda: "",
) -> Roster:
    """The roster in force; waits until people have approved one.

    Args:
        store: the coordinator's.
        wanted: names of who is admitted, asked again at each look.
        show: told what is waited for, whenever that changes.
        sleep: between two looks.
        coordinator: its public key, asked at each look: members take nothing of another than their roster's.
        whole: wait for a roster of exactly those who are admitted, also where there is one already.
        fits: whether a roster will do; asked at each look.
        lacking: why none can be made yet, for people; empty where nothing is in its way.
    """
    told = ""
    while True:
        state = enrolled(store)
        names = sorted(wanted())
        ours = state.roster is not None and state.roster.coordinator == coordinator()
        named = not whole or (state.roster is not None and sorted(state.roster.names) == names)
        if state.roster is not None and ours and named and fits(state.roster):
            return state.roster
        now = making(state)
        text = now.text if now is not None else lacking() or f"A roster of {', '.join(names)} is to be made."
        if text != told:
            show(text)
            told = text
        sleep(LOOK)
