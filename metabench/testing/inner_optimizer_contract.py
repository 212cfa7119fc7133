"""Contract of inner optimizers: shapes, and a correct derivative of the step."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.autodiff import derivatives
from metabench.testing.expectations import SIZE, expect, expect_refused


def check_inner_optimizer(step: InnerOptimizer, seed: int = 0) -> None:
    """Check an inner optimizer against its contract: shapes, and a correct derivative.

    A rate below zero is refused.
    """
    expect_refused(step)
    generator = torch.Generator().manual_seed(seed)
    gradient, phi, along = torch.randn(3, SIZE, generator=generator, dtype=torch.float64)
    slots = step.start(phi)
    for k in range(2):
        moved, after = step(gradient, phi, slots, k)
        expect(moved.shape == phi.shape, f"phi becomes {tuple(moved.shape)}, not ({SIZE},)")
        expect(len(after) == len(slots), f"{len(slots)} slots become {len(after)}")
        slots = after

    def weighted(at: Tensor) -> Tensor:
        value: Tensor = step(at, phi, slots, 2)[0] @ along
        return value

    _, vjp = derivatives.vjp_of(weighted, gradient)
    claimed = float(vjp(torch.ones_like(phi[0]))[0] @ along)
    h = 1e-6
    slope = float(weighted(gradient + h * along) - weighted(gradient - h * along)) / (2 * h)
    expect(
        abs(claimed - slope) <= 1e-6 * (1 + abs(slope)),
        f"its derivative with respect to the gradient is {claimed:.6g}, finite differences say "
        f"{slope:.6g}",
    )
