"""What a probe looks at: a problem, where its tasks come from, an algorithm, and a theta."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, Estimator, MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff.operation_counts import work_of
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.problems import random_numbers
from metabench.problems.problem import Problem
from metabench.problems.samplers import as_task, check_drawn, withheld
from metabench.problems.tasks import Address, Sampler, Task, cast, tree_map
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Subject:
    """A meta-gradient estimator at a fixed theta `(Q,)`, with the sampler that feeds it.

    Tasks follow theta's dtype and device. `algorithm.extend` has been applied once.
    """

    problem: Problem
    sample: Sampler
    algorithm: Estimator  # one of metabench's algorithms, or a BlackBox
    theta: Tensor
    compute: Vectorization = field(default_factory=Vectorization)
    # The vectorized algorithm, once made: it remembers what it has traced and compiled.
    _lifted: list[Callable[[Tensor, Task], Any]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Hold theta against its layout and let the algorithm extend both."""
        theta = self.theta.detach()
        if not torch.is_floating_point(theta):
            raise InvalidInput(f"theta is {theta.dtype}; it must be floating-point numbers.")
        # A subject made of another one brings what an algorithm appended before.
        base = self.problem.base or self.problem
        given, expected = tuple(theta.shape), base.layouts.theta.size
        if given not in ((expected,), (self.problem.layouts.theta.size,)):
            blank = theta.new_zeros(expected)
            if given != tuple(self.algorithm.extend(base, blank)[1].shape):
                raise InvalidInput(
                    f"theta has shape {given}; this problem's theta is one flat "
                    f"vector of {expected} numbers. Flatten named parameters with "
                    "problem.layouts.theta.flatten(...)."
                )
        # cloned: a view would hold, and have counted as its own, what was appended
        first = theta[:expected].clone() if len(theta) > expected else theta
        problem, started = self.algorithm.extend(base, first)
        trained = theta.shape == started.shape and (
            self.problem.base is None or self.problem.layouts == problem.layouts
        )
        object.__setattr__(self, "problem", problem)
        object.__setattr__(self, "theta", theta if trained else started)

    @property
    def withheld(self) -> tuple[str, ...]:
        """Say what this sampler and this estimator can't offer, a sentence each."""
        return tuple(filter(None, (withheld(self.sample), self.algorithm.withheld)))

    def with_algorithm(self, algorithm: Estimator) -> Subject:
        """Look at the same tasks and theta through another algorithm."""
        return replace(self, algorithm=algorithm)

    def at(self, theta: Tensor) -> Subject:
        """Look from another theta, as long as this one, without extending anything again."""
        other = copy.copy(self)
        object.__setattr__(other, "theta", theta)
        return other

    def with_shots(self, times: int) -> Subject:
        """Look at tasks with so many times the support examples: that many redraws end to end."""

        def sample(address: Address, seed: int) -> Task:
            draws = [
                as_task(self.sample(address._replace(support=address.support * times + j), seed))
                for j in range(times)
            ]
            supports = [draw.support for draw in draws]
            joined = tree_map(lambda *leaves: torch.cat(leaves, dim=1), *supports)
            return draws[0]._replace(support=joined)

        return replace(self, sample=sample)

    def draw(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks, `(T, ...)`, with the mini-batches of their inner loops."""
        task = cast(as_task(self.sample(address, seed)), self.theta)
        check_drawn(task, len(address.task))
        algorithm = self.algorithm
        if not isinstance(algorithm, Algorithm) or algorithm.batch == 0:
            return task
        return task._replace(noise=self._mini_batches(algorithm, task, address, seed))

    def resolved(self, tasks: Task) -> tuple[Estimator, Vectorization]:
        """Choose what is left to `auto` by the counted work of the first of these tasks."""
        if self.algorithm.loops:
            return self.algorithm, replace(self.compute, batching="loop", engine="eager")
        work = work_of(self.algorithm, self.problem, self.theta, first_task(tasks))
        compute = self.compute.resolved(work, self.theta.device)
        return self.algorithm.resolved(work, compute.together), compute

    def meta_gradients(self, address: Address, seed: int) -> MetaGrad:
        """Compute the meta-gradients of the addressed tasks, each field with a leading T."""
        tasks = self.draw(address, seed)
        if not self._lifted:
            algorithm, compute = self.resolved(tasks)
            self._lifted.append(
                compute.per_task(lambda at, task: algorithm(self.problem, at, task))
            )
        result: MetaGrad = self._lifted[0](self.theta, tasks)
        return result

    def estimates(self, address: Address, seed: int, size: int) -> Iterator[Tensor]:
        """Yield the estimator's means over consecutive batches of `size` tasks, each `(r, Q)`.

        The batches come a few at a time so that a caller can show progress and bound memory; the
        order and the numbers depend on compute.chunk only to round-off.
        """
        if isinstance(self.algorithm, BlackBox) and self.algorithm.batched:
            yield from self._batched(self.algorithm, address, seed, size)
            return
        together = max(self.compute.chunk // size, 1) * size
        for start in range(0, len(address.task), together):
            part = address.part(start, start + together)
            grad = self.meta_gradients(part, seed).grad
            yield grad.view(-1, size, grad.shape[-1]).mean(1)

    def _batched(
        self, estimator: BlackBox, address: Address, seed: int, size: int
    ) -> Iterator[Tensor]:
        """Call an estimator of whole batches on one after another, as its own training would."""
        for start in range(0, len(address.task), size):
            tasks = self.draw(address.part(start, start + size), seed)
            yield estimator.estimate(self.problem, self.theta, tasks).grad[None]

    def _mini_batches(
        self, algorithm: Algorithm, task: Task, address: Address, seed: int
    ) -> Tensor:
        sizes: list[int] = []
        tree_map(lambda leaf: sizes.append(leaf.shape[1]), task.support)
        examples, batch, steps = sizes[0], algorithm.batch, algorithm.steps
        if batch > examples:
            raise InvalidInput(
                f"batch is {batch}, but a task has {examples} support examples; "
                f"give at most {examples}, or 0 for all."
            )
        numbers = random_numbers.uniform(seed, "inner", address, steps * examples)
        orders = random_numbers.order(numbers.reshape(-1, steps, examples))[:, :, :batch]
        return torch.from_numpy(orders.copy()).to(self.theta.device)
