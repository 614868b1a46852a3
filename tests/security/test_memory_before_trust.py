"""Bytes that nobody has signed cost no more than eight times their size, whatever kind of message they claim to be.

Each process of its own reads bombs under a limit on its address space (``support/expanding.py``). Controls: the same
bombs with the walk off, and lists that collect an error an item.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.expanding import BOMBS, RATIO, kinds

TESTS = Path(__file__).parents[1]


def measured(*mode: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "support.expanding", *mode],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_bomb_in_any_field_of_any_kind_takes_eight_times_its_size() -> None:
    found = measured("bombs")
    assert found["accepted"] == []
    assert found["ratio"] <= RATIO
    fields = sum(1 + len(kind.model_fields) for kind in kinds())
    assert found["tried"] == fields * (len(BOMBS) + 2)
    assert {"Reply", "RoundRequest", "Header", "Roster", "EpochState"} <= {kind.__name__ for kind in kinds()}


@pytest.mark.parametrize("kind", ["Votes", "RoundRequest", "Reply"])
def test_control_without_the_walk_a_bomb_does(kind: str) -> None:
    found = measured("unchecked", kind)
    assert found["refused"]
    assert found["ratio"] > 4 * RATIO


@pytest.mark.parametrize("kind", ["RoundRequest", "Closing"])
def test_a_message_full_of_the_smallest_items_stays_below_it_too(kind: str) -> None:
    found = measured("full", kind)
    assert not found["refused"]
    assert found["size"] >= 1 << 20
    assert found["ratio"] <= RATIO


def test_a_list_of_wrong_numbers_is_given_up_at_the_first() -> None:
    stopped, all_of_them = measured("faulty", "yes"), measured("faulty", "no")
    assert stopped["refused"]
    assert all_of_them["refused"]
    assert 4 * stopped["ratio"] < all_of_them["ratio"]
    assert all_of_them["ratio"] > RATIO
