"""The same tasks and the same proximal inner problem, through one method."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from metabench.algorithms.base import Algorithm, Estimator, MetaGrad
from metabench.autodiff.operation_counts import Work, work_of
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.probes.agreement.methods import pulls_in_problem
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Address

if TYPE_CHECKING:
    import torch


class MethodRun:
    """The tasks through one method, on the inner loss with its pull."""

    def __init__(self, subject: Subject, algorithm: Algorithm, pull: float, seed: int) -> None:
        """Put the pull into the problem of a method that has none; nothing is computed yet."""
        problem = subject.problem
        if pulls_in_problem(algorithm):
            problem = proximal(problem, pull)
        compute = replace(subject.compute, engine="eager")
        self.subject = replace(subject, problem=problem, algorithm=algorithm, compute=compute)
        self.algorithm, self.pull, self._seed = algorithm, pull, seed

    @cached_property
    def resolved(self) -> tuple[Estimator, Vectorization]:
        """What is left to `auto`, chosen once: counting a method's work takes as long as a run."""
        return self.subject.resolved(self.subject.draw(Address.fresh(0, 1), self._seed))

    def __call__(self, address: Address, dtype: torch.dtype | None = None) -> MetaGrad:
        """Give the addressed tasks' meta-gradients, in another precision if one is named."""
        at = self.subject if dtype is None else self.subject.at(self.subject.theta.to(dtype))
        algorithm, compute = self.resolved
        apply = compute.per_task(lambda theta, task: algorithm(at.problem, theta, task))
        result: MetaGrad = apply(at.theta, at.draw(address, self._seed))
        return result

    def work(self) -> Work:
        """Count the work of one task."""
        task = first_task(self.subject.draw(Address.fresh(0, 1), self._seed))
        return work_of(self.resolved[0], self.subject.problem, self.subject.theta, task)
