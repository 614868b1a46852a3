"""The coordinator's run, as a pure state machine over events.

``ask`` says what to send next, ``receive`` turns one answer into events, ``finish`` closes an ask.
The shell (``server/app.py``) stores every event before it applies it, so a restart replays them and
goes on. Nothing here reads a clock, a disk or a key that decrypts.
"""

from itertools import islice

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server import ceremony, release
from fedrepay.server.state import Ask, AttemptRecord, Event, State
from fedrepay.server.verify import check_upload
from fedrepay.shared.errors import CohortError, ProtocolError
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.text import printable
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.plan import RunPlan, is_over, run_chunks
from fedrepay.shared.trust.roster import minimum_cohort
from fedrepay.shared.trust.wire import (
    Attempt,
    Ping,
    Reply,
    RoundConfig,
    RoundRequest,
    Sum,
    Upload,
)

FATAL = frozenset({"tag", "canary", "rollback", "headers"})  # the epoch ends: keys may be under attack
GONE = "epoch"  # the member has lost its epoch's secrets: it cannot come back before the next epoch
RETRY = "lost-attempt"  # the member is there, this attempt of its is not


class Coordinator:
    """Runs one run: the ceremony, the rounds, the release."""

    def __init__(self, plan: RunPlan, key: Ed25519PrivateKey, nodes: tuple[str, ...]) -> None:
        self.plan = plan
        self.nodes = nodes
        self.state = State()
        self._key = key
        self._sum: PublicSum | None = None
        self._fresh: dict[str, Signed] = {}  # headers added in the open attempt
        self._failed: set[str] = set()  # members lost in the open attempt
        self._needs: dict[str, int] = {}  # how often a member asked for older sums
        self._writers_failed: set[str] = set()
        self._refusing: set[str] = set()  # who refused would refuse again: not asked back before a restart
        self._epoch: Epoch | None = None
        self._node_of: dict[str, str] = {}

    # --- facts ---

    @property
    def epoch(self) -> Epoch:
        """The epoch, once everybody has said hello."""
        if self._epoch is None:
            made = ceremony.introduction(self._start(), self.state.answers["hello"])
            self._epoch = Epoch.decode(made.encode())
        return self._epoch

    def node(self, name: str) -> str:
        """The Flower node of a member (or the node itself, before names are known)."""
        return self._named().get(name, name)

    def _named(self) -> dict[str, str]:
        """Member name → the node it answers at, of the hellos so far."""
        hellos = self.state.answers.get("hello", {})
        for node, body in islice(hellos.items(), len(self._node_of), None):
            self._node_of[ceremony.name_in(body)] = node
        return self._node_of

    def _start(self) -> Signed:
        return ceremony.start(self.plan, self._key)

    def _history(self) -> tuple[Attempt, ...]:
        return tuple(
            Attempt(
                round=record.config.round,
                attempt=record.config.attempt,
                cohort=record.config.cohort,
                completed=record.status == "completed",
            )
            for record in self.state.attempts
            if record.status != "open"
        )

    def _config(self, round_: int, cohort: tuple[str, ...]) -> Signed:
        plan, epoch = self.plan, self.epoch
        return Signed.make(
            self._key,
            RoundConfig(
                run=plan.run,
                epoch=epoch.id,
                roster_hash=epoch.roster.hash(),
                round=round_,
                attempt=len(self.state.attempts),
                cohort=cohort,
                history=self._history(),
                schema_hash=plan.schema_hash,
                mode=plan.mode,
                learner=plan.learner,
                dimension=plan.dimension,
                heads=plan.heads,
                epsilon=plan.epsilon,
                delta=plan.delta,
                colluders=plan.colluders,
                rounds=plan.rounds,
                max_attempts=plan.max_attempts,
                timeout=plan.timeout,
                local=plan.local,
            ),
        )

    # --- what next ---

    def ask(self) -> Ask | None:
        """What to send next; None when the run is over.

        Raises:
            CohortError: too few members are left, or no attempt is.
        """
        state = self.state
        pending = None if state.attempts else ceremony.pending(self._start(), state.answers, self.nodes)
        if pending is not None:
            return Ask(*pending)
        if state.done:
            return None
        if state.attempts and state.attempts[-1].status == "open":
            return self._ask_round(state.attempts[-1])
        if not self._over():
            body = Ping(run=self.plan.run, round=len(state.sums)).encode()
            lost = [
                name
                for name, why in state.away.items()
                if name not in self._refusing and why.partition(":")[0] != GONE
            ]
            return Ask("ping", dict.fromkeys(lost, (body, b"")))
        return release.ask(self.state, self.plan.run, self.epoch.roster, self._writers_failed)

    def _over(self) -> bool:
        last = self.state.attempts[-1] if self.state.attempts else None
        lost = last.config.round if last is not None and last.status == "void" else None
        return is_over(self.plan.rounds, self.plan.mode, len(self.state.sums), lost)

    def _ask_round(self, record: AttemptRecord) -> Ask:
        names = [n for n in record.config.cohort if n not in self._fresh and n not in self._failed]
        shared: dict[int, bytes] = {}
        confirmations = tuple(Signed.decode(body) for body in self.state.answers["confirm"].values())
        parts = {}
        for name in names:
            first = self.state.known.get(name, 0)
            if first not in shared:
                request = RoundRequest(
                    config=record.signed,
                    confirmations=confirmations if first == 0 else (),
                    sums=self.state.sums_from(first),
                )
                shared[first] = request.encode()
            parts[name] = (shared[first], self.state.own_header(name))
        return Ask("round", parts)

    # --- answers ---

    def receive(self, ask: Ask, name: str, reply: Reply | None, reason: str = "no answer") -> list[Event]:
        """One answer (None: lost, with the reason); wrong answers count as lost."""
        if reply is None or reply.kind == "refused":
            code = "" if reply is None else reply.code
            cause = printable(reason if reply is None else f"{reply.code}: {reply.cause}")
            if code in FATAL:
                raise ProtocolError(
                    f"{name} ended the epoch ({cause}).",
                    "A sum or a store was changed. Find out why, then start a new run.",
                )
            if reply is not None and code != RETRY:
                self._refusing.add(name)
            return [self._lost(ask, name, cause, away=code != RETRY or ask.kind != "round")]
        try:
            if reply.kind == "need" and ask.kind in ("round", "write", "close"):
                return self._need(name, reply.need)
            if ask.kind == "round":
                return self._receive_upload(name, reply)
            if ask.kind in ("write", "close"):
                return release.receive(self.state, self.plan.run, self.epoch.roster, name, reply)
            if ask.kind in ("ping", "votes"):
                return [Event("back" if ask.kind == "ping" else "stored", name, b"")]
            if ask.kind == "hello":
                ceremony.check_hello(name, reply.body, self.plan.run, self._named())
            else:
                ceremony.check_answer(ask.kind, name, reply.body, self.epoch)
        except ProtocolError as error:
            return [self._lost(ask, name, error.cause)]
        return [Event("answer:" + ask.kind, name, reply.body)]

    def _lost(self, ask: Ask, name: str, cause: str, *, away: bool = True) -> Event:
        if ask.kind == "round":
            self._failed.add(name)
        elif ask.kind == "write":
            self._writers_failed.add(name)
        return Event("away" if away else "retry", name, cause.encode())

    def _need(self, name: str, first: int) -> list[Event]:
        self._needs[name] = self._needs.get(name, 0) + 1
        if self._needs[name] > len(self.state.sums) + 1 or first > len(self.state.sums):
            raise ProtocolError(f"{name} keeps asking for sums from round {first}.", "It is left out.")
        return [Event("need", name, str(first).encode())]

    def _receive_upload(self, name: str, reply: Reply) -> list[Event]:
        record = self.state.attempts[-1]
        upload = Upload.decode(reply.body)
        chunks = run_chunks(self.plan, len(self.epoch.roster.names))[record.config.round]
        header = check_upload(upload, record.signed, record.config, self.epoch, name, chunks)
        if self._sum is None:
            self._sum = PublicSum(chunks)
        self._sum.add(upload.payload, header.tags)
        self._fresh[name] = upload.header
        return [Event("header", name, upload.header.encode())]

    def finish(self, ask: Ask) -> list[Event]:
        """Close an ask after all its answers were received or given up.

        Raises:
            CohortError: the run cannot go on.
        """
        state = self.state
        if ask.kind == "ping":
            return self._open_attempt()
        if ask.kind == "round":
            return self._close_attempt()
        if ask.kind == "sign":
            return [Event("closing", "", self._config(len(state.sums), state.last_cohort()).encode())]
        if ask.kind == "votes":
            return [Event("done", "", b"")]
        if ask.kind == "write":
            return []
        if ask.kind == "close":
            return release.finish(state, ask, self.epoch.roster)
        missing = [name for name in ask.parts if name not in state.answers.get(ask.kind, {})]
        if missing:
            reasons = "; ".join(f"{n}: {state.away.get(n, 'no answer')}" for n in missing[:5])
            raise CohortError(
                f"The ceremony ({ask.kind}) lacks {len(missing)} members: {reasons}.",
                "Nobody trains before all have confirmed. Bring them back and run again, or leave them out.",
            )
        return []

    def _why_away(self) -> str:
        reasons = "; ".join(f"{name}: {why}" for name, why in sorted(self.state.away.items())[:5])
        return f" ({reasons})" if reasons else ""

    def _open_attempt(self) -> list[Event]:
        state, plan = self.state, self.plan
        roster = self.epoch.roster
        cohort = tuple(name for name in roster.names if name not in state.away)
        least = minimum_cohort(len(roster.names), plan.colluders)
        round_ = len(state.sums)
        if len(cohort) < least:
            raise CohortError(
                f"Round {round_}: {len(cohort)} members are left, the minimum cohort is {least}"
                f"{self._why_away()}.",
                "Bring members back, then run the same command again: the run resumes.",
            )
        voids = sum(record.status == "void" for record in state.attempts)
        if voids > plan.max_attempts:
            raise CohortError(
                f"Round {round_}: {voids} attempts were lost, {plan.max_attempts} extra are allowed in a run"
                f"{self._why_away()}.",
                "Every attempt costs budget, so the run stops here. Start a new run when members are stable.",
            )
        self._sum, self._fresh, self._failed, self._needs = None, {}, set(), {}
        return [Event("attempt", "", self._config(round_, cohort).encode())]

    def _close_attempt(self) -> list[Event]:
        record = self.state.attempts[-1]
        cohort = set(record.config.cohort)
        if cohort - set(self._fresh) - self._failed:
            return []  # somebody needs older sums: it is asked again
        if self._failed or self._sum is None:
            return [Event("void", "", b"")]
        completed = Sum(
            round=record.config.round,
            attempt=record.config.attempt,
            config=record.signed,
            headers=tuple(self._fresh[name] for name in record.config.cohort),
            payload=self._sum.payload(),
            tags=tuple(self._sum.tags),
        )
        return [Event("sum", "", completed.encode())]
