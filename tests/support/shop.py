"""A small data set of our own with its schema and mapping on disk, as a new user would bring them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrepay.shared.schema import codebook
from fedrepay.simulations.run.arguments import Arguments

SCHEMA = """
name = "shop"
version = 1
title = "Accounts of a shop"
[public]
n_max = 500
members_max = 16
prior = 0.4
[[columns]]
name = "who"
role = "customer"
type = "text"
[[columns]]
name = "debt"
role = "account"
type = "number"
unit = "EUR"
bounds = [0, 5000]
edges = [200, 500, 1000, 2000]
outside = "clip"
missing = "refuse"
[[columns]]
name = "income"
role = "account"
type = "number"
unit = "EUR a month"
bounds = [0, 9000]
edges = [1000, 1500, 2000, 3000]
outside = "clip"
missing = "bin"
[[columns]]
name = "stage"
role = "account"
type = "category"
categories = ["early", "late", "legal"]
missing = "refuse"
[[columns]]
name = "burden"
role = "account"
type = "number"
bounds = [0, 10]
edges = [0.2, 0.5, 1]
derived = "debt / greatest(income, 1)"
outside = "clip"
missing = "bin"
[[columns]]
name = "age"
role = "audit"
type = "integer"
bounds = [18, 100]
edges = [30, 45, 60]
outside = "clip"
missing = "bin"
[[columns]]
name = "kept"
role = "outcome"
type = "integer"
good = 1
[[crosses]]
columns = ["debt", "stage"]
edges = [[500, 2000], [["early"], ["late", "legal"]]]
"""
MAPPING = """
currency = "EUR"
extra = ["Shop"]
sql = '''
SELECT _row, "Kunde" AS who, CAST("Saldo (ct)" AS DOUBLE) / 100 AS debt, "Netto" AS income, "Stufe" AS stage,
       "Alter" AS age, "gehalten" AS kept, "Shop"
FROM data
'''
"""
SHOPS = ("Nord", "Ost", "Süd", "West")
MEMBERS = ("Nord", "Ost", "Sud", "West")


@dataclass(frozen=True)
class Shop:
    """Paths of the three files."""

    data: Path
    schema: Path
    mapping: Path

    def arguments(self, **given: object) -> Arguments:
        """A simulation on these files; the shops are the members."""
        defaults: dict[str, object] = {
            "data": str(self.data),
            "schema": str(self.schema),
            "mapping": str(self.mapping),
            "test": None,
            "members": None,
            "split": "column:Shop",
            "epsilon": 4.0,
            "delta": None,
            "colluders": None,
            "mode": "distributed",
            "rounds": 3,
            "drop": (),
            "seed": 1,
            "baselines": False,
        }
        return Arguments(**{**defaults, **given})  # type: ignore[arg-type]


def customer(index: int) -> str:
    return f"Kunde-{index:05d}"


def make(folder: Path, rows: int = 900) -> Shop:
    """Write data, schema, code book and mapping."""
    rng = np.random.default_rng(7)
    lines = ["Kunde;Saldo (ct);Netto;Stufe;Alter;gehalten;Shop"]
    for index in range(rows):
        debt, income = int(rng.lognormal(11, 1)), int(rng.normal(2000, 600))
        stage = str(rng.choice(["early", "late", "legal"], p=[0.5, 0.3, 0.2]))
        chance = 1 / (1 + np.exp(-(1 - debt / 150_000 + income / 2500 - 1.2 * (stage == "legal"))))
        shown = "" if rng.random() < 0.1 else max(income, 0)
        who, age, kept = customer(index // 2), rng.integers(18, 80), int(rng.random() < chance)
        lines.append(f"{who};{debt};{shown};{stage};{age};{kept};{SHOPS[index // 2 % len(SHOPS)]}")
    shop = Shop(folder / "konten.csv", folder / "shop.toml", folder / "shop.mapping.toml")
    shop.data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shop.schema.write_text(SCHEMA, encoding="utf-8")
    shop.mapping.write_text(MAPPING, encoding="utf-8")
    codebook.save(codebook.build(SCHEMA.encode(), str(shop.schema)), shop.schema)
    return shop
