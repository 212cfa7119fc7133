"""A callback for every operation that torch runs, below functorch's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Called with (operation, args, keyword args, result).
OperationCallback = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], None]


class OperationWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Context manager that calls a function after every operation, which runs unchanged.

    >>> import torch
    >>> names = []
    >>> with OperationWatch(lambda operation, *_: names.append(str(operation))):
    ...     _ = torch.ones(2).exp()
    >>> names
    ['aten.ones.default', 'aten.exp.default']
    """

    def __init__(self, callback: OperationCallback) -> None:
        """Store the function to call after each operation."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._callback = callback

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would import torch's compiler, which takes seconds.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation, then call the function."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._callback(func, args, kwargs, result)
        return result


def is_random(operation: Any) -> bool:
    """Whether two calls of an operation give different results, as its tag says.

    >>> import torch
    >>> is_random(torch.ops.aten.bernoulli.default), is_random(torch.ops.aten.exp.default)
    (True, False)
    """
    return torch.Tag.nondeterministic_seeded in operation.tags
