"""Which torch modules a member may train, and what each refusal says."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.learning.torch_models import registry
from fedrepay.client.learning.torch_models.registry import SHIPPED, flatten, load
from fedrepay.shared.errors import ArgumentError

OWN = "support.torch_modules:"
D = 5


@pytest.mark.parametrize(
    ("name", "norms"),
    [
        ("logistic", "ghost"),
        ("mlp", "ghost"),
        (OWN + "Steep", "ghost"),
        (OWN + "Bent", "hooks"),
        (OWN + "Tied", "hooks"),
    ],
)
def test_a_good_module_is_held_with_the_road_to_its_gradients(name: str, norms: str) -> None:
    model = load(name, D)
    assert (model.name, model.norms) == (name, norms)
    assert model.parameters == sum(int(np.prod(shape)) for _, shape in model.layout)
    assert np.array_equal(flatten(model.make()), model.initial)


def test_the_same_module_is_the_same_everywhere_and_others_are_not() -> None:
    again = load("mlp", D)
    assert (again.hash, again.initial.tobytes()) == (load("mlp", D).hash, again.initial.tobytes())
    hashes = {load(name, d).hash for name in (*SHIPPED, OWN + "Steep", OWN + "Bent") for d in (D, D + 1)}
    assert len(hashes) == 8


def test_making_a_module_leaves_torchs_own_randomness_alone() -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    load(OWN + "Steep", D)
    assert torch.rand(1) == expected


def test_of_opacus_s_reason_the_first_sentence_is_told() -> None:
    with pytest.raises(ArgumentError) as caught:
        load(OWN + "Normed", D)
    assert "with differential privacy. A customer's gradient" in str(caught.value)
    assert "ResNet" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet", "is not a torch module"),
        ("no_such_module_at_all:Net", "cannot be imported"),
        (OWN + "Missing", "has no Missing"),
        (OWN + "NOT_A_CLASS", "is not a torch.nn.Module"),
        (OWN + "Wrapped", "is not a torch.nn.Module"),
        ("json:JSONDecoder", "is not a torch.nn.Module"),
        (OWN + "Needy", "Needy(5) fails"),
        (OWN + "Normed", "one customer at a time"),
        (OWN + "Centred", "mixes the rows"),
        (OWN + "CentredUnseen", "mixes the rows"),
        (OWN + "Dropped", "draws random numbers"),
        (OWN + "CentredLater", "mixes the rows"),
        (OWN + "Running", "mixes the rows"),
        (OWN + "Remembers", "in a buffer"),
        (OWN + "RemembersUnseen", "once it has seen others"),
        (OWN + "ByTheWay", "not those of the rows alone"),
        (OWN + "Folded", "not those of the rows alone"),
        (OWN + "Narrow", "torch.float32"),
        (OWN + "Half", "torch.float16"),
        (OWN + "Wide", "gives (6, 1) for 6 rows"),
        (OWN + "Lost", "not finite"),
        (OWN + "Infinite", "not finite"),
        (OWN + "Constant", "no parameters"),
        (OWN + "Detached", "does not depend on its parameters"),
        (OWN + "WrappedInside", "wrapped by Opacus already"),
    ],
)
def test_every_reason_to_refuse_a_module_is_said(name: str, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        load(name, D)
    assert said in caught.value.cause
    assert caught.value.remedy


def test_a_module_of_the_folder_one_stands_in_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, d):\n        super().__init__()\n        self.layer = nn.Linear(d, 1)\n"
        "    def forward(self, x):\n        return self.layer(x).squeeze(-1)\n"
    )
    (tmp_path / "my_broken_net.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load("my_own_net:Net", D).parameters == D + 1
    with pytest.raises(ArgumentError, match="ZeroDivisionError"):
        load("my_broken_net:Net", D)


def test_without_torch_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "opacus" else find_spec(name))
    with pytest.raises(ArgumentError) as caught:
        load("mlp", D)
    assert "opacus" in caught.value.cause
    assert caught.value.remedy == "pip install 'fedrepay[member,torch]'"
