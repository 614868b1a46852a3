"""Bytes that nobody has signed cost no more than eight times their size, whatever kind of message they claim to be.

Each process of its own reads bombs under a limit on its address space (``support/expanding.py``). Controls: the same
bombs with the walk off, and lists that collect an error an item.
"""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.trust import release
from support.expanding import BOMBS, RATIO, kinds

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("tidy")


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
    assert {"Reply", "PrepareRequest", "Header", "Roster", "EpochState"} <= {
        kind.__name__ for kind in kinds()
    }


@pytest.mark.parametrize("kind", ["Votes", "PrepareRequest", "Reply"])
def test_control_without_the_walk_a_bomb_does(kind: str) -> None:
    found = measured("unchecked", kind)
    assert found["refused"]
    assert found["ratio"] > 4 * RATIO


@pytest.mark.parametrize("kind", ["PrepareRequest", "Closing"])
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


# --- a release, which a member gets before anybody's vote ---

WEIGHTS = {"weights": np.zeros((1, 1))}
HEADERS = {
    "lists": save(WEIGHTS, {"fedrepay": '{"card":[' + "[]," * 500_000 + "[]]}"}),
    "maps": save(WEIGHTS, {"fedrepay": '{"card":[' + "{}," * 500_000 + "{}]}"}),
    "numbers": save(WEIGHTS, {"fedrepay": '{"card":[' + "1.5," * 500_000 + "1]}"}),
    "tensors": save({f"{i}": np.zeros(0) for i in range(30_000)}),
}


def expansion(data: bytes) -> float:
    """The memory that reading these bytes as a release takes, over their size."""
    tracemalloc.start()
    try:
        with pytest.raises(ReleaseError):
            release.ReleaseContent.decode(data)
        return tracemalloc.get_traced_memory()[1] / len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", HEADERS)
def test_a_release_s_header_does_not_expand(header: str) -> None:
    assert expansion(HEADERS[header]) <= RATIO


@pytest.mark.parametrize("header", ["lists", "maps", "numbers"])
def test_control_without_a_bound_on_its_values_it_does(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "MAX_FACTS", 1 << 40)
    assert expansion(HEADERS[header]) > RATIO


def test_escaped_brackets_are_counted_too() -> None:
    escaped = save(WEIGHTS, {"fedrepay": "@" * 100_000}).replace(b"@", b"\\u007b")
    length = (len(escaped) - 16).to_bytes(8, "little")
    with pytest.raises(ReleaseError) as refused:
        release.ReleaseContent.decode(length + escaped[8:])
    assert "too many facts" in str(refused.value.__cause__)
