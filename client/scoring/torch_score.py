"""Scores of a release in local mode: a torch module that this member holds itself.

A release names the module it trained and never brings or imports it: a shipped one is here already, and any
other must be named by whoever scores.
"""

import math
from typing import Any

import numpy as np

from fedrepay.client.learning.torch_models import registry
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.shared.arrays import F64, U16
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.schema.codebook import CodeBook

_ROWS = 4096


def model_of(card: dict[str, Any], book: CodeBook, named: str | None) -> TorchModel:
    """The module behind a release.

    Args:
        card: the release's model card.
        book: its code book.
        named: what the user named, where the module does not ship.

    Raises:
        ReleaseError: the module is not named, or is not the one that was trained.
        ArgumentError: it cannot be imported or used.
    """
    wanted = str(card["local"]["model"])
    if named is None and wanted not in registry.SHIPPED:
        raise ReleaseError(
            f"This release holds the weights of the torch module {wanted}; no code is imported because a file names it.",
            f"If that is your institution's own module, add --model {wanted}.",
        )
    model = registry.load(named or wanted, book.dimension)
    if model.hash.hex() != card["local"]["model_hash"]:
        raise ReleaseError(
            f"The torch module {model.name} is not the one this release was trained with ({wanted}).",
            "Use the same code of the module and the same version of torch as in training.",
        )
    return model


def probability(model: TorchModel, book: CodeBook, weights: F64, codes: U16) -> F64:
    """P(outcome = 1) for each row, (n,): σ of the module's logit plus the public prior's.

    Raises:
        ReleaseError: the module gives numbers that are not finite.
    """
    prior = book.schema.priors[0]
    logits = registry.logits(
        model, weights, (book.rows(codes[i : i + _ROWS]) / book.scale for i in range(0, len(codes), _ROWS))
    )
    if not np.isfinite(logits).all():
        raise ReleaseError("The release's torch module gives numbers that are not finite.", "Do not use it.")
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * (logits + math.log(prior / (1 - prior))))))
