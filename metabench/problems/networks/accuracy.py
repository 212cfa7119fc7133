"""Which predictions are right, for losses of torch whose targets are known."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Accuracy = Callable[[Any, Any], Tensor]  # (prediction, y) -> fraction, ()

CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
CLASSES_BY_FUNCTION = (nn.functional.cross_entropy, nn.functional.nll_loss)
IGNORED = -100  # torch's default of ignore_index


def accuracy_of(loss: Callable[..., Any]) -> Accuracy | None:
    """Return the fraction of right predictions for a loss of torch, None for any other loss.

    For cross-entropy the largest score, along axis 1, must be the label's, or that of the largest
    target probability; labels that the loss ignores are not counted. For binary cross-entropy an
    example with several labels, along axis 1, is right if all of them are.
    """
    function, settings = _unwrapped(loss)
    module = isinstance(function, nn.Module)
    if any(_is(function, each) for each in (*CLASSES, *CLASSES_BY_FUNCTION)):
        ignored = function.ignore_index if module else settings.get("ignore_index", IGNORED)
        return functools.partial(fraction_correct, ignored=ignored)
    if _is(function, nn.BCEWithLogitsLoss) or (
        function is nn.functional.binary_cross_entropy_with_logits
    ):
        return functools.partial(fraction_of_all_labels, threshold=0.0)
    if _is(function, nn.BCELoss) or function is nn.functional.binary_cross_entropy:
        return functools.partial(fraction_of_all_labels, threshold=0.5)
    return None


def fraction_correct(scores: Tensor, y: Tensor, ignored: int = IGNORED) -> Tensor:
    """Compute the fraction `()` of labels whose score is the largest, NaN where all are ignored.

    Args:
        scores: of each class, `(n, C, ...)`, or `(C,)` of one example.
        y: labels `(n, ...)`, or probabilities of the shape of the scores.
        ignored: label that is not counted.
    """
    classes = min(1, scores.dim() - 1)
    if y.dim() == scores.dim():
        return (scores.argmax(classes) == y.argmax(classes)).to(scores.dtype).mean()
    counted = (y != ignored).to(scores.dtype)
    right = (scores.argmax(classes) == y).to(scores.dtype)
    return (right * counted).sum() / counted.sum()


def fraction_of_all_labels(scores: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Compute the fraction `()` of examples all of whose labels, along axis 1, are right.

    Args:
        scores: of each label, `(n,)` or `(n, L, ...)`.
        y: targets between 0 and 1, of the same shape.
        threshold: scores above it mean 1.
    """
    right = ((scores > threshold) == (y > 0.5)).to(scores.dtype)
    return (right.amin(1) if right.dim() > 1 else right).mean()


def _unwrapped(loss: Callable[..., Any]) -> tuple[Any, dict[str, Any]]:
    """Return the function of a `functools.partial`, and its keywords."""
    settings: dict[str, Any] = {}
    while isinstance(loss, functools.partial) and not loss.args:
        settings = {**loss.keywords, **settings}
        loss = loss.func
    return loss, settings


def _is(function: Any, known: Any) -> bool:
    """Return whether a loss is this function, or a module with the forward of this class."""
    if not isinstance(known, type):
        return function is known
    return isinstance(function, known) and inspect.getattr_static(
        type(function), "forward"
    ) is inspect.getattr_static(known, "forward")
