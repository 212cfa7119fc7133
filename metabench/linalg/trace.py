r"""The traces of many symmetric operators at once, from products with a few random vectors.

A few products find the directions that carry most of the trace, and the same vectors, each held
against the directions that the others found, estimate what is left. Every vector gives an unbiased
estimate, and their spread an error (Epperly, Tropp & Webber, 2024,
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
    # The spread of the vectors' estimates, which have a basis in common: up to a third too small.
    error: Tensor


def xtrace(operator: Operator, signs: Tensor) -> Trace:
    r"""Estimate traces from m vectors of random signs `(m, n, P)`, m of 2 or more, by 2 m products.

    With Q an orthonormal basis of the products :math:`A \Omega` of all vectors but the i-th,
    estimate i is :math:`\operatorname{tr} Q^\top A Q + \omega^\top A \omega` with omega the i-th
    vector less its part in Q. Where m - 1 vectors find the whole range, the trace is exact, and
    so it is with no more than m parameters, whose diagonal is read instead.
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
    """Give the unit vectors orthogonal to all columns of R but one, or 0 where none is missed.

    They are the columns of the inverse of R^T. Where the products span fewer dimensions than there
    are vectors, those of any m - 1 of them span the same.
    """
    sizes = torch.linalg.svdvals(triangle)
    tiny = sizes.shape[1] * torch.finfo(sizes.dtype).eps * sizes[:, 0]
    full = (sizes[:, -1] > tiny)[:, None, None]
    safe = torch.where(full, triangle, torch.eye(triangle.shape[1]).to(triangle))
    unit = torch.linalg.inv(safe).mT
    unit = unit / unit.norm(dim=1, keepdim=True)
    return torch.where(full, unit, 0)
