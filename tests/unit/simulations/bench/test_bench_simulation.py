"""What the simulation's table says follows its figures, and engines that end elsewhere are not compared."""

import os
import subprocess
import sys

import pytest

from fedrepay.simulations.bench import simulation
from fedrepay.simulations.bench.peers import workload


def figures(**cpu: float) -> dict[str, list[dict[str, float]]]:
    found = {
        name: [{"cpu_ms": 10.0, "seconds": 1.0, "first": 2.0, "loss": 0.5}] for name in simulation.ENGINES
    }
    for name, value in cpu.items():
        found[name.replace("_", " ")][0]["cpu_ms"] = value
    return found


def test_targets_are_reached_or_fall_short_by_the_best_peer() -> None:
    text = simulation.body(
        figures(flower_reused=20.0, pfl_reused_2=6.0, batched=0.5, batched_discrete=0.9, plain_made=30.0)
    )
    assert (
        "≥ 25 × flower (Flower simulation (Ray), Opacus made each round), float noise: **falls short**, 20.0 ×"
        in text
    )
    assert "≥ 12 × pfl (pfl, Opacus reused, 2 processes), float noise: reached, 12.0 ×" in text
    assert "≥ 12 × pfl (pfl, Opacus reused, 2 processes), discrete noise: **falls short**, 6.7 ×" in text
    assert "≥ 2.5 × JAX (JAX, members batched, norms in closed form), float noise: reached, 20.0 ×" in text
    slow = simulation.body(figures(jax_closed=1.0, batched=0.5, batched_discrete=0.6, plain_made=30.0))
    assert (
        "≥ 2.5 × JAX (JAX, members batched, norms in closed form), float noise: **falls short**, 2.0 ×"
        in slow
    )
    assert text.count("\n| ") == len(simulation.ENGINES) + 1


def test_an_engine_that_ends_elsewhere_is_not_compared() -> None:
    simulation.check_losses(figures())
    other = figures()
    other["pfl made"][0]["loss"] = 0.51
    with pytest.raises(AssertionError, match="pfl made"):
        simulation.check_losses(other)


def test_cpu_time_is_that_of_marked_processes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    burn = "import sys; sum(range(20_000_000)); print('done', flush=True); sys.stdin.read()"

    def counted(mark: str) -> float:
        monkeypatch.setenv(workload.MARK, "mine")
        before = workload.cpu_seconds()
        environment = os.environ | {workload.MARK: mark}
        with subprocess.Popen(
            [sys.executable, "-c", burn], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"done\n"
            found = workload.cpu_seconds() - before
            child.communicate()
        return found

    assert counted("mine") > 2 * counted("another's")
