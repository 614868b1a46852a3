"""What a person sees while a simulation runs, and its summary."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fedrepay.server.protocol.state import Event
from fedrepay.shared.privacy.statement import headline
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.report import words_rows
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.grid import Exchange

STEPS: dict[str, str] = {
    Kind.HELLO: "Ceremony: hello",
    Kind.INTRODUCE: "Ceremony: roster, compared by its twelve words",
    Kind.SEED: "Ceremony: group seed",
    Kind.CONFIRM: "Ceremony: confirmation",
    Kind.PREPARE: "Before a sum: who is there, and has its part at hand",
    Kind.ROUND: "Secure sum",
    Kind.WRITE: "Release: write and seal",
    Kind.CLOSE: "Release: recompute and sign",
    Kind.VOTES: "Release: store",
}

HAPPENED = {
    "attempt": "Secure sum: asked",
    "header": "Secure sum: received",
    "sum": "Secure sum: complete",
    "void": "Secure sum: an attempt was lost",
    "written": "Release: written and sealed",
    "vote": "Release: recomputed and signed",
    "stored": "Release: stored",
    "done": "Done",
}


class Screen:
    """Progress on long work; silent where the output is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._console = console
        self._task = self._progress.add_task("Starting", total=None)
        self._done = 0
        self._kind = ""
        self.sums = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, text: str) -> None:
        """A stage without a count."""
        self._kind = ""
        self._progress.update(self._task, description=text, total=None)

    def note(self, text: str) -> None:
        """A line that stays on the screen."""
        self._console.print(text)

    def exchanged(self, members: int, name: str, exchange: Exchange) -> None:
        """One message answered."""
        if exchange.kind != self._kind:
            self._kind, self._done = exchange.kind, 0
        self._done += 1
        if exchange.error:
            self.note(f"[yellow]{name}: {exchange.error}[/]")
        label = STEPS.get(exchange.kind, exchange.kind)
        self._progress.update(
            self._task,
            description=f"{label} ({name})",
            total=members,
            completed=(self._done - 1) % members + 1,
        )

    def happened(self, event: Event) -> None:
        """One event of a run over a network."""
        if event.kind in ("away", "retry"):
            self.note(f"[yellow]{event.name}: {event.body.decode()}[/]")
        text = HAPPENED.get(event.kind.partition(":")[0], event.kind)
        step = STEPS.get(event.kind.removeprefix("answer:"), "")
        self.stage(f"{step or text} ({event.name})" if event.name else text)


def summary(console: Console, metrics: dict[str, Any], folder: Folder) -> None:
    """A few lines and where to read on."""
    privacy = metrics["privacy"]
    if privacy["not_private"]:
        console.print(f"[bold red]NOT PRIVATE: {privacy['not_private']}[/]")
    if metrics["smallest_cohort"] < 5:
        console.print(
            f"[bold red]Small cohort: {metrics['smallest_cohort']} members; each can learn much about the "
            "others.[/]"
        )
    table = Table(show_header=False, box=None)
    for label, shown in (
        _market(metrics["market"]) if "market" in metrics else words_rows.summary(metrics)
    ).items():
        table.add_row(label, shown)
    table.add_row("Privacy", headline(privacy))
    table.add_row(
        "Members, secure sums, attempts", f"{metrics['members']}, {metrics['rounds']}, {metrics['attempts']}"
    )
    table.add_row("Sent by a member", f"{metrics['bytes_up_per_member'] / 1e6:.2f} MB")
    console.print(table)
    console.print(f"Report:  {folder.report}")
    if metrics["engine"] != "batched":
        console.print(f"Release: {folder.release}")


def _market(market: dict[str, Any]) -> dict[str, str]:
    """What the plans are worth, mean over members."""
    labels = {
        "alone": "Value, each with a model of its own (no privacy)",
        "shared": "Value, learned together",
        "perfect": "Value, if the truth were known",
    }
    rows = {label: f"{100 * market['value'][way]:.2f} % of the balance" for way, label in labels.items()}
    if market["gain"]["uplift"] is not None:
        low, high = market["gain"]["uplift_interval"]
        rows["Gain in uplift by learning together"] = (
            f"{100 * market['gain']['uplift']:+.1f} % [{100 * low:+.1f}, {100 * high:+.1f}], over these members"
        )
    rows["Plans truly affordable"] = (
        f"{100 * market['affordable_share']:.1f} % (own policies until now: {100 * market['affordable_share_own']:.1f} %)"
    )
    return rows
