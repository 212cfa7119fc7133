"""Whether something can be a user's estimator: a function of (theta, task)."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from metabench.settings.errors import InvalidInput

WANTED = "a black box is a function (theta, task) -> (loss, gradient)"


def check_estimator(function: Any) -> None:
    """Raise InvalidInput unless this can be called with theta and a task."""
    if isinstance(function, nn.Module):
        raise InvalidInput(
            f"{type(function).__name__} is a module, and {WANTED}. To measure metabench's own "
            "algorithms on a module, make a problem of it: mb.Problem.from_module(net, loss, "
            "tasks=...), then --problem my.py:problem --algo maml."
        )
    if isinstance(function, type) or not callable(function):
        what = "a class" if isinstance(function, type) else f"of type {type(function).__name__}"
        name = function.__name__ if isinstance(function, type) else repr(function)
        raise InvalidInput(f"{name} is {what}, and {WANTED}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise InvalidInput(f"The estimator takes {signature}, but {WANTED}.") from error
