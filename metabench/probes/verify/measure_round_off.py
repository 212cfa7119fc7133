"""Compare two computations of one number, and say how far they may differ by round-off alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metabench.probes.verify.limits import LIMITS
from metabench.records.rows import Row

MOVES = 4  # repetitions of a computation at theta moved by its last digits
ROUND_OFF = 10.0  # a difference below this times the largest spread of repetitions is round-off


def worst(found: Tensor, expected: Tensor) -> float:
    """Return the largest relative difference of a task, `(T, Q)` each; NaN if one isn't finite."""
    found, expected = found.detach(), expected.detach()  # a stranger's may hold a graph
    if not (torch.isfinite(found).all() and torch.isfinite(expected).all()):
        return float("nan")
    size = expected.norm(dim=1)
    return float(((found - expected).norm(dim=1) / torch.where(size > 0, size, 1)).max())


def check(name: str, error: float, verdict: str = "wrong") -> Row:
    """Return a check: `ok` up to its limit, `verdict` above it, `diverged` if not finite.

    Args:
        name: of the check, a key of `LIMITS`.
        error: relative.
        verdict: the status above the limit.
    """
    if error != error or error == float("inf"):
        return Row("check", of=name, status="diverged")
    return Row("check", of=name, value=error, status="ok" if error <= LIMITS[name] else verdict)


def withheld(name: str) -> Row:
    """Return the row of a check that could not be made."""
    return Row("check", of=name, status="withheld")


def above_round_off(row: Row, spread: Callable[[], float]) -> Row:
    """Return a failed check as `unresolved` where round-off can make its difference.

    Args:
        row: of a check.
        spread: measures how far the same computation moves with the last digits of theta.

    Returns:
        The row; one that is unresolved has the round-off that was measured as its upper end.
    """
    if row.status != "wrong" or row.value is None:
        return row
    floor = ROUND_OFF * spread()
    return row._replace(status="unresolved", high=floor) if row.value <= floor else row


def spread_of(
    compute: Callable[[Tensor], Tensor], theta: Tensor, found: Tensor, unit: float
) -> float:
    """Return the largest relative change of a computation when theta moves by its last digits.

    Args:
        compute: `(Q,) -> (T, Q)`.
        theta: where, `(Q,)`.
        found: what it gave there, `(T, Q)`.
        unit: relative size of the moves: the round-off of the lowest precision inside.
    """
    generator = torch.Generator().manual_seed(4)
    moves = torch.randn(MOVES, len(theta), generator=generator, dtype=torch.float64).to(theta)
    spreads = [worst(compute(theta * (1 + unit * move)), found) for move in moves]
    return max(spreads) if all(each == each for each in spreads) else float("inf")
