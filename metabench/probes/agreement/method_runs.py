"""One method applied to the tasks, on the inner loss with the proximal term."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from metabench.algorithms.base import Algorithm, Estimator, MetaGrad
from metabench.autodiff.operation_counts import Work
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.probes.agreement.methods import needs_proximal_problem
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Address

if TYPE_CHECKING:
    import torch


class MethodRun:
    """One method with the subject's tasks, called to get their meta-gradients."""

    def __init__(
        self, subject: Subject, algorithm: Algorithm, proximal_strength: float, seed: int
    ) -> None:
        """Add the proximal term to the inner loss if the method has none; compute nothing yet.

        Args:
            subject: problem, tasks and theta.
            algorithm: the method, with its inner steps.
            proximal_strength: lambda.
            seed: of the tasks.
        """
        problem = subject.problem
        if needs_proximal_problem(algorithm):
            problem = proximal(problem, proximal_strength)
        compute = replace(subject.compute, engine="eager")
        self.subject = replace(subject, problem=problem, algorithm=algorithm, compute=compute)
        self.algorithm, self.proximal_strength, self._seed = algorithm, proximal_strength, seed

    @cached_property
    def resolved(self) -> tuple[Estimator, Vectorization]:
        """The algorithm and vectorization with `auto` resolved, once: it takes as long as a run."""
        return self.subject.resolved(self.subject.draw(Address.fresh(0, 1), self._seed))

    def __call__(self, address: Address, dtype: torch.dtype | None = None) -> MetaGrad:
        """Return the meta-gradients of the addressed tasks, computed in `dtype` if given."""
        at = self.subject if dtype is None else self.subject.at(self.subject.theta.to(dtype))
        algorithm, compute = self.resolved
        apply = compute.per_task(lambda theta, task: algorithm(at.problem, theta, task))
        result: MetaGrad = apply(at.theta, at.draw(address, self._seed))
        return result

    def work(self) -> Work:
        """Count the operations and bytes of one task."""
        task = first_task(self.subject.draw(Address.fresh(0, 1), self._seed))
        return self.subject.work(task, self.resolved[0])
