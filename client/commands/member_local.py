"""``fedrepay member local-terms``: options and screen."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.options import Json, show

app = typer.Typer()
_HELP = (
    "Check a torch module of your own, and write what the operator needs to start a run that trains it "
    "(`coordinator train --mode local --terms FILE`).\n\n"
    "The file holds public numbers alone: the module's name and hash, how it is trained, and the noise that keeps the "
    "whole run within ε and δ. One member makes it; every member names the same module with `member serve --model` "
    "and proves the noise again. What a module must be: docs/torch.md.\n\n"
    "\b\n"
    "fedrepay member local-terms mynet:Net --schema consortium.toml --epsilon 1 --out net.toml"
)


@app.command("local-terms", help=_HELP)
def local_terms(
    model: Annotated[
        str,
        typer.Argument(
            help="logistic, mlp, or module:Class of your own, imported from here.", show_default=False
        ),
    ],
    schema: Annotated[
        Path, typer.Option(help="The consortium's schema, its code book beside it.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="A new file.", show_default=False)],
    epsilon: Annotated[
        float, typer.Option(min=1e-6, max=1000, help="ε of one customer for the whole release.")
    ] = 1.0,
    delta: Annotated[
        float | None,
        typer.Option(help="δ; default min(1e-5, 1/(10·members_max·n_max)).", show_default=False),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=2, max=1000, help="Secure sums: one count, then updates; default 16.", show_default=False
        ),
    ] = None,
    sampling_rate: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1, help="Chance of a customer to be in a step.", show_default=False),
    ] = None,
    local_steps: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="A member's steps between two secure sums.", show_default=False),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1e6, help="Longest gradient of one customer.", show_default=False),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-6, max=1e6, help="Largest step, for a gradient divided by --clip.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """State the terms of a run in local mode; the help text stands in ``_HELP``."""
    from fedrepay.client.learning import local_terms as terms
    from fedrepay.client.learning.torch_models import registry
    from fedrepay.shared.schema import codebook
    from fedrepay.shared.trust import local_run

    book = codebook.load(schema)
    held = registry.load(model, book.dimension)
    wishes = terms.LocalWishes(sampling_rate, local_steps, clip, learning_rate)
    run = terms.local_run(book, held, wishes, epsilon, delta, rounds)
    local_run.write(run, out)
    two, three = terms.at_several(run)
    facts = {
        "out": str(out),
        "parameters": held.parameters,
        "hash": held.hash.hex(),
        "epsilon": epsilon,
        "delta": run.delta,
        "rounds": run.rounds,
        "noise_multiplier": run.local.noise_multiplier,
        "epsilon_at_members": {"2": two, "3": three},
    }
    show(
        as_json,
        facts,
        f"{model}: {held.parameters:,} numbers, hash {held.hash.hex()}.\n"
        f"Noise multiplier {run.local.noise_multiplier:g} for ε = {epsilon:g}, δ = {run.delta:g}, {run.rounds} sums of "
        f"{run.local.local_steps} steps at q = {run.local.sampling_rate:g}.\n"
        f"A person at two members has ε = {two:.3g} at most, at three {three:.3g}.\nWritten to {out}: give it to the operator.",
    )
