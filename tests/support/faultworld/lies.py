"""What a member that lies answers, signed with its own key: a refusal that is not so, an ask for what it has, a name."""

import random

from fedrepay.client.crypto.identity import Identity
from fedrepay.shared.errors import Code
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Evidence, Reply, Verdict, asked

NEED = "need"
OF_SUMS = ("prepare", "write", "close")
ABOUT_SUMS = (Code.TAG, Code.CANARY, Code.HEADERS, Code.RELEASE, NEED)
LIES = {
    "terms": (Code.LIMITS, Code.SCHEMA),
    **dict.fromkeys(OF_SUMS, ABOUT_SUMS),
    "blame": (Code.EPOCH, "verdict"),
}
"""What is said falsely, by kind of message; to every other, that the member is in no such epoch."""
ANYTHING = ""
HABITS = (ANYTHING, ANYTHING, *ABOUT_SUMS)
"""What the liars of a world say: anything to everything, or one thing of sums only, so that two say the same."""


def lie(
    dice: random.Random,
    habit: str,
    identity: Identity,
    names: tuple[str, ...],
    kind: str,
    shared: bytes,
    own: bytes,
) -> tuple[str, bytes]:
    """(what was said, the signed answer) to a message that the honest part of the member never sees."""
    said = habit or dice.choice(LIES.get(kind, (Code.EPOCH,)))
    told = asked(kind, shared, own)
    if said == NEED:
        reply = Reply(kind="need", need=0, name=identity.name, asked=told)
    elif said == "verdict":
        suspects = (dice.choice([name for name in names if name != identity.name]),)
        verdict = Verdict(
            config=Evidence.decode(shared).config.digest(), name=identity.name, suspects=suspects
        )
        reply = Reply(
            kind="ok", body=Signed.make(identity.signing, verdict).encode(), name=identity.name, asked=told
        )
    else:
        reply = Reply(kind="refused", code=str(said), cause="A lie.", name=identity.name, asked=told)
    return str(said), Signed.make(identity.signing, reply).encode()
