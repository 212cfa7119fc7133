"""Running statistics of batch norm for each inner step, as parts `running.*` of theta."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metabench.problems.batch_norm_statistics import Given, Statistics
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Loss


def part_names(statistics: Statistics) -> tuple[str, ...]:
    """List the names of the parts."""
    return tuple(f"running.{name}" for name in statistics.layout.names)


def initial_parts(statistics: Statistics, steps: int) -> dict[str, Tensor]:
    """Return each part `(K, C)` with torch's initial running statistics."""
    names, initial = part_names(statistics), statistics.initial.values()
    return {name: start.expand(steps, -1) for name, start in zip(names, initial, strict=True)}


def of_step(statistics: Statistics, layout: Layout, theta: Tensor, k: int) -> Tensor:
    """Read the running statistics of one inner step `(S,)` from theta.

    Args:
        statistics: names and order of the statistics.
        layout: of theta.
        theta: meta-parameters, `(Q,)`.
        k: index of the inner step, from 0.
    """
    parts = layout.unflatten(theta)
    return torch.cat([parts[name][k] for name in part_names(statistics)])


def losses_of_step(statistics: Statistics, layout: Layout, k: int) -> tuple[Loss, Loss]:
    """Return inner and outer loss that use the running statistics of one inner step.

    Args:
        statistics: gives the losses as functions of the statistics.
        layout: of theta, which holds the running statistics.
        k: index of the inner step, from 0.
    """

    def with_step(loss: Given) -> Loss:
        return lambda phi, theta, data: loss(
            phi, theta, data, of_step(statistics, layout, theta, k)
        )

    return with_step(statistics.loss), with_step(statistics.outer_loss)


def flatten_by_part(statistics: Statistics, of_steps: Sequence[Tensor]) -> Tensor:
    """Flatten the statistics of K steps, `(S,)` each, part by part as in theta."""
    by_name = statistics.layout.unflatten(torch.stack(list(of_steps)))  # (K, C) each
    return torch.cat([by_name[name].reshape(-1) for name in statistics.layout.names])
