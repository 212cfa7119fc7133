"""Contract of algorithms: shapes, reproducibility, a correct gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm
from metabench.autodiff.finite_differences import directional_derivatives
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.families.base import Family
from metabench.families.own_problem import sampler_of
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task, cast
from metabench.testing.declared_capabilities import check_declared
from metabench.testing.expectations import TASKS, expect, expect_refused, expect_same

DIRECTIONS = 3  # along which a gradient is held against differences
TOLERANCE = 1e-4  # relative; finite differences are accurate to 1e-6


def check_algorithm(algorithm: Algorithm, family: Family, seed: int = 0) -> None:
    """Check an algorithm against its contract on a family, in float64.

    Shapes and dtype follow theta, in float32 too; vmap equals a loop over tasks; two calls give the
    same bits; the reported loss is the outer loss at the reported phi; where the algorithm says
    that it is exact, its gradient agrees with finite differences of the loss that it
    differentiates; what it declares to probes and training (`adapted`, `loop`, `objective`,
    `reference`, `implicit`, `extend`, `custom_updates`) is what its call does; settings below zero
    are refused.

    Args:
        algorithm: to check.
        family: whose tasks it is checked on.
        seed: of the tasks.
    """
    expect_refused(algorithm)
    subject = Subject(family.problem(), sampler_of(family), algorithm, family.theta(seed).double())
    problem, theta = subject.problem, subject.theta
    tasks = subject.draw(Address.fresh(0, TASKS), seed)

    def run(how: str) -> Callable[[Tensor, Task], object]:
        return Vectorization(how).per_task(lambda at, task: algorithm(problem, at, task))

    found = algorithm(problem, theta, first_task(tasks))
    P, Q = problem.layouts.phi.size, problem.layouts.theta.size
    expect(found.grad.shape == (Q,), f"grad has shape {tuple(found.grad.shape)}, not ({Q},)")
    expect(found.loss.shape == (), f"loss has shape {tuple(found.loss.shape)}, not ()")
    expect(found.phi.shape == (P,), f"phi has shape {tuple(found.phi.shape)}, not ({P},)")
    expect(found.grad.dtype == theta.dtype, f"grad is {found.grad.dtype}, theta {theta.dtype}")
    expect(bool(torch.isfinite(found.grad).all()), "grad is not finite")
    how = "loop" if algorithm.loops else "vmap"
    together, again, apart = (run(how)(theta, tasks) for how in (how, how, "loop"))
    expect_same(together, again, 0.0, "two calls differ")
    expect_same(together, apart, 1e-10, "vmap and a loop over tasks differ")
    _expect_loss(algorithm, problem, theta, first_task(tasks))
    _expect_gradient(algorithm, problem, theta, first_task(tasks), seed)
    check_declared(subject, algorithm, first_task(tasks), seed)
    small = theta.float()
    grad = algorithm(problem, small, first_task(cast(tasks, small))).grad
    expect(grad.dtype == small.dtype, f"grad is {grad.dtype}, theta {small.dtype}")


def _expect_loss(algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task) -> None:
    """The reported loss is the outer loss at the reported phi."""
    found = algorithm(problem, theta, task)
    expected = problem.outer_loss(found.phi, theta, task.query)
    gap = float((found.loss - expected).abs())
    expect(gap <= 1e-12 * (1 + float(expected.abs())), "loss is not the outer loss at phi")


def _expect_gradient(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, seed: int
) -> None:
    """Hold a gradient that claims to be exact against differences of what it is the gradient of."""
    if not algorithm.exact:
        return
    grad = algorithm(problem, theta, task).grad
    size = (grad.norm() / len(grad) ** 0.5).reshape(1)
    generator = torch.Generator().manual_seed(seed)

    def loss(at: Tensor) -> Tensor:
        return algorithm.differentiated(problem, at, task).reshape(1)

    for _ in range(DIRECTIONS):
        along = torch.randn(len(theta), generator=generator, dtype=theta.dtype)
        along = along / along.norm()
        difference, claimed = (
            float(directional_derivatives(loss, theta, along, size)),
            float(grad @ along),
        )
        gap = abs(claimed - difference)
        near = math.isnan(difference) or gap <= TOLERANCE * float(size)  # NaN: a kink
        sentence = (
            f"its directional derivative is {claimed:.6g}, finite differences of its loss say "
            f"{difference:.6g}"
        )
        expect(near, sentence)
