r"""Traces of many symmetric operators at once, from products with a few random vectors (XTrace).

The products span a subspace with most of the trace, which is computed exactly; the remainder is
estimated with the same vectors, each on the subspace of the others. Every vector gives an unbiased
estimate, and their spread a standard error (Epperly, Tropp & Webber, 2024,
https://arxiv.org/abs/2301.07825).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos import Operator


class Trace(NamedTuple):
    """Unbiased traces of n operators with their standard errors, each `(n,)`."""

    value: Tensor
    # From the spread of the vectors' estimates, which share a basis: up to a third too small.
    error: Tensor


def xtrace(operator: Operator, signs: Tensor) -> Trace:
    r"""Estimate n traces from m >= 2 vectors of random signs `(m, n, P)`, by 2 m products.

    Estimate i is :math:`\operatorname{tr} Q^\top A Q + \omega^\top A \omega` with Q an orthonormal
    basis of the products :math:`A \Omega` of all vectors but the i-th, and omega the i-th vector
    without its component in Q. The trace is exact where m - 1 vectors span the range of A, and for
    P <= m, where the diagonal is computed instead.
    """
    m, n, P = signs.shape
    if m >= P:
        each = [operator(row.expand(n, -1))[:, i] for i, row in enumerate(torch.eye(P).to(signs))]
        return Trace(torch.stack(each).sum(0), signs.new_zeros(n))
    products = torch.stack([operator(sign) for sign in signs], 2)  # (n, P, m)
    basis, triangle = torch.linalg.qr(products)
    images = torch.stack([operator(column) for column in basis.unbind(2)], 2)
    inside = basis.mT @ images  # Q^T A Q, (n, m, m)
    vectors = signs.permute(1, 2, 0)  # (n, P, m)
    dropped = _dropped(triangle)  # (n, m, m), column i: what the i-th product alone adds to Q
    shares = basis.mT @ vectors
    shares = shares - dropped * (dropped * shares).sum(1, keepdim=True)
    found = inside.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
    found = found - (dropped * (inside @ dropped)).sum(1)
    rest = (vectors * products).sum(1) - 2 * (shares * (images.mT @ vectors)).sum(1)
    each = found + rest + (shares * (inside @ shares)).sum(1)  # (n, m)
    return Trace(each.mean(1), each.std(1) / m**0.5)


def _dropped(triangle: Tensor) -> Tensor:
    """Compute the unit vectors orthogonal to all columns of R but one, 0 where R is singular.

    They are the columns of the inverse of R^T. Where R is singular, leaving out one product does
    not change the span.
    """
    sizes = torch.linalg.svdvals(triangle)
    tiny = sizes.shape[1] * torch.finfo(sizes.dtype).eps * sizes[:, 0]
    full = (sizes[:, -1] > tiny)[:, None, None]
    safe = torch.where(full, triangle, torch.eye(triangle.shape[1]).to(triangle))
    unit = torch.linalg.inv(safe).mT
    unit = unit / unit.norm(dim=1, keepdim=True)
    return torch.where(full, unit, 0)
