"""The torch modules that ship: a logistic model and a small network, as an institution would write its own.

A module is made as ``Class(dimension)``, takes rows x = C/S of the code book, shape (n, d), in the type of its own
parameters, and gives logits, shape (n,), beside the schema's public prior: an output of 0 predicts the prior.
"""

import torch
from torch import Tensor, nn

HIDDEN = 32


class Logistic(nn.Module):
    """Log-odds that are linear in x; every row has norm 1 or less, so no gradient is longer than 1."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, 1, bias=False)  # x carries the intercept
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n,)."""
        logits: Tensor = self.linear(x).squeeze(-1)
        return logits


class MLP(nn.Module):
    """One hidden layer of 32 with tanh, whose bounded slope suits clipped gradients.

    Source: Papernot et al., Tempered sigmoid activations for deep learning with differential privacy (AAAI 2021).
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dimension, HIDDEN, bias=False)
        self.out = nn.Linear(HIDDEN, 1)
        half = HIDDEN // 2
        nn.init.normal_(self.hidden.weight, std=0.5)
        # pairs of units that cancel: the first prediction is the prior, no gradient is 0
        with torch.no_grad():
            self.hidden.weight[half:] = self.hidden.weight[:half]
        nn.init.constant_(self.out.weight[:, :half], 0.5)
        nn.init.constant_(self.out.weight[:, half:], -0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n,)."""
        logits: Tensor = self.out(torch.tanh(self.hidden(x))).squeeze(-1)
        return logits
