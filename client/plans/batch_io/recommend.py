"""``fedrepay member recommend``: accounts in a file, decisions in a file, facts apart."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np

from fedrepay.client.data.checking import spellings
from fedrepay.client.data.mappings.mapping import Mapping as Mapped
from fedrepay.client.data.reading.findings import Findings
from fedrepay.client.data.reading.table import load_mapping, read_table
from fedrepay.client.plans.batch.caps import Caps, groups, proposed
from fedrepay.client.plans.batch_io import batch_files, customers, output, register, standing
from fedrepay.client.plans.batch_io.accounts import read_accounts
from fedrepay.client.plans.batch_io.blocks import Desk, Piece, crew, decided, how_many, weighed
from fedrepay.client.plans.batch_io.register import Noted
from fedrepay.client.plans.batch_io.verifying import Sums, Verifying, summed
from fedrepay.client.plans.deciding.borders import Borders, borders
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import FIRST, KEPT, Batch, Engine
from fedrepay.client.plans.deciding.personal import Personal, fit
from fedrepay.client.plans.deciding.safeguards import WATCHED
from fedrepay.client.plans.deciding.settings import Settings, load_settings
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.release_file import CheckedRelease
from fedrepay.client.scoring.score import Contributions
from fedrepay.client.scoring.trust import Trust
from fedrepay.shared.errors import ArgumentError, CatalogueError, DataError
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.pack import Pack, builtin_names, load_builtin, load_pack
from fedrepay.shared.trust.fields import GRAM_LEARNERS

EPOCH = date(1970, 1, 1)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Loaded:
    """An engine and the hashes of what it was made from."""

    engine: Engine
    checked: CheckedRelease
    hashes: dict[str, str]


@dataclass(frozen=True)
class Recommended:
    """What was written, or stood there already (``done_before``).

    ``used`` is what the batch uses of each cap, ``prices`` (JSON) what the caps made scarce; ``verifying`` what
    asking for income forms and proofs would bring, by class of income; ``not_known`` facts that would spare a debtor
    and are no column of the file; ``outside`` how many accounts have a value outside the model's bounds, by column; ``alike`` rows of customers that are spelt
    in two ways; ``replaced`` the other batches that were written over.
    """

    accounts: int
    rejected: int
    findings: int
    done_before: bool
    today: date
    counts: dict[str, Counter[str]]
    used: dict[str, float] = field(default_factory=dict)
    prices: str | None = None
    verifying: dict[str, Verifying] = field(default_factory=dict)
    not_known: tuple[str, ...] = ()
    outside: dict[str, int] = field(default_factory=dict)
    alike: int = 0
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What ``member recommend`` is asked for."""

    release: Path | None  # None: the one in use at the member that ``trust`` names
    accounts: Path
    catalogue: Path
    mapping: Path | None = None
    settings: Path | None = None
    today: date | None = None
    unprotected: bool = False
    own: Path | None = None  # mapping of the member's past offers
    trust: Trust = field(default_factory=Trust)  # what is known of the release's roster

    @property
    def files(self) -> list[Path]:
        """All files that are read, the release's apart."""
        return [
            each
            for each in (self.accounts, self.catalogue, self.mapping, self.settings, self.own)
            if each is not None
        ]


def load(job: Job) -> Loaded:
    """Load release, catalogue, settings and rule packs.

    Raises:
        ReleaseError: the release must not be used, or is of another kind of schema.
        CatalogueError, RuleError, ArgumentError: a catalogue, settings or a pack is wrong, or an input is no file.
        MappingError, DataError: the member's past offers cannot be used.
    """
    for path in (each for each in (job.release, *job.files, job.trust.member) if each is not None):
        batch_files.check_regular(path)
    checked = release_file.load(job.release, unprotected=job.unprotected, trust=job.trust)
    catalogue, catalogue_hash = load_catalogue(job.catalogue)
    settings, settings_hash = load_settings(job.settings)
    packs = load_packs(settings, job.settings)
    hashes = {
        "release": str(checked.release.number),
        "release_hash": checked.hash,
        "schema_hash": checked.book.schema_hash.hex(),
        "rules_hash": sha256("\n".join(pack.sha256 for pack in packs).encode()).hexdigest(),
        "catalogue_hash": catalogue_hash.hex(),
        "settings_hash": settings_hash.hex(),
    }
    part, hashes["own_hash"] = None, ""
    if job.own is not None:
        part, hashes["own_hash"] = _own_part(job.own, checked)
    hashes["origin"] = checked.origin
    average, borders = _distribution(checked)
    engine = Engine(checked.book, checked.release.weights, catalogue, settings, packs, part, average, borders)
    return Loaded(engine, checked, hashes)


def _release_files(release: Path | None) -> list[Path]:
    if release is None:
        return []
    folder = release if release.is_dir() else release.parent
    return [folder / release_file.RELEASE, folder / release_file.VOTES]


def _own_part(path: Path, checked: CheckedRelease) -> tuple[Personal, str]:
    """The member's own part of the model, fitted here on its own past offers, and the hash of what it was made from."""
    mapping = load_mapping(path)
    table, findings = read_table(checked.book, None, mapping, need_outcome=True)
    findings.raise_if_refused()
    files = [path, *sorted(mapping.tables.values())]
    made_from = sha256("\n".join(batch_files.file_hash(each) for each in files).encode()).hexdigest()
    return fit(checked.book, table, checked.release.weights), made_from


def _distribution(checked: CheckedRelease) -> tuple[Sequence[float] | None, Borders | None]:
    """Mean effect of each block over the consortium, and where tiers begin in the release's own distribution."""
    made, book, learner = checked.release, checked.book, checked.release.card["learner"]
    names = [each.name for each in book.schema.outcomes]
    if KEPT not in names or FIRST not in names:
        return None, None  # the engine refuses the release
    average = Contributions.of(book, made.weights[names.index(KEPT)], made.sums[0], learner).average
    if learner not in GRAM_LEARNERS:
        return average, None
    return average, borders(book, made.weights, made.sums[0])


def load_packs(settings: Settings, path: Path | None) -> list[Pack]:
    """The rule packs that settings name: built-in ones by name, others as files beside the settings."""
    known = builtin_names()
    folder = path.parent if path is not None else Path()
    return [load_builtin([name])[0] if name in known else load_pack(folder / name) for name in settings.packs]


def recommend_file(
    job: Job,
    loaded: Loaded,
    out: Path,
    batch_id: str,
    progress: Progress | None = None,
    *,
    replace: bool = False,
    kept: bool = True,
    processes: int | None = 1,
) -> Recommended:
    """Decide for all accounts of a file and write; see ``fedrepay member recommend --help``.

    Args:
        job: the inputs.
        loaded: from ``load``.
        out: CSV or Parquet.
        batch_id: the same id with the same inputs is the same batch, and is not decided again.
        progress: told of accounts done, and all.
        replace: whether files of something else may be written over.
        kept: False where ``out`` goes afterwards: the member's folder then notes no batch.
        processes: that decide; None is as many as the batch is worth (``blocks.how_many``).

    Raises:
        ArgumentError: an unknown output format, an output that is an input or stands there, a batch id used for other
            inputs, another process that writes in the same folder, an input that is a pipe or device.
        DataError: the file cannot be read or holds no good row.
        StorageError: the output cannot be written; nothing half-written is left.
    """
    batch_id = register.check_id(batch_id)
    standing.check_paths(out, [*job.files, *_release_files(job.release)])
    member = job.trust.member if kept else None
    with register.opened([out.parent, *([] if member is None else [member])]) as known:
        mapping = _mapping(job, loaded)
        record, noted = standing.recorded(out, replace=replace), known.of(batch_id)
        before = [*noted, *([record.batch] if record and record.batch.batch_id == batch_id else [])]
        today = job.today or (date.fromisoformat(before[0].inputs["today"]) if before else _today())
        inputs = _inputs(job, loaded, mapping, today)
        for each in noted:
            each.refuse_other(inputs)
        if standing.is_done(record, out, batch_id, inputs, replace=replace):
            known.add(batch_id, inputs, out)
            batch_files.clear(out)
            return Recommended(0, 0, 0, done_before=True, today=today, counts={})
        batch = Noted(batch_id, inputs, str(out))
        over = standing.others(out, batch_id)
        found = _decided(
            job, loaded, out, batch, mapping, progress, lambda: known.add(batch_id, inputs, out), processes
        )
        return changed(found, replaced=over)


def _decided(
    job: Job,
    loaded: Loaded,
    out: Path,
    written: Noted,
    mapping: Mapped | None,
    progress: Progress | None,
    begin: Callable[[], None],
    processes: int | None,
) -> Recommended:
    engine, today = loaded.engine, date.fromisoformat(written.inputs["today"])
    day = (today - EPOCH).days
    accounts, findings = _read(job, engine, mapping)
    if not len(accounts.names):
        findings.raise_if_refused()
        raise DataError(f"{job.accounts} holds no rows.", "Give a file with at least one account.")
    counts: dict[str, Counter[str]] = {}
    proofs: list[Sums] = []
    used: Mapping[str, float] = {}
    prices, refused, n, done = None, findings.refused, len(accounts.names), 0
    with batch_files.parts(out) as parts:
        desk = Desk(engine, day, written.batch_id, parts)
        with crew(desk, min(how_many(processes, n), max(1, sum(1 for _ in engine.chunks(n))))) as people:
            lots = (accounts.take(rows) for rows in engine.chunks(n))
            caps = Caps.of(engine, accounts, people.each(weighed, lots))
            blocks = (
                Piece(number, accounts.take(rows), None if caps is None else caps.take(rows))
                for number, rows in enumerate(engine.chunks(n))
            )
            for made in people.each(decided, blocks):
                proofs.append(made.verifying)
                for name, each in made.counts.items():
                    counts.setdefault(name, Counter()).update(each)
                done += made.accounts
                if progress is not None:
                    progress(done, n)
        parts.written = len(proofs)
        if caps is not None:
            used, prices = caps.portfolio.used, caps.portfolio.duals.to_json()
        begin()
        parts.finish(written, refused, prices, loaded.hashes)
    return Recommended(
        accounts=n,
        rejected=len({each.row for each in refused if each.row is not None}),
        findings=len(refused),
        done_before=False,
        today=today,
        counts=counts,
        used=dict(used),
        prices=prices,
        verifying=summed(proofs),
        not_known=tuple(name for name in WATCHED if name not in accounts.facts),
        outside=output.outside(accounts),
        alike=sum(group.count for group in findings.groups if group.bound == spellings.BOUND),
    )


def decide_one(job: Job, loaded: Loaded, account: str, batch_id: str) -> tuple[Batch, int]:
    """Decide for one account of the file, as in its batch: caps are solved for the whole file; returns the day too.

    Without a day it is the batch's own, where a register beside the accounts, here or in the member's folder knows the batch.

    Raises:
        ArgumentError: exploration draws by the batch id, and there is none; or the batch was made from other inputs.
        DataError: no such account among the usable rows.
    """
    if loaded.engine.settings.exploration > 0 and not batch_id:
        raise ArgumentError(
            "With exploration a decision hangs on its batch.", "Give the --batch-id it was decided in."
        )
    mapping = _mapping(job, loaded)
    accounts, findings = _read(job, loaded.engine, mapping)
    rows = np.flatnonzero(accounts.names == account)
    if not len(rows):
        findings.raise_if_refused()
        raise DataError(f"{job.accounts} holds no account {account}.", "Check its name.")
    here = slice(int(rows[0]), int(rows[0]) + 1)
    batch_id = batch_id.strip()
    today = (_day_of(job, loaded, mapping, batch_id) - EPOCH).days
    engine = loaded.engine
    lots = (accounts.take(each) for each in engine.chunks(len(accounts.names)))
    caps = Caps.of(engine, accounts, (proposed(engine, each, today) for each in lots))
    held = None if caps is None else caps.take(here).hold
    return loaded.engine.decide(accounts.take(here), today=today, batch_id=batch_id, caps=held), today


def _read(job: Job, engine: Engine, mapping: Mapped | None) -> tuple[Accounts, Findings]:
    """The accounts, each with its part of its person's bound."""
    accounts, findings, _ = read_accounts(engine.book, job.accounts, mapping, groups(engine))
    return customers.divided(engine, accounts), findings


def _mapping(job: Job, loaded: Loaded) -> Mapped | None:
    """The mapping, whose amounts must be of the catalogue's currency where it says what they are."""
    if job.mapping is None:
        return None
    mapping, currency = load_mapping(job.mapping), loaded.engine.catalogue.currency
    if mapping.currency is not None and mapping.currency.strip().upper() != currency:
        raise CatalogueError(
            f"{job.catalogue} offers plans in {currency}, and {job.mapping} says amounts are {mapping.currency}.",
            "Convert the amounts in the SELECT, or use the catalogue of that currency.",
        )
    return mapping


def _hashes(job: Job, mapping: Mapped | None) -> dict[str, str]:
    found = {"accounts": batch_files.file_hash(job.accounts)}
    if job.mapping is not None and mapping is not None:
        found["mapping"] = batch_files.file_hash(job.mapping)
        found |= {f"table {name}": batch_files.file_hash(path) for name, path in mapping.tables.items()}
    return found


def _day_of(job: Job, loaded: Loaded, mapping: Mapped | None, batch_id: str) -> date:
    if job.today is not None:
        return job.today
    places = (job.trust.member, job.accounts.parent, Path())
    folders = tuple(dict.fromkeys(each.absolute() for each in places if each is not None))
    known = register.Register(folders).of(batch_id) if batch_id else []
    for each in known:
        each.refuse_other(_inputs(job, loaded, mapping, date.fromisoformat(each.inputs["today"])))
    return date.fromisoformat(known[0].inputs["today"]) if known else _today()


def _inputs(job: Job, loaded: Loaded, mapping: Mapped | None, today: date) -> dict[str, str]:
    return {**loaded.hashes, **_hashes(job, mapping), "today": today.isoformat()}


def _today() -> date:
    return datetime.now(UTC).date()
