r"""Variance components of a crossed design, unbiased, with delete-one-task jackknives.

Within each of n tasks, s support sets are crossed with q query sets. In every cell inner draws are
nested, and label permutations in those. A draw's deviation from the mean splits as

.. math:: g_{tabij} - E g = T_t + S_{ta} + Q_{tb} + (SQ)_{tab} + I_{tabi} + L_{tabij},

and the trace of each term's covariance follows from mean inner products of draws that share exactly
some of the indices (Searle, Casella & McCulloch, 1992, https://doi.org/10.1002/9780470316856). The
nesting makes `inner` and `label` what averaging over mini-batch orders or permutations of the same
data would remove; the other terms are those of the meta-gradient so averaged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.stats.intervals import Estimate, Vector


class Design(NamedTuple):
    """Number of tasks, and of redraws within a task, a cell and an inner draw."""

    tasks: int
    supports: int = 2
    queries: int = 2
    inner: int = 1
    labels: int = 1

    @property
    def draws(self) -> int:
        """Number of meta-gradients in the design."""
        return self.tasks * self.supports * self.queries * self.inner * self.labels


class Squares(NamedTuple):
    """Mean squares of each task, `(n,)`; those of layers sum to those of the whole."""

    label: Vector  # around the mean over labels, unbiased
    inner: Vector  # of means over labels, around the mean over inner draws, unbiased
    cell: Vector  # of means over inner draws, around the mean of everything
    support: Vector  # of means over query sets
    query: Vector  # of means over support sets
    task: Vector  # of means over both

    @classmethod
    def from_samples(cls, sample: NDArray[np.floating], design: Design) -> Squares:
        """Compute the mean squares of draws `(design.draws, Q)`, label fastest, task slowest."""
        x = np.asarray(sample, np.float64).reshape(*design, -1)
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is data
            x = x - x.mean((0, 1, 2, 3, 4))
            by_label, label = _within(x)
            by_inner, inner = _within(by_label)
            return cls(
                label.mean((1, 2, 3)),
                inner.mean((1, 2)),
                _square(by_inner).mean((1, 2)),
                _square(by_inner.mean(2)).mean(1),
                _square(by_inner.mean(1)).mean(1),
                _square(by_inner.mean((1, 2))),
            )

    @classmethod
    def joined(cls, parts: list[Squares]) -> Squares:
        """Return the mean squares of vectors from those of their parts, e.g. layers."""
        return cls(*(np.sum(each, axis=0) for each in zip(*parts, strict=True)))


def components(squares: Squares, design: Design) -> dict[str, Estimate]:
    """Return the variance of each source, and their sum as `total`; any may be negative.

    A source drawn once within its parent (a count of 1) counts as constant.
    """
    _, s, q, e, l = design  # ruff: ignore[ambiguous-variable-name]  # labels
    inner = squares.inner - squares.label / l if e > 1 else 0 * squares.inner
    cell = squares.cell - inner / e - squares.label / (e * l)
    # Mean inner products within a task: the same support set, query set, or neither.
    same_support = (q * squares.support - squares.cell) / (q - 1) if q > 1 else cell
    same_query = (s * squares.query - squares.cell) / (s - 1) if s > 1 else cell
    neither = same_query if q == 1 else same_support
    if s > 1 and q > 1:
        left = s * q * squares.task - squares.cell
        left = left - (q - 1) * same_support - (s - 1) * same_query
        neither = left / ((s - 1) * (q - 1))
    found = {
        "task": Estimate.mean(neither) + _across(squares.task).scaled(-1),
        "support": Estimate.mean(same_support - neither),
        "query": Estimate.mean(same_query - neither),
        "support x query": Estimate.mean(cell - same_support - same_query + neither),
        "inner": Estimate.mean(inner),
        "label": Estimate.mean(squares.label),
    }
    total = sum(found.values(), start=Estimate(0.0, np.zeros(design.tasks)))
    return {**found, "total": total}


def _across(task: Vector) -> Estimate:
    """Return the mean inner product of different tasks' means, which sum to zero over all."""
    n, total = len(task), task.sum()
    value = -total / (n * (n - 1))
    left_out = (2 * task - total) / ((n - 1) * (n - 2))
    return Estimate(float(value), left_out)


def _within(x: Vector) -> tuple[Vector, Vector]:
    """Return the mean over the second last index, and the unbiased mean square around it."""
    mean = x.mean(-2)
    count = x.shape[-2]
    if count == 1:
        return mean, np.zeros(mean.shape[:-1])
    return mean, _square(x - mean[..., None, :]).sum(-1) / (count - 1)


def _square(x: Vector) -> Vector:
    square: Vector = np.einsum("...q,...q->...", x, x)
    return square
