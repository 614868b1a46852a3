"""A consortium of containers from nothing to a release, and what must be true of it; `make compose-demo`.

Types what docker/README.md says, on three thousand rows of the shipped credit data. Each assertion has a control: the same
assertion over something spoilt, which must fail. Leaves nothing behind (but for --keep).
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import layers
from containers.engine import COORDINATOR, MEMBER, Compose, Failed, docker, must_fail, say, until
from containers.steps import BANKS, enrols, founds, rows, trains

OUT = Path(__file__).resolve().parents[2] / "dist" / "demo"
_SPOIL = """
import sqlite3
base = sqlite3.connect("/var/lib/fedrepay/member/member.sqlite")
((number, data),) = base.execute("SELECT number, release FROM releases ORDER BY number DESC LIMIT 1").fetchall()
base.execute("UPDATE releases SET release = ? WHERE number = ?", (data[:-1] + bytes([data[-1] ^ 1]), number))
base.commit()
"""
"""The last byte of the newest release changes; once more, and it is what it was."""
_HELD = (
    "set -e; rm -rf /tmp/held /tmp/scores.csv; where={folder}; "
    "fedrepay member releases export {number} --out /tmp/held --folder $where >&2; "
    "fedrepay member score --release /tmp/held --member $where --accounts /rows/accounts.csv --mapping /rows/mapping.toml "
    "--out /tmp/scores.csv >&2; sha256sum /tmp/held/release.safetensors | cut -c1-64; wc -l </tmp/scores.csv"
)
"""Its signatures and roster are checked by `export` and by `score`; then the bytes' hash, and how many lines of scores."""


def same(held: Mapping[str, tuple[str, int]]) -> str:
    """The hash of the one release that all hold.

    Args:
        held: hash and lines of scores, by member.

    Raises:
        Failed: they hold different ones, or somebody has no scores by it.
    """
    hashes = {digest for digest, _ in held.values()}
    if len(hashes) != 1 or len(held) != len(BANKS):
        raise Failed(f"Not the same release: {dict(held)}.")
    if poor := [name for name, (_, lines) in held.items() if lines < 2]:
        raise Failed(f"No scores: {', '.join(poor)}.")
    return hashes.pop()


def held(compose: Compose, number: int) -> dict[str, tuple[str, int]]:
    """Hash of the release that each member holds, and lines of scores, both after its own checks."""
    found = {}
    for name in BANKS:
        digest, lines = compose(
            "exec", "-T", name, "sh", "-c", _HELD.format(folder=MEMBER, number=number)
        ).split()
        found[name] = (digest, int(lines))
    return found


def dies(compose: Compose, service: str) -> None:
    """All its processes are killed (-9) at once; the engine starts it again, and it is well."""
    before = compose.state(service)
    compose("exec", "-T", service, "python", "-c", "import os; os.kill(-1, 9)", ok=False)
    until(
        f"{service} runs again",
        lambda: compose.state(service)["State"]["StartedAt"] != before["State"]["StartedAt"],
    )
    if compose.state(service)["Id"] != before["Id"]:
        raise Failed(f"{service} is another container.")
    compose.healthy(service)


def connected(compose: Compose) -> None:
    """Every member reaches the coordinator."""

    def reached() -> bool:
        return all(compose.typed(name, "member", "status")["connected"] for name in BANKS)

    until("every member is connected", reached)


def hardened(compose: Compose) -> None:
    """User, root, rights and ports of the containers, by the engine and from inside."""
    public = []
    for name in ("place", "postgres", "coordinator", "front", *BANKS):
        seen = compose.state(name)
        host = seen["HostConfig"]
        if not host["ReadonlyRootfs"] or host["CapDrop"] != ["ALL"] or host["Privileged"] or host["CapAdd"]:
            raise Failed(f"{name} runs with more than it needs.")
        public += [port for port, bound in (host["PortBindings"] or {}).items() if bound]
        status = docker("exec", seen["Id"], "cat", "/proc/self/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        user, rights = facts["Uid"].split()[0], int(facts["CapEff"], 16) | int(facts["CapPrm"], 16)
        if user not in ("10001", "999") or rights or facts["NoNewPrivs"] != "1":
            raise Failed(f"{name}: user {user}, capabilities {rights:x}, no_new_privs {facts['NoNewPrivs']}.")
        if "denied" not in docker("exec", seen["Id"], "sh", "-c", "touch /usr/x 2>&1 || echo denied"):
            raise Failed(f"{name} can write outside of its volumes.")
    if public != ["8443/tcp"]:
        raise Failed(f"Not one public port: {public}.")


def in_postgres(compose: Compose) -> None:
    """The coordinator's members stand in PostgreSQL, and in no file of its folder."""
    asked = ("psql", "-U", "fedrepay", "-tAc", "SELECT count(*) FROM members")
    known = int(compose("exec", "-T", "postgres", *asked))
    files = compose("exec", "-T", "coordinator", "ls", COORDINATOR).split()
    if known != len(BANKS) or "coordinator.sqlite" in files:
        raise Failed(f"{known} members in PostgreSQL, and in the folder {files}.")


def ends(compose: Compose, service: str, last: str) -> None:
    """SIGTERM ends its processes in order, well within the time that compose gives."""
    compose("stop", service)
    status = compose.state(service)["State"]["ExitCode"] if compose.container(service) else None
    said = compose("logs", "--no-color", "--tail", "20", service)
    ended = [line for line in said.splitlines() if "has ended." in line]
    if status != 0 or not ended or last not in ended[-1]:
        raise Failed(f"{service} did not end in order: {status}, {said}")
    compose("start", service)
    compose.healthy(service)


def clean_layers() -> None:
    """No secret in a layer, no installer in the end; and a planted one is found although a later layer hides it.

    Raises:
        Failed: something is found, or the planted one is not.
    """
    images = ["fedrepay-coordinator:latest", "fedrepay-member:latest"]
    found = [*layers.secrets(images), *(line for image in images for line in layers.installers(image))]
    if found:
        raise Failed("\n".join(found))
    planted = OUT / "planted"
    planted.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", planted / "key"], check=True)
    (planted / "key").rename(planted / "notes.txt")
    (planted / "Dockerfile").write_text(
        "FROM fedrepay-member:latest\nUSER 0\nCOPY notes.txt /srv/notes.txt\nRUN rm /srv/notes.txt\n"
    )
    docker("build", "--quiet", "--network", "none", "--tag", "fedrepay-planted", planted)
    try:

        def look() -> None:
            if lines := list(layers.secrets(["fedrepay-planted"])):
                raise Failed("\n".join(lines))

        must_fail("a key that one layer brings and the next removes", look)
    finally:
        docker("rmi", "fedrepay-planted")


def demo(compose: Compose) -> None:
    """All of it, in order."""
    say("rows, the coordinator's folder, its services")
    rows(Path(compose.environment["ROWS"]))
    founds(compose)
    say("three members join, are admitted, approve the roster")
    enrols(compose)
    hardened(compose)
    in_postgres(compose)
    say("containers: uid 10001 (PostgreSQL 999), read-only, no capability, one public port")
    trains(compose, 1)
    first = same(held(compose, 1))
    say(f"release 1 at every member, verified by each: {first[:16]}…")
    spoil = ("exec", "-T", "bank-c", "python", "-c", _SPOIL)
    compose(*spoil)
    must_fail("a byte of bank-c's release is another", lambda: same(held(compose, 1)))
    compose(*spoil)
    for service in ("bank-b", "coordinator"):
        dies(compose, service)
        connected(compose)
        if same(held(compose, 1)) != first:
            raise Failed("The release is another after a kill.")
        say(f"{service} was killed, came back, and every member holds the same verified release")
    trains(compose, 2)
    second = same(held(compose, 2))
    must_fail(
        "bank-c holds another verified release",
        lambda: same(held(compose, 2) | {"bank-c": held(compose, 1)["bank-c"]}),
    )
    say(f"release 2 at every member, verified by each: {second[:16]}…")
    ends(compose, "bank-a", "serve")
    ends(compose, "coordinator", "superlink")
    say("SIGTERM ends a member's and the coordinator's processes in order")


def main() -> None:
    """From a clean place to a clean place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the containers up")
    parser.add_argument(
        "--no-scan", action="store_true", help="do not look through the layers (1 to 3 minutes)"
    )
    said = parser.parse_args()
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    environment = {"ROWS": str(OUT / "rows"), "NGINX_CONF": str(OUT / "nginx.conf")}
    compose = Compose(("docker", "compose") if v2 else ("docker-compose",), environment)
    say(f"by {compose('version').splitlines()[0]}")
    began = time.monotonic()
    try:
        compose("down", "-v", "--remove-orphans")
        demo(compose)
        if not said.no_scan:
            clean_layers()
            say("no secret in any layer of the images, no installer in them")
        say(f"all of it is true, in {(time.monotonic() - began) / 60:.1f} minutes")
    except Failed as error:
        say(f"FAILED: {error}")
        print(compose("logs", "--no-color", "--tail", "60", ok=False)[-12000:])
        sys.exit(1)
    finally:
        if not said.keep:
            compose("down", "-v", "--remove-orphans", ok=False)
            shutil.rmtree(OUT)


if __name__ == "__main__":
    main()
