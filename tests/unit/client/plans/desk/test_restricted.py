"""No value of a restricted fact is shown, whatever reads it, refuses it or hashes it."""

import numpy as np
import pytest

from fedrepay.client.data.reading import files, findings, tolerant
from fedrepay.client.plans.batch_io.output import input_hashes
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.settings import parse_settings
from fedrepay.client.scoring.score_file import rejects_of
from fedrepay.shared.errors import CatalogueError
from support.command import fedrepay
from support.desk import ACCOUNTS, Desk, write_csv
from support.market_accounts import SCHEMA, random_accounts

CELL = "sectioned in May"


def shown(desk: Desk, sql: str) -> str:
    """All that a batch and a check say of a file with a secret in its note, through a mapping."""
    own = random_accounts(ACCOUNTS, seed=3)
    note = np.array(["0"] * (ACCOUNTS - 1) + [CELL], object)
    write_csv(desk.accounts, {**own, "note": note, "moratorium_day": note})
    numbers = [name for name, each in own.items() if each.dtype != object]
    columns = ", ".join(f"TRY_CAST({name} AS DOUBLE) AS {name}" if name in numbers else name for name in own)
    mapping = desk.folder / "map.toml"
    mapping.write_text(f'sql = """{sql.replace("COLUMNS", columns)}"""\nkeys = {{customer = ["customer"]}}\n')
    ran = desk.recommend(mapping=mapping)
    rejects = rejects_of(desk.folder / "out.csv")
    checked = fedrepay(
        *("member", "check-data", "--for", "recommend", "--schema", SCHEMA),
        *("--data", desk.accounts, "--mapping", mapping),
    )
    assert ran.code or rejects.exists(), "control: it is refused"
    return ran.out + ran.err + checked.out + checked.err + (rejects.read_text() if rejects.exists() else "")


SELECTS = {
    "cast": "SELECT COLUMNS, CAST(moratorium_day AS DOUBLE) AS moratorium_day FROM data",
    "of a note": "SELECT COLUMNS, CAST(CAST(note AS INTEGER) AS VARCHAR) AS health_data FROM data",
    "as something else": "SELECT COLUMNS, CAST(CAST(moratorium_day AS INTEGER) AS VARCHAR) AS account FROM data",
    "grouped": "WITH x AS (SELECT * FROM data WHERE CAST(note AS INTEGER) >= 0) SELECT COLUMNS FROM x",
    "joined": "SELECT COLUMNS FROM data JOIN (SELECT customer AS k, max(CAST(note AS INTEGER)) AS h FROM data "
    "GROUP BY 1) ON k = customer WHERE h >= 0",
}


@pytest.mark.parametrize("sql", SELECTS.values(), ids=SELECTS)
def test_a_cell_that_a_mapping_cannot_read_is_not_shown(
    desk: Desk, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CELL not in shown(desk, sql)
    monkeypatch.setattr(findings, "shown", lambda _, value: value)
    monkeypatch.setattr(tolerant, "RESTRICTED", frozenset())
    monkeypatch.setattr(tolerant, "said", lambda _, error: str(error))
    for path in desk.folder.glob("out.csv*"):
        path.unlink()
    (desk.folder / "batches.jsonl").unlink(missing_ok=True)
    assert CELL in shown(desk, sql), "control"


def test_a_ragged_row_is_named_without_its_cells(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = desk.accounts.read_text().splitlines()
    lines[2] += f",{CELL},more"
    desk.accounts.write_text("\n".join(lines) + "\n")
    result = desk.recommend()
    assert result.code == 4
    said = " ".join(result.err.split())
    assert "Line: 3" in said
    assert "Expected Number of Columns" in said
    assert CELL not in said
    monkeypatch.setattr(files, "_said", lambda error, **_: error)
    assert CELL in " ".join(desk.recommend().err.split()), "control"


@pytest.mark.parametrize("fact", ["vulnerability_driver", "Deceased", " health_data"])
def test_no_floor_is_of_a_restricted_fact(fact: str) -> None:
    with pytest.raises(CatalogueError, match=r"s\.toml: caps\.group_column: is a restricted fact"):
        parse_settings(f'[caps]\ngroup_column = "{fact}"\n'.encode(), "s.toml")
    assert parse_settings(b'[caps]\ngroup_column = "region"\n', "s.toml").caps.group_column, "control"


def test_no_hash_that_is_shown_is_of_a_restricted_fact_wherever_it_stands() -> None:
    def hashes(value: str, name: str, *, whole: bool = False) -> str:
        beside = {name: np.array([value], object)}
        found = Accounts(np.array(["a"], object), {"balance": np.array([1.0])}, beside=beside)
        return str(input_hashes(found, whole=whole)[0])

    assert hashes("health", "vulnerability_driver") == hashes("none", "vulnerability_driver")
    assert hashes("health", "vulnerability_driver", whole=True) != hashes(
        "none", "vulnerability_driver", whole=True
    )
    assert hashes("north", "region") != hashes("south", "region"), "control"
