"""Directional derivatives by differences, with a bound of their error: truncation and noise.

A difference is evidence only above the function's noise, which is larger than the smallest change
it shows: a loss in float64 whose logits pass through float32 is smooth to 1e-7 of its value.
The noise is read off a table of differences (Moré & Wild, 2011, https://doi.org/10.1137/100786125)
at the very spacing of the difference, since a kink within it looks like noise of that size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STEPS = tuple(10.0**-e for e in range(1, 9))  # half-widths of the stencils, along a unit vector
MIDDLE_STEPS = STEPS[4:7]  # enough where nothing is below float64: the others are then not taken
RESOLVED = 1e-6  # error, as a share of the scale, that is enough
POINTS = 9  # equally spaced ones from -h to h
ORDERS = (4, 5, 6)  # of the differences that hold the noise; lower ones hold the function
SIDE_ORDERS = (2, 3)  # of those of the four points of one side
CLEAR = 16.0  # a gap between the sides is one above this times the noise
KINK = 1e-4  # sides that differ by more than this share of the scale at every step are a kink


class Slopes(NamedTuple):
    """Directional derivatives of T numbers."""

    value: Tensor  # (T,), NaN where no step gives one
    error: Tensor  # (T,), bound: truncation and noise; infinite where the function did not move
    kink: Tensor  # (T,), bool: the derivatives of the two sides differ at every step


def resolved_slopes(
    function: Callable[[Tensor], Tensor],
    at: Tensor,
    along: Tensor,
    scale: Tensor,
    unit: float = torch.finfo(torch.float64).eps,
) -> Slopes:
    """Compute central slopes of T numbers along a unit vector at the step of least error.

    Args:
        function: `(Q,) -> (T,)`, in float64; of any precision inside.
        at: the point, `(Q,)`.
        along: a unit vector, `(Q,)`.
        scale: the size of slope that is expected of each number, `(T,)`.
        unit: relative round-off of the lowest precision known inside; noise is no smaller.

    Returns:
        Slopes, a bound of their error, and where the function has a kink.

    >>> at, along = torch.zeros(2).double(), torch.tensor([1.0, 0.0]).double()
    >>> cast = lambda x: ((x[0] + 1) ** 3).float()[None]
    >>> found = resolved_slopes(cast, at, along, torch.ones(1))
    >>> bool((found.value - 3).abs() < found.error), bool(found.error < 1e-3)
    (True, True)
    """
    offsets = torch.linspace(-1, 1, POINTS, dtype=torch.float64).tolist()
    here = function(at)

    @functools.cache
    def stencil(h: float) -> _Stencil:
        values = [function(at + h * x * along) if x else here for x in offsets]
        return _Stencil.of(torch.stack(values), h, unit)

    def slopes(steps: tuple[float, ...]) -> Slopes:
        return _best([stencil(h) for h in steps], steps, scale)

    found = slopes(MIDDLE_STEPS)
    resolved = (found.error <= RESOLVED * scale) | found.kink
    return found if bool(resolved.all()) else slopes(STEPS)


def _best(stencils: Sequence[_Stencil], steps: tuple[float, ...], scale: Tensor) -> Slopes:
    """Return the slopes at the step of least error.

    Args:
        stencils: one for each step.
        steps: their half-widths, the widest first.
        scale: the size of slope that is expected, `(T,)`.
    """
    slopes, truncation, noise, gaps, beside, moved = (
        torch.stack(each) for each in zip(*stencils, strict=True)
    )
    h = torch.tensor(steps).to(noise)[:, None]
    bounds = _bounds(slopes, truncation, noise, moved, h)
    (error, second), best = bounds.topk(2, dim=0, largest=False)
    value, other = slopes.gather(0, best)
    contradicted = torch.where(torch.isfinite(second), (value - other).abs() - second, 0)
    error = torch.maximum(error, contradicted)
    value = torch.where(torch.isfinite(error), value, math.nan)
    return Slopes(value, error, _kinks(gaps, beside, moved, scale, h))


class _Stencil(NamedTuple):
    """What nine values around a point say, `(T,)` each."""

    slope: Tensor
    truncation: Tensor  # error of the slope, by the slopes of twice and of half the step
    noise: Tensor  # of the values
    gap: Tensor  # between the slopes of the two sides
    beside: Tensor  # noise where a kink at the point does not reach
    moved: Tensor  # bool: not all values are the same

    @classmethod
    def of(cls, values: Tensor, h: float, unit: float) -> _Stencil:
        wide, narrow = (values[8] - values[0]) / (2 * h), (values[6] - values[2]) / h
        narrowest = (values[5] - values[3]) / (h / 2)
        # a curve's gap between the sides halves with the step; what is left is a kink's
        gaps = [(values[4 + k] - 2 * values[4] + values[4 - k]) / (k * h / 4) for k in (1, 2, 4)]
        kinks = torch.maximum((gaps[2] - 2 * gaps[1]).abs(), (gaps[1] - 2 * gaps[0]).abs()) / 2
        smooth = torch.maximum((wide - narrow).abs() / 3, (narrow - narrowest).abs() / 0.75)
        truncation = torch.maximum(smooth, kinks)
        beside = torch.maximum(_noise(values[:4], SIDE_ORDERS), _noise(values[5:], SIDE_ORDERS))
        steps = (values[1:] - values[:-1]).abs()
        plateaus = torch.where((steps == 0).any(0), steps.amax(0), 0)  # values on a lattice
        noise = torch.maximum(_noise(values, ORDERS), plateaus)
        least = unit * values.abs().amax(0)
        noise, beside = torch.maximum(noise, least), torch.maximum(beside, least)
        return cls(narrow, truncation, noise, gaps[2].abs(), beside, (values != values[4]).any(0))


def _bounds(slopes: Tensor, truncation: Tensor, noise: Tensor, moved: Tensor, h: Tensor) -> Tensor:
    """Return the error bound of each step's slope, infinite where the function did not move."""
    narrower = torch.cat([noise[1:], noise[-1:]])  # few values may look smoother than they are
    still = torch.where(moved, 0, h).amax(0)  # widest step that moves nothing: a lattice of values
    lattice = 2 * still * slopes.abs()
    bounds = truncation + 2 * torch.maximum(torch.maximum(noise, narrower), lattice) / h
    bounds = torch.where(moved & torch.isfinite(bounds), bounds, math.inf)
    # a step whose slope the next narrower one contradicts is off by at least that much
    apart = (slopes[:-1] - slopes[1:]).abs() - bounds[1:]
    return torch.cat([torch.maximum(bounds[:-1], apart.nan_to_num(0.0)), bounds[-1:]])


def _kinks(gaps: Tensor, noise: Tensor, moved: Tensor, scale: Tensor, h: Tensor) -> Tensor:
    """Return where the sides differ at the smallest step at which noise leaves that to be seen.

    A kink keeps the gap as the step shrinks, a jump widens it; a curve's gap shrinks with it.
    """
    least = torch.where(moved, noise, math.inf).flip(0).cummin(0)[0].flip(0)
    seen = moved & (CLEAR * least / h < KINK * scale)
    wider = torch.cat([torch.full_like(gaps[:1], math.inf), gaps[:-1]])
    kept = (gaps > KINK * scale) & (gaps > 0.5 * wider)
    smallest = seen & (seen.flip(0).cumsum(0).flip(0) == 1)
    return (kept & smallest).any(0)


def _noise(values: Tensor, orders: tuple[int, ...]) -> Tensor:
    """Return the standard deviation `(T,)` of the noise of equally spaced values `(n, T)`."""
    table, levels = values, [torch.zeros_like(values[0])]
    for order in range(1, max(orders) + 1):
        table = table[1:] - table[:-1]
        if order in orders:
            gamma = math.factorial(order) ** 2 / math.factorial(2 * order)
            levels.append((gamma * (table**2).mean(0)).sqrt())
    return torch.stack(levels).amax(0)
