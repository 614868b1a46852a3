"""What a torch module must be for a step of DP-SGD to protect a customer, tried before anything is trained.

Refused are modules that mix the rows of a batch (Opacus' ``ModuleValidator``, and a probe of our own), modules
that Opacus has wrapped already, numbers of other types than float32 and float64, and buffers that training
changes: what they hold would be no post-processing of noisy sums. The probes find mistakes, not malice: a module is code of the
member's own installation.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from opacus.grad_sample import AbstractGradSampleModule, GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from fedrepay.shared.errors import ArgumentError

PROBE = 6  # rows
_AGREE = 1e-9  # relative; all in float64


class NoClosedFormError(Exception):
    """A layer's gradient lengths have no closed form; Opacus' hooks take them apart instead."""


def check_module(name: str, module: nn.Module) -> None:
    """What can be seen without running it.

    Raises:
        ArgumentError: with the reason.
    """
    wrapped = [each for each in module.modules() if isinstance(each, AbstractGradSampleModule)]
    if wrapped or any(hasattr(each, "grad_sample") for each in module.parameters()):
        raise ArgumentError(
            f"--model {name} was wrapped by Opacus already: it would clip and add noise of its own.",
            "Name the plain module; fedrepay wraps it.",
        )
    held = [*module.parameters(), *(each for each in module.buffers() if each.is_floating_point())]
    types = sorted({str(each.dtype) for each in held} - {"torch.float32", "torch.float64"})
    if types:
        raise ArgumentError(
            f"--model {name} holds numbers of type {', '.join(types)}: a gradient's length would not be exact.",
            "Use float32 or float64.",
        )
    if not any(each.requires_grad for each in module.parameters()):
        raise ArgumentError(f"--model {name} has no parameters to train.", "Give it a layer that learns.")
    if any(not bool(torch.isfinite(each).all()) for each in held):
        raise ArgumentError(
            f"--model {name} starts with numbers that are not finite.", "Mend its initial values."
        )
    if any(each.is_cuda for each in held):
        raise ArgumentError(f"--model {name} lies on a GPU.", "Make it on the CPU.")
    refused = ModuleValidator.validate(module, strict=False) + GradSampleModule.validate(module, strict=False)
    if refused:
        reason = str(refused[0]).splitlines()[0].split(". ")[0].rstrip(".")  # Opacus's reasons run on
        raise ArgumentError(
            f"--model {name} cannot be trained one customer at a time: {reason}.",
            "A customer's gradient must not depend on others: take GroupNorm or LayerNorm, for example.",
        )


def check_behaviour(name: str, make: Callable[[], nn.Module], dimension: int) -> Literal["ghost", "hooks"]:
    """Run the module on a few made-up rows, at its initial weights and at others: layers often begin at 0.

    Args:
        name: for messages.
        make: gives a fresh module.
        dimension: columns of a row.

    Returns:
        how gradients' lengths are to be found.

    Raises:
        ArgumentError: wrong shape or type, not finite, rows mixed, random numbers drawn, something kept of what was
            seen, or gradients that Opacus cannot take apart.
    """
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(PROBE, dimension, dtype=torch.float64, generator=generator)
    rows = rows / rows.norm(dim=1, keepdim=True)

    def moved() -> nn.Module:
        module, draws = make().double().train(), torch.Generator().manual_seed(2)
        with torch.no_grad():
            for each in module.parameters():
                if each.requires_grad:
                    each.add_(torch.randn(each.shape, dtype=each.dtype, generator=draws), alpha=0.1)
        return module

    places = (lambda: make().double().train(), moved)
    for fresh in places:
        _check_keeps_nothing(name, fresh, rows)
        _check_apart(name, fresh, rows)
    kinds = [_kind(name, fresh, rows) for fresh in places]
    return "hooks" if "hooks" in kinds else "ghost"


def _kind(name: str, fresh: Callable[[], nn.Module], rows: Tensor) -> Literal["ghost", "hooks"]:
    """The first road to the gradients' lengths that agrees with plain autograd."""
    _, alone = _single(name, fresh(), rows)
    kind: Literal["ghost", "hooks"]
    for kind in ("ghost", "hooks"):
        try:
            found = lengths(wrap(fresh(), kind), rows)
        except Exception as error:
            if kind == "hooks":
                raise ArgumentError(
                    f"--model {name}: Opacus cannot take its gradients apart ({type(error).__name__}: {error}).",
                    "Build it from torch.nn's layers.",
                ) from error
            continue
        if found.shape == alone.shape and torch.allclose(found, alone, rtol=_AGREE, atol=1e-12):
            return kind
    raise ArgumentError(
        f"--model {name}: Opacus' gradients of single rows are not those of the rows alone.",
        "Build it from torch.nn's layers, each used once.",
    )


def wrap(module: nn.Module, kind: Literal["ghost", "hooks"]) -> AbstractGradSampleModule:
    """The module in Opacus' wrapper.

    Raises:
        NoClosedFormError: closed forms were asked for, and a layer has none.
    """
    if kind == "hooks":
        return GradSampleModule(module, batch_first=True, loss_reduction="sum", strict=True)
    trained = [each for each in module.modules() if any(True for _ in each.parameters(recurse=False))]
    if not all(type(each) is nn.Linear for each in trained):
        raise NoClosedFormError("closed forms are for linear layers")
    for each in trained:
        each.register_forward_pre_hook(_flat_only)
    return GradSampleModuleFastGradientClipping(
        module, batch_first=True, loss_reduction="sum", strict=True, use_ghost_clipping=True
    )


def _flat_only(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
    """A layer's closed form is a product of two lengths only for input of shape (n, width)."""
    if given[0].dim() != 2:
        raise NoClosedFormError("closed forms are for rows, not for sequences")


def lengths(wrapped: AbstractGradSampleModule, rows: Tensor) -> Tensor:
    """Length of each row's gradient of a made-up loss, shape (n,)."""
    with quiet():
        _loss(wrapped(rows)).sum().backward()
    return gradient_lengths(wrapped)


def gradient_lengths(wrapped: AbstractGradSampleModule) -> Tensor:
    """Lengths of the gradients after a backward pass, shape (n,)."""
    if isinstance(wrapped, GradSampleModuleFastGradientClipping):
        found: Tensor = wrapped.get_norm_sample()
        return found
    parts = [each.grad_sample.flatten(1).norm(dim=1) for each in wrapped.parameters() if each.requires_grad]
    lengths: Tensor = torch.stack(parts, dim=1).norm(dim=1)
    return lengths


@contextmanager
def quiet() -> Iterator[None]:
    """Opacus hooks layers whose input needs no gradient; torch warns about that, and it is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield


def _loss(logits: Tensor) -> Tensor:
    loss: Tensor = nn.functional.softplus(logits) + 0.3 * logits
    return loss


def _logits(name: str, module: nn.Module, rows: Tensor) -> Tensor:
    try:
        logits = module(rows)
    except Exception as error:
        raise ArgumentError(
            f"--model {name} cannot read rows of shape {tuple(rows.shape)} ({type(error).__name__}: {error}).",
            "It takes (n, d) numbers of its parameters' type, which is float64 in training.",
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (len(rows),):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ArgumentError(
            f"--model {name} gives {shape} for {len(rows)} rows.",
            f"It must give one logit a row, ({len(rows)},).",
        )
    if logits.dtype != torch.float64:
        raise ArgumentError(
            f"--model {name} gives {logits.dtype} for rows of float64: a gradient's length would not be exact.",
            "Leave the type of the rows as it is.",
        )
    if not bool(torch.isfinite(logits).all()):
        raise ArgumentError(f"--model {name} gives numbers that are not finite.", "Mend the module.")
    if not logits.requires_grad:
        raise ArgumentError(f"--model {name}'s output does not depend on its parameters.", "Mend the module.")
    return logits


def _check_keeps_nothing(name: str, fresh: Callable[[], nn.Module], rows: Tensor) -> None:
    """What a module says of some rows depends neither on chance nor on the rows it saw before."""
    module, draws = fresh(), torch.get_rng_state()
    before = {key: value.clone() for key, value in module.named_buffers()}
    _loss(_logits(name, module, rows.flip(1))).sum().backward()
    if not torch.equal(draws, torch.get_rng_state()):
        raise ArgumentError(
            f"--model {name} draws random numbers in training: who knows them sees whose place in the batch moved.",
            "Leave dropout out; the noise of the steps regularises already.",
        )
    if any(not torch.equal(value, before[key]) for key, value in module.named_buffers()):
        raise ArgumentError(
            f"--model {name} keeps what it saw in a buffer, which no noise would protect.",
            "Take layers that keep no running figures.",
        )
    if not torch.allclose(_logits(name, module, rows), _logits(name, fresh(), rows), rtol=_AGREE, atol=1e-12):
        raise ArgumentError(
            f"--model {name} gives the same rows another output once it has seen others.",
            "Keep nothing between two calls, and draw no random numbers.",
        )


def _check_apart(name: str, fresh: Callable[[], nn.Module], rows: Tensor) -> None:
    """A row's logit and gradient stay as they are when other rows change, and when they are not there."""
    whole = _single(name, fresh(), rows)
    numbers = torch.arange(len(rows))
    mixed = False
    for bit in (1, 2, 4):  # every two of the rows are parted by one of the bits
        for kept in ((numbers & bit) == 0, (numbers & bit) != 0):
            changed = torch.where(kept[:, None], rows, -2 * rows.flip(1))
            mixed = mixed or not _agree(whole, _single(name, fresh(), changed), kept)
    for size in (1, PROBE // 2):
        mixed = mixed or not _agree(whole, _single(name, fresh(), rows[:size]), numbers < size)
    if mixed:
        raise ArgumentError(
            f"--model {name} mixes the rows of a batch: one customer would change the gradients of others.",
            "Take layers that treat each row alone; GroupNorm instead of BatchNorm, for example.",
        )


def _agree(whole: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], kept: Tensor) -> bool:
    """Whether logits and lengths of the kept rows are the same; ``other`` may hold the first rows only."""
    found = [
        torch.allclose(some[kept[: len(some)]], all_[kept], rtol=_AGREE, atol=1e-12)
        for all_, some in zip(whole, other, strict=True)
    ]
    return all(found)


def _single(name: str, module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the length of each row's gradient by plain autograd, both of shape (n,)."""
    logits = _logits(name, module, rows)
    trained = [each for each in module.parameters() if each.requires_grad]
    found = []
    for loss in _loss(logits):
        parts = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
        found.append(torch.stack([part.norm() for part in parts if part is not None]).norm())
    return logits.detach(), torch.stack(found)
