"""How much work is one call of a function, counted rather than timed?

Counts are the same on every run and every load, so what is chosen by them is chosen again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ROOM = 2**31  # what the tasks that are computed together may hold at once [bytes]


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
    with _Counter() as counted:
        function(*args)
    return Work(counted.operations, counted.flops, counted.peak)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Sees every operation below functorch's layers, and when its results die."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.flops = self.peak = self._live = 0
        self._alive: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would import torch's compiler, for seconds, to keep it out of the method below.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.operations += 1
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **kwargs, out_val=out)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        self.peak = max(self.peak, self._live)
        return out

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
