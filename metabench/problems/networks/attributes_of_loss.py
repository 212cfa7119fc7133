"""Attributes of the user's module that a loss reads: of the original, not of the copy that runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from torch import nn

MOST_DEPTH = 4  # of functions that call functions


def names_read(loss: Callable[..., Any], net: nn.Module) -> frozenset[str]:
    """Return the names in the code of a loss that uses the module, or a part of it; else none.

    Args:
        loss: as the user gave it.
        net: as the user gave it, before it is copied.
    """
    names: set[str] = set()
    parts = {id(part) for part in net.modules()}
    found = False
    for function in _functions(loss, MOST_DEPTH):
        names |= set(function.__code__.co_names)
        found = found or any(id(value) in parts for value in _used(function))
    return frozenset(names if found else ())


def _functions(held: Any, depth: int) -> Iterator[FunctionType]:
    """Yield a loss's functions: its own, and those that it uses."""
    if isinstance(held, functools.partial):
        yield from _functions(held.func, depth)
    elif inspect.ismethod(held):
        yield from _functions(held.__func__, depth)
    elif isinstance(held, nn.Module):
        yield from _functions(held.forward, depth)
    elif isinstance(held, FunctionType) and depth:
        yield held
        for value in _used(held):
            if isinstance(value, FunctionType) and value.__module__ == held.__module__:
                yield from _functions(value, depth - 1)


def _used(function: FunctionType) -> list[Any]:
    """Return the objects of other scopes that a function's code names."""
    used = inspect.getclosurevars(function)
    return [*used.nonlocals.values(), *used.globals.values()]
