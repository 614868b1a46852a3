"""The import rules hold, and each breaks when somebody breaks it; `--help` loads nothing heavy."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fedrepay

PACKAGE = Path(fedrepay.__file__).parent
PROJECT = Path(__file__).parents[3] / "pyproject.toml"
LINT = Path(sys.executable).with_name("lint-imports")
HEAVY = {
    "duckdb",
    "tenseal",
    "flwr",
    "sqlalchemy",
    "scipy",
    "sklearn",
    "dp_accounting",
    "starlette",
    "httpx",
    "holidays",
}

SIDES = "shared knows neither side"
PURE = "shared is pure: no flwr, no database, no clock"
APART = "client and server never meet"
PRODUCT = "the product does not lean on simulations"
BLIND = "the coordinator can import nothing that decrypts or trains"
OWN = "what a member sends knows nothing of its plans, facts and own part of the model"
ONE = "TenSEAL is attacked and compared with, by name, and used nowhere"
MEMBER = "floors of the member: a room imports rooms below it only"
DATA = "floors of the member's data: what is checked, read and allowed"
PLAN = "floors of a plan: batches in and out, words, decisions"
COORDINATOR = "floors of the coordinator"
SIMULATIONS = "floors of the simulations"
SHARED = "floors of what both sides share"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's sources and its rules in a folder of their own."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        PACKAGE, folder / "fedrepay", ignore=lambda _, names: [n for n in names if not is_source(n)]
    )
    shutil.copy(PROJECT, folder)
    return folder


def is_source(name: str) -> bool:
    return name.endswith(".py") or ("." not in name and name != "__pycache__")


def lint(folder: Path) -> tuple[int, set[str], str]:
    """Exit code, the contracts that are broken, and all that was said."""
    done = subprocess.run(
        [LINT, "--config", "pyproject.toml", "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        done.returncode,
        set(re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE)),
        done.stdout + done.stderr,
    )


def test_every_contract_is_kept_and_has_a_control_here(copy: Path) -> None:
    code, broken, text = lint(copy)
    assert (code, broken) == (0, set()), text
    assert set(re.findall(r"^(.+) KEPT", text, re.MULTILINE)) == {
        SIDES,
        PURE,
        APART,
        PRODUCT,
        BLIND,
        OWN,
        ONE,
        MEMBER,
        DATA,
        PLAN,
        COORDINATOR,
        SIMULATIONS,
        SHARED,
    }


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        (SIDES, "shared/errors.py", "from fedrepay.client.protocol import guard"),
        (SIDES, "shared/trust/wire.py", "import fedrepay.server.protocol.state"),
        (SIDES, "shared/schema/bins.py", "from fedrepay.simulations.rows.split import split_test"),
        (PURE, "shared/keys.py", "import time"),
        (PURE, "shared/privacy/noise.py", "from datetime import datetime"),
        (PURE, "shared/schema/encode.py", "import duckdb"),
        (PURE, "shared/trust/release.py", "import sqlite3"),
        (ONE, "shared/secure_sum/ciphertext.py", "import tenseal"),
        (PURE, "shared/trust/sums.py", "from flwr.app import Context"),
        (APART, "server/protocol/verify.py", "from fedrepay.client.protocol import guard"),
        (APART, "client/protocol/guard.py", "from fedrepay.server.protocol import state"),
        (PRODUCT, "client/scoring/score.py", "from fedrepay.simulations.rows import figures"),
        (PRODUCT, "server/network/app.py", "import fedrepay.simulations.run.grid"),
        (ONE, "server/protocol/verify.py", "import tenseal"),
        (BLIND, "server/protocol/state.py", "import torch"),
        (BLIND, "server/protocol/coordinator.py", "from opacus import PrivacyEngine"),
        (BLIND, "server/store.py", "import duckdb"),
        (BLIND, "server/protocol/ceremony.py", "def late() -> None:\n    import dp_accounting"),
        (BLIND, "shared/secure_sum/ring.py", "import torch"),
        (OWN, "client/crypto/seal.py", "from fedrepay.client.plans.deciding.personal import Personal"),
        (OWN, "client/learning/contribution.py", "from fedrepay.client.plans.batch_io import accounts"),
        (OWN, "client/node/door.py", "from fedrepay.client.plans.batch_io import accounts"),
        (BLIND, "server/front/front.py", "import torch"),
        (ONE, "client/protocol/guard.py", "import tenseal"),
        (MEMBER, "client/veto/limits.py", "from fedrepay.client.protocol import guard"),
        (MEMBER, "client/store/tables.py", "from fedrepay.client.data.reading import table"),
        (DATA, "client/data/mappings/tree.py", "from fedrepay.client.data.reading import table"),
        (PLAN, "client/plans/deciding/engine.py", "from fedrepay.client.plans.explaining import annotate"),
        (PLAN, "client/plans/batch/caps.py", "from fedrepay.client.plans.explaining import messages"),
        (COORDINATOR, "server/protocol/state.py", "from fedrepay.server import store"),
        (
            SIMULATIONS,
            "simulations/rows/gram.py",
            "def late() -> None:\n    from fedrepay.simulations.attacks import base",
        ),
        (SIMULATIONS, "simulations/run/folder.py", "from fedrepay.simulations import simulate"),
        (SHARED, "shared/rules/facts.py", "from fedrepay.shared.schema import model"),
        (ONE, "simulations/rows/measure.py", "def late() -> None:\n    from tenseal import context"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(copy: Path, contract: str, module: str, line: str) -> None:
    target = copy / "fedrepay" / module
    before = target.read_text()
    try:
        target.write_text(f"{before}\n{line}\n")
        code, broken, text = lint(copy)
    finally:
        target.write_text(before)
    assert code == 1, text
    assert contract in broken, text


def loaded_by(program: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after the program."""
    ending = f"\nprint(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + program + ending], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "simulate --help",
        "attack --help",
        "attack",
        "member score --help",
        "schema build --help",
        "member check-data --help",
        "member recommend --help",
        "rules diff --help",
        "member serve --help",
        "coordinator train --help",
    ],
)
def test_help_loads_nothing_heavy(words: str) -> None:
    program = f"from fedrepay import cli\nsys.argv = ['fedrepay', *{words.split()!r}]\n"
    assert (
        loaded_by(program + "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code")
        == set()
    )


def test_the_package_itself_loads_nothing_but_the_standard_library() -> None:
    program = "before = set(sys.modules)\nimport fedrepay\ndir(fedrepay)\n"
    ending = "print(*{each.partition('.')[0] for each in set(sys.modules) - before})"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}{ending}"], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) == {"fedrepay"}


def test_control_a_public_name_loads_what_it_needs() -> None:
    assert loaded_by("import fedrepay\nfedrepay.recommend") >= {"duckdb"}
    assert loaded_by("import fedrepay\nfedrepay.errors") == set()


def test_control_the_work_itself_does_load_them() -> None:
    assert loaded_by("import fedrepay.simulations.simulate, fedrepay.client.crypto.rlwe, duckdb") >= {
        "flwr",
        "scipy",
        "duckdb",
    }
