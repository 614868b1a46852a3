"""``fedrepay member catalogue init`` and ``check``: options and screen."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.options import Json, show

app = typer.Typer(no_args_is_help=True, help="The plans you may offer (docs/plans.md).")


@app.command("init", help="Write an example catalogue to start from.")
def init(
    path: Annotated[Path, typer.Argument(help="Where to; an existing file is left alone.")],
    as_json: Json = False,
) -> None:
    """Write the example."""
    from fedrepay.client.plans import batch_io
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.shared.files import write_atomically

    if path.exists():
        raise ArgumentError(f"{path} exists already.", "Choose another path.")
    text = Path(batch_io.__file__).with_name("example_catalogue.toml").read_bytes()
    write_atomically(path, text, over=False)
    said = f"Written to {path}. Check it with `fedrepay member catalogue check {path}`."
    show(as_json, {"out": str(path)}, said)


@app.command("check", help="Check a catalogue and show what one account would be offered at most.")
def check(
    path: Annotated[Path, typer.Argument(help="The catalogue.")],
    balance: Annotated[int, typer.Option(min=1, help="Of the account, minor units.")] = 150_000,
    apr: Annotated[float, typer.Option(min=0, max=1, help="Yearly interest that runs.")] = 0.2,
    bound: Annotated[int, typer.Option(min=0, help="What it can afford a month, minor units.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Check a catalogue."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from fedrepay.client.plans.deciding.objective import affordable
    from fedrepay.shared.plans.candidates import Debts, candidates
    from fedrepay.shared.plans.catalogue import arms, load_catalogue

    catalogue, digest = load_catalogue(path)
    of = arms(catalogue)
    one = Debts(np.array([balance]), np.zeros(1, np.int64), np.array([apr]), np.array([bound]))
    plans = candidates(catalogue, of, one)
    within = affordable(plans)[0]
    if as_json:
        rows = [
            {
                "plan": name,
                "valid": bool(plans.valid[0, place]),
                "affordable": bool(within[place]),
                "instalment": int(plans.instalment[0, place]),
                "payments": int(plans.count[0, place]),
                "total": int(plans.total[0, place]),
                "interest": int(plans.interest[0, place]),
            }
            for place, name in enumerate(of.names)
        ]
        show(as_json, {"currency": catalogue.currency, "sha256": digest.hex(), "plans": rows})
        return
    table = Table("plan", "instalment", "payments", "total", "interest", "")
    for place, name in enumerate(of.names):
        said = "" if within[place] else "not affordable" if plans.valid[0, place] else "no such plan"
        cells = (plans.instalment, plans.count, plans.total, plans.interest)
        table.add_row(name, *(f"{int(each[0, place]):,}" for each in cells), said)
    console = Console()
    console.print(table)
    console.print(
        f"{len(of.names)} plans; {int(within.sum())} for a balance of {balance:,} at {apr:.0%} and {bound:,} a month "
        f"({catalogue.currency}, minor units). sha256 {digest.hex()}",
        highlight=False,
    )
