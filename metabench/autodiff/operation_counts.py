"""How much work is one call of a function, counted rather than timed?

Counts are the same on every run and every load, so what is chosen by them is chosen again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from metabench.autodiff.operation_watch import OperationWatch

MOST_BYTES_AT_ONCE = 2**31  # what the tasks that are computed together may hold at once [bytes]


class Work(NamedTuple):
    """What one call did, as torch's kernels saw it."""

    operations: int  # aten operations
    flops: int  # in matrix products and convolutions; a product and a sum are two
    bytes: int  # most that lived at once of what the call made


def work_of(function: Callable[..., Any], *args: Any) -> Work:
    """Count the work of `function(*args)`.

    >>> import torch
    >>> work_of(lambda a: (a @ a).sum(), torch.ones(4, 4)).flops
    128
    """
    counted = _Counter()
    with OperationWatch(counted.heard):
        function(*args)
    return Work(counted.operations, counted.flops, counted.peak)


class _Counter:
    """Counts operations, and sees when their results die."""

    def __init__(self) -> None:
        self.operations = self.flops = self.peak = self._live = 0
        self._alive: set[int] = set()

    def heard(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        self.operations += 1
        if (name := operation.overloadpacket) in flop_registry:
            self.flops += flop_registry[name](*args, **kwargs, out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        self.peak = max(self.peak, self._live)

    def _follow(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, until it is freed."""
        storage = tensor.untyped_storage()
        name, size = storage.data_ptr(), storage.nbytes()
        if size and name not in self._alive:
            self._alive.add(name)
            self._live += size
            weakref.finalize(storage, self._freed, name, size)

    def _freed(self, name: int, size: int) -> None:
        self._alive.discard(name)
        self._live -= size
