"""A sum that a member says was changed: everybody's single ciphertext again, and the members' verdicts. Pure.

The coordinator cannot check a tag: it holds no seed. It can show to all who do what each has signed, so that a wrong
tag names its sender and a false complaint its complainer (docs/protocol.md, *One round*, 5). Wrong masks under right tags
fit, and stay nameless.
"""

from collections import Counter

from fedrepay.server.protocol.state import Ask, Event, State
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, hashes
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Evidence, Header, Kind, Reply, Resend, Sum, Upload, Verdict


class Dispute:
    """Gathers the ciphertexts again after each start of the process: they are not kept."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}
        self._of: tuple[int, int] | None = None
        self._asked: set[str] = set()

    def begin(self, state: State, name: str, chunk: bytes) -> list[Event]:
        """A member says that the newest sum was changed, and at which ciphertext: each is heard once a run."""
        if name in state.disputes:
            return []
        if state.failed is not None:
            return [Event("disputed", name, b"")]
        newest = state.sums[len(state.sums) - 1]
        at = int.from_bytes(chunk[:4], "big")
        return [Event("failed", name, f"{newest.attempt} {at if at < len(newest.tags) else 0}".encode())]

    def ask(self, state: State, epoch: Epoch) -> Ask:
        """The ciphertexts that are lacking, then everybody's verdict."""
        assert state.failed is not None  # noqa: S101 - asked only then
        if self._of != state.failed:
            self._of, self._payloads, self._asked = state.failed, {}, set()
        completed, chunk = _disputed(state), state.failed[1]
        cohort = _cohort(completed)
        if waiting := [name for name in cohort if name not in self._asked]:
            self._asked |= set(waiting)
            body = Resend(config=completed.config, chunk=chunk).encode()
            return Ask(Kind.RESEND, dict.fromkeys(waiting, (body, b"")))
        evidence = Evidence(
            config=completed.config,
            headers=completed.headers,
            chunk=chunk,
            payloads=tuple(self._payloads.get(name, b"") for name in cohort),
        ).encode()
        return Ask(
            Kind.BLAME, {name: (evidence, b"") for name in epoch.present if name not in state.verdicts}
        )

    def receive(self, state: State, epoch: Epoch, kind: str, name: str, reply: Reply) -> list[Event]:
        """One ciphertext, or one verdict.

        Raises:
            ProtocolError: not what the member had signed before, or of another sum.
        """
        completed = _disputed(state)
        if kind == Kind.RESEND:
            assert state.failed is not None  # noqa: S101
            header = completed.headers[_cohort(completed).index(name)]
            upload, chunk = Upload.decode(reply.body), state.failed[1]
            wanted = Header.decode(header.body).chunks[chunk : chunk + 1]
            if len(upload.payload) != UPLOAD_BYTES or hashes(upload.payload) != wanted:
                raise ProtocolError(
                    f"{name} sends another ciphertext than it had signed.", "It does not count."
                )
            self._payloads[name] = upload.payload
            return []
        signed = Signed.decode(reply.body)
        verdict = signed.verified(epoch.roster.entry(name).signing, Verdict)
        if (verdict.name, verdict.config) != (name, completed.config.digest()):
            raise ProtocolError(f"The verdict of {name} is on another sum.", "It does not count.")
        return [Event("verdict", name, reply.body)]

    def finish(self, state: State, colluders: int, kind: str) -> list[Event]:
        """Who is found at fault by more members than may lie; else, of a few who complain, the complaint is dismissed.

        A sum that was changed for everybody is refused by everybody. Those who did not send their ciphertext again are told
        of, and found at fault by nobody.
        """
        if kind == Kind.RESEND:
            return []
        voices = Counter(
            suspect for signed in state.verdicts.values() for suspect in Verdict.decode(signed.body).suspects
        )
        named = sorted(suspect for suspect, count in voices.items() if count > colluders)
        silent = [name for name in _cohort(_disputed(state)) if name not in self._payloads]
        if named:
            text = f"{', '.join(named)}: found at fault by {max(voices.values())} of {len(state.verdicts)} verdicts"
            return [Event("ended", "", f"the upload does not fit its tag ({text}).".encode())]
        if len(state.disputes) > colluders:
            return [Event("ended", "", _undecided(state, silent).encode())]
        return [Event("dismissed", "", b"")]


def _undecided(state: State, silent: list[str]) -> str:
    who = ", ".join(sorted(state.disputes))
    if silent:
        return (
            f"{who} say that the sum was changed. {', '.join(silent)} did not send the ciphertext again, so nobody can "
            f"tell whose it is: leave out {silent[0]} first."
        )
    return (
        f"{who}: the sum was changed, more than may lie, and every upload fits its tag: the coordinator's database or "
        "line has changed the sum."
    )


def _disputed(state: State) -> Sum:
    assert state.failed is not None  # noqa: S101 - asked only then
    return next(each for each in state.sums.values() if each.attempt == state.failed[0])


def _cohort(completed: Sum) -> tuple[str, ...]:
    return tuple(Header.decode(each.body).name for each in completed.headers)
