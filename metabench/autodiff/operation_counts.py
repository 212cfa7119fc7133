"""Work of one call of a function: counts of operations, FLOP and bytes.

Unlike times, counts are the same on every run, so choices based on them are reproducible.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from metabench.autodiff.operation_watch import OperationWatch, is_random

MOST_BYTES_AT_ONCE = 2**31  # of the intermediate results of all tasks computed together [bytes]


class Work(NamedTuple):
    """Operations, FLOP and bytes of one call, counted at torch's kernels."""

    operations: int  # aten operations
    flops: int  # of matrix products and convolutions; a multiplication and an addition are 2
    bytes: int  # largest total of tensors made by the call and alive at once
    random: str = ""  # the first operation that draws random numbers, such as `bernoulli_`


def work_of(function: Callable[..., Any], *args: Any) -> Work:
    """Count the work of `function(*args)`.

    >>> import metabench as mb
    >>> import torch
    >>> mb.work_of(lambda a: (a @ a).sum(), torch.ones(4, 4)).flops
    128
    """
    counter = _Counter()
    with OperationWatch(counter.record):
        function(*args)
    return Work(counter.operations, counter.flops, counter.peak, counter.random)


def name_of(operation: Any) -> str:
    """Return the name of an aten operation, such as `mm`."""
    return str(operation).removeprefix("aten.").partition(".")[0]


class _Counter:
    """Counts operations and the bytes of their live results."""

    def __init__(self) -> None:
        self.operations = self.flops = self.peak = self._live = 0
        self.random = ""
        # by address; plain references, of which `weakref.finalize` makes a registry
        self._alive: dict[int, weakref.ref[Any]] = {}

    def record(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        self.operations += 1
        draws, flops = _known(operation)
        if draws and not self.random:
            self.random = name_of(operation)
        if flops:
            self.flops += flops(*args, **kwargs, out_val=result)
        for leaf in (result,) if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._track(leaf)
        self.peak = max(self.peak, self._live)

    def _track(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, until it is freed."""
        try:
            storage = tensor.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
        except RuntimeError:  # without memory: sparse, or the zeros that differentiate a sign
            return
        if size and address not in self._alive:
            self._live += size
            self._alive[address] = weakref.ref(storage, partial(self._freed, address, size))

    def _freed(self, address: int, size: int, _: object) -> None:
        del self._alive[address]
        self._live -= size


@functools.cache
def _known(operation: Any) -> tuple[bool, Callable[..., int] | None]:
    """Return whether an operation draws random numbers, and what counts its FLOP."""
    return is_random(operation), flop_registry.get(operation.overloadpacket)
