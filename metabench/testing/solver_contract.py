"""Contract of solvers: shapes, and a correct residual."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.estimation.vectorization import Vectorization
from metabench.linalg.solvers.solver import Solve, Solver
from metabench.problems.tasks import Task
from metabench.testing.expectations import SIZE, expect, expect_refused, expect_same


def check_solver(solver: Solver, seed: int = 0) -> None:
    """Check a solver against its contract, on a well-conditioned matrix in float64.

    Shapes; an honest residual, history and curvature; zero for zero; vmap equals a loop over
    right-hand sides; settings below zero are refused.
    """
    expect_refused(solver)
    generator = torch.Generator().manual_seed(seed)
    square, B = torch.randn(2, SIZE, SIZE, generator=generator, dtype=torch.float64)
    A = torch.eye(SIZE).to(square) + square @ square.T / SIZE
    B[1] = 0

    def solve(theta: Tensor, task: Task) -> Solve:
        return solver(lambda v: A @ v, task.query)

    found = solver(lambda v: A @ v, B[0])
    expect(found.x.shape == (SIZE,), f"x has shape {tuple(found.x.shape)}, not ({SIZE},)")
    for name in ("residual", "steps", "curvature"):
        shape = tuple(getattr(found, name).shape)
        expect(shape == (), f"{name} has shape {shape}, not ()")
    true = float((A @ found.x - B[0]).norm() / B[0].norm())
    expect(
        abs(float(found.residual) - true) <= 1e-9 * (true + 1e-3),
        f"residual is {float(found.residual):.2g}, but |A x - b| / |b| is {true:.2g}",
    )
    _expect_history(found)
    _expect_curvature(found, A)
    expect(not solver(lambda v: A @ v, B[1]).x.any(), "the answer to b = 0 is not 0")
    together, apart = (
        Vectorization(how).per_task(solve)(A[0], Task(B, B)) for how in ("vmap", "loop")
    )
    expect_same(together, apart, 1e-10, "vmap and a loop over right-hand sides differ")


def _expect_history(found: Solve) -> None:
    """The residual before the first step is that of x = 0."""
    shape = tuple(found.history.shape)
    expect(len(shape) == 1 and shape[0] > 0, f"history has shape {shape}, not (steps + 1,)")
    first = float(found.history[0])
    expect(abs(first - 1) <= 1e-9, f"history begins at {first:.3g}; the residual of x = 0 is 1")


def _expect_curvature(found: Solve, A: Tensor) -> None:
    """p^T A p / p^T p lies between the ends of the spectrum, or is infinite where none was seen."""
    least, *_, largest = torch.linalg.eigvalsh(A).tolist()
    seen = float(found.curvature)
    within = least * (1 - 1e-9) <= seen <= largest * (1 + 1e-9)
    expect(
        within or seen == float("inf"),
        f"curvature is {seen:.3g}, but p^T A p / p^T p lies in [{least:.3g}, {largest:.3g}]",
    )
