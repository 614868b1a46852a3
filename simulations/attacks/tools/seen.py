"""A run's ``transcript/``, read as an adversary reads it: what the coordinator and the wire saw."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from fedrepay.shared.errors import DataError, ProtocolError
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.trust.wire import Closing, Header, Kind, PrepareRequest, Reply, RoundConfig, Sum, Upload
from fedrepay.simulations.attacks.tools.adversary import answer, config_of


@dataclass
class Seen:
    """What a transcript holds of the rounds.

    Attributes:
        configs: attempt → its configuration.
        uploads: attempt → name → what that member sent.
        sums: round → the completed sum as members got it.
    """

    configs: dict[int, RoundConfig] = field(default_factory=dict)
    uploads: dict[int, dict[str, Upload]] = field(default_factory=dict)
    sums: dict[int, Sum] = field(default_factory=dict)

    def whole(self) -> list[int]:
        """Attempts all of whose cohort has sent: only their sums lose their masks."""
        return [
            attempt
            for attempt, config in sorted(self.configs.items())
            if set(config.cohort) <= set(self.uploads.get(attempt, {}))
        ]


def read(folder: Path) -> Seen:
    """Read ``messages.jsonl`` and the blobs it names.

    Raises:
        DataError: this is not a transcript, a blob is missing or damaged, or it holds no round.
    """
    seen, number = Seen(), 0
    try:
        lines = (folder / "messages.jsonl").read_text().splitlines()
        for number, line in enumerate(lines, start=1):  # noqa: B007 - the error names it
            message = json.loads(line)
            shared, reply = (
                (folder / "blobs" / message[part]).read_bytes() if message[part] else b""
                for part in ("shared", "reply")
            )
            _take(seen, message["kind"], message["member"], shared, answer(reply) if reply else None)
    except OSError as error:
        raise DataError(
            f"{folder} is not a transcript: {error.strerror} ({error.filename}).",
            "Give DIR/transcript of `fedrepay simulate --out DIR`.",
        ) from error
    except (ValueError, KeyError, TypeError, ProtocolError) as error:
        raise DataError(
            f"{folder / 'messages.jsonl'}, line {number}: not a message of this version ({error}).",
            "Record the run again with this version of fedrepay.",
        ) from error
    if not seen.uploads:
        raise DataError(f"{folder} holds no upload of any round.", "Let the run get beyond its first round.")
    return seen


def _take(seen: Seen, kind: str, name: str, shared: bytes, reply: Reply | None) -> None:
    if kind in (Kind.WRITE, Kind.CLOSE):
        seen.sums |= {each.round: each for each in Closing.decode(shared).sums}
    elif kind == Kind.PREPARE:
        seen.sums |= {each.round: each for each in PrepareRequest.decode(shared).sums}
    elif kind == Kind.ROUND:
        config = config_of(shared)
        seen.configs[config.attempt] = config
        if reply is not None and reply.kind == "ok":
            seen.uploads.setdefault(config.attempt, {})[name] = Upload.decode(reply.body)


@dataclass(frozen=True)
class SumsCompared:
    """Sums compared with the uploads they are made of.

    Attributes:
        sums: how many.
        changed: sums that are not the sum of their cohort's uploads.
        noticed: the same after one bit of each sum was changed.
    """

    sums: int
    changed: int
    noticed: int


def changed_sums(seen: Seen) -> SumsCompared:
    """Add the uploads again and compare."""
    changed = noticed = 0
    for each in seen.sums.values():
        total = PublicSum(len(each.tags))
        for name in RoundConfig.decode(each.config.body).cohort:
            upload = seen.uploads.get(each.attempt, {}).get(name)
            if upload is not None:
                total.add(upload.payload, _tags(upload))
        made = (total.payload(), tuple(total.tags))
        changed += made != (each.payload, each.tags)
        noticed += made != (bytes([each.payload[0] ^ 1]) + each.payload[1:], each.tags)
    return SumsCompared(len(seen.sums), changed, noticed)


def _tags(upload: Upload) -> tuple[int, ...]:
    return Header.decode(upload.header.body).tags
