"""A coordinator's folder as `coordinator init` makes it, with a schema of one column and ports of its own."""

from pathlib import Path
from typing import Any

from fedrepay.server.operating import founding
from fedrepay.server.operating.founding import Founded
from fedrepay.server.operating.settings import CoordinatorSettings
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.network.processes import free_ports
from support.schemas import column, schema


def book(name: str = "a") -> CodeBook:
    return codebook.build(schema(column(name), n_max=1000).encode())


def schema_file(folder: Path, name: str = "a") -> Path:
    made = book(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_bytes(made.schema_bytes)
    codebook.save(made, path)
    return path


def settings(**changed: Any) -> CoordinatorSettings:
    names = ("port", "front", "superlink", "service", "metrics")
    facts = {"host": "127.0.0.1"} | dict(zip(names, free_ports(5), strict=True))
    return CoordinatorSettings.model_validate(facts | changed)


def founded(folder: Path, *, placed: CoordinatorSettings | None = None, **terms: Any) -> Founded:
    chosen, made = placed or settings(), book()
    facts = {"name": "Debt learners", "address": f"127.0.0.1:{chosen.port}", "minimum_cohort": 3} | terms
    return founding.found(folder, founding.terms_of(facts, [made]), chosen, [made], [])
