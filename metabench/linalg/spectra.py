"""What is known of the spectra of T operators, one a task: their ends, traces and densities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos import Operator, Ritz, converged, lanczos
from metabench.linalg.trace import xtrace


class Effort(NamedTuple):
    """How much is spent on a spectrum."""

    tolerance: float  # residual bound of either end, relative to the larger of the two in size [1]
    steps: int  # most products from one start vector, for the ends
    nodes: int  # fewest, for the density
    exact: int  # parameters up to which the matrix is written out


class ExtremeEigenvalues(NamedTuple):
    """The smallest and largest eigenvalue of each operator, `(T,)`.

    What was found lies inside the spectrum; an eigenvalue lies within `slack` of it. Settled means
    that two start vectors agree to the tolerance.
    """

    smallest: Tensor
    largest: Tensor
    slack: Tensor
    converged: Tensor
    finite: Tensor  # False where a product wasn't: the rest of its numbers mean nothing


class Spectra(NamedTuple):
    """Ends, traces, and each start vector's quadrature of the density: s of them, of m nodes."""

    ends: ExtremeEigenvalues
    trace: Tensor  # (T,), unbiased
    trace_error: Tensor  # (T,), 0 where it is exact
    values: Tensor  # (T, s, m)
    weights: Tensor  # (T, s, m), each start's add up to 1
    exact: bool  # the values are all the eigenvalues


class _Finite:
    """An operator whose products are zero from where they, or their squares, overflow.

    It remembers for which tasks.
    """

    def __init__(self, operator: Operator, count: int, like: Tensor) -> None:
        self.operator = operator
        self.finite = torch.ones(count, dtype=torch.bool, device=like.device)
        self.most = torch.finfo(like.dtype).max ** 0.5 / like.shape[-1]

    def __call__(self, vectors: Tensor) -> Tensor:
        product = self.operator(vectors)
        self.finite = self.finite & (product.abs().amax(1) < self.most)
        return torch.where(self.finite[:, None], product, 0)


def spectra(operator: Operator, signs: Tensor, effort: Effort) -> Spectra:
    """Take the spectra of T operators from vectors of random signs `(s, T, P)`, s of 2 or more.

    The first two start Lanczos, all estimate the traces.
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
    """Find the smallest and largest eigenvalues of T operators from two starts `(2, T, P)`."""
    T, P = signs.shape[1:]
    safe = _Finite(operator, T, signs)
    if effort.exact >= P:
        values = torch.linalg.eigvalsh(dense(safe, signs[0]).double()).to(signs)
        none = torch.zeros_like(values[:, 0])
        return ExtremeEigenvalues(values[:, 0], values[:, -1], none, none == 0, safe.finite)
    found = [_ritz(safe, start, effort._replace(nodes=0)) for start in signs[:2]]
    return _ends(found, safe, effort, P)


def dense(operator: Operator, like: Tensor) -> Tensor:
    """Write the matrices out, `(T, P, P)`, a product a column, made exactly symmetric."""
    columns = [operator(row.expand_as(like)) for row in torch.eye(like.shape[1]).to(like)]
    matrix = torch.stack(columns, 2)
    return (matrix + matrix.mT) / 2


def block(operator: Operator, segment: slice, P: int) -> Operator:
    """Give the diagonal block of an operator that belongs to some of its parameters."""

    def product(vectors: Tensor) -> Tensor:
        whole = vectors.new_zeros(len(vectors), P)
        whole[:, segment] = vectors
        return operator(whole)[:, segment]

    return product


def _ritz(operator: Operator, start: Tensor, effort: Effort) -> Ritz:
    def enough(ritz: Ritz) -> bool:
        taken = ritz.values.shape[1]
        return taken >= effort.nodes and bool(converged(ritz, effort.tolerance).all())

    return lanczos(operator, start, max(effort.steps, effort.nodes), enough)


def _ends(found: list[Ritz], safe: _Finite, effort: Effort, P: int) -> ExtremeEigenvalues:
    """Take the outer ones of two starts; they must agree."""
    low = torch.stack([ritz.values[:, 0] for ritz in found])
    high = torch.stack([ritz.values[:, -1] for ritz in found])
    smallest, largest = low.min(0).values, high.max(0).values
    allowed = effort.tolerance * torch.maximum(largest.abs(), smallest.abs())
    agree = (high.max(0).values - high.min(0).values <= allowed) & (
        low.max(0).values - low.min(0).values <= allowed
    )
    bounds = [torch.maximum(ritz.bounds[:, 0], ritz.bounds[:, -1]) for ritz in found]
    slack = torch.stack(bounds).max(0).values
    whole = found[0].values.shape[1] >= P
    done = (agree & (slack <= allowed)) | whole
    return ExtremeEigenvalues(
        smallest, largest, torch.zeros_like(slack) if whole else slack, done, safe.finite
    )


def _padded(values: Tensor, width: int, by: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=by)
