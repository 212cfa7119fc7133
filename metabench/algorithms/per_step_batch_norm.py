"""Running statistics of batch norm, a set for each inner step, as parts `running.*` of theta."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metabench.problems.batch_norm_statistics import Given, Statistics
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Loss


def parts(told: Statistics) -> tuple[str, ...]:
    """Name the parts."""
    return tuple(f"running.{name}" for name in told.layout.names)


def started(told: Statistics, steps: int) -> dict[str, Tensor]:
    """Give each part `(K, C)` as torch's own running statistics begin."""
    held = told.initial.values()
    return {name: start.expand(steps, -1) for name, start in zip(parts(told), held, strict=True)}


def of_step(told: Statistics, layout: Layout, theta: Tensor, k: int) -> Tensor:
    """Read those of one step `(S,)` from theta."""
    held = layout.unflatten(theta)
    return torch.cat([held[name][k] for name in parts(told)])


def losses(told: Statistics, layout: Layout, k: int) -> tuple[Loss, Loss]:
    """Give inner and outer loss, whose norms use those of one step instead of the batch's own."""

    def with_step(loss: Given) -> Loss:
        return lambda phi, theta, data: loss(phi, theta, data, of_step(told, layout, theta, k))

    return with_step(told.loss), with_step(told.outer_loss)


def in_order(told: Statistics, seen: Sequence[Tensor]) -> Tensor:
    """Lay what was seen at each step, `(S,)` each, out as the parts are."""
    each = told.layout.unflatten(torch.stack(list(seen)))  # by name, (K, C)
    return torch.cat([each[name].reshape(-1) for name in told.layout.names])
