"""Which torch module a member holds: named by its own configuration, and never by what it was sent.

``load`` takes a shipped name or ``module:Class`` from the member's own installation, makes the module from a
public seed and checks it (``checks``). The wire carries the name and the hash to compare with, nothing to import.
"""

import importlib
import os
import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedrepay.shared.arrays import F64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.message import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

SHIPPED = {"logistic": "Logistic", "mlp": "MLP"}
INITIAL_SEED = 20_261_125
"""Public: every member's module starts with the same weights."""

MOST_PARAMETERS = 1 << 24
Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of the trained parameters, in order."""


@dataclass(frozen=True)
class TorchModel:
    """A module that passed the checks.

    Attributes:
        name: shipped name or ``module:Class``.
        dimension: d, columns of a row.
        hash: over names, shapes, types and initial values of all parameters and buffers (32 bytes).
        layout: of the trained parameters.
        initial: their initial values one after the other, shape (P,).
        norms: ``ghost`` where gradients' lengths have a closed form in every layer, else ``hooks``.
        make: a fresh module in float64 with its initial values.
    """

    name: str
    dimension: int
    hash: bytes
    layout: Layout
    initial: F64
    norms: Literal["ghost", "hooks"]
    make: "Callable[[], nn.Module]"

    @property
    def parameters(self) -> int:
        """P, numbers that are trained."""
        return int(self.initial.size)


def load(name: str, dimension: int) -> TorchModel:
    """The module called ``name``, made for rows of ``dimension`` columns.

    Raises:
        ArgumentError: torch is not installed, the module cannot be imported or made, or must not be trained.
    """
    missing = [each for each in ("torch", "opacus") if find_spec(each) is None]
    if missing:
        raise ArgumentError(
            f"Local mode needs {' and '.join(missing)}, not installed here.",
            "pip install 'fedrepay[member,torch]'",
        )
    from fedrepay.client.learning.torch_models import checks  # noqa: PLC0415 - imports torch

    make = _maker(name, _class(name), dimension)
    module = make()
    checks.check_module(name, module)
    layout = tuple((key, tuple(each.shape)) for key, each in module.named_parameters() if each.requires_grad)
    if sum(int(np.prod(shape)) for _, shape in layout) > MOST_PARAMETERS:
        raise ArgumentError(
            f"--model {name} trains more than {MOST_PARAMETERS:,} numbers.", "Bring a smaller module."
        )
    identity = _identity(module)
    return TorchModel(
        name,
        dimension,
        identity,
        layout,
        flatten(module),
        checks.check_behaviour(name, make, dimension),
        lambda: make().double(),
    )


def flatten(module: "nn.Module") -> F64:
    """The trained parameters one after the other, shape (P,)."""
    parts = [
        each.detach().double().numpy().ravel() for _, each in module.named_parameters() if each.requires_grad
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def fill(module: "nn.Module", weights: F64) -> None:
    """Write (P,) numbers into a module's trained parameters."""
    import torch  # noqa: PLC0415 - slow to import

    start = 0
    with torch.no_grad():
        for _, each in module.named_parameters():
            if each.requires_grad:
                part = weights[start : start + each.numel()]
                each.copy_(torch.from_numpy(np.ascontiguousarray(part)).reshape(each.shape))
                start += each.numel()


def logits(model: TorchModel, weights: F64, parts: "Iterable[F64]") -> F64:
    """What the module says of rows x, given in parts of shape (n, d), in evaluation mode; all of them, shape (N,)."""
    import torch  # noqa: PLC0415 - slow to import

    module = model.make().eval()
    fill(module, weights)
    with torch.no_grad():
        found = [module(torch.from_numpy(rows)).numpy() for rows in parts]
    return np.concatenate(found) if found else np.zeros(0)


def _class(name: str) -> type:
    """The class behind a name.

    Raises:
        ArgumentError: naming what cannot be imported.
    """
    if name in SHIPPED:
        from fedrepay.client.learning.torch_models import examples  # noqa: PLC0415 - imports torch

        found: type = getattr(examples, SHIPPED[name])
        return found
    place, colon, wanted = name.partition(":")
    if not (colon and place and wanted.isidentifier()):
        raise ArgumentError(
            f"--model {name} is not a torch module.",
            f"Choose {', '.join(SHIPPED)}, or name module:Class of your own.",
        )
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - as pytest and uvicorn do
        sys.path.insert(0, here)
    try:
        held = getattr(importlib.import_module(place), wanted)
    except AttributeError as error:
        raise ArgumentError(
            f"--model {name}: {place} has no {wanted}.", "Check the name of the class."
        ) from error
    except Exception as error:
        raise ArgumentError(
            f"--model {name}: {place} cannot be imported ({type(error).__name__}: {error}).",
            "Name a module of this Python's installation, or of the folder you are in.",
        ) from error
    from torch import nn  # noqa: PLC0415 - slow to import

    if not (isinstance(held, type) and issubclass(held, nn.Module)):
        raise ArgumentError(
            f"--model {name} is not a torch.nn.Module.", "Name a class that is derived from it."
        )
    return held


def _maker(name: str, held: type, dimension: int) -> "Callable[[], nn.Module]":
    def make() -> "nn.Module":
        import torch  # noqa: PLC0415 - slow to import

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(INITIAL_SEED)
            try:
                made: nn.Module = held(dimension)
            except Exception as error:
                raise ArgumentError(
                    f"--model {name}: {held.__name__}({dimension}) fails ({type(error).__name__}: {error}).",
                    "The class takes one argument, the number of columns of a row.",
                ) from error
        return made.train()

    return make


def _identity(module: "nn.Module") -> bytes:
    """SHA-256 over names, shapes, types and values of all parameters and buffers, and which are trained."""
    trained = {key for key, each in module.named_parameters() if each.requires_grad}
    digest = sha256()
    held = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for key, each in held:
        values = each.detach().contiguous().numpy()
        facts = {
            "name": key,
            "shape": list(values.shape),
            "type": str(values.dtype),
            "trained": key in trained,
        }
        digest.update(canonical(facts))
        digest.update(values.tobytes())
    return digest.digest()
