"""Validation of the value of a user's loss and of the pairs (x, y) it is applied to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from metabench.settings.errors import InvalidInput


def as_pair(data: Any) -> tuple[Any, Any]:
    """Return x and y of a support or query set."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        kind = f"{len(data)} parts" if isinstance(data, tuple | list) else type(data).__name__
        more = ""
        if isinstance(data, tuple | list) and len(data) > 2:
            more = " Several inputs are one x, ((x1, x2), y), and several targets one y."
        raise InvalidInput(f"A support or query set must be a pair (x, y); given {kind}.{more}")
    x, y = data
    return x, y


def check_scalar(value: Any) -> Tensor:
    """Return the value of a loss, a real scalar tensor, or raise InvalidInput."""
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise InvalidInput(
            f"The loss returned {'an' if kind[0] in 'aeiou' else 'a'} {kind}; it must return a "
            f"scalar tensor.{_repair(value)}"
        )
    if value.shape != ():
        raise InvalidInput(
            f"The loss has shape {tuple(value.shape)}; it must be a scalar: end it with .mean()."
        )
    if not value.is_floating_point():
        raise InvalidInput(
            f"The loss is {value.dtype}; it must be a real number with a gradient. A count, such "
            "as that of right answers, has none; of a complex number take .real or .abs()."
        )
    return value


def _repair(value: Any) -> str:
    """Return what to change in a loss that returns something else than a tensor."""
    if value is None:
        return " Its `return` is missing."
    if isinstance(value, tuple | list):
        return " Return the loss alone, or wrap it: lambda prediction, y: loss(prediction, y)[0]."
    if isinstance(value, dict):
        return " Return the entry that is minimized."
    return " Leave out .item(), float() and .numpy(), which cut its gradient."
