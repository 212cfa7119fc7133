"""Hold a claimed gradient to differences of its loss, each with the error that it may have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.autodiff.difference_error_bounds import resolved_slopes
from metabench.autodiff.finite_differences import AGREEMENT, directional_derivatives
from metabench.probes.verify.limits import DIFFERENCES, LIMITS
from metabench.records.rows import Row

SAFETY = 4.0  # a discrepancy counts above this times the error bound of the difference
CLEARER = 0.1  # of the difference to the gradient: what a multiple must leave at most
FACTOR = 1e-3  # relative residual up to which a claim is a constant times the gradient


class Differences(NamedTuple):
    """A claimed gradient against differences, over all tasks and directions."""

    status: str  # ok, wrong, unresolved, or kink
    error: float  # relative error of the gradient
    resolution: float  # relative error that the differences themselves may have
    factor: float  # the claim is this times the gradient; NaN if it is no multiple of it
    smooth: bool = False  # a table of differences confirmed the quick ones, as they may be trusted

    def row(self, wrong: str = "wrong", layer: str = "") -> Row:
        """Return the row of this check.

        Args:
            wrong: status of a claim that is wrong.
            layer: the layer whose part was checked, or "".
        """
        status = wrong if self.status == "wrong" else self.status
        if self.status == "kink" or not math.isfinite(self.error):
            return Row("check", of=DIFFERENCES, layer=layer, status=status)
        high = self.error + self.resolution if math.isfinite(self.resolution) else None
        row = Row("check", of=DIFFERENCES, layer=layer, value=self.error, status=status)
        return row._replace(high=high) if self.status == "unresolved" else row


def differences(
    losses: Callable[[Tensor], Tensor],
    theta: Tensor,
    grads: Tensor,
    size: Tensor,
    directions: Sequence[Tensor],
    unit: float,
    smooth: bool = False,
) -> Differences:
    """Compare the slopes of a claimed gradient with differences of the loss.

    A claim that quick differences contradict is held to a table of many; where one table confirms
    them, quick ones decide along the other directions, at a quarter of the cost.

    Args:
        losses: `(Q,) -> (T,)`, at a theta in float64.
        theta: where, `(Q,)`.
        grads: what is claimed, `(T, Q)`.
        size: usual slope of each task along a random direction, `(T,)`.
        directions: unit vectors, `(Q,)` each.
        unit: relative round-off of the lowest precision inside.
        smooth: whether a table has confirmed quick differences of this loss before.

    Returns:
        `ok` where a difference resolves the limit and all that do agree; `wrong` where one
        disagrees by more than it may err; `unresolved` where none resolves it; `kink` where the
        loss has no derivative.
    """

    def values(at: Tensor) -> Tensor:
        return losses(at).to(grads.dtype)  # a loss may end in a lower precision

    found = []
    for along in directions:
        found.append(_along(values, theta, grads @ along, size, along, unit, smooth))
        smooth = smooth or found[-1].confirmed
    slopes, claims, bounds, kinks = (
        torch.stack(each) for each in zip(*(one[:4] for one in found), strict=True)
    )
    gaps, limit = (slopes - claims).abs() / size, LIMITS[DIFFERENCES]
    bounds = bounds / size
    wrong = ~kinks & (gaps > limit + SAFETY * bounds)
    resolved = ~kinks & (gaps + bounds <= limit)
    if wrong.any():
        status, judged = "wrong", ~kinks & torch.isfinite(bounds)
    elif resolved.any():
        status, judged = "ok", resolved
    else:
        open_ = ~kinks & torch.isfinite(bounds)
        status, judged = "kink" if kinks.all() else "unresolved", open_
    if not judged.any():
        return Differences(status, math.nan, math.inf, math.nan, smooth)
    error = float(gaps[judged].max())
    if status != "ok":
        error = _relative(slopes[judged], claims[judged])
    factor = _factor(slopes[judged], claims[judged])
    return Differences(status, error, float(bounds[judged].max()), factor, smooth)


def directions(size: int, count: int, like: Tensor) -> list[Tensor]:
    """Return random unit vectors, the same in every call.

    Args:
        size: entries of each.
        count: vectors.
        like: of the wanted device and dtype.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(count))
    return [each.to(like) / each.norm().to(like) for each in drawn]


class _Along(NamedTuple):
    """What differences along one direction say of each task, `(T,)`."""

    slope: Tensor
    claim: Tensor
    bound: Tensor  # error that the slope may have
    kink: Tensor
    confirmed: bool = False  # a table gave the slopes of the quick differences


def _along(
    losses: Callable[[Tensor], Tensor],
    theta: Tensor,
    claim: Tensor,
    size: Tensor,
    along: Tensor,
    unit: float,
    smooth: bool,
) -> _Along:
    """Return slopes by quick differences if they agree or are trusted, else by a table.

    Args:
        losses: `(Q,) -> (T,)`.
        theta: where, `(Q,)`.
        claim: slopes that are claimed, `(T,)`.
        size: the size of slope that is expected, `(T,)`.
        along: a unit vector, `(Q,)`.
        unit: relative round-off of the lowest precision inside.
        smooth: whether quick differences are trusted that contradict the claim.
    """
    slope = directional_derivatives(losses, theta, along, size)
    none = torch.zeros_like(slope)
    if bool(((slope - claim).abs() <= LIMITS[DIFFERENCES] * size / 2).all()):
        return _Along(slope, claim, none, none.bool())
    if smooth and not slope.isnan().any():
        return _Along(slope, claim, none + AGREEMENT * size, none.bool())
    found = resolved_slopes(losses, theta, along, size, unit)
    same = (found.value - slope).abs() + found.error <= LIMITS[DIFFERENCES] * size / SAFETY
    exact = unit <= torch.finfo(torch.float64).eps
    confirmed = exact and bool((same & ~found.kink).all())
    return _Along(found.value, claim, found.error, found.kink, confirmed)


def _relative(slopes: Tensor, claims: Tensor) -> float:
    """Estimate |claimed - true| / max(|true|, |claimed|) from slopes along random directions."""
    size = torch.maximum(slopes.norm(), claims.norm())
    return float((slopes - claims).norm() / size) if size > 0 else 0.0


def _factor(slopes: Tensor, claims: Tensor) -> float:
    """Return c where the claims are c times the slopes, NaN where they are no multiple."""
    if len(slopes) < 2 or not slopes.any():
        return math.nan
    factor = float((claims @ slopes) / (slopes @ slopes))
    left = float((claims - factor * slopes).norm())
    if not claims.any():
        return 0.0
    size = float(slopes.norm())
    near = left <= FACTOR * abs(factor) * size and left <= CLEARER * abs(factor - 1) * size
    return factor if factor and near else math.nan
