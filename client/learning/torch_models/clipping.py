"""One round of DP-SGD at a member: sample customers, clip, sum as integers, add the discrete noise, step.

**Sensitivity.** A customer's rows weigh at most 1 together and each row's gradient is cut to length C, so the exact
sum s of a step moves by at most C when a customer comes or goes. With G grid units to a unit of gradient the
member takes v = round(G·ŝ), ŝ being s as float64 adds it. For two neighbours |v − v'| ≤ |G(ŝ − ŝ')| + √P, since
rounding moves each of the P numbers by at most ½ twice, and |G(ŝ − ŝ')| ≤ G·C + 2G·e, where e bounds how far ŝ is from
s. Adding n numbers in any order errs by at most n·2⁻⁵³ of the sum of their sizes (Higham, 2002, §4.2), so e ≤
n·N·C·2⁻⁵³ for n rows of N customers, who weigh N together; and lengths and factors are right to P·2⁻⁵³, against which rows are cut to
C·(1 − 2⁻²⁸). ``dp_sgd.grid`` chooses G so that all of it stays within Δ = 2²⁰ grid units for any n up to
``n_max`` customers with 64 rows each. What no bound covers: torch may compute the *same* row's gradient with other
last bits in another batch. The slack allows 2⁻³⁰ of C for every row, which is 2²³ times float64's own error.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from fedrepay.client.learning.contribution import Rows
from fedrepay.client.learning.torch_models import checks, registry
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.privacy.noise import DiscreteGaussian

ROWS = 1024  # in memory at a time
NUMBERS = 1 << 26  # of rows' gradients in memory at a time, where hooks hold each row's own
_SHORTER = 1 - 2.0**-28


@dataclass(frozen=True)
class Steps:
    """Public numbers of a round of steps.

    Attributes:
        sampling_rate: q, the chance of each customer to be in a step.
        steps: how many.
        clip: C.
        variance: of the noise on each number of a step's sum, grid units².
        grid: G, grid units to a unit of gradient.
        batch: customers that a step is divided by, public too.
        rate: the step, in units of a mean gradient divided by C.
        prior: logit of the schema's public prior.
    """

    sampling_rate: float
    steps: int
    clip: float
    variance: float
    grid: float
    batch: float
    rate: float
    prior: float


class DiscreteOptimizer(DPOptimizer):
    """Opacus' optimiser with exact integers and our discrete Gaussian in place of its own noise.

    Args:
        optimizer: takes the step; whatever it does is post-processing.
        steps: public numbers.
        entropy: where the noise comes from.

    Raises:
        ArgumentError: an option of Opacus that is unsound or without effect here.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, steps: Steps, entropy: Entropy, **options: Any
    ) -> None:
        if options:
            raise ArgumentError(
                f"{', '.join(sorted(options))}: noise comes from the operating system through our own sampler.",
                "Opacus' secure_mode needs torchcsprng, which is no longer kept; leave its options out.",
            )
        super().__init__(
            optimizer,
            noise_multiplier=math.sqrt(steps.variance) / (steps.grid * steps.clip),
            max_grad_norm=steps.clip,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._steps = steps
        self._entropy = entropy
        self._noise = DiscreteGaussian(steps.variance)

    def factors(self, lengths: Tensor, weights: Tensor) -> Tensor:
        """What each row's gradient is multiplied by: its weight, and less where it is longer than C, shape (n,)."""
        bound = self._steps.clip * _SHORTER
        return weights * (bound / lengths.clamp(min=bound))

    def clip_and_accumulate(self, factors: Tensor | None = None) -> None:
        """Add the clipped gradients of some rows to the step's sum.

        Args:
            factors: of each row, for gradients that hooks took apart; None where they are summed already.
        """
        for each in self.params:
            part = each.grad if factors is None else torch.einsum("i,i...", factors, each.grad_sample)
            if part is not None:
                each.summed_grad = part.clone() if each.summed_grad is None else each.summed_grad + part
            each.grad, each.grad_sample = None, None

    def integers(self) -> I64:
        """The step's sum on the grid, without noise, shape (P,): the only number here that nothing protects."""
        params = self.params
        parts = [torch.zeros_like(each) if each.summed_grad is None else each.summed_grad for each in params]
        exact = np.concatenate([each.detach().numpy().ravel() for each in parts])
        return np.rint(exact * self._steps.grid).astype(np.int64)

    def add_noise(self) -> None:
        """Add the noise to the sum, and leave the noisy mean gradient over C in ``p.grad``."""
        steps, exact = self._steps, self.integers()
        noisy = exact + self._noise.sample(exact.size, self._entropy)
        mean = torch.from_numpy(noisy / (steps.grid * steps.clip * steps.batch))
        start = 0
        for each in self.params:
            each.grad = mean[start : start + each.numel()].view_as(each)
            each.summed_grad = None
            start += each.numel()

    def pre_step(self, closure: object = None) -> bool:
        """Noise belongs to every step, one without a row included."""
        del closure
        self.add_noise()
        return True


def train(model: registry.TorchModel, start: F64, data: Rows, steps: Steps, entropy: Entropy) -> F64:
    """Take the steps from the common weights; what comes back is protected.

    Args:
        model: the member's module.
        start: common weights, shape (P,).
        data: the member's rows.
        steps: public numbers.
        entropy: for noise and sampling.

    Returns:
        the weights after the steps, shape (P,).
    """
    module = model.make()
    registry.fill(module, start)
    wrapped = checks.wrap(module, model.norms)
    trained = [each for each in module.parameters() if each.requires_grad]
    optimizer = DiscreteOptimizer(torch.optim.SGD(trained, lr=steps.rate), steps, entropy)
    for _ in range(steps.steps):
        accumulate(wrapped, optimizer, data, sample(data, steps.sampling_rate, entropy), steps.prior)
        optimizer.step()
    return registry.flatten(module)


def sample(data: Rows, rate: float, entropy: Entropy) -> I64:
    """Rows of a Poisson sample of customers: each is in with chance q (less than 2⁻⁶⁴ below it), with all its rows."""
    if rate >= 1:
        return np.arange(len(data.owners))
    words = np.frombuffer(entropy.draw(8 * data.customers), dtype="<u8")
    return np.flatnonzero((words < np.uint64(math.floor(rate * 2.0**64)))[data.owners])


def accumulate(wrapped: Any, optimizer: DiscreteOptimizer, data: Rows, chosen: I64, prior: float) -> None:
    """Clip and add up the chosen rows, some at a time."""
    size = ROWS
    if not isinstance(wrapped, GradSampleModuleFastGradientClipping):
        size = max(1, min(ROWS, NUMBERS // sum(each.numel() for each in optimizer.params)))
    for begin in range(0, len(chosen), size):
        _accumulate(wrapped, optimizer, data, chosen[begin : begin + size], prior)


def _accumulate(wrapped: Any, optimizer: DiscreteOptimizer, data: Rows, index: I64, prior: float) -> None:
    """Clip and add up some rows; one outside the outcome's population, or without a finite gradient, adds nothing."""
    index = index[data.outcomes[index, 0] >= 0]
    while len(index):
        rows = torch.from_numpy(data.book.rows(data.codes[index]) / data.book.scale)
        truth = torch.from_numpy(data.outcomes[index, 0].astype(np.float64))
        weights = torch.from_numpy(data.weights[index] / float(1 << data.book.weight_bits))
        ghost = isinstance(wrapped, GradSampleModuleFastGradientClipping)
        wrapped.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(wrapped(rows) + prior, truth, reduction="none")
        with checks.quiet():
            loss.sum().backward(retain_graph=ghost)
        lengths = checks.gradient_lengths(wrapped)
        finite = (torch.isfinite(lengths) & torch.isfinite(loss)).numpy()
        if not finite.all():
            index = index[finite]
            continue
        factors = optimizer.factors(lengths, weights).detach()
        if ghost:  # a second pass sums what the first one measured
            wrapped.zero_grad()
            wrapped.disable_hooks()
            with checks.quiet():
                (factors * loss).sum().backward()
            wrapped.enable_hooks()
            optimizer.clip_and_accumulate()
        else:
            optimizer.clip_and_accumulate(factors)
        return
