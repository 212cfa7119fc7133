r"""Convolution and batch norm with cheap closed forms of their second derivatives.

For a convolution y = x * w with cotangents (a, b) of its two gradients, the second derivative is
bilinear too: that of y is x * b + a * w, those of x and w are the gradients of a * b. For batch
norm, with :math:`\hat x = (x - m) r` and :math:`Pu = u - \bar u - \hat x \overline{u \hat x}`, the
gradient is :math:`w r P g`, whose derivatives need sums over the batch and a few passes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

aten = torch.ops.aten
AXES = (0, 2, 3)  # of a batch of images, all but channels
Sums = tuple[Tensor, Tensor]


def convolution(x: Tensor, w: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
    """Convolve images.

    Args:
        x: images `(n, c, h, w)`.
        w: filters `(out, c / groups, kh, kw)`.
        bias: `(out,)`, or None.
        how: the remaining arguments of `aten::convolution`, from stride to groups.
    """
    found: Tensor = _Convolution.apply(x, w, bias, how)  # type: ignore[no-untyped-call]
    return found


def batch_norm(x: Tensor, w: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalize images by batch statistics, then scale and shift them.

    Args:
        x: images `(n, c, h, w)`.
        w: scale `(c,)`.
        bias: shift `(c,)`.
        eps: added to the variance.
    """
    found: Tensor = _Normalization.apply(x, w, bias, eps)  # type: ignore[no-untyped-call]
    return found


class _Convolution(Function):
    """x * w + bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, how: Any) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.how, ctx.biased = how, bias is not None
        found: Tensor = aten.convolution(x, w, bias, *how)
        return found

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad[:2], ctx.biased and ctx.needs_input_grad[2]]
        return *_ConvolutionBack.apply(g, x, w, ctx.how, wanted), None  # type: ignore[no-untyped-call]


class _ConvolutionBack(Function):
    """The gradients of x, w and bias from that of the result; torch differentiates its backward."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, how: Any, wanted: list[bool]) -> Any:
        ctx.save_for_backward(g, x, w)
        ctx.set_materialize_grads(False)
        ctx.how = how
        return aten.convolution_backward(g, x, w, [w.shape[0]], *how, wanted)

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None, c: Tensor | None) -> Any:
        g, x, w = ctx.saved_tensors
        of_g, of_x, of_w = ctx.needs_input_grad[:3]
        in_g = None
        if of_g and b is not None:
            in_g = aten.convolution(x, b, c, *ctx.how)
        elif of_g and c is not None:
            in_g = c.view(1, -1, 1, 1).expand_as(g)
        if of_g and a is not None:
            more = aten.convolution(a, w, None, *ctx.how)
            in_g = more if in_g is None else in_g + more
        wanted = [of_x and b is not None, of_w and a is not None, False]
        here = (
            x if a is None else a,
            w if b is None else b,
        )  # of unwanted ones only the shape is used
        in_x, in_w, _ = aten.convolution_backward(g, *here, None, *ctx.how, wanted)
        return in_g, in_x, in_w, None, None


class _Normalization(Function):
    """Batch norm by batch statistics, scaled by w and shifted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor, eps: float) -> Tensor:
        found, m, r = aten.native_batch_norm(x, w, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, w, m, r)
        ctx.eps = eps
        result: Tensor = found
        return result

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return *_NormalizationBack.apply(g, *ctx.saved_tensors, ctx.eps), None  # type: ignore[no-untyped-call]


class _NormalizationBack(Function):
    """The gradients of x, w and bias from that of the result."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, m: Tensor, r: Tensor, eps: float) -> Any:
        ctx.set_materialize_grads(False)
        ctx.eps = eps
        in_x = aten.native_batch_norm_backward(
            g, x, w, None, None, m, r, True, eps, [True, True, True]
        )
        ctx.save_for_backward(g, x, w, m, r, *in_x[1:])
        return in_x

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None, c: Tensor | None) -> Any:
        g, x, w, m, r, g_shape, g_sum = ctx.saved_tensors
        a = torch.zeros_like(x) if a is None else a
        n, sums = x.numel() // x.shape[1], _sums
        if (
            torch.is_grad_enabled()
        ):  # a third derivative, which torch's fused kernels compute wrongly
            m, sums = x.mean(AXES), _plain_sums
            r = (((x - _wide(m)) ** 2).mean(AXES) + ctx.eps).rsqrt()
            g_shape, g_sum = sums(g, x, m, r)
        a_shape, a_sum = sums(a, x, m, r)
        product, _ = sums(a, g, torch.zeros_like(m), torch.ones_like(r))
        spread = product - a_sum * g_sum / n - a_shape * g_shape / n  # <a, P g>
        # the gradient of <a, w r P g> + <b, sum g x^>, all of it affine in a, g and x
        by_g, by_a = -w * r * a_shape / n, -w * r * g_shape / n
        by_g = by_g if b is None else by_g + b
        shift = -w * r * a_sum / n - by_g * r * m
        in_g = _affine(shift if c is None else shift + c, (w * r, a), (by_g * r, x))
        bend = -r * (by_a * a_shape + by_g * g_shape + w * spread * r) / n
        shift = -r * (by_a * a_sum + by_g * g_sum) / n - bend * r * m
        in_x = _affine(shift, (r * by_a, a), (r * by_g, g), (bend * r, x))
        return in_g, in_x, r * spread, None, None, None


def _sums(a: Tensor, x: Tensor, m: Tensor, r: Tensor) -> Sums:
    """Compute the sums of a (x - m) r and of a over all axes but channels, in one pass."""
    _, shape, total = aten.native_batch_norm_backward(
        a, x, None, None, None, m, r, True, 0.0, [False, True, True]
    )
    return shape, total


def _plain_sums(a: Tensor, x: Tensor, m: Tensor, r: Tensor) -> Sums:
    """Compute the same sums, differentiable any number of times."""
    return (a * (x - _wide(m))).sum(AXES) * r, a.sum(AXES)


def _affine(shift: Tensor, *terms: Sums) -> Tensor:
    """Compute the sum of images, each times a number per channel, plus a shift per channel."""
    (scale, image), *more = terms
    found = torch.addcmul(_wide(shift), image, _wide(scale))
    for scale, image in more:
        found = found.addcmul_(image, _wide(scale))
    return found


def _wide(channels: Tensor) -> Tensor:
    return channels.view(1, -1, 1, 1)
