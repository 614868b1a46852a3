"""A round of a run of eight members, as its limits and budget are asked about it; without keys or ciphertexts."""

from fedrepay.shared.trust.wire import Attempt, RoundConfig
from support import guard_view

NAMES = tuple(f"m{i}" for i in range(8))
HISTORY = (
    Attempt(round=0, attempt=0, cohort=NAMES, completed=True),
    Attempt(round=1, attempt=1, cohort=NAMES[:6], completed=False),
)
CONFIG = guard_view.CONFIG.model_copy(
    update={
        "run": 3,
        "round": 1,
        "attempt": 2,
        "cohort": NAMES[:7],
        "history": HISTORY,
        "delta": 1e-6,
        "rounds": 3,
        "max_attempts": 3,
    }
)


def changed(config: RoundConfig = CONFIG, **fields: object) -> RoundConfig:
    return config.model_copy(update=fields)
