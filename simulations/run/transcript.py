"""The transcript: what the coordinator and the wire saw, and nothing else, for others to attack."""

import json
import os
from hashlib import sha256
from pathlib import Path

from fedrepay.shared.errors import StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.run.grid import Exchange

CEREMONY = (
    *(Kind.PROPOSE, Kind.REVEAL, Kind.APPROVE, Kind.CERTIFY, Kind.TERMS),
    *(Kind.HELLO, Kind.INTRODUCE, Kind.SEED, Kind.CONFIRM),
)
_REMEDY = "Free the disk, then run the same command again: the run resumes."
README = """What the coordinator and the wire saw in this run: roster, configurations, signed headers,
ciphertexts, tags, sealed envelopes, sizes.
`messages.jsonl` lists the messages in order; `blobs/` holds their bytes by SHA-256.
It holds no seed, secret key, opened sum, mask, noise, row count or evaluation figure;
a test of the project searches it for every secret of a run.
"""


class Transcript:
    """Appends exchanges to a folder.

    Raises:
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, names: dict[int, str]) -> None:
        self._folder = folder
        self._names = names
        self._last: tuple[bytes, str] = (b"", "")
        try:
            (folder / "blobs").mkdir(parents=True, exist_ok=True)
            (folder / "README.txt").write_text(README, encoding="utf-8")
            _cut_half_line(folder / "messages.jsonl")
        except OSError as error:
            raise _failed(folder, error) from error

    def record(self, exchange: Exchange) -> None:
        """Append one exchange."""
        line = {
            "member": self._names[exchange.node],
            "kind": exchange.kind,
            "bytes_down": exchange.sent,
            "bytes_up": exchange.received,
            "shared": self._blob(exchange.shared),
            "body": len(exchange.body),
            "own": self._blob(exchange.own),
            "reply": self._blob(exchange.body),
            "error": exchange.error,
        }
        try:
            with (self._folder / "messages.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise _failed(self._folder, error) from error

    def _blob(self, data: bytes) -> str | None:
        if not data:
            return None
        if data == self._last[0]:  # one broadcast is one blob
            return self._last[1]
        name = sha256(data).hexdigest()
        path = self._folder / "blobs" / name
        if not path.exists():
            write_atomically(path, data, _REMEDY, durable=False)
        if len(data) > 100_000:
            self._last = (data, name)
        return name


def _cut_half_line(path: Path) -> None:
    """Take away the end of a line that a full disk or a kill cut short: nothing may be appended to it."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)


def wire_bytes(folder: Path, members: int) -> dict[str, float]:
    """Bytes a member sent and received, from the transcript (all sessions of the run)."""
    up = ceremony = down = release = 0
    with (folder / "messages.jsonl").open() as file:
        for line in file:
            message = json.loads(line)
            down += message["bytes_down"]
            if message["kind"] == Kind.ROUND:
                up += message["body"]
            elif message["kind"] in CEREMONY:
                ceremony += message["body"]
            elif message["kind"] == Kind.WRITE:
                release = max(release, message["body"])
    return {
        "bytes_up_per_member": up / members,
        "bytes_ceremony_per_member": ceremony / members,
        "bytes_release": release,
        "bytes_down_per_member": down / members,
    }


def _failed(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The transcript in {folder} cannot be written: {error.strerror}.",
        _REMEDY,
    )
