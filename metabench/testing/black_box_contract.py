"""Contract of black boxes: finite gradients, reproducibility, means over a batch."""

from __future__ import annotations

import torch

from metabench.algorithms.black_box import BlackBox
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.base import Family
from metabench.families.own_problem import sampler_of
from metabench.problems.tasks import Address
from metabench.testing.expectations import TASKS, expect, expect_same


def check_black_box(estimator: BlackBox, family: Family, seed: int = 0) -> None:
    """Check a user-defined estimator against its contract on its problem, in float32.

    Shapes; finite numbers; two calls give the same bits; of a batch, the mean over its tasks.

    Args:
        estimator: to check.
        family: whose tasks it is checked on.
        seed: of the tasks.
    """
    subject = Subject(family.problem(), sampler_of(family), estimator, family.theta(seed).float())
    address = Address.fresh(0, TASKS)
    found, again = (subject.meta_gradients(address, seed) for _ in range(2))
    expect(bool(torch.isfinite(found.grad).all()), "its gradient is not finite")
    expect_same(found.grad, again.grad, 0.0, "two calls differ")
    (mean,) = subject.estimates(address, seed, TASKS)
    expect_same(
        mean[0], found.grad.mean(0), 1e-4, "for a batch it does not return the mean over tasks"
    )
