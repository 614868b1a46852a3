"""``fedrepay simulate``, as a list of stages: prepare, run the consortium, measure, report."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from rich.console import Console

from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.shared.files import write_atomically
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.simulations.run.arguments import Arguments, MarketArguments, check_installed, facts_of
from fedrepay.simulations.run.case_of import arguments_of
from fedrepay.simulations.run.consortium import Consortium, Party
from fedrepay.simulations.run.finished import Run
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.players import processes_for
from fedrepay.simulations.run.screen import Screen
from fedrepay.simulations.run.terms import make_terms, model_of, planned_drops

T = TypeVar("T")
Measured = tuple[dict[str, Any], dict[str, Any]]


def simulate(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    market: str | None = None,
    scale: float | None = None,
    accounts: int | None = None,
    redraws: int | None = None,
    settings: str | os.PathLike[str] | None = None,
    schema: str | os.PathLike[str] | None = None,
    mapping: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    members: int | None = None,
    split: str | None = None,
    epsilon: float = 1.0,
    delta: float | None = None,
    colluders: int | None = None,
    mode: str = "distributed",
    model: str | None = None,
    sampling_rate: float | None = None,
    local_steps: int | None = None,
    clip: float | None = None,
    learning_rate: float | None = None,
    rounds: int | None = None,
    learner: str | None = None,
    drop: Sequence[str] = (),
    seed: int = 1,
    baselines: bool = False,
    engine: str = "faithful",
    screen: Screen | None = None,
) -> Run:
    """Run or resume a whole consortium on this machine; ``fedrepay simulate --help`` explains each option.

    Without ``data`` the members are lenders of a simulated debt market, with it they hold rows of a table.

    Args:
        out: folder for release, report, metrics and stores; one of a finished run with the same options is read.
        data: CSV or Parquet file of rows with one outcome, or ``uci``, the shipped table.
        market: mixed (default), complement, alike, unlike, opposed, confounded or otherworld.
        scale: market: multiplies every lender's offers; default 1.
        accounts: market: new accounts of each lender to judge by; default 300.
        redraws: market: sets of records each member's own model is fitted to again, for its interval; default 0: none.
        settings: market: a member's settings for decisions (TOML).
        schema: of ``data``: TOML with its built code book beside it.
        mapping: of ``data``: TOML with one SELECT; without it columns match by name.
        test: of ``data``: file of test rows; without it 20 % of the customers are held out.
        members: how many; default 20.
        split: of ``data``: column:NAME, iid (default), skewed:COLUMN or sizes:zipf.
        epsilon: ε of one customer for the whole release.
        delta: δ; None for the default.
        colluders: members that may collude with the coordinator; default max(1, ⌈K/10⌉).
        mode: distributed, local (a torch module) or none (unprotected, a baseline).
        model: of mode local: logistic (default), mlp, or module:Class.
        sampling_rate: of mode local: chance of a customer to be in a step.
        local_steps: of mode local: a member's steps between two sums.
        clip: of mode local: longest gradient of one customer.
        learning_rate: of mode local: largest step.
        rounds: secure sums; default 5.
        learner: dp-newton (default), dp-surrogate (few bins that decide much) or dp-gd (more than 512 bins).
        drop: NAME@ROUND: this member fails in that round.
        seed: of splits, baselines, the market and simulated failures; never of noise, keys or masks.
        baselines: fit LightGBM too.
        engine: faithful, flower or batched (no release).
        screen: shows progress; None is silent.

    Raises:
        ArgumentError: an option cannot be met, or the folder holds another run; named as the command's option.
        FedrepayError: what else stopped it; the folder resumes.
    """
    check_installed()
    chosen = arguments_of(
        None if data is None else os.fspath(data),
        members,
        rows={
            "schema": _path(schema),
            "mapping": _path(mapping),
            "test": _path(test),
            "split": split,
            "model": model,
            "sampling_rate": sampling_rate,
            "local_steps": local_steps,
            "clip": clip,
            "learning_rate": learning_rate,
        },
        market={
            "preset": market,
            "scale": scale,
            "accounts": accounts,
            "redraws": redraws,
            "settings": _path(settings),
        },
        both={
            "epsilon": epsilon,
            "delta": delta,
            "colluders": colluders,
            "mode": mode,
            "rounds": rounds,
            "learner": learner,
            "drop": tuple(drop),
            "seed": seed,
            "baselines": baselines,
            "engine": engine,
        },
    )
    folder = Folder(Path(out))
    if screen is None:
        with Screen(Console(file=StringIO(), force_terminal=False)) as silent:
            return Run(folder, run(chosen, folder, silent))
    return Run(folder, run(chosen, folder, screen))


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def run(arguments: Arguments | MarketArguments, folder: Folder, screen: Screen) -> dict[str, Any]:
    """Run or resume a simulation.

    Returns:
        the contents of metrics.json.

    Raises:
        FedrepayError: what stopped it; the folder resumes.
    """
    arguments.check()
    facts = facts_of(arguments)
    resumed = folder.holds(facts)
    if resumed and folder.metrics.exists() and folder.report.exists():
        screen.note(f"{folder.path} is finished already; choose another --out to run again.")
        finished: dict[str, Any] = json.loads(folder.metrics.read_text())
        return finished
    if resumed:
        screen.note(f"Resuming {folder.path}.")
    work = _Work(folder, facts, screen, resumed=resumed)
    return _market(arguments, work) if isinstance(arguments, MarketArguments) else _rows(arguments, work)


def _rows(arguments: Arguments, work: "_Work") -> dict[str, Any]:
    """A table of rows with one outcome."""
    from fedrepay.simulations.report import words_rows  # noqa: PLC0415 - each case loads its own
    from fedrepay.simulations.rows import noise  # noqa: PLC0415
    from fedrepay.simulations.rows.measure import measure, noise_share  # noqa: PLC0415
    from fedrepay.simulations.rows.prepare import prepare  # noqa: PLC0415

    model = model_of(arguments)  # first: a module that cannot be used is refused before anything is read
    prepared = work.timed("read and split", lambda: prepare(arguments))
    terms = make_terms(arguments, prepared.book, len(prepared.parties), model)
    drops = planned_drops(arguments, [party.name for party in prepared.parties], terms)
    share = noise_share(terms, prepared)
    if share is not None and share >= noise.THIN:
        work.screen.note(f"[yellow]{words_rows.thin(share, arguments.epsilon)}[/]")
    with work.opened():
        consortium = work.consortium(prepared.book, prepared.parties, terms, drops, model)
        return work.carry(
            consortium,
            lambda: measure(arguments, prepared, consortium, work.seconds, resumed=work.resumed),
        )


def _market(arguments: MarketArguments, work: "_Work") -> dict[str, Any]:
    """The debt market, whose truth is known."""
    from fedrepay.simulations.market import case, records  # noqa: PLC0415 - each case loads its own

    settings = case.settings_of(arguments)
    left_out = case.without_effect(settings)
    if left_out:
        work.screen.note(
            f"[yellow]--settings: {', '.join(left_out)} have no effect here; `member recommend` applies them.[/]"
        )
    played = case.market_of(arguments)
    terms = make_terms(arguments, records.book(), len(played.lenders))
    drops = planned_drops(arguments, [lender.name for lender in played.lenders], terms)
    with work.opened():
        market = work.timed("draw and read the market", lambda: case.prepare(arguments, played, work.folder))
        consortium = work.consortium(market.book, market.parties, terms, drops)
        return work.carry(
            consortium,
            lambda: case.measure(
                arguments,
                market,
                settings,
                consortium,
                work.seconds,
                resumed=work.resumed,
                note=work.screen.stage,
            ),
        )


class _Work:
    """What all stages share: the folder, the screen, and how long each stage took."""

    def __init__(self, folder: Folder, facts: dict[str, Any], screen: Screen, *, resumed: bool) -> None:
        self.folder, self.facts, self.screen, self.resumed = folder, facts, screen, resumed
        self.seconds: dict[str, float] = {}

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """Do something and remember how long it took."""
        self.screen.stage(stage)
        begun = perf_counter()
        result = work()
        self.seconds[stage] = perf_counter() - begun
        return result

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The folder, made where it is new and kept from other processes; only when all input was found good."""
        self.folder.make(self.facts)
        with self.folder.held():
            yield

    def consortium(
        self,
        book: CodeBook,
        parties: Sequence[Party],
        terms: NumberedTerms,
        drops: frozenset[tuple[str, int]],
        model: TorchModel | None = None,
    ) -> Consortium:
        """The consortium on the engine asked for, its progress shown on the screen."""
        if self.facts["engine"] == "flower":
            from fedrepay.simulations.network.driver import NetworkConsortium  # noqa: PLC0415 - each engine its own

            self.screen.note("Flower's own engine keeps no transcript/; its logs are in logs/.")
            return NetworkConsortium(
                self.folder, book, parties, terms, drops, watch=self.screen.happened, model=model
            )
        if self.facts["engine"] == "batched":
            from fedrepay.simulations.engines.batched import BatchedConsortium  # noqa: PLC0415

            self.screen.note("[yellow]--engine batched: no protocol runs; it writes no release.[/]")
            return BatchedConsortium(self.folder, book, parties, terms)
        return Consortium(
            self.folder,
            book,
            parties,
            terms,
            drops,
            observe=lambda name, exchange: self.screen.exchanged(len(parties), name, exchange),
            model=model,
            processes=processes_for(len(parties)),
        )

    def carry(self, consortium: Consortium, measure: Callable[[], Measured]) -> dict[str, Any]:
        """Carry the consortium to its end, measure and report."""
        from threadpoolctl import threadpool_limits  # noqa: PLC0415 - loads every BLAS

        with threadpool_limits(limits=1):  # one thread: members must do the same sums
            self.timed("consortium", consortium.run)
            metrics, details = self.timed("score and baselines", measure)
            from fedrepay.simulations.report.render import render  # noqa: PLC0415 - the report comes last

            write_atomically(self.folder.report, render(metrics, details).encode())
            write_atomically(self.folder.metrics, json.dumps(metrics, indent=1).encode())
        return metrics
