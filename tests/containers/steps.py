"""What the operator's and the banks' people type, from nothing to a release: docker/README.md, in its order."""

import json
import shutil
from pathlib import Path
from typing import Any

from containers.engine import COORDINATOR, MEMBER, Compose, Failed, docker, until

DATA = Path(__file__).resolve().parents[2] / "simulations" / "data"
BANKS = ("bank-a", "bank-b", "bank-c")
ROWS = 3000
_SPLIT = """
import duckdb
rows = "SELECT * FROM '/credit.parquet' WHERE ID <= {rows} AND ID % 3 = {rest}"
duckdb.execute(f"COPY ({{rows}}) TO '/dev/stdout' (HEADER)")
"""


def founds(compose: Compose) -> None:
    """The coordinator's folder, and nginx's configuration out of it; everything of the coordinator runs."""
    terms = ("--name", "Demo", "--address", "consortium.example:8443", "--minimum-cohort", "3", "--yes")
    places = ("--behind-proxy", "--front", "18443", "--schema", "/schema/uci_default_credit.toml")
    command = ("coordinator", "init", "--folder", COORDINATOR, *terms, *places)
    compose.once("coordinator", *command, options=("-v", f"{DATA}:/schema:ro"))
    nginx = compose.once("coordinator", f"{COORDINATOR}/nginx.conf", options=("--entrypoint", "cat"))
    Path(compose.environment["NGINX_CONF"]).write_text(nginx)
    compose("up", "-d", "front")
    compose.healthy("coordinator", "front")


def rows(folder: Path) -> None:
    """Each bank's accounts and mapping."""
    for rest, name in enumerate(BANKS):
        own = folder / name
        own.mkdir(parents=True)
        source = f"{DATA / 'uci_default_credit_30k.parquet'}:/credit.parquet:ro"
        python = (
            "--entrypoint",
            "python",
            "-v",
            source,
            "fedrepay-member",
            "-c",
            _SPLIT.format(rows=ROWS, rest=rest),
        )
        (own / "accounts.csv").write_text(docker("run", "--rm", "--network", "none", *python))
        shutil.copy(DATA / "uci_default_credit.mapping.toml", own / "mapping.toml")


def enrols(compose: Compose) -> None:
    """Invitations, requests, words compared by people (here: by us), certificates, the first roster."""
    tokens = compose.typed("coordinator", "coordinator", "invite", *BANKS)
    brought = ("--data", "/rows/accounts.csv", "--mapping", "/rows/mapping.toml", "--yes")
    for name in BANKS:
        join = ("member", "join", tokens[name], "--folder", MEMBER)
        words = json.loads(compose.once(name, *join, *brought, "--no-wait", "--json"))["words"]
        seen = {
            each["name"]: each["words"] for each in compose.typed("coordinator", "coordinator", "members")
        }
        if seen[name] != words:
            raise Failed(f"{name} reads out other words than the operator sees.")
        compose.typed("coordinator", "coordinator", "admit", name, "--yes")
        compose.once(name, *join, "--yes")
        # three banks on purpose, where the default limit asks for five
        lower = ("-i", "s/^minimum_cohort = 5/minimum_cohort = 3/", f"{MEMBER}/limits.toml")
        compose.once(name, *lower, options=("--entrypoint", "sed"))
    compose("up", "-d", "--no-deps", *BANKS)
    compose.healthy(*BANKS)

    def proposed(name: str) -> Any:
        return compose.typed(name, "member", "roster")["proposed"]

    until(
        "everybody is shown the roster",
        lambda: all(len((proposed(name) or {}).get("members", ())) == 3 for name in BANKS),
    )
    words = {proposed(name)["words"] for name in BANKS}
    if len(words) != 1:
        raise Failed(f"Rosters with different words: {words}.")
    for name in BANKS:
        compose(
            "exec",
            "-T",
            name,
            "fedrepay",
            "member",
            "approve-roster",
            "--folder",
            MEMBER,
            *next(iter(words)).split(),
        )
    until("the roster counts", lambda: all(compose.typed(name, "member", "roster")["held"] for name in BANKS))


def trains(compose: Compose, number: int) -> None:
    """A run to its release, at every member."""
    again = ("--new-run",) if number > 1 else ()
    compose("exec", "-T", "coordinator", "fedrepay", "coordinator", "train", "--folder", COORDINATOR, *again)
    for name in BANKS:
        compose("exec", "-T", name, "fedrepay", "member", "pull", "--folder", MEMBER)
