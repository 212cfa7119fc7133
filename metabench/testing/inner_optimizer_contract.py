"""Contract of inner optimizers: shapes, a correct derivative of the step, honest stability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer, Slots
from metabench.autodiff import derivatives
from metabench.testing.expectations import SIZE, expect, expect_refused, expect_same

PRODUCTS = (0.1, 0.9, 1.5, 1.99, 2.1, 3.7, 4.5)  # rate times eigenvalue
RADIUS_TOLERANCE = 1e-6  # of a spectral radius; a double root is computed to the root of round-off
BESIDE = 1e-3  # relative distance from the edge of stability


def check_inner_optimizer(step: InnerOptimizer, seed: int = 0) -> None:
    """Check an inner optimizer against its contract.

    Shapes; the derivative in gradient, phi and slots agrees with finite differences; vmap gives
    what a loop gives; a `plain` step is phi - rate times the gradient; `spectral_radius` and
    `stability_edge`, where there are any, are those of the step on a quadratic; a rate below zero
    is refused.

    Args:
        step: the inner optimizer.
        seed: of gradient and phi.
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
    _expect_derivative(step, gradient, phi, slots, along)
    _expect_vmap(step, torch.stack([gradient, along]), phi, slots)
    _expect_plain(step, gradient, phi, slots)
    scale = step.preconditioner(slots, 2)
    if scale is not None:
        expect(scale.shape == phi.shape, f"preconditioner has shape {tuple(scale.shape)}")
        return
    _expect_radius(step)
    _expect_edge(step)


def _expect_derivative(
    step: InnerOptimizer, gradient: Tensor, phi: Tensor, slots: Slots, along: Tensor
) -> None:
    """Hold the derivative in each argument against central differences, phi and slots weighted."""
    given = {"the gradient": gradient, "phi": phi}
    given |= {f"slot {i}": slot for i, slot in enumerate(slots)}

    def weighted(*at: Tensor) -> Tensor:
        moved, after = step(at[0], at[1], tuple(at[2:]), 2)
        value: Tensor = torch.stack([moved, *after]).sum(0) @ along
        return value

    values, h = tuple(given.values()), 1e-6
    # a slot moves in proportion to itself: one that is an average of squares stays positive
    ways = (along, along, *(along * slot for slot in slots))
    _, vjp = derivatives.vjp_of(weighted, *values)
    cotangents = vjp(phi.new_ones(()))
    for i, (name, way) in enumerate(zip(given, ways, strict=True)):
        ahead, behind = (
            (*values[:i], values[i] + sign * h * way, *values[i + 1 :]) for sign in (1, -1)
        )
        slope = float(weighted(*ahead) - weighted(*behind)) / (2 * h)
        claimed = float(cotangents[i] @ way)
        expect(
            abs(claimed - slope) <= 1e-6 * (1 + abs(slope)),
            f"its derivative with respect to {name} is {claimed:.6g}, finite differences say "
            f"{slope:.6g}",
        )


def _expect_vmap(step: InnerOptimizer, gradients: Tensor, phi: Tensor, slots: Slots) -> None:
    together = torch.vmap(lambda g: step(g, phi, slots, 2))(gradients)
    apart = [step(g, phi, slots, 2) for g in gradients]
    for i, one in enumerate(apart):
        picked = (together[0][i], tuple(slot[i] for slot in together[1]))
        expect_same(picked, one, 1e-12, "vmap and a loop differ")


def _expect_plain(step: InnerOptimizer, gradient: Tensor, phi: Tensor, slots: Slots) -> None:
    if step.plain:
        moved = step.update(gradient, phi, slots, 0)[0]
        sentence = "plain is True, but the update is not phi - rate * gradient"
        expect_same(moved, phi - step.rate * gradient, 1e-12, sentence)


def _expect_radius(step: InnerOptimizer) -> None:
    """The declared growth on a quadratic is the largest |eigenvalue| of the step's own matrix."""
    declared = step.spectral_radius(np.array(PRODUCTS))
    for product, radius in zip(PRODUCTS, () if declared is None else declared, strict=False):
        found = _growth(step, product)
        expect(
            abs(float(radius) - found) <= RADIUS_TOLERANCE * (1 + found),
            f"spectral_radius({product:g}) is {float(radius):.6g}, its step on a quadratic grows "
            f"by {found:.6g}",
        )


def _expect_edge(step: InnerOptimizer) -> None:
    edge = step.stability_edge()
    if edge is None:
        return
    below, above = (_growth(step, edge * (1 + side)) for side in (-BESIDE, BESIDE))
    expect(
        below <= 1 + RADIUS_TOLERANCE < above,
        f"stability_edge() is {edge:g}, but its step on a quadratic grows by {below:.6g} just "
        f"below and {above:.6g} just above it",
    )


def _growth(step: InnerOptimizer, product: float) -> float:
    """Return the spectral radius of one step on a quadratic of one dimension.

    `product` is rate times eigenvalue. The gradient is below every clipping limit.
    """
    unit = replace(step, rate=1.0)
    slots = unit.start(torch.zeros(1, dtype=torch.float64))

    def moved(state: Tensor) -> Tensor:
        phi, *held = torch.split(state, 1)
        after, kept = unit.update(product * phi, phi, tuple(held), 1)
        return torch.cat([after, *kept])

    zero, units = torch.zeros(1 + len(slots)).double(), torch.eye(1 + len(slots)).double()
    steps = [moved(unit) - moved(zero) for unit in units]  # linear: these are its matrix's columns
    return float(torch.linalg.eigvals(torch.stack(steps, 1)).abs().max())
