"""Local mode on the wire: no foreign module, no code from a message, no weaker noise, exact sums."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.learning.dp_sgd import DPSGD
from fedrepay.client.learning.torch_models import registry
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto import budget
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.year import TOLD
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.shared.errors import BudgetError, ReleaseError, TermsError
from fedrepay.shared.privacy.accounting import SampledSteps, charged_of
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.secure_sum.packing import update_limit, update_packing
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.terms import LocalTerms
from fedrepay.shared.trust.wire import Prepare, PrepareRequest, RoundConfig
from support.adversary import say
from support.local_world import LocalWorld, model, terms
from support.world import Tamper

TRAP = "fedrepay_test_trap"


@dataclass
class Asked(LocalWorld):
    """A coordinator that asks for other constants than the members' own."""

    asked: LocalTerms | None = None

    def local(self) -> LocalTerms:
        return self.asked or super().local()


@dataclass
class Unequal(LocalWorld):
    """One member holds another module, or none."""

    odd: str | None = None

    def held(self, name: str) -> TorchModel | None:
        if name != "m0":
            return super().held(name)
        return None if self.odd is None else model(self.odd, self.book.dimension)


def release(world: LocalWorld, name: str = "m0") -> ReleaseContent:
    stored = world.store(name).release()
    assert stored is not None
    return ReleaseContent.decode(stored[1])


def test_a_run_opens_exactly_the_sums_of_what_members_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, np.ndarray]] = []
    trained = DPSGD.contribution

    def watched(self: DPSGD, index: int, state: object, data: object) -> np.ndarray:
        values = trained(self, index, state, data)  # type: ignore[arg-type]
        made.append((index, values))
        return values

    monkeypatch.setattr(DPSGD, "contribution", watched)
    world = LocalWorld(tmp_path, name="support.torch_modules:Bent")
    world.run()
    held = model(world.name, world.book.dimension)
    found = release(world)
    for index, opened in enumerate(found.sums):
        parts = [values for at, values in made if at == index]
        assert len(parts) == world.size
        assert np.array_equal(opened, np.sum(parts, axis=0))
        assert np.unique(np.array(parts)[:, 0]).size == world.size  # members' noise is their own
    assert found.weights.shape == (1, held.parameters)
    assert not np.array_equal(found.weights[0], held.initial)
    assert all(np.abs(values).max() <= update_limit(update_packing(world.size)) for at, values in made if at)
    assert {code for _, code in world.refusals()} == {"roster"}
    charged = [charged_of(facts) for entry in world.store("m0").ledger() for facts in entry.event]
    assert all(isinstance(each, SampledSteps) for each in charged)
    assert {entry.status for entry in world.store("m0").ledger()} == {"reserved", "committed"}


def test_the_statement_is_the_same_however_many_collude(tmp_path: Path) -> None:
    world = LocalWorld(tmp_path)
    world.run()
    said = release(world).statement
    assert said["mode"] == "local"
    spent = said["epsilon_spent"]
    assert spent == said["epsilon_no_colluders"] == said["epsilon_if_all_others_collude"]
    assert 0 < spent <= said["epsilon"] == world.epsilon
    assert said["retry_noise_factor"] == 1


@pytest.mark.parametrize("odd", ["mlp", None])
def test_a_member_with_another_module_or_none_says_so_before_it_costs_and_the_others_train_without_it(
    odd: str | None, tmp_path: Path
) -> None:
    world = Unequal(tmp_path, odd=odd)
    world.expect_stop(TermsError)
    assert ("m0", "model") in world.refusals()
    assert all(world.store(name).ledger() == () for name in world.names)
    world.events.clear()
    seats = {name: name for name in world.names if name != "m0"}
    world.coordinator = Coordinator(world.terms(run=2), world.key, world.roster, seats)
    world.run()
    assert [entry for entry in world.store("m0").ledger() if entry.event] == []
    assert release(world, "m1").card["cohorts"] == [["m1", "m2", "m3"]] * 3


def test_the_same_name_with_other_weights_is_refused(tmp_path: Path) -> None:
    world = LocalWorld(tmp_path / "own")
    own = world.local()
    foreign = own.model_copy(update={"model_hash": bytes(32)})
    refused = Asked(tmp_path / "foreign", asked=foreign)
    refused.expect_stop(TermsError)
    assert {code for _, code in refused.refusals()} == {"roster", "model"}
    longer = Asked(tmp_path / "longer", asked=own.model_copy(update={"parameters": own.parameters + 1}))
    longer.expect_stop(TermsError)
    assert {code for _, code in longer.refusals()} == {"roster", "model"}


def test_a_name_on_the_wire_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{TRAP}.py").write_text("from support.torch_modules import Steep\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    world = LocalWorld(tmp_path / "own")
    named = world.local().model_copy(update={"model": f"{TRAP}:Steep"})
    asked = Asked(tmp_path / "asked", asked=named)
    asked.expect_stop(TermsError)
    assert {code for _, code in asked.refusals()} == {"roster", "model"}
    assert TRAP not in sys.modules
    registry.load(f"{TRAP}:Steep", world.book.dimension)  # control: the trap springs where it is imported
    assert TRAP in sys.modules
    del sys.modules[TRAP]


def test_weaker_noise_or_more_steps_than_epsilon_allows_are_refused(tmp_path: Path) -> None:
    held = model("logistic", LocalWorld(tmp_path / "own").book.dimension)
    right = terms(held)
    weaker = right.model_copy(update={"noise_multiplier": 0.9 * right.noise_multiplier})
    more = right.model_copy(update={"local_steps": right.local_steps + 1})
    for place, asked in (("weaker", weaker), ("more", more)):
        world = Asked(tmp_path / place, asked=asked)
        world.expect_stop(TermsError)
        assert {code for _, code in world.refusals()} == {"roster", "budget"}
        assert all(world.store(name).ledger() == () for name in world.names)
    stronger = Asked(tmp_path / "stronger", asked=right.model_copy(update={"noise_multiplier": 50.0}))
    stronger.run()
    assert {code for _, code in stronger.refusals()} == {"roster"}


def test_a_year_that_cannot_bear_the_whole_run_is_refused_at_its_start(tmp_path: Path) -> None:
    limits = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=3.9)
    world = LocalWorld(tmp_path, limits=limits)
    world.expect_stop(TermsError)
    assert {code for _, code in world.refusals()} == {"roster", "budget"}


@pytest.mark.parametrize(
    "change",
    [
        {"sampling_rate": 0.9},
        {"local_steps": 3},
        {"clip": 2.0},
        {"learning_rate": 6.0},
        {"noise_multiplier": 3.0},
    ],
)
def test_constants_of_local_mode_cannot_change_in_a_run(change: dict[str, float], tmp_path: Path) -> None:
    world = LocalWorld(tmp_path)
    world.until("round", 1)
    config = world.coordinator.state.attempts[-1].config
    assert config.local is not None
    other = config.model_copy(update={"local": config.local.model_copy(update=change)})
    assert other.terms_hash() != config.terms_hash()


def test_constants_refused_before_are_not_those_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator first asks for hardly any noise, is refused, and then asks as it should: same run, same attempt."""
    used: list[float] = []
    trained = DPSGD.contribution

    def watched(self: DPSGD, index: int, state: object, data: object) -> np.ndarray:
        used.append(self.terms.noise_multiplier)
        return trained(self, index, state, data)  # type: ignore[arg-type]

    monkeypatch.setattr(DPSGD, "contribution", watched)
    world = LocalWorld(tmp_path)

    def weaken_first(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        if kind == "prepare" and not used:
            request = PrepareRequest.decode(shared)
            config = Prepare.decode(request.asked.body)
            assert config.local is not None
            weak = config.local.model_copy(update={"noise_multiplier": 0.5})
            signed = Signed.make(world.key, config.model_copy(update={"local": weak}))
            asked = request.model_copy(update={"asked": signed})
            refused = say(world, name, kind, asked.encode(), own)
            assert (refused.kind, refused.code) == ("refused", "epoch")
        return shared, own

    world.run(weaken_first)
    assert set(used) == {world.local().noise_multiplier}


def test_a_lost_round_is_tried_again_with_the_same_noise_until_attempts_run_out(tmp_path: Path) -> None:
    world = LocalWorld(tmp_path, size=5)
    lost = {"n": 0}

    def lose(times: int) -> Tamper:
        def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
            if kind == "round" and name == "m4" and lost["n"] < times:
                lost["n"] += 1
                return None
            return shared, own

        return tamper

    world.run(lose(2))
    made = release(world)
    assert (made.statement["attempts_void"], made.statement["retry_noise_factor"]) == (2, 1)
    assert made.statement["epsilon_spent"] <= world.epsilon
    charged = [charged_of(facts) for entry in world.store("m0").ledger() for facts in entry.event]
    assert len({each.variance for each in charged}) == 2  # one for counts, one for steps


def test_members_and_coordinator_come_back_after_a_crash(tmp_path: Path) -> None:
    world = LocalWorld(tmp_path)
    for ask in world.steps():
        if ask.kind == "prepare" and len(world.coordinator.state.sums) == 2:
            break
    world.members = {name: world.member(name) for name in world.names}
    world.restart_coordinator()
    world.run()
    assert len(release(world).sums) == 3
    weights = [release(world, name).weights.tobytes() for name in world.names]
    assert len(set(weights)) == 1
    assert all(len(world.store(name).uploads(1)) == 3 for name in world.names)


def test_a_release_whose_layout_is_not_its_tensors_is_none(tmp_path: Path) -> None:
    world = LocalWorld(tmp_path)
    world.run()
    made = release(world)
    assert ReleaseContent.decode(made.encode()).encode() == made.encode()
    card = {**made.card, "local": {**made.card["local"], "layout": [["other", [1, 8]]]}}
    renamed = ReleaseContent(
        made.number, made.weights, made.sums, made.schema, made.codebook, made.roster, card, made.statement
    )
    assert renamed.disagrees(made) == "card"
    without = made.encode().replace(b"module.linear.weight", b"module.linear.weighs")
    with pytest.raises(ReleaseError):
        ReleaseContent.decode(without)


def test_what_others_tell_of_an_earlier_run_of_the_same_number_counts(tmp_path: Path) -> None:
    """A coordinator that lost its database begins at 1 again; a run in local mode is judged as a whole, its own entries aside."""
    world = LocalWorld(tmp_path)
    world.until("prepare")
    config = world.coordinator._attempts.config(world.coordinator.epoch, 0, tuple(world.names))
    asked = RoundConfig.decode(config.body)
    whole = budget.planned(asked, world.local(), len(world.names))
    new = budget.mechanisms(asked, (), len(world.names), asked)
    once, twice = (composed_epsilon(whole * times, asked.delta) for times in (1, 2))
    limits = Limits(
        minimum_cohort=3,
        epsilon_per_release=asked.epsilon,
        epsilon_per_year=(once + twice) / 2,
        delta_per_year=asked.delta,
    )

    def judged(status: str, run: int) -> None:
        spent = tuple(
            LedgerEntry(1.8e9, run, 0, i, status, budget.as_event((m,))) for i, m in enumerate(whole)
        )
        budget.judge_attempt(asked, (), new, spent, limits, world.book, 1.8e9)

    judged("reserved", 1)
    for status, run in ((TOLD, 1), (TOLD, 2), ("reserved", 2)):
        with pytest.raises(BudgetError, match="year"):
            judged(status, run)
