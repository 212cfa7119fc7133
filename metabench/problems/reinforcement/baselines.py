"""Baselines of policy gradients: what is subtracted from the returns, and what that biases."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

# Unbiased: their expectation given a state doesn't depend on the action taken in it.
UNBIASED = ("none", "time", "exact", "independent", "leave_one_out")
# Fitted on the batch whose returns they are subtracted from, as much public code does.
BIASED = ("batch", "standardized")
BASELINES = (*UNBIASED, *BIASED)


def leave_one_out(returns: Tensor) -> Tensor:
    """Return the mean return of the other trajectories at each time, `(N, H)`; 0 for N = 1."""
    count = returns.shape[0]
    return (returns.sum(0) - returns) / max(count - 1, 1)


def with_baseline(
    name: str, returns: Tensor, given: Callable[[str], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the returns and baselines, `(N, H)` each, whose difference is the advantage.

    `batch` is the mean over the same batch at each time, which multiplies the expected gradient by
    1 - 1/N; `standardized` also divides by the batch's standard deviation.

    Args:
        name: one of `BASELINES`.
        returns: from each time on, `(N, H)`.
        given: what `time`, `exact` and `independent` are, by name, `(N, H)`.
    """
    if name == "none":
        return returns, returns * 0
    if name == "leave_one_out":
        return returns, leave_one_out(returns)
    if name == "batch":
        return returns, returns.mean(0, keepdim=True).expand_as(returns)
    if name == "standardized":
        scale = returns.std() + 1e-8
        return returns / scale, (returns.mean() / scale).expand_as(returns)
    return returns, given(name)
