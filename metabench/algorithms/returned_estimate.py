"""Reading what a user's estimator returned: a loss and a gradient, in any of several forms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metabench.problems.parameter_layout import Layout
from metabench.settings.errors import InvalidInput


def loss_and_gradient(found: Any, layout: Layout, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss `()`, NaN if there is none, and the gradient `(Q,)`, both detached.

    A pair is (loss, gradient), except where its two entries have the shapes of theta's two parts:
    then it is the gradient, as `torch.autograd.grad` returns it. No pair is both. A part whose
    gradient is None has gradient zero.

    Args:
        found: what the estimator returned.
        layout: names and shapes of theta.
        theta: meta-parameters, `(Q,)`, for device and dtype.

    Raises:
        InvalidInput: if it is neither, or every part's gradient is None.
    """
    loss, grad = None, _with_tensors(found)
    found = grad
    if isinstance(found, tuple) and len(found) == 2 and not _is_a_gradient(found, layout):
        loss, grad = found
    return _scalar(loss, theta), _real(_flat(grad, layout, theta), "gradient").detach()


def _with_tensors(found: Any) -> Any:
    """Return arrays and lists of numbers as tensors, and iterators as lists."""
    if isinstance(found, np.ndarray | np.generic):
        return torch.as_tensor(found)
    if isinstance(found, list) and found and all(isinstance(each, Number) for each in found):
        return torch.tensor(found)
    if isinstance(found, Mapping):
        return {name: _part(value) for name, value in found.items()}
    if isinstance(found, tuple):
        return tuple(_with_tensors(part) for part in found)
    if isinstance(found, list | Iterator):
        return [_part(value) for value in found]
    return found


def _part(value: Any) -> Any:
    """Return the gradient of one part of theta, maybe nested lists of numbers, as a tensor."""
    return (
        torch.tensor(value)
        if isinstance(value, list) and _is_number(value)
        else (_with_tensors(value))
    )


def _is_number(value: Any) -> bool:
    """Return whether this is a number, or a list of numbers, at any depth."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, Number)


def _real(value: Tensor, what: str) -> Tensor:
    """Return a tensor of real numbers, dense and with values."""
    if not value.is_floating_point():
        why = (
            "take its real part, if the imaginary one is 0 by design"
            if value.is_complex()
            else "look for .long(), .int(), rounding and counts"
        )
        raise InvalidInput(
            f"The estimator returned a {what} of dtype {value.dtype}; it must be real "
            f"floating-point numbers: {why}."
        )
    if value.is_meta:
        raise InvalidInput(f"The estimator returned a {what} without values (on the meta device).")
    return value


def _is_a_gradient(pair: tuple[Any, Any], layout: Layout) -> bool:
    """Return whether a pair holds the gradients of theta's two parts, either of them maybe None."""
    if len(layout.names) != 2 or all(part is None for part in pair):
        return False
    fits = [
        part is None or (hasattr(part, "shape") and tuple(part.shape) == shape)
        for part, shape in zip(pair, layout.shapes, strict=True)
    ]
    return all(fits)


def _flat(grad: Any, layout: Layout, theta: Tensor) -> Tensor:
    if isinstance(grad, tuple | list):
        if len(grad) != len(layout.names):
            raise InvalidInput(
                f"The estimator returned {len(grad)} gradients; theta has {len(layout.names)} "
                f"parts: {', '.join(layout.names)}."
            )
        grad = dict(zip(layout.names, grad, strict=True))
    if isinstance(grad, Mapping):
        return _joined(grad, layout, theta)
    if isinstance(grad, Tensor) and grad.shape == (layout.size,):
        return _dense(grad)
    given = f"shape {tuple(grad.shape)}" if isinstance(grad, Tensor) else f"type {_type(grad)}"
    raise InvalidInput(
        f"The estimator returned a gradient of {given}; it must return (loss, gradient), the "
        f"gradient as a dictionary by name, a list in the order of theta, or one vector of "
        f"{layout.size} numbers."
    )


def _joined(grad: Mapping[str, Any], layout: Layout, theta: Tensor) -> Tensor:
    """Concatenate the parts in the layout's order."""
    if grad and all(part is None for part in grad.values()):
        raise InvalidInput(
            "The estimator returned None as the gradient of every part of theta, so its loss does "
            "not depend on them. Compute the loss from the tensors in theta, not from a module's "
            "own parameters or from copies, and use create_graph=True in the inner loop."
        )
    expected = dict(zip(layout.names, layout.shapes, strict=True))
    parts = {
        name: theta.new_zeros(expected[name]) if part is None and name in expected else part
        for name, part in grad.items()
    }
    differing = [
        f"{name}: given {_shape(parts.get(name, 'nothing'))}, "
        f"expected {expected.get(name, 'nothing')}"
        for name in sorted({*parts, *expected})
        if _shape(parts.get(name)) != expected.get(name)
    ]
    if differing:
        raise InvalidInput(
            f"The estimator's gradient does not fit theta: {'; '.join(differing)}. Return one "
            "tensor of the same name and shape for each part of theta, or None for one that the "
            "loss does not depend on."
        )
    return layout.flatten({name: _dense(part) for name, part in parts.items()})


def _dense(part: Tensor) -> Tensor:
    return part if part.layout == torch.strided else part.to_dense()


def _shape(part: Any) -> Any:
    """Return the shape of a tensor, and what else was given in words."""
    if isinstance(part, Tensor):
        return tuple(part.shape)
    return part if part is None or part == "nothing" else f"type {_type(part)}"


def _scalar(loss: Any, theta: Tensor) -> Tensor:
    if loss is None:
        return theta.new_full((), math.nan)
    if isinstance(loss, Tensor) and loss.shape != ():
        raise InvalidInput(
            f"The estimator returned a pair that begins with a loss of shape {tuple(loss.shape)}; "
            "a loss must be one number, and a pair of gradients must fit theta's two parts."
        )
    if not isinstance(loss, Tensor | float | int) or isinstance(loss, bool):
        raise InvalidInput(
            f"The estimator returned a loss of type {_type(loss)}; it must be one number or None, "
            "and a pair is (loss, gradient), in this order."
        )
    value = loss if isinstance(loss, Tensor) else torch.tensor(float(loss))
    if not isinstance(loss, Tensor):
        value = value.double() if theta.dtype == torch.float64 else value
    return _real(value, "loss").to(theta.device).detach()


def _type(value: Any) -> str:
    return type(value).__name__
