"""Steps of Lanczos: the three-term recurrence, and the orthogonalization to the whole basis.

A step asks the device nothing: whether it was enough is one answer, which the caller may collect
from several steps. A step that was not enough is taken again with care, which asks twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MOST_PASSES = 3  # orthogonalizations a step: 2 suffice unless the space is exhausted


class FreshVectors:
    """Random vectors to continue with where a Krylov space is exhausted."""

    def __init__(self, like: Tensor) -> None:
        """Draw vectors `(n, P)` like this one, on its device."""
        self._like, self._generator = like, torch.Generator(like.device).manual_seed(0)

    def __call__(self) -> Tensor:
        """Draw the next."""
        like = self._like
        return torch.randn(
            like.shape, dtype=like.dtype, device=like.device, generator=self._generator
        )


class Recurrence(NamedTuple):
    """The three-term recurrence so far."""

    operator: Callable[[Tensor], Tensor]  # (n, P) -> (n, P)
    basis: Tensor  # (n, steps, P)
    diagonal: Tensor  # (n, steps)
    off: Tensor  # (n, steps)

    def step(self, k: int) -> Tensor:
        """Take step k with one orthogonalization; return whether it needs a careful one instead."""
        rest = self._rest(k)
        before = rest.norm(dim=1)
        rest = _project(self.basis[:, : k + 1], rest)
        length = rest.norm(dim=1)
        ended = self._ended(k, length)
        self._continue(k, rest, length)
        again: Tensor = ended | ~(length >= before / 2)
        return again.any()

    def careful_step(self, k: int, fresh: FreshVectors) -> None:
        """Take step k, orthogonalized as often as needed, also where the space is exhausted.

        Args:
            k: the step, from 0.
            fresh: vectors to continue with there.
        """
        seen = self.basis[:, : k + 1]
        rest, length = _outside(seen, self._rest(k))
        ended = self._ended(k, length)
        if bool(ended.any()) and k + 1 < self.basis.shape[1]:
            beyond, reach = _outside(seen, fresh())
            rest = torch.where(ended[:, None], beyond, rest)
            length = torch.where(ended, reach, length)
        self.off[:, k] = torch.where(ended, torch.zeros_like(length), self.off[:, k])
        self._continue(k, rest, length)

    def _rest(self, k: int) -> Tensor:
        """Apply the operator to vector k, and subtract the terms of the recurrence in one pass."""
        vector = self.basis[:, k]
        product = self.operator(vector)
        self.diagonal[:, k] = torch.linalg.vecdot(vector, product)
        two = max(k - 1, 0)
        terms = torch.cat([self.off[:, two:k], self.diagonal[:, k, None]], dim=1)[:, None]
        return torch.baddbmm(product[:, None], terms, self.basis[:, two : k + 1], alpha=-1)[:, 0]

    def _ended(self, k: int, length: Tensor) -> Tensor:
        """Return where the Krylov space is exhausted, `(n,)`."""
        self.off[:, k] = length
        known = torch.stack([self.diagonal[:, : k + 1], self.off[:, : k + 1]])
        scale = torch.linalg.vector_norm(known, ord=torch.inf, dim=(0, 2))
        ended: Tensor = length <= self.basis.shape[2] * torch.finfo(length.dtype).eps * scale
        return ended

    def _continue(self, k: int, rest: Tensor, length: Tensor) -> None:
        if k + 1 < self.basis.shape[1]:
            least = torch.finfo(length.dtype).tiny
            torch.div(rest, length[:, None].clamp_min(least), out=self.basis[:, k + 1])


def _outside(basis: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Orthogonalize each vector `(n, P)` to its basis `(n, k, P)`; also return the norms `(n,)`.

    Repeated while a norm drops below half, where round-off leaves a component in the span.
    """
    after = vector.norm(dim=1)
    for _ in range(MOST_PASSES):
        before = after
        vector = _project(basis, vector)
        after = vector.norm(dim=1)
        if bool((after >= before / 2).all()):
            break
    return vector, after


def _project(basis: Tensor, vector: Tensor) -> Tensor:
    """Subtract each vector's components in its basis, once."""
    # rows times matrices: a matrix times a column reads the basis at half the speed
    shares = torch.bmm(vector[:, None], basis.mT)
    return torch.baddbmm(vector[:, None], shares, basis, alpha=-1)[:, 0]
