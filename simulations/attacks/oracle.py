"""A member that opens unauthenticated sums is an oracle for its secret key.

Adding M·X^(N−1−j) to c1 and x·X^(N−1) to c0 moves the noise of the last coefficient by x + M·s_j and of the others by
±M·s_i. With M = 0.4 and x = ±0.8 of the noise budget that coefficient, a canary, still opens unless s_j has the sign of
x, so two answers, accepted or refused, are one coefficient of the key (Chenal and Tang, LATINCRYPT 2014; Loftus et al.,
SAC 2011). The canary makes it easy: it tells a wrong decryption. With the tag every such sum gets one and the same refusal before the key is used.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fedrepay.client.crypto.opening import open_sum
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.errors import Refusal
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, SLOTS, VALUES, Q
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.shift import added, chunks_of, counted_decryptions
from fedrepay.simulations.attacks.tools.adversary import due, last_sum, say, with_sum
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.run.world import World

BUDGET = Q // (2 * GAM.t)
"""Noise below this decrypts rightly."""
EVERY = 32  # every 32nd of the key's 4,096 coefficients is asked for
EVERY_QUICK = 128


def moved(payload: bytes, j: int, sign: int) -> bytes:
    """The sum with its noise moved so that its opening depends on coefficient ``j`` of the key."""
    chunks = chunks_of(payload)
    second = 2 * SLOTS - 1 - j
    chunks[0, second] = (int(chunks[0, second]) + 4 * BUDGET // 10) % Q
    chunks[0, SLOTS - 1] = (int(chunks[0, SLOTS - 1]) + sign * 8 * BUDGET // 10) % Q
    return chunks.tobytes()


class Oracle:
    """A member that says whether it opened a sum; each question is one answer."""

    def __init__(self, seed: int) -> None:
        self.cohort = Cohort(4)
        self._attempt = self.cohort.attempt(0)
        rng = np.random.default_rng(seed)
        uploads = [
            self.cohort.upload(name, rng.integers(-(1 << 30), 1 << 30, VALUES), self._attempt)
            for name in self.cohort.names
        ]
        total = added(uploads)
        self._payload, self._tags = total.payload(), total.tags

    def answer(self, j: int, sign: int) -> str:
        """``accepted``, or the refusal's code and words."""
        cohort = self.cohort
        try:
            open_sum(
                cohort.group,
                cohort.tags(self._attempt),
                moved(self._payload, j, sign),
                self._tags,
                VALUES,
            )
        except Refusal as refusal:
            return f"{refusal.code}: {refusal}"
        return "accepted"

    def ask(self, places: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Both answers for each coefficient asked for."""
        return {j: (self.answer(j, 1), self.answer(j, -1)) for j in places}


def guessed(answers: dict[int, tuple[str, str]]) -> dict[int, int]:
    """The key's coefficients that the answers tell."""
    return {j: int(up != "accepted") - int(down != "accepted") for j, (up, down) in answers.items()}


def secret_key(group: GroupKey) -> list[int]:
    """The key's coefficients, −1, 0 or 1: what (0, Δ) decrypts to."""
    only_s = np.zeros((1, COEFFICIENTS), dtype=np.uint64)
    only_s[0, SLOTS] = Q // GAM.t
    return [each if each <= 1 else each - GAM.t for each in group.decrypt(only_s, GAM.t_bits)[0].tolist()]


def _live(folder: Path) -> tuple[int, list[str]]:
    """The same questions to a real member: (uses of the secret key, its answers)."""
    world = World(folder)
    world.until(Kind.PREPARE, 1)
    shared, own = due(world, "m0")
    answers = []
    with counted_decryptions() as used:
        for j in range(3):
            for sign in (1, -1):
                lie = with_sum(shared, {"payload": moved(last_sum(shared).payload, j, sign)})
                answers.append(say(world, "m0", Kind.PREPARE, lie, own).code)
        answers.append(say(world, "m0", Kind.PREPARE, shared, own).code)  # and then the honest sum
    return len(used), answers


def run(options: AttackOptions) -> AttackFinding:
    """Ask for coefficients with the tag and without it; ask a live member too."""
    places = range(0, SLOTS, EVERY_QUICK if options.quick else EVERY)
    oracle = Oracle(options.seed)
    key = secret_key(oracle.cohort.group)
    truth = {j: key[j] for j in places}
    with counted_decryptions() as used_on:
        on = oracle.ask(places)
    with switched(AttemptTags, "first_misfit", lambda *_: None), counted_decryptions() as used_off:
        off = oracle.ask(places)
    found_off = guessed(off)
    right = sum(found_off[j] == truth[j] for j in places)
    kinds = {each for pair in on.values() for each in pair}
    with TemporaryDirectory() as folder:
        live_used, live = _live(Path(folder))
    queries = 2 * len(places)
    return AttackFinding(
        attack="oracle",
        threat="B9",
        adversary=(
            "The coordinator sends a member sums with their noise moved and hears whether it goes on; it wants "
            "the secret key of all members."
        ),
        defence="the check of the homomorphic tag before decryption.",
        rows=(
            Row(
                f"coefficients of the key recovered, of {len(places)} asked for",
                "0: one answer to everything" if len(kinds) == 1 else f"{len(kinds)} different answers",
                f"{right}",
            ),
            Row("questions a coefficient", "—", "2"),
            Row(f"uses of the secret key in {queries} questions", str(len(used_on)), str(len(used_off))),
            Row(
                "live member: answers to 6 changed sums and then the honest one",
                f"{live[0]}, then {' '.join(sorted(set(live[1:])))} ({live_used} decryptions): the epoch is over",
                "—",
            ),
        ),
        held=len(kinds) == 1
        and kinds.pop().startswith("tag: ")
        and len(used_on) == live_used == 0
        and live[0] == "tag"
        and set(live[1:]) == {"rollback"},
        bites=right == len(places) and any(truth.values()) and len(used_off) == queries,
        note="A member also opens one sum a round only, so that even without the tag it answers one question a round.",
    )
