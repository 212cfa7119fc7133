"""Layer, batch and instance norm as plain operations, whose derivatives of any order are right.

torch's fused kernels are silently wrong in third derivatives, and in derivatives of a vmapped
unroll (https://github.com/pytorch/pytorch/issues/196699).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

T = TypeVar("T")
F = nn.functional


def layer_norm(
    input: Tensor,  # ruff: ignore[builtin-argument-shadowing]
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalize over the last axes, then scale and shift.

    Args:
        input: values.
        normalized_shape: of the last axes, which are normalized.
        weight: scale of that shape, or None.
        bias: shift of that shape, or None.
        eps: added to the variance.
        cudnn_enable: ignored.
    """
    x, axes = input, tuple(range(-len(normalized_shape), 0))
    mean = x.mean(axes, keepdim=True)
    x = _standardized(x - mean, ((x - mean) ** 2).mean(axes, keepdim=True), eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def batch_norm(
    input: Tensor,  # ruff: ignore[builtin-argument-shadowing]
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel over the batch, or by given statistics, which are not updated.

    Args:
        input: values, channels along axis 1.
        running_mean: given mean `(C,)`, or None.
        running_var: given variance `(C,)`, or None.
        weight: scale `(C,)`, or None.
        bias: shift `(C,)`, or None.
        training: whether to use the statistics of the input.
        momentum: ignored.
        eps: added to the variance.
    """
    x = input
    if training or running_mean is None or running_var is None:
        return over_axes(x, (0, *range(2, x.dim())), weight, bias, eps)
    return scaled(x - per_channel(running_mean, x), per_channel(running_var, x), eps, weight, bias)


def instance_norm(
    input: Tensor,  # ruff: ignore[builtin-argument-shadowing]
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each example, or by given statistics, which are not updated.

    Args:
        input: values, channels along axis 1.
        running_mean: given mean `(C,)`, or None.
        running_var: given variance `(C,)`, or None.
        weight: scale `(C,)`, or None.
        bias: shift `(C,)`, or None.
        use_input_stats: whether to use the statistics of the input.
        momentum: ignored.
        eps: added to the variance.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return over_axes(input, tuple(range(2, input.dim())), weight, bias, eps)


def over_axes(
    x: Tensor, axes: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalize over some axes, then scale and shift each channel, axis 1.

    Args:
        x: values, channels along axis 1.
        axes: that mean and variance are taken over.
        weight: scale `(C,)`, or None.
        bias: shift `(C,)`, or None.
        eps: added to the variance.
    """
    mean = x.mean(axes, keepdim=True)
    return scaled(x - mean, ((x - mean) ** 2).mean(axes, keepdim=True), eps, weight, bias)


def scaled(
    centered: Tensor, variance: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Divide centered values by their standard deviation; scale and shift channels, axis 1.

    Args:
        centered: values minus their mean.
        variance: of a shape that broadcasts against the values.
        eps: added to the variance.
        weight: scale `(C,)`, or None.
        bias: shift `(C,)`, or None.
    """
    x = _standardized(centered, variance, eps)
    x = x if weight is None else x * per_channel(weight, x)
    return x if bias is None else x + per_channel(bias, x)


def _standardized(centered: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Divide centered values by the square root of variance + eps."""
    return centered * (variance + eps).rsqrt()


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """View a number per channel `(C,)` so that it broadcasts along axis 1 of x."""
    return values.view(1, -1, *(1,) * (x.dim() - 2))


def _of_builtin(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Adapt a norm to the order of arguments of `torch.batch_norm` and `torch.instance_norm`."""

    def reordered(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any) -> Tensor:
        return norm(x, mean, var, weight, bias, *rest[:-1])  # the last: whether to use cuDNN

    return reordered


PLAIN: dict[Any, Callable[..., Tensor]] = {
    F.layer_norm: layer_norm,
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
    torch.layer_norm: layer_norm,
    torch.batch_norm: _of_builtin(batch_norm),
    torch.instance_norm: _of_builtin(instance_norm),
}


class PlainNorms(TorchFunctionMode):
    """Within it, torch's norms are computed by plain operations, whatever module calls them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the plain form of a norm, and anything else as it is."""
        return PLAIN.get(func, func)(*args, **(kwargs or {}))


def with_plain_norms(function: Callable[..., T]) -> Callable[..., T]:
    """Return a function that calls torch's norms in their plain form."""

    @wraps(function)
    def plain(*args: Any) -> T:
        with PlainNorms():
            return function(*args)

    return plain
