"""``fedrepay schema``: draft, check and build a schema."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.options import Json, show

app = typer.Typer()

_INIT = (
    "Draft a schema from a file's column names and types.\n\n"
    "No value of the file is used: a bound read off the data leaks it. Every bound, edge and category is "
    "marked `confirmed = false`; `schema build` refuses until public ones are in. Where your column names "
    "cannot be the schema's, a mapping is written beside it.\n\n"
    "fedrepay schema init accounts.csv --out consortium.toml"
)
_BUILD = (
    "Make the code book (NAME.codebook.safetensors) beside the schema, once for the whole consortium.\n\n"
    "The schema's hash covers both files, so everybody uses these very bytes: build at one place and ship "
    "both. Refused: bounds still to confirm, and n_max × members_max too large for the secure sum."
)
_CHECK = (
    "Check a schema and, if it is built, its code book; show what it declares.\n\n"
    "A schema is TOML: name, version, \\[public] with n_max and prior, then one table for each column and cross.\n\n"
    "A column has a name, a role (account, plan, outcome, customer, propensity, audit), a type (number, "
    "integer, category, text), public bounds = \\[low, high] and edges, or categories; outside = clip or "
    "refuse; missing = bin or refuse; where wanted derived = a scalar SQL expression over columns above it; "
    "model = false for an input that only feeds derived columns and crosses; monotone = up or down for a "
    "number whose effect must rise or fall towards the good outcome. An outcome (1 to 8 of them, each a head "
    "of the model) has good = 0 or 1, and where wanted a prior, a weight, and missing = outside for rows that it "
    "does not concern. Edges e1 < … < ek make the bins (−∞, e1), [e1, e2), … [ek, ∞).\n\n"
    "A cross has columns = \\[a, b] and edges = \\[\\[…], \\[…]], coarser ones of its own.\n\n"
    "A column or cross may have share = 0.1 … 10, how long it is beside the others, and a column start = { OUTCOME = \\[…] }, "
    "public log-odds a bin to start from; measure what they bring on public rows first, they can cost as well.\n\n"
    "fedrepay schema check consortium.toml"
)
_Schema = Annotated[Path, typer.Argument(help="The schema's TOML file.", show_default=False)]


@app.command(help=_INIT)
def init(
    file: Annotated[
        Path, typer.Argument(help="A CSV or Parquet file with your columns.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write; default NAME.toml beside FILE.")] = None,
    as_json: Json = False,
) -> None:
    """Draft a schema; the help text stands in ``_INIT``."""
    from fedrepay.client.data.reading.schema_draft import draft
    from fedrepay.shared.errors import ArgumentError, StorageError
    from fedrepay.shared.files import write_atomically

    target = out or file.with_suffix(".toml")
    beside = target.with_name(f"{target.stem}.mapping.toml")
    made, remedy = draft(file, target.stem), "Free the disk, or choose another --out."
    for path in [target] + [beside] * (made.mapping is not None):
        if path.exists():
            raise ArgumentError(f"{path} exists already.", "Choose another --out, or move it away.")
    write_atomically(target, made.schema.encode(), remedy)
    if made.mapping is not None:
        try:
            write_atomically(beside, made.mapping.encode(), remedy)
        except StorageError:
            target.unlink()  # both or neither
            raise
    mapped = made.mapping is not None
    lines = [f"{target}: {made.to_confirm} columns and [public] to confirm."]
    lines += [f"{beside}: maps your column names to the schema's."] * mapped
    lines += ["No column looks like an outcome: the end of the draft says what to do."] * (
        not made.has_outcome
    )
    facts = {
        "schema": str(target),
        "mapping": str(beside) if mapped else None,
        "to_confirm": made.to_confirm,
        "has_outcome": made.has_outcome,
    }
    show(as_json, facts, *lines)


@app.command(help=_BUILD)
def build(schema: _Schema, as_json: Json = False) -> None:
    """Build the code book; the help text stands in ``_BUILD``."""
    from fedrepay.shared.errors import SchemaError
    from fedrepay.shared.files import read_bytes
    from fedrepay.shared.schema import codebook

    book = codebook.build(read_bytes(schema, SchemaError), str(schema))
    path = codebook.save(book, schema)
    facts = {
        "codebook": str(path),
        "blocks": len(book.blocks) - 1,
        "dimension": book.dimension,
        "heads": book.heads,
        "schema": book.schema_hash.hex(),
    }
    show(
        as_json,
        facts,
        f"{path}: {len(book.blocks) - 1} blocks and the intercept, d = {book.dimension}, heads: {book.heads}.",
        f"Schema hash {book.schema_hash.hex()}",
    )


@app.command(help=_CHECK)
def check(schema: _Schema, as_json: Json = False) -> None:
    """Check a schema; the help text stands in ``_CHECK``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedrepay.shared.schema import bins, codebook, tables
    from fedrepay.shared.schema.model import load_schema

    checked = load_schema(schema)
    tables.check_starts(checked, str(schema))
    starts = dict(enumerate(each.start for each in checked.features))
    built = codebook.load(schema) if codebook.codebook_path(schema).is_file() else None
    if as_json:
        blocks = [
            {
                "name": each.name,
                "kind": each.kind,
                "labels": list(each.labels),
                "share": share,
                "start": starts.get(place, {}),
            }
            for place, (each, share) in enumerate(zip(bins.layouts(checked), checked.shares, strict=True))
        ]
        digest = None if built is None else built.schema_hash.hex()
        show(as_json, {"blocks": blocks, "unconfirmed": list(checked.unconfirmed), "schema": digest})
        return
    console = Console()
    table = Table("block", "kind", "bins", "labels", expand=True)
    for layout in bins.layouts(checked):
        table.add_row(
            Text(layout.name),
            layout.kind,
            str(layout.size),
            Text(" · ".join(layout.labels), overflow="ellipsis"),
        )
    console.print(table)
    for layout, share in zip(bins.layouts(checked), checked.shares, strict=True):
        if share != 1:
            console.print(f"{layout.name}: share {share:g}", markup=False, highlight=False)
    for column in checked.features:
        for outcome, log_odds in column.start.items():
            told = ", ".join(f"{each:+g}" for each in log_odds)
            console.print(
                f"{column.name}: starts {outcome} from {told}, by public guess", markup=False, highlight=False
            )
    for name in checked.unconfirmed:
        console.print(f"to confirm: {name}", style="yellow", markup=False)
    if built is None:
        console.print(f"No code book yet: run fedrepay schema build {schema}", style="yellow", markup=False)
        return
    console.print(
        f"heads {built.heads}, d = {built.dimension}, S = {built.scale}, b = {built.weight_bits}, R = {built.residual_scale}, "
        f"Δ of the Gram sum {built.delta_gram}, of a gradient {built.delta_gradient}",
        highlight=False,
    )
    console.print(f"Schema hash {built.schema_hash.hex()}", highlight=False)
