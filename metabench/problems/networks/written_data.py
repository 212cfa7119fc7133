"""A task's data for a module or loss that changes them in place: copies, where it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from metabench.problems.networks.func_transforms import inside_func_transform
from metabench.problems.networks.loss_checks import as_pair
from metabench.problems.tasks import Data


class OwnData:
    """Gives pairs (x, y), as copies until a call has shown that nothing is written to them.

    A ReLU(inplace=True) that comes first, or a loss with y[y < 0] = 0, would otherwise give the
    next inner step, and the next algorithm, other data.
    """

    def __init__(self) -> None:
        """Know no call yet."""
        self._written: bool | None = None

    def use(self, data: Data, compute: Callable[[Any, Any], Tensor]) -> Tensor:
        """Return `compute(x, y)` for a pair, and learn from it whether it writes."""
        if self._written is False:
            return compute(*as_pair(data))
        own = copied(data)
        value = compute(*as_pair(own))
        # a vmap alone does not count what is written to its tensors
        if self._written is None and not (
            torch.is_inference_mode_enabled() or inside_func_transform()
        ):
            self._written = any(written_parts(data, own))
        return value

    def pair(self, data: Data) -> tuple[Any, Any]:
        """Return x and y, copied unless nothing is written to them."""
        return as_pair(data if self._written is False else copied(data))


def copied(data: Data) -> Data:
    """Return data with copies of all tensors, in new containers."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, data)


def written_parts(data: Data, own: Data) -> tuple[bool, bool]:
    """Return whether x, and whether y, was written to since they were copied.

    Args:
        data: as given.
        own: their copies by `copied`, used since.
    """
    x, y = (_written(given, copy) for given, copy in zip(as_pair(data), as_pair(own), strict=True))
    return x, y


def _written(given: Any, own: Any) -> bool:
    """Return whether a tensor was changed in place, or a container lost or got an item.

    A tensor that was told to require gradients would go on doing so in all later calls.
    """
    (before, shape), (after, now) = tree_flatten(given), tree_flatten(own)
    if shape != now:
        return True
    return any(
        isinstance(leaf, Tensor)
        and (leaf._version > 0 or (leaf.requires_grad and not old.requires_grad))
        for old, leaf in zip(before, after, strict=True)
    )
