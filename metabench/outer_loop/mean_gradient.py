"""The mean meta-gradient of a batch, clipped: the gradient of an outer step."""

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

# theta, tasks -> the mean meta-gradient, clipped if clipping is on (Q,); the mean loss, |g| of the
# mean before it is clipped, and 1 if clipping changed anything, else 0 (3,); and mean batch
# statistics for running averages
Means = Callable[[Tensor, Task], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class MeanGradients:
    """Computation of the mean meta-gradients of one training, with no setting left at `auto`.

    The engine is chosen once, by the number of steps: compiled functions round differently, and a
    resumed training must give the same numbers.
    """

    problem: Problem
    algorithm: Estimator
    outer: OuterOptimizer
    compute: Vectorization
    gradient_mask: Tensor | None  # 0 for entries of theta that are running averages, else 1, (Q,)

    @property
    def together(self) -> bool:
        """Whether a batch is one vmap call, which can be traced together with its mean."""
        return self.compute.batching == "vmap" and self.outer.batch <= self.compute.chunk

    def means(self) -> Means:
        """Return the function from theta and tasks to means, eager where it can be traced whole."""
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
        """Return the same function, run by this training's engine."""
        means = self.means()
        return accelerate(means, self.compute.engine) if self.together else means

    def _mean(
        self, gradients: Tensor, losses: Tensor, statistics: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients = gradients if self.gradient_mask is None else gradients * self.gradient_mask
        each = self.outer.clipped(gradients) if self.outer.clip_tasks else gradients
        mean = each.mean(0)
        cut = mean if self.outer.clip_tasks else self.outer.clipped(mean)
        changed = losses.new_zeros(())
        if self.outer.clips:
            differ = each != gradients if self.outer.clip_tasks else cut != mean
            changed = differ.any().to(losses.dtype)
        return cut, torch.stack([losses.mean(), mean.norm(), changed]), statistics.mean(0)


def mean_gradients(
    subject: Subject, outer: OuterOptimizer, tasks: Task, steps: int
) -> MeanGradients:
    """Resolve how a training computes its mean meta-gradients.

    Args:
        subject: problem, algorithm and compute settings; `auto` is resolved.
        outer: settings of the outer loop.
        tasks: a batch with a leading B, for shapes.
        steps: outer steps of the training.
    """
    algorithm, compute = subject.resolved(tasks)
    compute = with_fixed_engine(compute, steps_per_algorithm(subject.algorithm, outer, steps))
    return MeanGradients(subject.problem, algorithm, outer, compute, _gradient_mask(subject))


def steps_per_algorithm(algorithm: Estimator, outer: OuterOptimizer, steps: int) -> int:
    """Return for how many outer steps the algorithm stays the same: an epoch if it is annealed.

    Args:
        algorithm: at its first epoch.
        outer: gives the steps of an epoch.
        steps: outer steps of the training.
    """
    return steps if algorithm.at_epoch(1) == algorithm else min(outer.epoch, steps)


def with_fixed_engine(compute: Vectorization, steps: int, before: str = "") -> Vectorization:
    """Return the compute settings with an engine chosen where it is `auto`.

    Args:
        compute: settings, engine `auto` or fixed.
        steps: outer steps that one traced or compiled function serves.
        before: engine of a training that is resumed; "" for none.
    """
    if compute.engine != "auto":
        return compute
    return replace(
        compute,
        engine=before
        or engine_for(steps, BREAK_EVEN_LOOP if compute.batching == "loop" else BREAK_EVEN_VMAP),
    )


def _gradient_mask(subject: Subject) -> Tensor | None:
    """Return 0 for entries of theta that are running averages, else 1; None if there are none.

    No gradient updates an average, so its entries count neither in norms nor in clipping.
    """
    averages = subject.algorithm.custom_updates(subject.problem).averages
    if not averages:
        return None
    moved = torch.ones_like(subject.theta)
    for name, part in subject.problem.layouts.theta.segments():
        if name in averages:
            moved[part] = 0
    return moved
