"""Torch modules as institutions might bring them: good ones, and one for each reason to refuse."""

import torch
from opacus import GradSampleModule
from torch import Tensor, nn


class Bent(nn.Module):
    """A small network whose layers have no closed form: hooks take its gradients apart."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dimension, 4), nn.LayerNorm(4), nn.SiLU(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).squeeze(-1)
        return logits


class Dropped(nn.Module):
    """Draws random numbers while it trains, seldom one that changes anything."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(1e-6), nn.Linear(dimension, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).squeeze(-1)
        return logits


class Steep(nn.Module):
    """A linear model whose gradients are far longer than any clip."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(100 * x).squeeze(-1)
        return logits


class Normed(nn.Module):
    """Mixes rows: BatchNorm."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(dimension), nn.Linear(dimension, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).squeeze(-1)
        return logits


class Centred(Steep):
    """Mixes rows by hand, where no layer shows it."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x - x.mean(dim=0)).squeeze(-1)
        return logits


class CentredUnseen(Steep):
    """Mixes rows without a derivative."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x - x.mean(dim=0).detach()).squeeze(-1)
        return logits


class Fragile(Steep):
    """Infinite on rows of the code book that use column 0; the rows it is tried on have no zeros."""

    def forward(self, x: Tensor) -> Tensor:
        alone = (x[:, 0] != 0) & (x[:, 1:] == 0).any(dim=1)
        return super().forward(x) * torch.where(alone, float("inf"), 1.0)


class CentredLater(Steep):
    """Mixes rows once a weight has left 0."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.gate = nn.Linear(dimension, 1, bias=False)
        nn.init.zeros_(self.gate.weight)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x) + self.gate(x - x.mean(dim=0).detach()).squeeze(-1)
        return logits


class Running(Steep):
    """Adds up earlier rows: the first row depends on no other."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.cumsum(dim=0))


class RemembersUnseen(Steep):
    """Keeps a running figure that is no buffer."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.seen = torch.zeros(dimension, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x - self.seen)
        self.seen = 0.9 * self.seen + 0.1 * x.mean(dim=0)
        return logits


class ByTheWay(nn.Module):
    """Uses a layer's weights outside of the layer, where 0 hides it at first: closed forms miss that part."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.first = nn.Linear(dimension, dimension)
        self.last = nn.Linear(dimension, 1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x)) + 5 * x @ self.first.weight.T
        logits: Tensor = self.last(hidden).squeeze(-1)
        return logits


class Folded(Steep):
    """Gives a layer other rows than it got."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x, x * x])).reshape(2, -1).sum(dim=0)


class Narrow(Steep):
    """Computes in float32."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.linear.weight.float(), self.linear.bias.float()
        return nn.functional.linear(x.float(), weight, bias).squeeze(-1)


class Remembers(Steep):
    """Keeps a running figure of what it saw."""

    seen: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.memory = nn.Module()
        self.memory.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.memory.get_buffer("seen").add_(x.sum())
        return super().forward(x)


class Half(Steep):
    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.half()


class Wide(Steep):
    """One column a row instead of one number."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x)
        return logits


class Lost(Steep):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


class Infinite(Steep):
    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        nn.init.constant_(self.linear.bias, float("inf"))


class Constant(nn.Module):
    def __init__(self, dimension: int) -> None:
        super().__init__()
        del dimension

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=1)


class Detached(Steep):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class Tied(nn.Module):
    """Uses one layer twice: closed forms do not hold, hooks add the two uses up."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.first = nn.Linear(dimension, dimension)
        self.last = nn.Linear(dimension, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.first(torch.tanh(self.first(x))))).squeeze(-1)
        return logits


class Needy(nn.Module):
    def __init__(self, dimension: int, more: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, more)


def Wrapped(dimension: int) -> nn.Module:  # noqa: N802 - stands where a class is named
    wrapped: nn.Module = GradSampleModule(Steep(dimension))
    return wrapped


class WrappedInside(nn.Module):
    """Hides Opacus' wrapper in itself."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.inner = GradSampleModule(Steep(dimension))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits


NOT_A_CLASS = 3
