"""The guard: what a member checks before it opens a sum or contributes. Pure.

Each check by itself; their order is docs/protocol.md's (*One round*, 1) and is kept in ``rounds``. Believes no number it was sent. Refusal codes are :class:`~fedrepay.shared.errors.Code`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.shared.errors import Code, Refusal
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed, parts
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.sums import is_over, run_sizes
from fedrepay.shared.trust.terms import RunTerms
from fedrepay.shared.trust.wire import Header, Kind, Prepare, RoundConfig, Sum

MAX_SHARED = 256 << 20  # bytes of a message's shared part: 1,500 headers and 32 sums fit
MAX_LIST = 8 << 20  # of 1,500 entries, hellos, acceptances, approvals or votes
MAX_PLAIN = 64 << 10
MAX_OWN = 1 << 20
_WITH_SUMS = frozenset({Kind.PREPARE, Kind.ROUND, Kind.WRITE, Kind.CLOSE, Kind.BLAME})
_WITH_LISTS = frozenset(
    {
        *(Kind.PROPOSE, Kind.REVEAL, Kind.APPROVE, Kind.CERTIFY),
        *(Kind.INTRODUCE, Kind.SEED, Kind.CONFIRM, Kind.RESEND, Kind.VOTES),
    }
)


@dataclass(frozen=True)
class HeldModule:
    """A torch module that a member holds, as :class:`LocalTerms` names one."""

    name: str
    hash: bytes
    parameters: int


def held(model: TorchModel | None) -> HeldModule | None:
    """What the guard needs to know of a module."""
    return None if model is None else HeldModule(model.name, model.hash, model.parameters)


@dataclass(frozen=True)
class Place:
    """Where an attempt stands in the run."""

    round: int
    attempt: int


@dataclass(frozen=True)
class Submitted:
    """What this member sent to an attempt: digests of the configuration it answered and of its header."""

    round: int
    config: bytes
    header: bytes


@dataclass(frozen=True)
class Begun:
    """An opening that is recorded and not finished: its attempt and the digest of its sum."""

    attempt: int
    sum: bytes


@dataclass(frozen=True)
class View:
    """What the member's store says, as far as the guard needs it."""

    name: str
    epoch: Epoch
    book: CodeBook
    counter: int  # last attempt this member reserved in the run; −1 before the first
    charged: frozenset[Place]  # that the ledger holds for the run
    ledger: frozenset[bytes]  # every head the ledger has had
    submitted: Mapping[int, Submitted]  # by attempt
    opened: tuple[int, ...]  # the attempt whose sum was opened, per round from round 0
    opening: Begun | None
    opened_mac: bytes
    model: HeldModule | None = None  # the torch module this member's own configuration names


def check_size(kind: str, shared: bytes, own: bytes) -> None:
    """Refuse before anything is parsed: sums are large, lists of members less, and all else is small."""
    most = MAX_SHARED if kind in _WITH_SUMS else MAX_LIST if kind in _WITH_LISTS else MAX_PLAIN
    if len(shared) > most or len(own) > MAX_OWN:
        raise Refusal(Code.SIZE, f"A message of {len(shared)} + {len(own)} bytes passes the limit.")


def check_config(view: View, signed: Signed) -> RoundConfig:
    """Signature, epoch and roster, and the run's public constants.

    Raises:
        ProtocolError: the signature is not the coordinator's.
        Refusal: another epoch, a cohort outside the roster, or impossible numbers.
    """
    config = signed.verified(view.epoch.roster.coordinator, RoundConfig)
    _check_config(view, config)
    return config


def check_prepare(view: View, signed: Signed) -> RoundConfig:
    """As :func:`check_config`, of an attempt whose cohort is not known yet: as if everybody present were in it.

    Raises:
        ProtocolError: the signature is not the coordinator's.
        Refusal: another epoch, or impossible numbers.
    """
    asked = signed.verified(view.epoch.roster.coordinator, Prepare)
    config = asked.config(view.epoch.present)
    _check_config(view, config)
    return config


def _check_config(view: View, config: RoundConfig) -> None:
    roster = view.epoch.roster
    if (config.run, config.epoch, config.roster_hash) != (view.epoch.run, view.epoch.id, roster.hash()):
        raise Refusal(Code.EPOCH, "The round belongs to another run, epoch or roster.")
    if config.colluders != view.epoch.colluders:
        raise Refusal(Code.EPOCH, "The round names another number of colluders than the epoch.")
    if config.terms_hash() != view.epoch.terms:
        raise Refusal(Code.EPOCH, "The run's terms are not those that this member said yes to.")
    check_cohort(view.epoch, config.cohort)
    check_terms(config, view.book, view.model)
    _check_history(view, config)


def check_terms(terms: RunTerms, book: CodeBook, model: HeldModule | None) -> None:
    """The schema, and in local mode the module, are the ones this member's own configuration names; nothing is imported.

    Raises:
        Refusal: code ``schema`` or ``model``.
    """
    if (terms.schema_hash, terms.dimension, terms.heads) != (book.schema_hash, book.dimension, book.heads):
        raise Refusal(Code.SCHEMA, "The run uses another schema or code book than this member holds.")
    if terms.local is None:
        return
    asked = HeldModule(terms.local.model, terms.local.model_hash, terms.local.parameters)
    if model is None:
        raise Refusal(Code.MODEL, "The run trains a torch module, and this member is configured with none.")
    if asked.name != model.name:
        raise Refusal(Code.MODEL, "The run trains another torch module than this member is configured with.")
    if asked != model:
        raise Refusal(
            Code.MODEL,
            "The run's torch module has other parameters or initial values than this member's.",
            "All members need the same code of the module, and the same version of torch.",
        )


def check_cohort(epoch: Epoch, cohort: tuple[str, ...]) -> None:
    """A cohort is a sorted part of those present, and no less than the quorum.

    Raises:
        Refusal: code ``roster``.
    """
    roster = epoch.roster
    if tuple(sorted(set(cohort))) != cohort or not set(cohort) <= set(epoch.present):
        raise Refusal(Code.ROSTER, "The cohort is not a sorted part of those who are present in the epoch.")
    if len(cohort) < quorum(len(roster.names), epoch.colluders):
        raise Refusal(Code.ROSTER, f"A cohort of {len(cohort)} is below the quorum of this roster.")


def _check_history(view: View, config: RoundConfig) -> None:
    """The listed attempts are possible, and hold everything this member's ledger holds."""
    completed = 0
    for number, each in enumerate(config.history):
        if each.attempt != number or each.round != completed:
            raise Refusal(Code.HISTORY, f"Attempt {each.attempt} of round {each.round} is out of order.")
        check_cohort(view.epoch, each.cohort)
        if Place(each.round, each.attempt) in view.charged and view.name not in each.cohort:
            raise Refusal(
                Code.HISTORY, "The run's list leaves this member out of an attempt it was charged for."
            )
        completed += each.completed
    if config.attempt != len(config.history) or config.round != completed or completed > config.rounds:
        raise Refusal(Code.HISTORY, "Round and attempt do not follow from the attempts listed.")
    listed = {Place(each.round, each.attempt) for each in config.history}
    listed.add(Place(config.round, config.attempt))
    if not view.charged <= listed:
        raise Refusal(Code.HISTORY, "This member's ledger holds an attempt that the run's list lacks.")
    for round_, attempt in enumerate(view.opened):
        if attempt >= len(config.history) or not (
            config.history[attempt].completed and config.history[attempt].round == round_
        ):
            raise Refusal(Code.HISTORY, f"The run's list denies the sum of round {round_} that was opened.")
    if sum(each.completed is False for each in config.history) > config.max_attempts:
        raise Refusal(Code.HISTORY, "More attempts were lost than the run allows.")


def check_monotone(view: View, config: RoundConfig) -> None:
    """A new contribution must be to a later attempt, and to a round that is not opened yet."""
    if config.attempt <= view.counter:
        if config.attempt == view.counter and config.attempt not in view.submitted:
            raise Refusal(
                Code.LOST_ATTEMPT, "This member was stopped inside the attempt; it is charged, not sent."
            )
        raise Refusal(Code.MONOTONE, f"Attempt {config.attempt} is not above {view.counter}.")
    if config.round < len(view.opened) or (config.round == len(view.opened) and view.opening is not None):
        raise Refusal(Code.MONOTONE, f"The sum of round {config.round} is opened already.")


def rolled_back(view: View, own: Signed | None) -> Header | None:
    """The member's own last header, if it proves that this store is older than what was sent.

    Raises:
        ProtocolError: the header is not this member's.
    """
    if own is None:
        return None
    header = own.verified(view.epoch.roster.entry(view.name).signing, Header)
    if (header.run, header.epoch) != (view.epoch.run, view.epoch.id):
        return None
    stored = view.submitted.get(header.attempt)
    known = stored is not None and stored.header == own.digest() and header.ledger in view.ledger
    return None if known else header


def check_sum(view: View, config: RoundConfig, completed: Sum, chunks: int) -> RoundConfig:
    """Everything about a completed sum but its tag: attempt, cohort, every signed header.

    Returns:
        the configuration of the attempt that made the sum.

    Raises:
        Refusal: code ``headers`` or ``monotone``.
        ProtocolError: a signature is wrong.
    """
    made = completed.config.verified(view.epoch.roster.coordinator, RoundConfig)
    round_, attempt = completed.round, completed.attempt
    listed = config.history[attempt] if attempt < len(config.history) else None
    if listed is None or (listed.round, listed.cohort, listed.completed) != (round_, made.cohort, True):
        raise Refusal(Code.HEADERS, f"The sum of round {round_} is not the one the run's list names.")
    if (made.run, made.epoch, made.round, made.attempt) != (config.run, config.epoch, round_, attempt):
        raise Refusal(Code.HEADERS, "The sum's configuration is another attempt's.")
    if made.history != config.history[:attempt]:
        raise Refusal(Code.HEADERS, "The sum's configuration tells another history of the run.")
    if made.terms_hash() != config.terms_hash():
        raise Refusal(Code.HEADERS, "The sum was made under other terms of the run.")
    if any(sent.round == round_ and number > attempt for number, sent in view.submitted.items()):
        raise Refusal(Code.MONOTONE, "This member submitted to a later attempt of that round.")
    _check_headers(view, made, completed, chunks)
    return made


def _check_headers(view: View, made: RoundConfig, completed: Sum, chunks: int) -> None:
    """Every header of the cohort, what they add up to, and what only this member can tell: its own, and what it opened."""
    if len(completed.headers) != len(made.cohort) or len(completed.tags) != chunks:
        raise Refusal(Code.HEADERS, "The headers are not exactly those of the cohort.")
    headers = _headers(view.epoch, completed, chunks)
    for name, opened in headers.items():
        if opened != view.opened_mac:
            raise Refusal(Code.HEADERS, f"{name} has opened other sums than this member.")
    if view.name in headers:
        sent = completed.headers[made.cohort.index(view.name)]
        stored = view.submitted.get(made.attempt)
        if stored is None or stored.header != sent.digest():
            raise Refusal(Code.HEADERS, "The header that bears this member's name is not the one it sent.")


def _headers(epoch: Epoch, completed: Sum, chunks: int) -> dict[str, bytes]:
    """What each of the cohort says that it has opened, once all their headers fit; looked at once for the same bytes."""
    signed = parts(completed.headers)
    asked = (epoch.id, completed.config.body, completed.tags, chunks, signed)
    return _fitting.get(asked, sum(map(len, signed)), lambda: _fitting_headers(epoch, completed, chunks))


_fitting: Remembered[dict[str, bytes]] = Remembered(32 << 20)


def _fitting_headers(epoch: Epoch, completed: Sum, chunks: int) -> dict[str, bytes]:
    made, wanted = RoundConfig.decode_once(completed.config.body), completed.config.digest()
    said = {}
    totals = [0] * chunks
    for name, signed in zip(made.cohort, completed.headers, strict=True):
        header = signed.verified(epoch.roster.entry(name).signing, Header)
        facts = (header.run, header.epoch, header.round, header.attempt, header.name)
        if facts != (made.run, made.epoch, made.round, made.attempt, name):
            raise Refusal(Code.HEADERS, f"The header of {name} belongs to another attempt.")
        if header.config != wanted:
            raise Refusal(
                Code.HEADERS,
                f"The header of {name} names another configuration of this attempt: if the coordinator signed that "
                "one too, the coordinator is at fault, else the member.",
            )
        if len(header.tags) != chunks or len(header.chunks) != chunks:
            raise Refusal(Code.HEADERS, f"The header of {name} has the wrong number of tags.")
        totals = [(total + tag) % Q for total, tag in zip(totals, header.tags, strict=True)]
        said[name] = header.opened
    if tuple(totals) != completed.tags:
        raise Refusal(Code.HEADERS, "The summed tags are not the sum of the signed tags.")
    return said


def is_closing(config: RoundConfig) -> bool:
    """Whether this configuration ends the run instead of asking for a sum."""
    last = config.history[-1] if config.history else None
    lost = last.round if last is not None and not last.completed else None
    return is_over(config.rounds, config.mode, config.round, lost)


def sizes(config: RunTerms) -> tuple[int, ...]:
    """Values in each sum of the run."""
    return run_sizes(config)
