"""Consortia stopped at the moments that attacks start from; tests take a copy (``fork``), never these."""

import pytest

from support.stages import Stages
from support.world import World


@pytest.fixture(scope="session")
def at_confirm(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything is ready to be confirmed."""
    world = World(tmp_path_factory.mktemp("confirm"))
    world.until("confirm")
    return world


@pytest.fixture(scope="session")
def at_round(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everybody has confirmed and the first attempt is to be prepared."""
    world = World(tmp_path_factory.mktemp("round"))
    world.until("prepare")
    return world


@pytest.fixture(scope="session")
def after_one_sum(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Round 0 is summed, nobody has opened it, and round 1 is to be prepared, as attempt 1."""
    world = World(tmp_path_factory.mktemp("one"))
    world.until("prepare", 1)
    return world


@pytest.fixture(scope="session")
def after_two_sums(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Rounds 0 and 1 are summed and round 2 is to be prepared; each member has opened round 0 only."""
    world = World(tmp_path_factory.mktemp("two"))
    world.until("prepare", 2)
    return world


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """A whole run and where it stood before each kind of message."""
    return Stages(tmp_path_factory.mktemp("stages"))
