"""Faults in the size of a right gradient: factors, signs, layers, clipping, precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.func import grad

import metabench as mb
from reports.verdicts.cases import Fault, Loop, Theta, changed


def times(factor: float, layer: str = "") -> Callable[[Theta, Theta], Theta]:
    """Return the change that multiplies the gradient, or the part of one layer."""

    def change(slopes: Theta, theta: Theta) -> Theta:
        return {n: factor * s if layer in ("", n) else s for n, s in slopes.items()}

    return change


def exchanged(slopes: Theta, theta: Theta) -> Theta:
    """Exchange the gradients of two layers of one shape."""
    return {**slopes, "0.weight": slopes["2.weight"], "2.weight": slopes["0.weight"]}


def transposed(slopes: Theta, theta: Theta) -> Theta:
    """Transpose the gradient of a square layer."""
    return {**slopes, "2.weight": slopes["2.weight"].T}


def capped(slopes: Theta, theta: Theta) -> Theta:
    """Clip each entry."""
    most = float(torch.cat([s.ravel().abs() for s in slopes.values()]).quantile(0.7))
    return {n: s.clamp(-most, most) for n, s in slopes.items()}


def unit(slopes: Theta, theta: Theta) -> Theta:
    """Scale to norm 0.01, below every gradient's own."""
    size = torch.cat([s.ravel() for s in slopes.values()]).norm()
    return {n: 0.01 * s / size for n, s in slopes.items()}


def decayed(share: float) -> Callable[[Theta, Theta], Theta]:
    """Return the change that adds the gradient of a penalty that the loss has not."""
    return lambda slopes, theta: {n: s + share * theta[n] for n, s in slopes.items()}


def rounded(dtype: torch.dtype) -> Callable[[Theta, Theta], Theta]:
    """Return the change that stores the gradient in half precision."""
    return lambda slopes, theta: {n: s.to(dtype).to(s) for n, s in slopes.items()}


def overflowed(slopes: Theta, theta: Theta) -> Theta:
    """Scale the gradient beyond what float16 holds, and back."""
    scale = 1e6 / max(float(s.abs().max()) for s in slopes.values())
    return {n: (scale * s).half().to(s) / scale for n, s in slopes.items()}


def half_inside(loop: Loop) -> mb.Subject:
    """Compute the gradient, not the loss, in bfloat16."""

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        low = {n: v.bfloat16() for n, v in theta.items()}
        cast = mb.Task(*((x.bfloat16(), y.bfloat16()) for x, y in (task.support, task.query)))
        slopes = grad(loop.objective)(low, cast)
        return loop.objective(theta, task), {n: s.to(theta[n]) for n, s in slopes.items()}

    return loop.subject(estimate)


def of(change: Callable[[Theta, Theta], Theta]) -> Callable[[int], mb.Subject]:
    """Return the subject of a changed right gradient, by seed."""

    def made(seed: int) -> mb.Subject:
        loop = Loop(seed)
        return loop.subject(changed(loop.objective, change))

    return made


def unregularized(factor: float, seed: int) -> mb.Subject:
    """Take the penalty of the outer loss so many times in the gradient."""
    loop = Loop(seed)

    def penalty(theta: Theta) -> Tensor:
        return 0.05 * torch.stack([v.square().sum() for v in theta.values()]).sum()

    def right(theta: Theta, task: mb.Task) -> Tensor:
        return loop.objective(theta, task) + penalty(theta)

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        wrong = grad(lambda at: loop.objective(at, task) + factor * penalty(at))(theta)
        return right(theta, task), wrong

    return loop.subject(estimate)


HALF = ("float16", "bfloat16", "half precision")
FAULTS = (
    Fault("doubled", ("2 times",), of(times(2.0))),
    Fault("sum over 8 examples for the mean", ("8 times",), of(times(8.0))),
    Fault("sign flipped", ("-1 times",), of(times(-1.0))),
    Fault("accumulated over 4 micro-batches, divided twice", ("0.25 times",), of(times(0.25))),
    Fault(
        "loss scale of 65,536 not removed",
        ("65500 times",),
        of(times(65536.0)),
    ),
    Fault("divided by K", ("0.333 times",), of(times(1 / 3))),
    Fault("one layer counted twice", ("`2.weight`",), of(times(2.0, "2.weight"))),
    Fault("one layer's sign flipped", ("`0.bias`",), of(times(-1.0, "0.bias"))),
    Fault("one layer zeroed (allow_unused)", ("`4.weight`",), of(times(0.0, "4.weight"))),
    Fault("two layers exchanged", ("`0.weight` and `2.weight` exchanged",), of(exchanged)),
    Fault("a layer transposed", ("layer `2.weight` transposed",), of(transposed)),
    Fault("entries clipped in the estimator", ("clip",), of(capped)),
    Fault("norm clipped in the estimator", ("clip", "norm"), of(unit)),
    Fault("weight decay added to the gradient", ("penalty", "weight decay"), of(decayed(0.1))),
    Fault("regularizer counted twice", ("penalty", "weight decay"), partial(unregularized, 2.0)),
    Fault("regularizer missing", ("penalty", "weight decay"), partial(unregularized, 0.0)),
    Fault("gradient stored in bfloat16", HALF, of(rounded(torch.bfloat16))),
    Fault("gradient stored in float16", HALF, of(rounded(torch.float16))),
    Fault("float16 overflows", ("not finite", "not"), of(overflowed)),
    Fault("bfloat16 inside the gradient", HALF, lambda seed: half_inside(Loop(seed))),
)
