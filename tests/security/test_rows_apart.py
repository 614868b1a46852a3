"""No row of a file changes how another is read: else one customer would move the whole member's sums."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from fedrepay.client.data.reading import files
from fedrepay.client.data.reading.table import read_table
from fedrepay.shared.schema import codebook
from support.schemas import column, schema

TEXT = schema(
    column("grade", "category", categories=["1", "2"], outside="clip", missing="bin"),
    column("a", outside="clip", missing="bin"),
)
ROWS = "".join(f"c{i},{i % 2},{1 + i % 2}.0,{i}\n" for i in range(60))
ADDED = ["n/a", "3.5", "+1", "1e400", "2015-01-01", "007", "", '"x;y"']


def read(folder: Path, added: str) -> tuple[list[str], np.ndarray]:
    """Customers and codes of the rows that are always there."""
    file = folder / "rows.csv"
    file.write_text(f"who,late,grade,a\n{ROWS}{added}")
    table, _ = read_table(codebook.build(TEXT.encode()), file, None, need_outcome=True)
    stay = table.customers != "one-more"
    return table.customers[stay].tolist(), table.codes[stay]


@pytest.mark.parametrize("cell", ADDED)
@pytest.mark.parametrize("place", [2, 3], ids=["grade", "a"])
def test_a_row_more_leaves_all_others_as_they_are(tmp_path: Path, cell: str, place: int) -> None:
    cells = ["one-more", "0", "1.0", "5"]
    cells[place] = cell
    before, after = read(tmp_path, ""), read(tmp_path, ",".join(cells) + "\n")
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
    assert {0, 1} == set(before[1][:, 0].tolist()), "1.0 and 2.0 are read as the categories 1 and 2"


def test_a_customer_is_the_same_whatever_others_are_called(tmp_path: Path) -> None:
    numbers = schema(column("a", outside="clip", missing="bin"))
    book = codebook.build(numbers.encode())
    for added in ("", "n/a,0,3\n"):
        file = tmp_path / "rows.csv"
        file.write_text(f"who,late,a\n7,0,1\n7.0,1,2\n{added}")
        table, _ = read_table(book, file, None, need_outcome=True)
        assert table.customers[:2].tolist() == ["7", "7"]


def test_control_types_guessed_from_a_whole_column_let_one_row_move_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = files._csv

    def guessing(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> list[str]:
        names = plain(connection, name, path)
        for own, kind in files.guessed_types(connection, name):
            connection.execute(f"ALTER TABLE {files.quoted(name)} ALTER {files.quoted(own)} TYPE {kind}")
        return names

    monkeypatch.setattr(files, "_csv", guessing)
    monkeypatch.setattr("fedrepay.client.data.reading.columns.WHOLE", "^()$")
    before, after = read(tmp_path, ""), read(tmp_path, "one-more,0,n/a,5\n")
    assert not np.array_equal(before[1], after[1])
