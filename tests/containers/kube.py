"""Both Kubernetes manifests as pods of podman: a coordinator is founded, a member joins, is admitted and connected.

In tests/: `PYTHONPATH=.:../docker python -m containers.kube`, after `make images`; takes the images out of Docker's engine.
Podman plays no NetworkPolicy and no Service, and 4.3 no `emptyDir` and no `binaryData`: /tmp and the schema's folder are mounted
from this machine, and the secret is made by hand. It asks no probe without systemd, and joins a probe's words without quoting them: they are asked here, as
they stand. Everything else is played as it stands.
"""

import json
import shutil
import subprocess
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from containers.engine import COORDINATOR, FILE, LATE, MEMBER, Failed, docker, say, until
from containers.steps import DATA, rows

OUT = FILE.parents[1] / "dist" / "kube"
NETWORK, HOST = "fedrepay-kube", "fedrepay-coordinator-pod-0"
MEMBER_POD = "fedrepay-member-pod-0"
IMAGES = ("fedrepay-coordinator:latest", "fedrepay-member:latest", "nginx:1.29")
PROBES: dict[str, list[list[str]]] = {}
"""Commands of a container's probes, by its name in the manifest."""
PLAYED = ("PersistentVolumeClaim", "ConfigMap", "Deployment")


def podman(*words: object, given: str | None = None) -> str:
    """A command of podman; what it prints."""
    command = ["podman", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=given)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout


def manifest(name: str, own: Path) -> list[dict[str, Any]]:
    """What podman plays of a manifest."""
    text = (FILE.parent / "kubernetes" / f"{name}.yaml").read_text()
    text = text.replace("consortium.example:8443", f"{HOST}:8443").replace(
        "/schema.toml", "/uci_default_credit.toml"
    )
    text = text.replace("--minimum-cohort 5", "--minimum-cohort 3")
    found = [each for each in yaml.safe_load_all(text) if each["kind"] in PLAYED]
    temporary = OUT / f"{name}-tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    local = {"schema": DATA, "rows": own, "tmp": temporary}
    for each in found:
        if each["kind"] != "Deployment":
            continue
        pod = each["spec"]["template"]["spec"]
        pod["volumes"] = [
            {"name": one["name"], "hostPath": {"path": str(local[one["name"]]), "type": "Directory"}}
            if one["name"] in local
            else one
            for one in pod["volumes"]
        ]
        pod["restartPolicy"] = (
            "OnFailure"  # else 4.3 starts an init container that has ended once more, and trips over it
        )
        for container in pod["containers"]:
            probes = [container.pop(kind, {}) for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
            PROBES[container["name"]] = [each["exec"]["command"] for each in probes if "exec" in each]
    return found


def play(parts: list[dict[str, Any]]) -> "subprocess.Popen[bytes]":
    """Play them; it ends when their init containers have."""
    path = OUT / f"{len(list(OUT.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump_all(parts))
    return subprocess.Popen(["podman", "kube", "play", "--network", NETWORK, str(path)])


def ended(playing: "subprocess.Popen[bytes]") -> None:
    """Wait for what is played."""
    if playing.wait(LATE):
        raise Failed(f"podman kube play: exit status {playing.returncode}")


def typed(container: str, *words: str, folder: str) -> Any:
    """A command of fedrepay in a container; what it says to machines."""
    return json.loads(podman("exec", container, "fedrepay", *words, "--folder", folder, "--json"))


def healthy(pod: str, container: str) -> bool:
    """What its probes say now.

    Raises:
        Failed: it has none.
    """
    if not PROBES[container]:
        raise Failed(f"{container} has no probe that runs a command.")
    asked = [
        subprocess.run(["podman", "exec", f"{pod}-{container}", *words], check=False, capture_output=True)
        for words in PROBES[container]
    ]
    return all(each.returncode == 0 for each in asked)


def kube() -> None:
    """Found, invite, join, admit, run."""
    rows(OUT)
    podman("network", "create", NETWORK)
    coordinator = f"{HOST}-coordinator"
    ended(play(manifest("coordinator", OUT / "bank-a")))
    until("the coordinator is healthy", partial(healthy, HOST, "coordinator"))
    token = typed(coordinator, "coordinator", "invite", "bank-a", folder=COORDINATOR)["bank-a"]
    held = json.dumps(
        {"token": b64encode(token.encode()).decode()}
    )  # the one shape in which 4.3 finds a secret's key
    podman("secret", "create", "fedrepay-invitation", "-", given=held)
    playing = play(manifest("member", OUT / "bank-a"))

    def waits() -> bool:
        return bool(typed(coordinator, "coordinator", "members", folder=COORDINATOR)[0]["state"] == "waiting")

    until("bank-a waits to be admitted", waits)
    typed(coordinator, "coordinator", "admit", "bank-a", "--yes", folder=COORDINATOR)
    ended(playing)
    container = f"{MEMBER_POD}-member"
    until("the member is healthy", partial(healthy, MEMBER_POD, "member"))
    until("it is connected", lambda: bool(typed(container, "member", "status", folder=MEMBER)["connected"]))
    say("a coordinator and a member run as their manifests say; the member is connected")


def main() -> None:
    """From a clean place to a clean place."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    docker("save", "--output", OUT / "images.tar", *IMAGES)
    podman("load", "--input", OUT / "images.tar")
    (OUT / "images.tar").unlink()
    try:
        kube()
    finally:
        for each in (MEMBER_POD, HOST):
            subprocess.run(["podman", "pod", "rm", "--force", each], check=False, capture_output=True)
        names = (
            "fedrepay-coordinator",
            "fedrepay-member",
            "fedrepay-rows",
            "fedrepay-front",
            "fedrepay-invitation",
        )
        subprocess.run(["podman", "volume", "rm", "--force", *names], check=False, capture_output=True)
        subprocess.run(["podman", "secret", "rm", "fedrepay-invitation"], check=False, capture_output=True)
        subprocess.run(["podman", "network", "rm", "--force", NETWORK], check=False, capture_output=True)
        shutil.rmtree(OUT)


if __name__ == "__main__":
    main()
