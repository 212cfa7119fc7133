"""Be told of every operation that torch runs, below functorch's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# Of (operation, args, keyword args, result); the result goes on to who asked for it.
Heard = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], None]


class OperationWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Inside `with`, runs each operation unchanged and tells what it gave.

    >>> import torch
    >>> names = []
    >>> with OperationWatch(lambda operation, *_: names.append(str(operation))):
    ...     _ = torch.ones(2).exp()
    >>> names
    ['aten.ones.default', 'aten.exp.default']
    """

    def __init__(self, heard: Heard) -> None:
        """Tell `heard` of each operation, after it ran."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._heard = heard

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
        """Run it, then tell."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._heard(func, args, kwargs, result)
        return result
