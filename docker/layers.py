"""Secrets in the layers of an image, also of files that a later layer hides; and installers in what is left at last.

    python docker/layers.py fedrepay-member [IMAGE …]

Exit status 1 where something is found: image, layer, file and what it looks like, never the secret.
"""

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

NAMES = re.compile(
    r"(^|/)(((identity|node|coordinator|server|ca)\.key)|superexec\.secret|(member|coordinator|superlink)\.sqlite"
    r"|id_(rsa|dsa|ecdsa|ed25519)|\.netrc|_netrc|\.pypirc|pip\.conf|\.pgpass|\.env|\.git|\.ssh|\.docker|\.aws)(/|$)"
)
"""Of files that hold keys, state or log-ins."""
CONTENTS = {
    "a private key": re.compile(
        rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\s+(?:[A-Za-z0-9+/=]{16,}\s+){2}"
    ),
    "an invitation": re.compile(rb"\bfedrepay1\.[A-Za-z0-9_-]{40}"),
    "a cloud's access key": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
}
LOGIN = re.compile(rb"\b[a-z][a-z0-9+]{2,12}://[^\s/:@\"'<>{}]+:[^\s/:@\"'<>{}]{3,}@[a-z0-9]")
"""An address with a password: looked for outside of packages, whose documentation shows such."""
PACKAGES = re.compile(r"(^|/)(site-packages|dist-packages|usr/share|usr/lib)/")
INSTALLERS = re.compile(
    r"(^|/)(bin/(pip[\d.]*|uvx?|poetry|conda|npm|git|make|cmake|gcc[\d.-]*|g\+\+[\d.-]*|cc|c\+\+|ld|cargo)"
    r"|(site|dist)-packages/(pip|setuptools)|ensurepip/__init__\.py|pip-[\d.]+[^/]*\.whl)$"
)
PUBLISHED = re.compile(r"(^|/)usr/lib/[^/]+/libgnutls\.so\.[\d.]+$")
"""Keys that are no secret: those with which GnuTLS tries itself."""
MOST = 64 << 20
"""Bytes of a file that are looked at: more have no text in them."""


def looks_like(name: str, data: bytes) -> list[str]:
    """What a file looks like that it must not be."""
    if PUBLISHED.search(name):
        return []
    found = ["a file of that name"] if NAMES.search(name) else []
    found += [what for what, pattern in CONTENTS.items() if pattern.search(data)]
    if not PACKAGES.search(name) and LOGIN.search(data):
        found.append("an address with a password")
    return found


def secrets(images: Sequence[str]) -> Iterator[str]:
    """Lines about images, one for each find; their configuration (environment, history) is looked at too."""
    with TemporaryDirectory() as folder:
        saved = Path(folder) / "images.tar"
        subprocess.run(["docker", "save", "--output", str(saved), *images], check=True)
        with tarfile.open(saved) as archive:
            seen: set[str] = set()
            for image in json.loads(_member(archive, "manifest.json").read()):
                name = image["RepoTags"][0]
                yield from _told(name, "configuration", _member(archive, image["Config"]).read())
                for layer in image["Layers"]:
                    if layer not in seen:
                        yield from _of_layer(f"{name}, layer {layer[:12]}", _member(archive, layer))
                        seen.add(layer)


def _of_layer(where: str, opened: IO[bytes]) -> Iterator[str]:
    with tarfile.open(fileobj=opened, mode="r:*") as files:
        for each in files:
            inner = files.extractfile(each) if each.isreg() else None
            yield from _told(where, each.name, b"" if inner is None else inner.read(MOST))


def _member(archive: tarfile.TarFile, name: str) -> "IO[bytes]":
    return cast("IO[bytes]", archive.extractfile(name))


def _told(where: str, name: str, data: bytes) -> Iterator[str]:
    for what in looks_like(name, data):
        yield f"{where}: {name} looks like {what}"


def installers(image: str) -> list[str]:
    """Programs and packages in the image's own file system that install or build others."""
    container = subprocess.run(
        ["docker", "create", image], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    try:
        with (
            subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as out,
            tarfile.open(fileobj=cast("IO[bytes]", out.stdout), mode="r|") as archive,
        ):
            names = [each.name for each in archive]
    finally:
        subprocess.run(["docker", "rm", container], check=True, stdout=subprocess.DEVNULL)
    return [f"{image}: {name} installs or builds" for name in names if INSTALLERS.search(name)]


def main() -> int:
    """Look at every image that is named."""
    found = list(secrets(sys.argv[1:]))
    found += [line for image in sys.argv[1:] for line in installers(image)]
    for line in found:
        print(line)
    if not found:
        print(f"{', '.join(sys.argv[1:])}: no secret in any layer, and no installer.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
