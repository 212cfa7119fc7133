"""Validation of the value of a user's loss and of the pairs (x, y) it is applied to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from metabench.settings.errors import InvalidInput


def as_pair(data: Any) -> tuple[Any, Any]:
    """Return x and y of a support or query set."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        kind = f"{len(data)} parts" if isinstance(data, tuple | list) else type(data).__name__
        raise InvalidInput(f"A support or query set must be a pair (x, y); given {kind}.")
    x, y = data
    return x, y


def check_scalar(value: Any) -> Tensor:
    """Return the value of a loss, a scalar tensor, or raise InvalidInput."""
    if not isinstance(value, Tensor):
        raise InvalidInput(
            f"The loss returned a {type(value).__name__}; it must return a scalar tensor."
        )
    if value.shape != ():
        raise InvalidInput(
            f"The loss has shape {tuple(value.shape)}; it must be a scalar: end it with .mean()."
        )
    return value
