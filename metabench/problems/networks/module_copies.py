"""Copies of a module: with its own values, and with values that are shared."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from metabench.settings.errors import InvalidInput
from metabench.settings.user_errors import in_one_line

MOST_DEPTH = 6  # of objects within objects, in the search for what can't be copied


def copy_with_values(net: nn.Module) -> nn.Module:
    """Return a copy of a module that shares no tensor with it.

    Tensors that a module computes and keeps, as the hooks of weight norm and pruning do, are
    detached: torch refuses to copy them. What can't be copied at all, such as a lock, an open file
    or an iterator, is shared with the original.

    Raises:
        InvalidInput: if a part of the module refuses to be copied.
    """
    return _copied(net, {})


def copy_sharing_values(net: nn.Module) -> nn.Module:
    """Return a copy of a module with the same parameters and buffers, which take no more memory.

    For a module that is called with other values, or whose layers are replaced.
    """
    return _copied(net, {id(x): x for x in (*net.parameters(), *net.buffers())})


def _copied(net: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Return a deep copy, with stand-ins for what can't be copied where that fails."""
    with contextlib.suppress(Exception):  # whatever an object's own way of being copied raises
        return copy.deepcopy(net, dict(memo))
    for part in net.modules():
        for value in _attributes(part):
            memo |= {id(x): _stand_in(x) for x in _uncopyable(value, memo, MOST_DEPTH)}
    try:
        return copy.deepcopy(net, dict(memo))
    except Exception as error:
        raise InvalidInput(
            f"{_refusing(net, memo)} can't be copied ({in_one_line(error)}), and the module that "
            "you give is never changed. Take out its own __deepcopy__, or keep what refuses to be "
            "copied outside the module."
        ) from error


def _attributes(part: nn.Module) -> Iterator[Any]:
    """Yield what a module holds beside its parameters and parts."""
    yield from part._buffers.values()
    yield from (x for name, x in vars(part).items() if name not in ("_modules", "_parameters"))


def _uncopyable(value: Any, memo: dict[int, Any], depth: int) -> Iterator[Any]:
    """Yield the innermost objects that refuse to be copied."""
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:
        inside = _held(value) if depth else ()
        found = [x for each in inside for x in _uncopyable(each, memo, depth - 1)]
        yield from found or [value]


def _held(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set):
        return value
    return () if isinstance(value, ModuleType | Tensor) else getattr(value, "__dict__", {}).values()


def _stand_in(value: Any) -> Any:
    """Return what takes the place of an object in the copy: its values, or the object itself."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def _refusing(net: nn.Module, memo: dict[int, Any]) -> str:
    """Name the innermost part of a module that refuses to be copied."""
    for name, part in reversed(list(net.named_modules())):
        try:
            copy.deepcopy(part, dict(memo))
        except Exception:
            return f"`{name}` ({type(part).__name__})" if name else f"The {type(part).__name__}"
    return "The module"
