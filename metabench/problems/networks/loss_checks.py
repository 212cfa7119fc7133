"""Validation of a user's loss and of the pairs (x, y) it is applied to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from metabench.settings.errors import InvalidInput


def check_loss(loss: Callable[..., Any]) -> None:
    """Raise InvalidInput unless the loss can be called with a prediction and y."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise InvalidInput(
            f"The loss must take two arguments, (prediction, y); yours takes {signature}."
        ) from error


def classifies(loss: Callable[..., Any]) -> bool:
    """Return whether a loss is torch's cross-entropy, whose predictions are class scores."""
    return loss is nn.functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)


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


def fraction_correct(scores: Tensor, y: Tensor) -> Tensor:
    """Compute the fraction `()` of examples whose largest score, along axis 1, is the label's."""
    labels = y.argmax(1) if y.dim() == scores.dim() else y  # probabilities, or indices
    return (scores.argmax(1) == labels).to(scores.dtype).mean()
