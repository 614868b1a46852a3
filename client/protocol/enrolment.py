"""A member's place in the consortium, as its store has it: the roster it is in, what it signed, whether it left."""

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import ArgumentError, Code, Refusal
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.succession import Leaving
from fedrepay.shared.trust.wire import Kind

ENROLLING = (Kind.PROPOSE, Kind.REVEAL, Kind.APPROVE, Kind.CERTIFY)


def held(store: MemberStore) -> Roster | None:
    """The roster this member takes part in: everybody has signed it."""
    stored = store.fact("roster")
    return Roster.decode_once(stored) if stored else None


def waiting(store: MemberStore) -> Roster | None:
    """The newest roster whose words people have yet to compare here."""
    stored = store.fact("pending")
    roster = Roster.decode_once(stored) if stored else None
    return None if roster is None or roster.number <= newest(store) else roster


def newest(store: MemberStore) -> int:
    """Number of the newest roster that this member has signed, taken part in, or withdrawn from; 0 before the first."""
    signed, roster = store.fact("signed"), held(store)
    return max(
        withdrawn(store),
        Roster.decode_once(signed).number if signed else 0,
        0 if roster is None else roster.number,
    )


def withdrawn(store: MemberStore) -> int:
    """Number of the newest roster that people here withdrew from, or left; 0 for none."""
    return int.from_bytes(store.fact("withdrawn") or b"\x00", "big")


def former(store: MemberStore) -> tuple[bytes, ...]:
    """Keys, 32 bytes each, that were the coordinator's in rosters before: they sign nothing here any more."""
    kept = store.fact("former_coordinators") or b""
    return tuple(kept[at : at + 32] for at in range(0, len(kept), 32))


def check_coordinator(store: MemberStore, public: bytes) -> None:
    """Refuse what a key asks for that is the coordinator's no more: whoever has it may have stolen it.

    Raises:
        Refusal: code ``roster``: it was given up in a roster that this member took part in.
    """
    if public in former(store):
        raise Refusal(
            Code.ROSTER,
            "The coordinator's key of this message was given up in an earlier roster.",
            "Where an old copy of the coordinator was restored: `fedrepay coordinator rotate-key` makes another.",
        )


def withdraw(store: MemberStore) -> int:
    """Take a signature back from a roster that not everybody has signed; its number can never be used here again.

    People do this at all members together, or not at all: some under the old roster and some under the new one are two
    consortia.

    Returns:
        the number of the roster withdrawn from.

    Raises:
        ArgumentError: there is no such roster.
    """
    signed, roster = store.fact("signed"), held(store)
    number = Roster.decode_once(signed).number if signed else 0
    if not signed or (roster is not None and number <= roster.number):
        raise ArgumentError(
            "This member has signed no roster that waits for others.", "There is nothing to withdraw."
        )
    facts = {"signed": b"" if roster is None else roster.encode(), "reply:approve": b""}
    store.remember(withdrawn=number.to_bytes(4, "big"), **facts)
    return number


def leave(identity: Identity, store: MemberStore) -> Signed:
    """Sign that this member leaves the roster it takes part in; from now on it takes no part, until it joins anew.

    Given again for the same roster. The coordinator shows it to the others with its next call.

    Raises:
        ArgumentError: it is in no roster, or has signed a later one.
    """
    roster, kept = held(store), store.fact("left")
    if kept:
        return Signed.decode(kept)
    if roster is None or identity.name not in roster.names:
        raise ArgumentError("This member is in no roster.", "There is nothing to leave.")
    if newest(store) > max(roster.number, withdrawn(store)):
        raise ArgumentError(
            "This member has signed a later roster that waits for others.",
            "Let the operator finish it, or withdraw with all the others; then leave.",
        )
    signed = Signed.make(identity.signing, Leaving(roster=roster.hash(), name=identity.name))
    store.remember(left=signed.encode())
    return signed


def join_anew(store: MemberStore) -> None:
    """After leaving: take part again, as a newcomer, in whatever later roster people approve; the ledger stays.

    Raises:
        ArgumentError: this member has not left.
    """
    if not store.fact("left"):
        raise ArgumentError("This member has left no roster.", "It takes part, or joins as it is.")
    none = ("roster", "signed", "certificate", "approved_code", "shown", "pending", "left")
    replies = (f"reply:{kind}" for kind in ENROLLING)
    store.remember(withdrawn=newest(store).to_bytes(4, "big"), **dict.fromkeys((*none, *replies), b""))


def check_stays(store: MemberStore) -> None:
    """Refuse whatever asks a member to take part that has left.

    Raises:
        Refusal: code ``roster``: it has.
    """
    if store.fact("left"):
        raise Refusal(
            Code.ROSTER,
            "This member has left the roster and takes no part.",
            "Let the operator make a roster without it; or it joins anew.",
        )


def current(store: MemberStore) -> Roster:
    """The roster of a run.

    Raises:
        Refusal: code ``roster``: there is none, it was left, or a later one was signed and is not complete.
    """
    check_stays(store)
    roster = held(store)
    if roster is None:
        raise Refusal(Code.ROSTER, "This member is in no roster yet.", "Enrol it first.")
    signed = store.fact("signed")
    if signed and Roster.decode_once(signed).number > roster.number:
        raise Refusal(
            Code.ROSTER,
            "This member has signed a later roster and takes no part under the one before.",
            "Bring the members back that have not signed yet, and let the operator finish the roster; or withdraw, "
            "all members together: `fedrepay member withdraw-roster`.",
        )
    return roster


def newest_run(store: MemberStore) -> int:
    """Number of the newest run whose call for an epoch this member has answered; 0 before the first."""
    stored = store.fact("last_start")
    return 0 if stored is None else EpochStart.decode(Signed.decode(stored).body).run
