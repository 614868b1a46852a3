"""Everything that crosses the wire, mutated, both ways: nothing is accepted, nothing crashes.

A mutant is accepted if it gets an upload, a vote, a signature or an event out of its receiver, or changes what the
receiver keeps. What the protocol leaves to whoever relays a message is listed in ``harmless``: the order of a set of
signed messages, votes and sums beyond those needed, a member's own last header withheld, another member's key to the
sealed release, who writes it, and which of its ciphertexts a member sends again. The coordinator cannot open the sealed
release: members refuse a changed one. ``ping`` and the answer to ``votes`` say nothing but "here". Every answer is signed;
what a *member* makes of its own answer is tried too, signed by it. Control: without signatures, mutants pass.
"""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.node import framing
from fedrepay.client.protocol import blame
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.trust import Trust
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import FedrepayError, ProtocolError, ReleaseError
from fedrepay.shared.trust import handshake, roster, succession, terms, wire
from fedrepay.shared.trust.enrolment import Certificate
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.roster import COORDINATOR
from fedrepay.shared.trust.wire import Closing, PrepareRequest, Reply, Votes
from fedrepay.simulations.attacks.tools.adversary import answer
from support import fuzz
from support.adversary import fork
from support.stages import ENROLLING, PARTS, Stages, before_roster, come_up, copied, machine, wire_kinds
from support.world import World

SAME = ({"write", "close"},)
"""Who writes is the coordinator's choice."""

TO_MEMBER = (
    dict.fromkeys((*ENROLLING, "terms"), 200)
    | {"hello": 300, "introduce": 300, "seed": 300, "confirm": 200, "prepare": 200, "round": 200}
    | {
        "write": 150,
        "close": 150,
        "resend": 200,
        "votes": 300,
    }
)
BLAMED = 200  # mutants of evidence, to a member
SILENT = ("certify", "resend")  # their answers make no event
TO_COORDINATOR = dict.fromkeys((kind for kind in PARTS if kind not in SILENT), 60)
NO_BODY = ("terms", "prepare", "votes")
BY_A_MEMBER = dict.fromkeys((kind for kind in TO_COORDINATOR if kind not in NO_BODY), 150)
HELD, RESENT = 100, 100
A_KIND, FILES = 200, 600
CROSSED = len(PARTS) * (len(PARTS) - 1) - 2 * len(SAME)
SHAPES = 38  # kinds of message that a run sends


# --- parsers alone ---


def trees(tree: Any) -> Iterator[bytes]:
    """The bytes of every map in a message."""
    if isinstance(tree, fuzz.Within):
        yield from trees(tree.tree)
    elif isinstance(tree, list):
        if isinstance(tree, fuzz.Pairs):
            yield fuzz.packed(tree)
        for each in tree:
            yield from trees(each[1] if isinstance(tree, fuzz.Pairs) else each)


def corpus(run: Stages) -> dict[type[Wire], list[bytes]]:
    """Every message of the run by kind, those within others included."""
    maps = {found for blob in run.blobs if blob for found in trees(fuzz.parsed(blob))}
    found: dict[type[Wire], list[bytes]] = {}
    for data in sorted(maps):
        for kind in wire_kinds():
            try:
                kind.decode(data)
            except ProtocolError:
                continue
            found.setdefault(kind, []).append(data)
    return found


def test_a_mutant_of_a_message_is_refused_or_another_message(run: Stages) -> None:
    """No second encoding of any message, and nothing but a ProtocolError."""
    messages = corpus(run)
    changes = {succession.Leaving, succession.Rotation, roster.Revoked}
    later = {wire.Pulled, wire.KeptRelease, wire.Resealed}
    elsewhere = {terms.LocalTerms, terms.GramPairs, *changes, *later}  # tests/unit/shared/trust/test_wire.py
    assert set(wire_kinds()) - set(messages) <= elsewhere
    assert len(messages) >= SHAPES
    refused = 0
    for seed, (kind, known) in enumerate(messages.items()):
        for data, mutant in fuzz.mutants(seed, A_KIND, known):
            try:
                message = kind.decode(mutant)
            except ProtocolError:
                refused += 1
                continue
            assert message.encode() == mutant
            assert repr(message) != repr(kind.decode(data)), "by their words: −0.0 equals 0.0"
    assert refused > A_KIND * len(messages) / 2


# --- to a member ---


def of_round(sums: tuple[wire.Sum, ...]) -> dict[int, wire.Sum]:
    """The first sum of each round: a member opens no second one, whatever follows."""
    return {each.round: each for each in reversed(sums)}


def signed_set(signed: tuple[Signed, ...]) -> list[bytes]:
    return sorted(each.encode() for each in signed)


def certified(body: bytes) -> Any:
    made = Certificate.decode(body)
    return made.roster, signed_set(made.approvals)


def meaning(kind: str, shared: bytes, own: bytes) -> Any:
    """What is left of a message when order within sets, surplus votes and its own header are taken away."""
    match kind:
        case "certify":
            return certified(shared)
        case "resend":
            return wire.Resend.decode(shared).config
        case "introduce":
            told = handshake.Introduction.decode(shared)
            return told.roster, told.start, signed_set(told.hellos)
        case "seed":
            return signed_set(handshake.Acceptances.decode(shared).signed)
        case "confirm":
            ready = handshake.Acceptances.decode(shared)
            return signed_set(ready.signed), signed_set(handshake.Envelopes.decode(own).signed)
        case "prepare":
            wanted = PrepareRequest.decode(shared)
            return wanted.asked, of_round(wanted.sums)
        case "write" | "close":
            last = Closing.decode(shared)
            return last.config, of_round(last.sums)
        case "votes":
            votes = Votes.decode(shared)
            return votes.run, frozenset(each.encode() for each in votes.signed)
    return shared


def harmless(kind: str, honest: tuple[bytes, bytes], mutant: tuple[bytes, bytes], name: str = "") -> bool:
    """Whether the protocol leaves this change to whoever relays the message."""
    try:
        before, after = meaning(kind, *honest), meaning(kind, *mutant)
        same_seal = kind not in ("write", "close") or sealed_to(name, honest[0], mutant[0])
    except ProtocolError:
        return False
    if kind in ("prepare", "write", "close"):
        after = after[0], {n: each for n, each in after[1].items() if n in before[1]}
    if kind == "votes":
        return bool(before[0] == after[0] and before[1] <= after[1])
    own = mutant[1] in (honest[1], b"") or kind == "confirm"
    return bool(before == after) and same_seal and own


def sealed_to(name: str, honest: bytes, mutant: bytes) -> bool:
    """Whether both ask ``name`` for the same: to write, or to check one release under one key of its own."""
    before, after = Closing.decode(honest).sealed, Closing.decode(mutant).sealed
    if before is None or after is None:
        return after is None  # asked to write: the coordinator's choice
    first, second = wire.SealedRelease.decode(before), wire.SealedRelease.decode(after)
    keys_of = [dict(each.wrapped).get(name) for each in (first, second)]
    return (first.number, first.payload, keys_of[0]) == (second.number, second.payload, keys_of[1])


def twin(world: World, kind: str, folder: Path) -> World:
    """A copy of a stage; before there is a roster nobody restarts."""
    return before_roster(world, folder) if kind in ENROLLING else copied(world, folder)


class Target:
    """A member before one kind of message, as often as one likes."""

    def __init__(self, run: Stages, kind: str, folder: Path) -> None:
        self.stage, ask = run.at[kind]
        self.world, self.kind = twin(self.stage, kind, folder), kind
        self.name = min(ask.parts)
        self.honest = ask.parts[self.name]
        self.file = folder / self.name / "member.sqlite"
        self.before = self.file.read_bytes()
        self.kept_before, _ = self.kept()
        assert self.tell(kind, *self.honest).kind == "ok"  # what is mutated is what it takes
        _, self.genuine = self.kept()
        self.file.write_bytes(self.before)
        come_up(self.world, self.name, self.stage)

    def tell(self, kind: str, shared: bytes, own: bytes) -> Reply:
        return answer(self.world.members[self.name].handle(kind, shared, own))

    def accepted(self, kind: str, mutant: tuple[bytes, bytes]) -> bool:
        """Tell it, check that the refusal is one of those that are meant, and put the member back."""
        reply = self.tell(kind, *mutant)
        if reply.kind == "refused":
            assert reply.code not in ("", "internal"), (kind, mutant, reply)
        changed = False
        if self.file.read_bytes() != self.before:
            kept, opened = self.kept()
            changed = kept != self.kept_before or not opened <= self.genuine
            self.file.write_bytes(self.before)
            come_up(self.world, self.name, self.stage)
        return reply.kind == "ok" or changed

    def kept(self) -> tuple[list[Any], set[Any]]:
        """All that the store holds but that an epoch ended here; and the opened sums."""
        with closing(sqlite3.connect(self.file)) as store:
            tables = ("facts WHERE key NOT IN ('blocked', 'ending')", "ledger", "releases")
            rows = [sorted(store.execute(f"SELECT * FROM {table}")) for table in tables]
            sent = sorted(store.execute("SELECT run, round, attempt, config, header FROM uploads"))
            return [*rows, sent], set(store.execute("SELECT * FROM openings"))

    def mutants(self, seed: int, count: int) -> Iterator[tuple[bytes, bytes]]:
        shared, own = self.honest
        parts = [part for part in PARTS[self.kind] if (shared if part == "shared" else own)]
        for index, part in enumerate(parts):
            known = [shared if part == "shared" else own]
            for _, mutant in fuzz.mutants(seed + index, count // len(parts), known):
                yield (mutant, own) if part == "shared" else (shared, mutant)


@pytest.mark.parametrize("kind", TO_MEMBER)
def test_no_mutant_of_a_message_to_a_member_is_accepted(kind: str, run: Stages, tmp_path: Path) -> None:
    target, tried = Target(run, kind, tmp_path), 0
    for mutant in target.mutants(hash_of(kind), TO_MEMBER[kind]):
        tried += 1
        if target.accepted(kind, mutant):
            assert harmless(kind, target.honest, mutant, target.name), mutant
    assert tried == TO_MEMBER[kind]


def hash_of(kind: str) -> int:
    return 1000 * list(PARTS).index(kind)


@pytest.mark.parametrize("kind", ["propose", "approve", "terms", "hello", "introduce", "prepare", "votes"])
def test_control_without_signatures_mutants_are_accepted(
    kind: str, run: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(run, kind, tmp_path)
    monkeypatch.setattr(keys, "verify", lambda *_: None)
    passed = [m for m in target.mutants(hash_of(kind), 300) if target.accepted(kind, m)]
    assert sum(not harmless(kind, target.honest, each, target.name) for each in passed) > 0


def test_messages_of_another_kind_are_not_accepted(run: Stages, tmp_path: Path) -> None:
    """Every honest message under every other kind's name."""
    tried = 0
    for kind in PARTS:
        target = Target(run, kind, tmp_path / kind)
        for other, (_, ask) in run.at.items():
            if kind != other and {kind, other} not in SAME:
                shared, own = next(iter(ask.parts.values()))
                assert not target.accepted(kind, (shared, own)), (kind, other)
                tried += 1
    assert tried == CROSSED


# --- to a member: whose upload does not fit ---


def blamed(run: Stages, folder: Path) -> Iterator[tuple[str, ...]]:
    """Whom a member names, told mutants of the evidence; all members were honest, a sum was changed."""
    world, ask = run.at["blame"]
    world, name = fork(world, folder), min(ask.parts)
    honest = ask.parts[name][0]
    for evidence in (honest, *(mutant for _, mutant in fuzz.mutants(hash_of("blame"), BLAMED, [honest]))):
        reply = answer(world.members[name].handle("blame", evidence, b""))
        assert reply.code != "internal", (evidence, reply)
        if reply.kind == "ok":
            yield wire.Verdict.decode(Signed.decode(reply.body).body).suspects


def test_no_mutant_of_evidence_names_an_honest_member(run: Stages, tmp_path: Path) -> None:
    honest, *mutants = blamed(run, tmp_path)
    assert honest == (), "every single upload fits"
    assert mutants, "some are judged"
    assert {each for suspects in mutants for each in suspects} <= {COORDINATOR}


def test_control_without_hashes_in_headers_honest_members_are_named(
    run: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_ = blame._hash
    monkeypatch.setattr(blame, "_hash", lambda *named: hash_(*named) and AnyBytes())
    assert {each for suspects in blamed(run, tmp_path) for each in suspects} - {COORDINATOR}


class AnyBytes(bytes):
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


# --- to the coordinator ---


def take(world: World, ask: Ask, name: str, data: bytes) -> list[Event]:
    """As the shell does it: bytes that are no signed answer are a member lost."""
    try:
        signed: Signed | None = Signed.decode(data)
    except ProtocolError:
        signed = None
    return machine(world, ask.kind).receive(ask, name, signed)


def taken(world: World, ask: Ask, name: str, data: bytes) -> list[Event]:
    """What an answer is taken for, if it is more than "lost", "need", or a proposal that is void."""
    return [
        e for e in take(world, ask, name, data) if e.kind not in ("away", "retry", "need", "number", "before")
    ]


def added(world: World) -> int:
    """Uploads in the open sum."""
    made = (
        world.coordinator._attempts._sum if hasattr(world, "coordinator") else None
    )  # there is none before a roster
    return 0 if made is None else made.count


class Answers:
    """One member's honest answer to one kind of message, and a coordinator that waits for it."""

    def __init__(self, run: Stages, kind: str, folder: Path) -> None:
        stage, self.ask = run.at[kind]
        self.world, self.name = twin(stage, kind, folder), next(iter(self.ask.parts))
        self.key = self.world.identities[self.name].signing
        self.honest = self.world.members[self.name].handle(kind, *self.ask.parts[self.name])
        self.reply = Reply.decode(Signed.decode(self.honest).body)
        assert self.reply.kind == "ok"

    def signed(self, **changes: object) -> bytes:
        """The member's own reply with other contents."""
        return Signed.make(self.key, self.reply.model_copy(update=changes)).encode()

    def taken(self, data: bytes) -> list[Event]:
        return taken(self.world, self.ask, self.name, data)


@pytest.mark.parametrize("kind", TO_COORDINATOR)
def test_no_mutant_of_an_answer_is_taken(kind: str, run: Stages, tmp_path: Path) -> None:
    """Not even for the same answer: it is signed as a whole, over what it answers."""
    told = Answers(run, kind, tmp_path)
    for _, mutant in fuzz.mutants(hash_of(kind) + 7, TO_COORDINATOR[kind], [told.honest]):
        assert told.taken(mutant) == []
    assert told.taken(told.signed(asked=bytes(32))) == [], "an answer to another message"
    if kind != "round":  # its sum was begun
        assert added(told.world) == 0
    assert [event.kind for event in told.taken(told.honest)] not in ([], ["away"], ["retry"])


@pytest.mark.parametrize("kind", BY_A_MEMBER)
def test_a_member_that_mutates_its_own_answer_gives_the_same_answer_or_none(
    kind: str, run: Stages, tmp_path: Path
) -> None:
    told = Answers(run, kind, tmp_path)
    mutants = fuzz.mutants(hash_of(kind) + 8, BY_A_MEMBER[kind], [told.reply.body])
    found = [events for _, mutant in mutants if (events := told.taken(told.signed(body=mutant)))]
    assert added(told.world) == (len(found) if kind == "round" else 0)
    honest = told.taken(told.honest)
    if kind == "write":  # its vote is signed; the sealed release is for the members to judge
        assert all(voted(events) == voted(honest) for events in found)
    else:
        assert all(events == honest for events in found)


def voted(events: list[Event]) -> list[tuple[str, str, bytes]]:
    return [(each.kind, each.name, wire.Written.decode(each.body).vote.encode()) for each in events]


def test_no_mutant_of_a_ciphertext_sent_again_is_kept(run: Stages, tmp_path: Path) -> None:
    told = Answers(run, "resend", tmp_path)
    kept = told.world.coordinator._dispute._payloads
    for _, mutant in fuzz.mutants(hash_of("resend"), RESENT, [told.reply.body]):
        told.taken(told.signed(body=mutant))
        payload = kept.pop(told.name, None)
        assert payload in (None, wire.Upload.decode(told.reply.body).payload)
    told.taken(told.honest)
    assert set(kept) == {told.name}, "control"


def test_no_mutant_of_a_certificate_gives_another_roster_back(run: Stages) -> None:
    """To a coordinator that has lost its database; the members themselves sign the mutants."""
    world = run.world
    honest = answer(world.members["m0"].handle("held", b"", b"")).body

    def given_back(body: bytes) -> bytes | None:
        enrolment = world.new_enrolment()
        ask = enrolment.ask()
        assert ask is not None
        assert ask.kind == "held"
        for name in ("m0", "m1"):  # more than may lie, or nothing is taken back
            said = Reply(kind="ok", name=name, asked=wire.asked("held", b"", b""), body=body)
            enrolment.receive(ask, name, Signed.make(world.identities[name].signing, said))
        for event in enrolment.finish(ask):
            enrolment.state.apply(event)
        return None if enrolment.state.roster is None else enrolment.state.roster.hash()

    for _, mutant in fuzz.mutants(17, HELD, [honest]):
        assert given_back(mutant) in (None, world.roster.hash())
    assert given_back(honest) == world.roster.hash(), "control"


@pytest.mark.parametrize("kind", ["reveal", "introduce"])
def test_control_without_signatures_mutated_answers_are_taken(
    kind: str, run: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "verify", lambda *_: None)
    told = Answers(run, kind, tmp_path)
    honest = told.taken(told.honest)
    mutants = fuzz.mutants(hash_of(kind) + 8, 100, [told.reply.body])
    assert sum(told.taken(told.signed(body=m)) not in ([], honest) for _, m in mutants) > 0


# --- the epoch's public facts, the release and its file ---


def test_no_mutant_of_an_introduction_is_another_epoch(run: Stages) -> None:
    """Who only relays it, without a key, cannot make an epoch of another id; nor crash who reads it."""
    data = run.at["introduce"][1].parts["m0"][0]
    epoch = Epoch.of(handshake.Introduction.decode(data))
    for _, mutant in fuzz.mutants(3, FILES, [data]):
        try:
            other = Epoch.of(handshake.Introduction.decode(mutant))
        except ProtocolError:
            continue
        assert (other.id, other.roster.hash()) == (epoch.id, epoch.roster.hash())


def test_no_mutant_of_a_release_is_used(run: Stages, tmp_path: Path) -> None:
    """Not of its bytes, not of its JSON, not of its votes beyond those that are needed."""
    (tmp_path / release_file.VOTES).write_bytes(run.votes)
    known = Trust(words=ReleaseContent.decode(run.release).roster.code())
    for mutant in (m for _, m in fuzz_release(run.release, FILES)):
        with suppress(ReleaseError):
            ReleaseContent.decode(mutant)
        (tmp_path / release_file.RELEASE).write_bytes(mutant)
        with pytest.raises(FedrepayError):
            release_file.load(tmp_path, unprotected=False, trust=known)
    (tmp_path / release_file.RELEASE).write_bytes(run.release)
    for _, mutant in fuzz.mutants(5, FILES, [run.votes]):
        (tmp_path / release_file.VOTES).write_bytes(mutant)
        try:
            release_file.load(tmp_path, unprotected=False, trust=known)
        except ReleaseError:
            continue
        assert harmless("votes", (run.votes, b""), (mutant, b""))
    (tmp_path / release_file.VOTES).write_bytes(run.votes)
    assert release_file.load(tmp_path, unprotected=False, trust=known).signatures == 3, "the quorum of three"


def fuzz_release(data: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Bytes of the whole file, and of its header alone, whose JSON holds the facts."""
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    for _, mutant in fuzz.mutants_of_bytes(11, count // 2, [data]):
        yield data, mutant
    for _, mutant in fuzz.mutants_of_bytes(12, count // 2, [header]):
        yield data, len(mutant).to_bytes(8, "little") + mutant + body


# --- the member's Unix socket ---


def test_a_mutant_of_a_frame_is_another_frame_or_an_error(run: Stages) -> None:
    """Frames carry no signature: what they hold is checked by the member, as above."""
    shared, own = next(iter(run.at["introduce"][1].parts.values()))
    asked, answered = (
        b"".join(parts) for parts in (framing.request("introduce", shared, own), framing.reply(shared))
    )
    for data, receive in ((asked, framing.receive_request), (answered, framing.receive_reply)):
        for _, mutant in fuzz.mutants_of_bytes(13, FILES // 2, [data]):
            sender, receiver = socket.socketpair()
            with sender, receiver:
                sender.sendall(mutant)
                sender.shutdown(socket.SHUT_WR)
                try:
                    got = receive(receiver, 60.0)
                except ProtocolError:
                    continue
            frame = framing.reply(got) if isinstance(got, bytes) else framing.request(*got)
            assert mutant.startswith(b"".join(frame))


def test_there_are_ten_thousand() -> None:
    made = sum(TO_MEMBER.values()) + sum(TO_COORDINATOR.values()) + sum(BY_A_MEMBER.values())
    made += A_KIND * SHAPES + 4 * FILES + CROSSED + BLAMED + HELD + RESENT
    assert set(TO_MEMBER) | {"blame"} == set(PARTS)
    assert made >= 10_000
