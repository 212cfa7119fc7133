"""The mean meta-gradient of a batch: what every outer step applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metabench.algorithms.base import Estimator
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff.compilation import BREAK_EVEN_LOOP, BREAK_EVEN_VMAP, accelerate, engine_for
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task

# theta, tasks -> what an outer step goes by, means over its tasks: the meta-gradient, clipped if
# it is to be (Q,); loss, |g| before their mean is clipped, and 1 if clipping changed anything (3,);
# and what was shown of running averages
Means = Callable[[Tensor, Task], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class MeanGradients:
    """How the mean meta-gradients of one training are computed, with nothing left to `auto`.

    Which engine, is chosen once and by the number of steps: a compiled function rounds otherwise,
    and a training that was killed must go on to the same numbers.
    """

    problem: Problem
    algorithm: Estimator
    outer: OuterOptimizer
    compute: Vectorization
    still: Tensor | None  # 0 for each number of theta that no gradient moves, 1 for the rest, (Q,)

    @property
    def together(self) -> bool:
        """Whether a whole batch is one function of tensors, which can be traced with its mean."""
        return self.compute.batching == "vmap" and self.outer.batch <= self.compute.chunk

    def means(self) -> Means:
        """Make that function; one that can be traced is left eager, `fast_means` makes it fast."""
        problem, algorithm = self.problem, self.algorithm
        if isinstance(algorithm, BlackBox) and algorithm.batched:

            def estimated(theta: Tensor, tasks: Task) -> tuple[Tensor, Tensor, Tensor]:
                found = algorithm.estimate(problem, theta, tasks)
                return self._mean(found.grad[None], found.loss[None], theta.new_zeros(1, 0))

            return estimated

        def one(theta: Tensor, task: Task) -> tuple[Tensor, Tensor, Tensor]:
            found = algorithm(problem, theta, task)
            return found.grad, found.loss, found.notes.get("batch_statistics", theta.new_zeros(0))

        compute = replace(self.compute, engine="eager") if self.together else self.compute
        each = compute.per_task(one)
        return lambda theta, tasks: self._mean(*each(theta, tasks))

    def fast_means(self) -> Means:
        """Make it, by this training's engine."""
        means = self.means()
        return accelerate(means, self.compute.engine) if self.together else means

    def _mean(
        self, gradients: Tensor, losses: Tensor, shown: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients = gradients if self.still is None else gradients * self.still
        each = self.outer.clipped(gradients) if self.outer.clip_tasks else gradients
        mean = each.mean(0)
        cut = mean if self.outer.clip_tasks else self.outer.clipped(mean)
        changed = losses.new_zeros(())
        if self.outer.clips:
            differ = each != gradients if self.outer.clip_tasks else cut != mean
            changed = differ.any().to(losses.dtype)
        return cut, torch.stack([losses.mean(), mean.norm(), changed]), shown.mean(0)


def mean_gradients(
    subject: Subject, outer: OuterOptimizer, tasks: Task, steps: int
) -> MeanGradients:
    """Settle how a training of so many steps on batches like these tasks computes its means."""
    algorithm, compute = subject.resolved(tasks)
    compute = with_fixed_engine(compute, steps_per_algorithm(subject.algorithm, outer, steps))
    return MeanGradients(subject.problem, algorithm, outer, compute, _still(subject))


def steps_per_algorithm(algorithm: Estimator, outer: OuterOptimizer, steps: int) -> int:
    """Give the steps for which one meta-gradient is applied: an epoch, where it is annealed."""
    return steps if algorithm.at_epoch(1) == algorithm else min(outer.epoch, steps)


def with_fixed_engine(compute: Vectorization, steps: int, before: str = "") -> Vectorization:
    """Choose the engine, if that is left to `auto`: as before, or by the number of outer steps."""
    if compute.engine != "auto":
        return compute
    return replace(
        compute,
        engine=before
        or engine_for(steps, BREAK_EVEN_LOOP if compute.batching == "loop" else BREAK_EVEN_VMAP),
    )


def _still(subject: Subject) -> Tensor | None:
    """Tell running averages from the rest, where there are any.

    No gradient moves an average, so none of it counts in a norm or is clipped.
    """
    averages = subject.algorithm.custom_updates(subject.problem).averages
    if not averages:
        return None
    moved = torch.ones_like(subject.theta)
    for name, part in subject.problem.layouts.theta.segments():
        if name in averages:
            moved[part] = 0
    return moved
