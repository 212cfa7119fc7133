"""Losses that compare every prediction with every target, because their shapes broadcast."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ROUND_OFFS = 1000  # of the loss, within which two losses are the same


def broadcast_shapes(loss: Callable[[Any, Any], Tensor], prediction: Any, y: Any) -> str:
    """Return the shapes of prediction and y if the loss compares all of one with all of the other.

    Such a loss changes when the prediction is given y's shape, but not when y is permuted. A loss
    that makes the shapes equal itself changes when y is permuted.

    Args:
        loss: of a prediction and y.
        prediction: of the module.
        y: as the sampler gives it.
    """
    if not (isinstance(prediction, Tensor) and isinstance(y, Tensor)):
        return ""
    if prediction.shape == y.shape or prediction.numel() != y.numel():
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of these shapes
        try:
            together: Any = torch.broadcast_tensors(prediction, y)  # type: ignore[no-untyped-call]
            if together[0].numel() == y.numel():
                return ""
            given, permuted = loss(prediction, y.clone()), loss(prediction, y.roll(1, 0))
            reshaped = loss(prediction.reshape(y.shape), y.clone())
        except (RuntimeError, ValueError, IndexError):  # a loss that takes these shapes alone
            return ""
    near = ROUND_OFFS * torch.finfo(given.dtype).eps
    if not torch.isclose(given, permuted, rtol=near) or torch.isclose(given, reshaped, rtol=near):
        return ""
    shapes = (tuple(part.shape) for part in (prediction, y, together[0]))
    return "prediction {}, y {}, together {}".format(*shapes)
