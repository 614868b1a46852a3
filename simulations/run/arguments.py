"""The arguments of a simulation, checked."""

from dataclasses import asdict, dataclass
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.roster import check_size, default_colluders

HERE = Path(__file__).parents[1]
SHIPPED = HERE / "data" / "uci_default_credit_30k.parquet"
SHIPPED_SCHEMA = HERE / "data" / "uci_default_credit.toml"
SHIPPED_SCHEMA_MANY = HERE / "data" / "uci_default_credit_many.toml"
"""For more than 256 members, of at most 1,500 customers each."""
SHIPPED_MAPPING = HERE / "data" / "uci_default_credit.mapping.toml"
PRESETS = ("mixed", "complement", "alike", "unlike", "opposed", "confounded", "otherworld")
"""The markets of ``simulations/market/lenders.py``."""
MOST_LENDERS = 64
LEAST_REDRAWS, MOST_REDRAWS = 5, 100
"""Other sets of records that a member's own model may be fitted to."""
JUDGED_ACCOUNTS = 100
"""So many new accounts of each lender are needed to judge members one by one."""
NEEDED = ("duckdb", "flwr", "jinja2", "lightgbm", "scipy")
"""Libraries of a simulation."""
ENGINES = ("faithful", "flower", "batched")
"""In one process, over a Flower network on this machine (``simulations/network/``), or the sums without a protocol."""


def check_installed() -> None:
    """Refuse to start where a library is missing that only the end of a run would ask for.

    Raises:
        ArgumentError: naming all that are missing.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ArgumentError(
            f"simulate needs {', '.join(missing)}, not installed here.", "pip install 'fedrepay[simulation]'"
        )


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """What the user asked of a run, whatever it learns from; equal arguments resume a folder, others are refused."""

    members: int | None = 20
    epsilon: float = 1.0
    delta: float | None = None
    colluders: int | None = None
    mode: str = "distributed"
    rounds: int | None = None
    learner: str | None = None
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
        if self.learner is not None and self.mode == "local":
            raise ArgumentError(
                "--learner does not go with --mode local, which trains a torch module.",
                "Leave one of them out.",
            )
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
    file for decisions; to ``redraws`` other sets of records each member's own model is fitted again.
    """

    preset: str = "mixed"
    scale: float = 1.0
    accounts: int = 300
    redraws: int = 0
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
        if self.redraws and not LEAST_REDRAWS <= self.redraws <= MOST_REDRAWS:
            raise ArgumentError(
                f"--redraws {self.redraws} is neither 0 nor in {LEAST_REDRAWS} … {MOST_REDRAWS}.",
                "0, no member's own interval, is the default; 10 is a good number.",
            )
        if self.redraws and self.accounts < JUDGED_ACCOUNTS:
            raise ArgumentError(
                f"--accounts {self.accounts} are too few to judge members one by one, as --redraws does.",
                f"Give {JUDGED_ACCOUNTS} or more, or leave --redraws out.",
            )
        if self.members is None or self.members > MOST_LENDERS:
            raise ArgumentError(
                f"--members {self.members} is outside 3 … {MOST_LENDERS} for a market.", "20 is the default."
            )

    @property
    def files(self) -> dict[str, str]:
        """The settings, where given."""
        return {} if self.settings is None else {"settings": self.settings}


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
