"""The subjects of the correctness stage: small smooth networks, on any device and in any dtype."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import metabench as mb
from metabench.problems import architectures
from metabench.records.rows import Row

TASKS = 16


def tanh_network(width: int = 20) -> tuple[mb.Problem, mb.Family, Tensor]:
    """Return the sinusoid's tasks with a tanh network, whose gradient has no kinks."""
    family = mb.Sinusoid()
    net = nn.Sequential(
        nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    )
    problem = mb.Problem.from_module(net, lambda output, y: ((output - y) ** 2).mean())
    return problem, family, architectures.initial_parameters(net, 0)


def ridge() -> tuple[mb.Problem, mb.Family, Tensor]:
    """Return ridge regression, whose inner problem is strongly convex, for the linear solvers."""
    family = mb.Ridge()
    return family.problem(), family, family.theta(0)


def digits() -> tuple[mb.Problem, mb.Family, Tensor]:
    """Return few-shot digits with a convolutional network with batch norm."""
    family = mb.Digits()
    return family.problem(), family, family.theta(0)


def gradients(
    made: tuple[mb.Problem, mb.Family, Tensor],
    algorithm: mb.Estimator,
    compute: mb.Vectorization,
    like: Tensor,
) -> Tensor:
    """Compute meta-gradients `(T, Q)` of the same tasks, with the dtype and device of `like`."""
    problem, family, theta = made
    subject = mb.Subject(problem, family.sample, algorithm, theta.to(like), compute)
    found: Tensor = subject.meta_gradients(mb.Address.fresh(0, TASKS), seed=0).grad
    return found.detach()


def median_error(found: Tensor, truth: Tensor) -> float:
    """Return the median over tasks of the relative error; NaN if any task's is."""
    errors = (found.cpu().double() - truth).norm(dim=1) / truth.norm(dim=1)
    return float(errors.median()) if bool(errors.isfinite().all()) else float("nan")


def compared(rows: list[Row], others: list[Row]) -> float:
    """Return the median over the numbers of two tables of their relative difference.

    Rows are paired by quantity, at, of and layer; rows of seconds and bytes are left out.
    """

    def numbers(table: list[Row]) -> dict[tuple[object, ...], float]:
        return {
            (row.quantity, row.at, row.of, row.layer): float(row.value)
            for row in table
            if row.value is not None and not {"seconds", "bytes"} & set(row.quantity.split("_"))
        }

    one, other = numbers(rows), numbers(others)
    shared = [key for key in one if key in other]
    apart = torch.tensor([abs(one[key] - other[key]) for key in shared], dtype=torch.float64)
    size = torch.tensor([abs(other[key]) + 1e-30 for key in shared], dtype=torch.float64)
    return float((apart / size).nanmedian())
