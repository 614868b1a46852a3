"""The arguments of a simulation, checked, and the folder they belong to."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.trust.roster import check_size, default_colluders

HERE = Path(__file__).parent
SHIPPED = HERE / "data" / "uci_default_credit_30k.parquet"
SHIPPED_SCHEMA = HERE / "data" / "uci_default_credit.toml"
SHIPPED_SCHEMA_MANY = HERE / "data" / "uci_default_credit_many.toml"
"""For more than 256 members, of at most 1,500 customers each."""
SHIPPED_MAPPING = HERE / "data" / "uci_default_credit.mapping.toml"
PRESETS = ("mixed", "complement", "alike", "unlike", "opposed", "confounded", "otherworld")
"""The markets of ``simulations/market/lenders.py``."""
MOST_LENDERS = 64
ENGINES = ("faithful", "flower", "batched")
"""In one process, over a Flower network on this machine (``simulations/network/``), or the sums without a protocol."""


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """What the user asked of a run, whatever it learns from; equal arguments resume a folder, others are refused."""

    members: int | None = 20
    epsilon: float = 1.0
    delta: float | None = None
    colluders: int | None = None
    mode: str = "distributed"
    rounds: int | None = None
    drop: tuple[str, ...] = ()
    seed: int = 1
    baselines: bool = False
    engine: str = "faithful"

    def check(self) -> None:
        """Refuse what can be refused before any file is read.

        Raises:
            ArgumentError: naming option, value and bound.
        """
        if self.mode not in ("distributed", "local", "none"):
            raise ArgumentError(f"--mode {self.mode} is unknown.", "Choose distributed, local or none.")
        if self.engine not in ENGINES:
            raise ArgumentError(f"--engine {self.engine} is unknown.", f"Choose {', '.join(ENGINES)}.")
        if self.engine == "batched" and (self.mode == "local" or self.drop):
            raise ArgumentError(
                "--engine batched runs neither --mode local nor --drop: no member acts in it.",
                "Leave one out.",
            )
        if not 0 < self.epsilon <= 1000:
            raise ArgumentError(
                f"--epsilon {self.epsilon:g} is outside (0, 1000].",
                "ε is the privacy budget of one customer; 1 is the default, smaller is stricter.",
            )
        if self.delta is not None and not 0 < self.delta < 1:
            raise ArgumentError(f"--delta {self.delta:g} is outside (0, 1).", "Leave it out for the default.")
        if self.members is not None:
            least = default_colluders(self.members) if self.colluders is None else self.colluders
            check_size(self.members, least)
        if self.rounds is not None and not 2 <= self.rounds <= 1000:
            raise ArgumentError(f"--rounds {self.rounds} is outside 2 … 1000.", "5 is the default.")
        if self.seed < 0:
            raise ArgumentError(f"--seed {self.seed} is below 0.", "1 is the default.")
        for each in self.drop:
            self.parse_drop(each)

    @property
    def files(self) -> dict[str, str]:
        """The files the run is made from, by argument."""
        return {}

    @staticmethod
    def parse_drop(text: str) -> tuple[str, int]:
        """``NAME@ROUND`` as a pair.

        Raises:
            ArgumentError: another form.
        """
        name, at, round_ = text.rpartition("@")
        if not at or not name or not round_.isdecimal():
            raise ArgumentError(f"--drop {text} is not NAME@ROUND.", "For example --drop m03@2.")
        return name, int(round_)


@dataclass(frozen=True, kw_only=True)
class Arguments(RunArguments):
    """A simulation on a table of rows with one outcome."""

    data: str = str(SHIPPED)
    schema: str = str(SHIPPED_SCHEMA)
    mapping: str | None = str(SHIPPED_MAPPING)
    test: str | None = None
    split: str = "iid"
    model: str | None = None
    sampling_rate: float | None = None
    local_steps: int | None = None
    clip: float | None = None
    learning_rate: float | None = None

    def check(self) -> None:
        """Refuse what can be refused before any file is read.

        Raises:
            ArgumentError: naming option, value and bound.
        """
        super().check()
        bounds = {"sampling_rate": 1.0, "local_steps": 1000, "clip": 1e6, "learning_rate": 1e6}
        for name, most in bounds.items():
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is not None and not (1 if name == "local_steps" else 1e-6) <= value <= most:
                raise ArgumentError(
                    f"{option} {value:g} is outside its range, up to {most:g}.",
                    "Leave it out for the default.",
                )
        for name in ("model", *bounds):
            if self.mode != "local" and getattr(self, name) is not None:
                raise ArgumentError(
                    f"--{name.replace('_', '-')} goes with --mode local.", "Add it, or leave this out."
                )

    @property
    def files(self) -> dict[str, str]:
        """Data, schema, mapping and test file, where given."""
        named = {name: getattr(self, name) for name in ("data", "schema", "mapping", "test")}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class MarketArguments(RunArguments):
    """A simulation of the debt market.

    ``scale`` multiplies the lenders' offers, ``accounts`` are new ones of each lender, ``settings`` a member's settings
    file for decisions.
    """

    preset: str = "mixed"
    scale: float = 1.0
    accounts: int = 300
    settings: str | None = None

    def check(self) -> None:
        """Refuse what can be refused before anything is drawn.

        Raises:
            ArgumentError: naming option, value and bound.
        """
        super().check()
        if self.mode == "local":
            raise ArgumentError(
                "--mode local does not go with the market: plans are chosen and explained by the additive model's effects.",
                "Name rows with --data (for example --data uci), or leave --mode out.",
            )
        if self.preset not in PRESETS:
            raise ArgumentError(f"--market {self.preset} is unknown.", f"Choose {', '.join(PRESETS)}.")
        if not 0.05 <= self.scale <= 1.5:
            raise ArgumentError(f"--scale {self.scale:g} is outside 0.05 … 1.5.", "1 is the default.")
        if not 20 <= self.accounts <= 20_000:
            raise ArgumentError(f"--accounts {self.accounts} is outside 20 … 20,000.", "300 is the default.")
        if self.members is None or self.members > MOST_LENDERS:
            raise ArgumentError(
                f"--members {self.members} is outside 3 … {MOST_LENDERS} for a market.", "20 is the default."
            )

    @property
    def files(self) -> dict[str, str]:
        """The settings, where given."""
        return {} if self.settings is None else {"settings": self.settings}


@dataclass(frozen=True)
class Folder:
    """The output folder of one run."""

    path: Path

    @property
    def members(self) -> Path:
        """Members' own stores (0700)."""
        return self.path / "members"

    @property
    def market(self) -> Path:
        """The simulated lenders' own tables (0700)."""
        return self.path / "market"

    @property
    def accounts(self) -> Path:
        """New accounts of each simulated lender, to recommend plans for (0700)."""
        return self.path / "accounts"

    @property
    def marker(self) -> Path:
        """run.json: which run this is."""
        return self.path / "run.json"

    @property
    def coordinator(self) -> Path:
        """The coordinator's key and database."""
        return self.path / "coordinator"

    @property
    def transcript(self) -> Path:
        """What the wire saw."""
        return self.path / "transcript"

    @property
    def release(self) -> Path:
        """The opened, signed release."""
        return self.path / "release"

    @property
    def metrics(self) -> Path:
        """metrics.json."""
        return self.path / "metrics.json"

    @property
    def choices(self) -> Path:
        """What each way of choosing plans chose for each new account of a market, and what came of it."""
        return self.path / "choices.parquet"

    @property
    def report(self) -> Path:
        """report.html."""
        return self.path / "report.html"

    def holds(self, facts: dict[str, Any]) -> bool:
        """Whether the folder holds an earlier start of this very run; nothing is written.

        Args:
            facts: of :func:`facts_of`.

        Returns:
            False where the folder is still to be made.

        Raises:
            ArgumentError: the folder belongs to other arguments, other data, or to somebody else.
            StorageError: its marker cannot be read.
        """
        try:
            if not self.marker.exists():
                if self.path.exists() and any(self.path.iterdir()):
                    raise ArgumentError(
                        f"{self.path} is not empty and not a run of ours.", "Choose another --out."
                    )
                return False
            before = json.loads(self.marker.read_text())
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be used: {error.strerror}.", "Choose another --out."
            ) from error
        except ValueError as error:
            raise StorageError(f"{self.marker} is damaged.", "Choose another --out.") from error
        if not isinstance(before, dict):
            raise StorageError(f"{self.marker} is damaged.", "Choose another --out.")
        changed = sorted(key for key in facts | before if facts.get(key) != before.get(key))
        if changed:
            raise ArgumentError(
                f"{self.path} holds a run with other arguments or files ({', '.join(changed)} differ).",
                "Give the same arguments to resume it, or another --out.",
            )
        return True

    def make(self, facts: dict[str, Any]) -> None:
        """Make the folder for a new run; the marker comes first, so that whatever follows can be resumed.

        Raises:
            StorageError: it cannot be written; an empty folder is taken away again.
        """
        try:
            write_atomically(self.marker, json.dumps(facts, indent=1).encode())
            make_private(self.members)
        except StorageError:
            with suppress(OSError):  # never made, or not empty
                self.path.rmdir()
            raise

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder; the lock ends with the process.

        Raises:
            ArgumentError: another process is at work in it.
        """
        try:
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise _unwritable(self.path, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ArgumentError(
                    f"Another process is at work in {self.path}.", "Wait for it, or choose another --out."
                ) from error
            yield


def facts_of(arguments: RunArguments) -> dict[str, Any]:
    """What makes two starts the same run: the arguments and the contents of the files they name.

    Raises:
        ArgumentError: a file cannot be read.
    """
    facts: dict[str, Any] = asdict(arguments) | {"drop": list(arguments.drop)}
    facts["sha256"] = {name: _sha256(Path(value)) for name, value in arguments.files.items()}
    return facts


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can open, or leave it where it is; raises StorageError."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write all of a file or nothing.

    Raises:
        StorageError: disk full or not writable; nothing half-written is left.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # never made, or a path through a file
            partial.unlink()
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror}.",
        "Free the disk or check rights, then run the same command again; or choose another path.",
    )
