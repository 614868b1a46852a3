"""The `fedrepay` command as a person meets it: arguments in; exit code, screen and errors out."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from fedrepay import cli


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def fedrepay(*arguments: object) -> Result:
    """Run the whole command in this process, typed errors turned into exit codes as `cli.main` does."""
    out, err = io.StringIO(), io.StringIO()
    words = ["fedrepay", *map(str, arguments)]
    wide = {"COLUMNS": "400", "TERM": "dumb"}
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.dict("os.environ", wide),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Result(code, out.getvalue(), err.getvalue())
