"""Every error a person can meet, in one tree.

FedrepayError                     exit
├── InputError                      2   what was handed in is wrong
│   ├── ArgumentError               2   an option or a combination of options
│   ├── SchemaError                 3   the schema or its code book
│   ├── MappingError                3   the SQL that maps a member's tables
│   ├── CatalogueError              3   the plans a member may offer, or its settings for them
│   ├── RuleError                   3   a rule pack
│   └── DataError                   4   rows or files
├── StorageError                    5   disk full, not writable, damaged store
├── ProtocolError                   6   a message that cannot be accepted
│   └── Refusal                     6   the guard said no; carries a closed code
├── BudgetError                     7   the ledger or a limit says stop
├── CohortError                     8   too few members are left
│   └── WordsError                  8   people have not approved the roster's words yet
├── ReleaseError                    9   a release that must not be used
├── NetworkError                   10   another party, or its port, is not there
├── AttackError                    11   a defence did not hold, or an attack's control failed
├── SweepError                     12   some runs of a sweep failed
└── TermsError                     13   a member says no to a run's terms

Each carries a cause and a remedy; ``docs/exit-codes.md`` has a section for each exit code.
"""

import errno
from enum import StrEnum
from typing import ClassVar

from fedrepay.shared.text import printable

_FULL = "Free the disk, then run the same command again: nothing is half-written."
_CLOSED = "Check its owner and rights, and whether the disk is mounted for reading only; then the same command again."
_DISK: dict[int | None, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _CLOSED),
}
"""Remedies by what a system says of its disk."""


class FedrepayError(Exception):
    """Base of all typed errors: ``cause`` says what happened, ``remedy`` what to do.

    Both end on screens and in logs and may quote what came from outside, so nothing in them commands a terminal.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = printable(cause, None, keep="\n")
        self.remedy = printable(remedy, None, keep="\n")
        super().__init__(self.cause)

    def __str__(self) -> str:
        return f"{self.cause} {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        """Errors come back from other processes as they were, whatever their constructor takes."""
        return _again, (type(self), self.args), vars(self)


def _again(kind: type[FedrepayError], args: tuple[object, ...]) -> FedrepayError:
    return kind.__new__(kind, *args)


class InputError(FedrepayError):
    """Something handed in is wrong."""

    exit_code = 2


class ArgumentError(InputError):
    """An option, or a combination of options, cannot be met."""


class SchemaError(InputError):
    """The schema or its code book is wrong."""

    exit_code = 3


class MappingError(InputError):
    """The SQL that maps a member's tables to the schema is wrong."""

    exit_code = 3


class CatalogueError(InputError):
    """A member's plan catalogue, or its settings for decisions, is wrong."""

    exit_code = 3


class RuleError(InputError):
    """A rule pack is wrong, or fails its own cases."""

    exit_code = 3


class DataError(InputError):
    """A file or its rows are wrong."""

    exit_code = 4


class StorageError(FedrepayError):
    """Something could not be written or read back."""

    exit_code = 5

    @classmethod
    def unwritten(cls, what: object, failed: Exception, remedy: str) -> "StorageError":
        """Of what cannot be written, by the system's own error.

        Args:
            what: a path.
            failed: the error.
            remedy: what to do; a full disk, or one that must not be written, has its own.
        """
        why = getattr(failed, "strerror", None) or str(failed)
        told = _DISK.get(getattr(failed, "errno", None), remedy)
        return cls(f"{what!s:.200} cannot be written: {why}.", told)


class ProtocolError(FedrepayError):
    """A message cannot be accepted."""

    exit_code = 6


class Code(StrEnum):
    """Why a member refuses: a closed set. docs/refusals.md says of each who may be at fault and what to do."""

    SIZE = "size"
    EPOCH = "epoch"
    ROSTER = "roster"
    NUMBER = "number"
    VOID = "void"
    RUN = "run"
    SEED = "seed"
    MONOTONE = "monotone"
    ROLLBACK = "rollback"
    HEADERS = "headers"
    TAG = "tag"
    CANARY = "canary"
    SNAPSHOT = "snapshot"
    SCHEMA = "schema"
    MODEL = "model"
    TERMS = "terms"
    LIMITS = "limits"
    BUDGET = "budget"
    HISTORY = "history"
    LOST_ATTEMPT = "lost-attempt"
    RELEASE = "release"
    MESSAGE = "message"
    STORE = "store"
    INTERNAL = "internal"


class Refusal(ProtocolError):
    """The member's guard refuses.

    Args:
        code: one of the closed set.
        cause: what is wrong, for the operator too: it names no path, row or other run.
        remedy: what to do.
        proof: bytes that go with the refusal and prove it, where something can.
    """

    def __init__(
        self,
        code: str,
        cause: str,
        remedy: str = "Ask the operator for the run's log.",
        proof: bytes = b"",
    ) -> None:
        super().__init__(cause, remedy)
        self.code = Code(code)
        self.proof = proof


class BudgetError(FedrepayError):
    """The privacy budget or a limit of the member says stop."""

    exit_code = 7


class CohortError(FedrepayError):
    """Fewer members are left than the quorum."""

    exit_code = 8


class WordsError(CohortError):
    """People at the members have not approved the roster's twelve words yet."""


class ReleaseError(FedrepayError):
    """A release must not be used: signatures, roster, or no privacy."""

    exit_code = 9


class NetworkError(FedrepayError):
    """Another party cannot be reached, or does not let us in."""

    exit_code = 10


class AttackError(FedrepayError):
    """An attack got more than its defence promises, or nothing even without the defence."""

    exit_code = 11


class TermsError(FedrepayError):
    """A member says no to the run's terms; nothing was reserved, committed or noised."""

    exit_code = 13


class SweepError(FedrepayError):
    """Some runs of a sweep failed; the others are done."""

    exit_code = 12
