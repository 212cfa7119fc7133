r"""Eigenvalues of many symmetric operators at once, by Lanczos from matrix-vector products.

Full reorthogonalization, so no eigenvalue is found twice: the vector is orthogonalized to the whole
basis after the three-term recurrence, and again where its norm decreased much
(Parlett, 1998, https://doi.org/10.1137/1.9781611971163, chapters 6 and 13). All n start vectors
advance together: an operator maps `(n, P)` to `(n, P)`, each row by its own matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos_steps import FreshVectors, Recurrence

Operator = Callable[[Tensor], Tensor]  # (n, P) -> (n, P)

CHECK_EVERY = 5  # steps between two checks of convergence
CHECK_IS_CHEAP = 100  # parameters over squared steps: above it every step is checked


class Ritz(NamedTuple):
    """Ritz values of m Lanczos steps on n operators, ascending, with bounds and weights.

    An eigenvalue lies within `bounds` of each value. `weights` are the squared components of the
    start vector along the Ritz vectors, the weights of the Gauss quadrature of its spectral
    measure.
    """

    values: Tensor  # (n, m)
    bounds: Tensor  # (n, m)
    weights: Tensor  # (n, m)


class Krylov(NamedTuple):
    """Ritz values and the factors of their vectors: vector i is `coordinates[:, i] @ basis`."""

    ritz: Ritz
    basis: Tensor  # (n, m, P), orthonormal rows
    coordinates: Tensor  # (n, m, m), a column per Ritz value

    def vector(self, i: int) -> Tensor:
        """Return the Ritz vector of the i-th value of each operator, `(n, P)`."""
        return torch.einsum("nm,nmp->np", self.coordinates[:, :, i], self.basis)


class LanczosExtremes(NamedTuple):
    """The smallest and largest eigenvalue of each operator, `(n,)`, and whether they are converged.

    Converged: the residual bounds of both are within the tolerance, relative to the larger of the
    two in size, or the Krylov space is the whole space.
    """

    smallest: Tensor
    largest: Tensor
    converged: Tensor
    steps: int


def lanczos(
    operator: Operator, start: Tensor, steps: int, stop: Callable[[Ritz], bool] | None = None
) -> Ritz:
    """Run Lanczos and return the Ritz values only.

    Args:
        operator: the products, `(n, P) -> (n, P)`.
        start: start vectors, `(n, P)`, not zero.
        steps: most products per start vector; at most P are taken.
        stop: ends the search when true (see `krylov`).
    """
    return krylov(operator, start, steps, stop).ritz


def krylov(
    operator: Operator, start: Tensor, steps: int, stop: Callable[[Ritz], bool] | None = None
) -> Krylov:
    """Run Lanczos from the start vectors and return Ritz values and basis.

    Where a Krylov space is exhausted early (repeated eigenvalues, low rank), Lanczos continues with
    a random orthogonal direction, whose Ritz values have weight zero.

    Args:
        operator: the products, `(n, P) -> (n, P)`.
        start: start vectors, `(n, P)`, not zero; scaled to unit length here.
        steps: most products per start vector; at most P are taken.
        stop: called every few steps, or every step of a large operator; true ends the search.

    Returns:
        The Ritz values with bounds and weights, and the basis.
    """
    n, P = start.shape
    steps = min(steps, P)
    run = Recurrence(operator, start.new_zeros(n, steps, P), *start.new_zeros(2, n, steps))
    torch.div(start, start.norm(dim=1, keepdim=True), out=run.basis[:, 0])
    fresh = FreshVectors(start)
    careful = False
    for first, last in _blocks(steps, P, each=stop is not None):
        # a device is asked once a block, since each question waits for all that it has to do
        careful = careful or bool(torch.stack([run.step(k) for k in range(first, last)]).any())
        for k in range(first, last) if careful else ():
            run.careful_step(k, fresh)
        if stop is not None and last < steps:
            found = _ritz(run, last)
            if stop(found.ritz):
                return found
    return _ritz(run, steps)


def _blocks(steps: int, P: int, each: bool) -> Iterator[tuple[int, int]]:
    """Yield the first step of each block and the first after it, at which the search may end."""
    first = 0
    for k in range(steps):
        cheap = each and k > CHECK_EVERY and CHECK_IS_CHEAP * k**2 <= P
        if cheap or k % CHECK_EVERY == CHECK_EVERY - 1 or k + 1 == steps:
            yield first, k + 1
            first = k + 1


def lanczos_extremes(
    operator: Operator, start: Tensor, tolerance: float, steps: int
) -> LanczosExtremes:
    """Find the smallest and largest eigenvalues of each operator to a relative tolerance.

    A residual bound proves that an eigenvalue is near the Ritz value, not that none lies beyond it,
    so callers compare two independent start vectors.

    Args:
        operator: the products, `(n, P) -> (n, P)`.
        start: start vectors, `(n, P)`, not zero.
        tolerance: of the residual bounds, relative to the larger eigenvalue in size.
        steps: most products per start vector.
    """
    ritz = lanczos(operator, start, steps, lambda found: bool(converged(found, tolerance).all()))
    taken, whole = ritz.values.shape[1], ritz.values.shape[1] >= start.shape[1]
    done = converged(ritz, tolerance) | whole
    return LanczosExtremes(ritz.values[:, 0], ritz.values[:, -1], done, taken)


def converged(ritz: Ritz, tolerance: float) -> Tensor:
    """Return, per start vector, whether both extreme Ritz values have converged, `(n,)`."""
    size = torch.maximum(ritz.values[:, 0].abs(), ritz.values[:, -1].abs())
    worst = torch.maximum(ritz.bounds[:, 0], ritz.bounds[:, -1])
    return worst <= tolerance * size


def cumulative(ritz: Ritz, at: Tensor) -> Tensor:
    """Return each start vector's cumulative quadrature weight at `at` `(g,)`, `(n, g)`.

    Its mean over start vectors of random signs estimates the fraction of eigenvalues up to `at`
    (Ubaru, Chen & Saad, 2017, https://doi.org/10.1137/16M1104974).
    """
    below = ritz.values[:, :, None] <= at
    return (below * ritz.weights[:, :, None]).sum(1)


def _ritz(run: Recurrence, steps: int) -> Krylov:
    """Compute Ritz values and vectors of the tridiagonal matrices after some steps."""
    diagonal, off, basis = run.diagonal[:, :steps], run.off[:, :steps], run.basis[:, :steps]
    between = off[:, :-1]
    matrix = torch.diag_embed(diagonal)
    matrix = matrix + torch.diag_embed(between, 1) + torch.diag_embed(between, -1)
    # float64, since LAPACK's float32 gives up on some graded matrices
    values, vectors = (found.to(matrix) for found in torch.linalg.eigh(matrix.double()))
    ritz = Ritz(values, (off[:, -1:] * vectors[:, -1]).abs(), vectors[:, 0] ** 2)
    return Krylov(ritz, basis, vectors)
