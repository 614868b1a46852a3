"""The release's bytes at their edges: torch modules, the size of a header, how far weights may differ, c."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.trust import release
from fedrepay.shared.trust.release import ReleaseContent
from support.parties import ROSTER

RELEASE = ReleaseContent(
    number=7,
    weights=np.array([[0.5, -4.0, 0.0]]),
    sums=(np.array([1, 2], dtype=np.int64),),
    schema=b"schema",
    codebook=b"codebook",
    roster=ROSTER,
    card={},
    statement={"colluders": 1},
)


def local(layout: object, **fields: object) -> dict[str, Any]:
    """The card of a torch module."""
    return {"local": {"model": "mlp", "model_hash": "ab", "layout": layout} | fields}


LAYOUT = [["first", [2, 1]], ["second", [1]]]
TORCH = replace(RELEASE, card=local(LAYOUT))


def refused(made: ReleaseContent, **tensors: Any) -> None:
    """With other tensors; None: without."""
    facts = json.dumps({"number": 7, "card": made.card, "statement": made.statement}, sort_keys=True)
    parts = {name: tensor for name, tensor in (load(TORCH.encode()) | tensors).items() if tensor is not None}
    with pytest.raises(ReleaseError):
        ReleaseContent.decode(save(parts, {"fedrepay": facts}))


# --- a torch module ---


def test_a_module_s_weights_lie_under_its_parameters_names() -> None:
    parts = load(TORCH.encode())
    assert parts["module.first"].tolist() == [[0.5], [-4.0]]
    assert parts["module.second"].tolist() == [0.0]
    assert "weights" not in parts
    back = ReleaseContent.decode(TORCH.encode())
    assert TORCH.disagrees(back) is None
    assert back.weights.tolist() == [[0.5, -4.0, 0.0]]


def test_a_module_is_what_its_card_says() -> None:
    refused(replace(TORCH, card=local([["first", [1, 2]], ["second", [1]]])))
    refused(replace(TORCH, card=local([["first", [2, 1]]])))
    bare = {"module.first": None, "module.second": None, "weights": RELEASE.weights}
    refused(replace(TORCH, card=local([])), **bare)
    refused(replace(TORCH, card=local(LAYOUT, model=1)))
    refused(replace(TORCH, card=local(LAYOUT, model_hash=None)))
    refused(TORCH, **{"module.first": np.zeros((2, 1), dtype=np.float32)})
    refused(TORCH, weights=RELEASE.weights)
    refused(TORCH, **{"module.second": None})


# --- what reading it may cost ---


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (b" " * (4 << 20), True),
        (b" " * ((4 << 20) + 1), False),
        (b"," * (1 << 16), True),
        (b"," * ((1 << 16) + 1), False),
        (b"[" * 30_000 + b"{" * 30_000 + b"," * 6_000, False),
    ],
    ids=["as long as may be", "longer", "as many values", "more", "more of all kinds"],
)
def test_a_header_is_read_only_where_that_stays_cheap(
    header: bytes, *, read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def parse(data: bytes) -> None:
        seen.append(len(data))
        raise ValueError(len(data))

    monkeypatch.setattr(release, "load", parse)
    data = len(header).to_bytes(8, "little") + header
    for whole, passes in ((data, read), (data[:-1], False)):
        seen.clear()
        with pytest.raises(ReleaseError):
            ReleaseContent.decode(whole)
        assert bool(seen) == passes


def facts(values: int) -> dict[str, str]:
    """Metadata of a list of so many values."""
    said = {"number": 7, "card": {"list": [0] * values}, "statement": {}}
    return {"fedrepay": json.dumps(said, sort_keys=True)}


def test_facts_are_no_more_than_may_be() -> None:
    most = (1 << 16) - 5  # beside three braces, a bracket and two commas; a list has a comma less than values
    assert len(release._facts(facts(most))["card"]["list"]) == most
    with pytest.raises(ValueError, match="too many"):
        release._facts(facts(most + 1))


def test_facts_are_in_one_order() -> None:
    with pytest.raises(ValueError, match="not canonical"):
        release._facts({"fedrepay": '{"number": 7, "card": {}, "statement": {}}'})


# --- what two members compare ---


@pytest.mark.parametrize(("largest", "allowed"), [(4.0, 4e-9), (0.25, 1e-9), (1.0, 1e-9)])
def test_weights_may_differ_by_a_billionth_of_the_largest_and_of_no_less_than_one(
    largest: float, allowed: float
) -> None:
    mine = replace(RELEASE, weights=np.array([[largest, 0.0]]))
    for share, name in ((0.99, None), (1.01, "weights")):
        assert mine.disagrees(replace(RELEASE, weights=np.array([[largest, share * allowed]]))) == name


def test_the_very_limit_is_allowed() -> None:
    mine, other = (replace(RELEASE, weights=np.array([[each]])) for each in (0.0, 1e-9))
    assert mine.disagrees(other) is None


def test_one_weight_that_is_no_number_is_enough() -> None:
    assert RELEASE.disagrees(replace(RELEASE, weights=np.array([[np.nan, -4.0, 0.0]]))) == "weights"


def test_no_weights_agree() -> None:
    none = replace(RELEASE, weights=np.zeros((1, 0)))
    assert none.disagrees(none) is None


@pytest.mark.parametrize("said", [1, 2])
def test_a_release_says_how_many_colluders_it_bears(said: int) -> None:
    assert replace(RELEASE, statement={"colluders": said}).colluders == said


@pytest.mark.parametrize("said", [{}, *({"colluders": each} for each in (0, -1, True, "1", 1.0, None))])
def test_a_release_that_does_not_say_it_is_not_used(said: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError):
        _ = replace(RELEASE, statement=said).colluders
