"""A small consortium's files on disk, and `fedrepay simulate` on them."""

import re
from pathlib import Path

from fedrepay.shared.schema import codebook
from support.command import Result, fedrepay
from support.schemas import column, schema

ROWS = 120
DERIVED = column("twice", bounds=[0, 200], edges=[50], derived="a * 2")


class SmallRun:
    """Data, schema and code book of a small consortium, and an --out that must not come to be."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.data, self.schema = folder / "rows.csv", folder / "small.toml"
        self.write_rows("i % 3 == 0")
        self.write_schema(schema(column("a"), DERIVED, n_max=1000))

    def write_rows(self, late: str, name: str = "rows.csv", rows: int = ROWS) -> Path:
        lines = ["who,late,a,branch"]
        lines += [f"k{i},{int(eval(late, {'i': i}))},{i % 100},b{i % 4}" for i in range(rows)]  # noqa: S307
        (self.folder / name).write_text("\n".join(lines) + "\n")
        return self.folder / name

    def write_schema(self, text: str) -> None:
        self.schema.write_text(text)
        codebook.save(codebook.build(text.encode()), self.schema)

    def simulate(self, *options: object) -> Result:
        mapping = self.folder / "mine.toml"
        if not mapping.exists():
            mapping.write_text('sql = "SELECT who, late, a, branch FROM data"\nextra = ["branch"]')
        files = ("--data", self.data, "--schema", self.schema, "--mapping", mapping)
        return fedrepay("simulate", *files, "--out", self.out, *options)

    def left(self) -> list[str]:
        """Everything but what was put there by the test itself."""
        own = {self.data.name, self.schema.name, codebook.codebook_path(self.schema).name, "mine.toml"}
        return sorted(
            str(each.relative_to(self.folder)) for each in self.folder.iterdir() if each.name not in own
        )


def check_error(result: Result, code: int, words: str) -> None:
    """The error's name and cause, then a remedy on a line of its own; nothing on the screen."""
    said = result.err.strip().splitlines()
    assert result.code == code, result.err
    assert re.search(words, result.err, re.DOTALL), result.err
    assert len(said) >= 2, "a cause and a remedy"
    assert "Traceback" not in result.err
    assert result.out == ""
