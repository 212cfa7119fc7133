"""Spectra of T operators, one per task: extreme eigenvalues, traces and densities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos import Operator, Ritz, converged, lanczos
from metabench.linalg.trace import xtrace


class Effort(NamedTuple):
    """Tolerance and numbers of products for a spectrum."""

    tolerance: float  # of the extreme eigenvalues, relative to the larger in size [1]
    steps: int  # most products per start vector, for the extreme eigenvalues
    nodes: int  # fewest products per start vector, for the density
    exact: int  # up to this many parameters the matrix is computed densely


class ExtremeEigenvalues(NamedTuple):
    """The smallest and largest eigenvalue of each operator, `(T,)`.

    The values lie inside the spectrum, with an eigenvalue within `slack`. Converged: two start
    vectors agree to the tolerance.
    """

    smallest: Tensor
    largest: Tensor
    slack: Tensor
    converged: Tensor
    finite: Tensor  # False where a product was not finite: ignore the other fields


class Spectra(NamedTuple):
    """Extreme eigenvalues, traces, and quadratures of the density from s starts with m nodes."""

    ends: ExtremeEigenvalues
    trace: Tensor  # (T,), unbiased
    trace_error: Tensor  # standard error, (T,), 0 where the trace is exact
    values: Tensor  # (T, s, m)
    weights: Tensor  # (T, s, m), summing to 1 for each start
    exact: bool  # the values are all the eigenvalues


class _Finite:
    """An operator whose products are set to zero for tasks where they, or their squares, overflow.

    `finite` records for which tasks they did not.
    """

    def __init__(self, operator: Operator, count: int, like: Tensor) -> None:
        self.operator = operator
        self.finite = torch.ones(count, dtype=torch.bool, device=like.device)
        self.largest = torch.finfo(like.dtype).max ** 0.5 / like.shape[-1]

    def __call__(self, vectors: Tensor) -> Tensor:
        product = self.operator(vectors)
        self.finite = self.finite & (product.abs().amax(1) < self.largest)
        return torch.where(self.finite[:, None], product, 0)


def spectra(operator: Operator, signs: Tensor, effort: Effort) -> Spectra:
    """Compute the spectra of T operators.

    Args:
        operator: the products, `(T, P) -> (T, P)`.
        signs: vectors of random signs, `(s, T, P)`, s >= 2; the first two start Lanczos, all
            estimate the traces.
        effort: tolerance and numbers of products.
    """
    _, T, P = signs.shape
    safe = _Finite(operator, T, signs)
    if effort.exact >= P:
        values = torch.linalg.eigvalsh(dense(safe, signs[0]).double()).to(signs)
        none = torch.zeros_like(values[:, 0])
        ends = ExtremeEigenvalues(values[:, 0], values[:, -1], none, none == 0, safe.finite)
        uniform = torch.full_like(values, 1 / P)[:, None]
        return Spectra(ends, values.sum(1), none, values[:, None], uniform, True)
    found = [_ritz(safe, start, effort) for start in signs[:2]]
    trace, error = xtrace(safe, signs)
    m = max(ritz.values.shape[1] for ritz in found)
    values = torch.stack([_padded(ritz.values, m, torch.inf) for ritz in found], 1)
    weights = torch.stack([_padded(ritz.weights, m, 0.0) for ritz in found], 1)
    return Spectra(_ends(found, safe, effort, P), trace, error, values, weights, False)


def extreme_eigenvalues(operator: Operator, signs: Tensor, effort: Effort) -> ExtremeEigenvalues:
    """Compute the smallest and largest eigenvalue of T operators.

    Args:
        operator: the products, `(T, P) -> (T, P)`.
        signs: two start vectors of random signs, `(2, T, P)`.
        effort: tolerance and numbers of products.
    """
    T, P = signs.shape[1:]
    safe = _Finite(operator, T, signs)
    if effort.exact >= P:
        values = torch.linalg.eigvalsh(dense(safe, signs[0]).double()).to(signs)
        none = torch.zeros_like(values[:, 0])
        return ExtremeEigenvalues(values[:, 0], values[:, -1], none, none == 0, safe.finite)
    found = [_ritz(safe, start, effort._replace(nodes=0)) for start in signs[:2]]
    return _ends(found, safe, effort, P)


def dense(operator: Operator, like: Tensor) -> Tensor:
    """Compute the dense matrices `(T, P, P)`, one product per column, symmetrized."""
    columns = [operator(row.expand_as(like)) for row in torch.eye(like.shape[1]).to(like)]
    matrix = torch.stack(columns, 2)
    return (matrix + matrix.mT) / 2


def block(operator: Operator, segment: slice, P: int) -> Operator:
    """Return the diagonal block of an operator for a slice of its parameters.

    Args:
        operator: the products, `(T, P) -> (T, P)`.
        segment: the slice.
        P: number of all parameters.
    """

    def product(vectors: Tensor) -> Tensor:
        padded = vectors.new_zeros(len(vectors), P)
        padded[:, segment] = vectors
        return operator(padded)[:, segment]

    return product


def _ritz(operator: Operator, start: Tensor, effort: Effort) -> Ritz:
    def enough(ritz: Ritz) -> bool:
        taken = ritz.values.shape[1]
        return taken >= effort.nodes and bool(converged(ritz, effort.tolerance).all())

    return lanczos(operator, start, max(effort.steps, effort.nodes), enough)


def _ends(found: list[Ritz], safe: _Finite, effort: Effort, P: int) -> ExtremeEigenvalues:
    """Take the outermost values of two starts; converged where the starts agree."""
    low = torch.stack([ritz.values[:, 0] for ritz in found])
    high = torch.stack([ritz.values[:, -1] for ritz in found])
    smallest, largest = low.min(0).values, high.max(0).values
    allowed = effort.tolerance * torch.maximum(largest.abs(), smallest.abs())
    agree = (high.max(0).values - high.min(0).values <= allowed) & (
        low.max(0).values - low.min(0).values <= allowed
    )
    bounds = [torch.maximum(ritz.bounds[:, 0], ritz.bounds[:, -1]) for ritz in found]
    slack = torch.stack(bounds).max(0).values
    whole_space = found[0].values.shape[1] >= P
    done = (agree & (slack <= allowed)) | whole_space
    return ExtremeEigenvalues(
        smallest, largest, torch.zeros_like(slack) if whole_space else slack, done, safe.finite
    )


def _padded(values: Tensor, width: int, by: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=by)
