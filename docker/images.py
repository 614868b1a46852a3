"""Wheelhouse, images, SBOMs and the offline bundle. `python docker/images.py --help`; docker/README.md says when which.

Only the wheelhouse asks a registry for anything, by the hashes of docker/locks/. Images are built from it without network.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HERE, OUT = ROOT / "docker", ROOT / "dist"
HOUSE, BUNDLE = OUT / "wheelhouse", OUT / "bundle"
EXTRAS = {"coordinator": ("coordinator", "postgres", "network"), "member": ("member", "network")}
ROLES = tuple(EXTRAS)
LOCKS = (*ROLES, "tools")
NAMESPACE = "fedrepay-release"
"""What a signature of `SHA256SUMS` is made for: one for anything else does not verify."""
SIGNER = "release"
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


def run(*words: object, **options: Any) -> str:
    """A command that must end well; its output."""
    done = subprocess.run(
        [str(each) for each in words], check=False, stdout=subprocess.PIPE, text=True, **options
    )
    if done.returncode:
        raise SystemExit(f"{words[0]} {words[1]} ended with exit status {done.returncode}.")
    return str(done.stdout)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lock(uv: Path) -> None:
    """Write docker/locks/ anew from pyproject.toml and constraints.txt: after either changes."""
    always = ("--generate-hashes", "--no-header", "--no-annotate", "--python-version", "3.11", "--quiet")
    for role in ROLES:
        extras = [word for extra in EXTRAS[role] for word in ("--extra", extra)]
        target, limits = HERE / "locks" / f"{role}.txt", ("--constraint", ROOT / "constraints.txt")
        run(uv, "pip", "compile", ROOT / "pyproject.toml", *extras, *limits, *always, "--output-file", target)
    wanted = "cyclonedx-bom==7.5.0\nsetuptools==84.2.1\n"  # the SBOMs, and our own wheel
    target = HERE / "locks" / "tools.txt"
    run(uv, "pip", "compile", "-", *always, "--output-file", target, input=wanted)


def wheelhouse() -> None:
    """Fetch what the locks name, make our own wheel of the last commit, and write its hash beside theirs."""
    wheels, locks = HOUSE / "wheels", HOUSE / "locks"
    for folder in (wheels, locks):
        folder.mkdir(parents=True, exist_ok=True)
    there = {digest(path) for path in wheels.iterdir()}
    known: set[str] = set()
    for name in LOCKS:
        path = HERE / "locks" / f"{name}.txt"
        wanted = [set(_HASH.findall(part)) for part in re.split(r"\n(?=\S)", path.read_text())]
        if not all(hashes & there for hashes in wanted):
            fetch = (
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary",
                ":all:",
                "--no-deps",
            )
            options = ("--require-hashes", "--find-links", wheels, "--dest", wheels, "--requirement", path)
            run(sys.executable, "-m", "pip", *fetch, *options)
        known |= set().union(*wanted)
        shutil.copy(path, locks)
    for path in wheels.iterdir():
        if digest(path) not in known:  # of an earlier lock, or an earlier wheel of ours
            path.unlink()
    ours = own_wheel(wheels)
    version = ours.name.split("-")[1]
    for role in ROLES:
        with (locks / f"{role}.txt").open("a") as file:
            file.write(f"fedrepay=={version} --hash=sha256:{digest(ours)}\n")
    print(f"{HOUSE.relative_to(ROOT)}: {len(list(wheels.iterdir()))} wheels, ours is {ours.name}")


def own_wheel(wheels: Path) -> Path:
    """Our wheel, of the last commit and of nothing that lies about; its build sees the wheelhouse alone."""
    source = OUT / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    archive = source / "source.tar"
    run("git", "-C", ROOT, "archive", "--output", archive, "HEAD")
    run("tar", "-C", source, "-xf", archive)
    made = run("git", "-C", ROOT, "log", "-1", "--format=%ct").strip()
    house = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "SOURCE_DATE_EPOCH": made}
    make = ("wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", wheels, source)
    run(sys.executable, "-m", "pip", *make, env=os.environ | house)
    shutil.rmtree(source)
    (ours,) = wheels.glob("fedrepay-*.whl")
    return ours


def build(base: str) -> None:
    """Both images, and an SBOM beside each."""
    for target in ("sbom", *ROLES):
        where = ("--file", HERE / "Dockerfile", "--target", target, "--tag", f"fedrepay-{target}:latest")
        run("docker", "build", "--quiet", "--network", "none", "--build-arg", f"BASE={base}", *where, HOUSE)
    for role in ROLES:
        path = OUT / f"{role}.cdx.json"
        path.write_text(json.dumps(sbom(role), indent=1, sort_keys=True) + "\n")
        size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", f"fedrepay-{role}")) / 1e6
        print(f"fedrepay-{role}: {size:.0f} MB; {path.relative_to(ROOT)}")


def sbom(role: str) -> dict[str, Any]:
    """CycloneDX of an image: its Python distributions by their own metadata, and its Debian packages."""
    once = ("docker", "run", "--rm", "--network", "none")
    found: dict[str, Any] = json.loads(run(*once, "fedrepay-sbom", f"/opt/{role}/bin/python"))
    asked = ("--entrypoint", "dpkg-query", f"fedrepay-{role}", "--show", "--showformat")
    lines = run(*once, *asked, "${Package} ${Version} ${Architecture}\\n").splitlines()
    found["components"] += [debian(*line.split(" ")) for line in lines]
    return found


def debian(name: str, version: str, architecture: str) -> dict[str, str]:
    """A Debian package as a component."""
    url = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={architecture}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def bundle(key: Path) -> None:
    """Everything for a machine without network, with hashes and a signature over them."""
    shutil.rmtree(BUNDLE, ignore_errors=True)
    shutil.copytree(HERE, BUNDLE / "docker", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HOUSE, BUNDLE / "wheelhouse")
    for role in ROLES:
        shutil.copy(OUT / f"{role}.cdx.json", BUNDLE)
    shutil.copy(ROOT / "LICENSE", BUNDLE)
    images = BUNDLE / "images.tar"
    run("docker", "save", "--output", images, *(f"fedrepay-{role}:latest" for role in ROLES))
    run("gzip", "--no-name", "--fast", images)
    sign(BUNDLE, key)
    check(BUNDLE, Path(f"{key}.pub").read_text())
    archive = OUT / "fedrepay-offline.tar"
    run("tar", "-C", OUT, "-cf", archive, BUNDLE.name)
    shutil.rmtree(BUNDLE)
    print(f"{archive.relative_to(ROOT)}: {archive.stat().st_size / 1e6:.0f} MB, signed by {key}")


def sign(folder: Path, key: Path) -> None:
    """Write `SHA256SUMS` of all files, and its signature by an OpenSSH key."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(f"{digest(path)}  {path.relative_to(folder)}\n" for path in files))
    run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, sums, stderr=subprocess.DEVNULL)


def check(folder: Path, public: str) -> None:
    """As whoever receives it: who signed, whether every file is as it was, and whether others lie there."""
    signers, sums = folder.parent / "allowed_signers", folder / "SHA256SUMS"
    signers.write_text(f"{SIGNER} {public}")
    verify = ("-Y", "verify", "-f", signers, "-I", SIGNER, "-n", NAMESPACE, "-s", f"{sums}.sig")
    with sums.open() as said:
        run("ssh-keygen", *verify, stdin=said)
    signers.unlink()
    run("sha256sum", "--check", "--strict", "--quiet", sums.name, cwd=folder)
    listed = {line.split("  ", 1)[1] for line in sums.read_text().splitlines()} | {
        sums.name,
        f"{sums.name}.sig",
    }
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if there != listed:
        raise SystemExit(f"Not signed for: {', '.join(sorted(there - listed))}.")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    does = parser.add_subparsers(dest="does", required=True)
    locks = does.add_parser("lock", help="write docker/locks/ anew; needs a registry")
    locks.add_argument("--uv", type=Path, default=Path(sys.executable).with_name("uv"))
    does.add_parser("wheelhouse", help="fetch wheels by hash, and make our own; needs a registry")
    images = does.add_parser("build", help="both images and their SBOMs, without network")
    images.add_argument("--base", default="python:3.11-slim")
    bundled = does.add_parser("bundle", help="images, wheels, SBOMs and these files, hashed and signed")
    bundled.add_argument("--key", type=Path, required=True, help="OpenSSH private key; KEY.pub beside it")
    said = parser.parse_args()
    if said.does == "lock":
        lock(said.uv)
    elif said.does == "wheelhouse":
        wheelhouse()
    elif said.does == "build":
        build(said.base)
    else:
        bundle(said.key)


if __name__ == "__main__":
    main()
