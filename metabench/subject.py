"""What a probe looks at: a problem, where its tasks come from, an algorithm, and a theta."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from metabench import draws
from metabench.algorithms.algorithm import Algorithm, MetaGrad
from metabench.lift import Lift
from metabench.misuse import Misuse
from metabench.problem import Address, Problem, Sampler, Task, cast, tree_map


@dataclass(frozen=True)
class Subject:
    """A meta-gradient estimator at a fixed theta `(Q,)`, with the sampler that feeds it.

    Tasks follow theta's dtype and device. `algorithm.extend` has been applied once.
    """

    problem: Problem
    sample: Sampler
    algorithm: Algorithm
    theta: Tensor
    lift: Lift = field(default_factory=Lift)

    def __post_init__(self) -> None:
        """Hold theta against its layout and let the algorithm extend both."""
        expected = self.problem.layouts.theta.size
        if tuple(self.theta.shape) != (expected,):
            raise Misuse(
                f"theta has shape {tuple(self.theta.shape)}; this problem's theta is one flat "
                f"vector of {expected} numbers. Flatten named parameters with "
                "problem.layouts.theta.flatten(...)."
            )
        problem, theta = self.algorithm.extend(self.problem, self.theta)
        object.__setattr__(self, "problem", problem)
        object.__setattr__(self, "theta", theta)

    def with_algorithm(self, algorithm: Algorithm) -> Subject:
        """Look at the same tasks and theta through another algorithm."""
        return replace(self, algorithm=algorithm)

    def with_shots(self, times: int) -> Subject:
        """Look at tasks with so many times the support examples: that many redraws end to end."""

        def sample(address: Address, seed: int) -> Task:
            draws = [
                self.sample(address._replace(support=address.support * times + j), seed)
                for j in range(times)
            ]
            supports = [draw.support for draw in draws]
            joined = tree_map(lambda *leaves: torch.cat(leaves, dim=1), *supports)
            return draws[0]._replace(support=joined)

        return replace(self, sample=sample)

    def draw(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks, `(T, ...)`, with the mini-batches of their inner loops."""
        task = cast(self.sample(address, seed), self.theta)
        batch = self.algorithm.batch
        if batch == 0:
            return task
        return task._replace(noise=self._mini_batches(task, address, seed))

    def meta_gradients(self, address: Address, seed: int) -> MetaGrad:
        """Compute the meta-gradients of the addressed tasks, each field with a leading T."""
        many = self.lift.per_task(lambda theta, task: self.algorithm(self.problem, theta, task))
        result: MetaGrad = many(self.theta, self.draw(address, seed))
        return result

    def estimates(self, address: Address, seed: int, size: int) -> Iterator[Tensor]:
        """Yield the estimator's means over consecutive batches of `size` tasks, each `(r, Q)`.

        The batches come a few at a time so that a caller can show progress and bound memory; the
        order and the numbers depend on the lift's chunk only to round-off.
        """
        together = max(self.lift.chunk // size, 1) * size
        for start in range(0, len(address.task), together):
            part = address.part(start, start + together)
            grad = self.meta_gradients(part, seed).grad
            yield grad.view(-1, size, grad.shape[-1]).mean(1)

    def _mini_batches(self, task: Task, address: Address, seed: int) -> Tensor:
        sizes: list[int] = []
        tree_map(lambda leaf: sizes.append(leaf.shape[1]), task.support)
        examples, batch, steps = sizes[0], self.algorithm.batch, self.algorithm.steps
        if batch > examples:
            raise Misuse(
                f"batch is {batch}, but a task has {examples} support examples; "
                f"give at most {examples}, or 0 for all."
            )
        numbers = draws.uniform(seed, "inner", address, steps * examples)
        orders = draws.order(numbers.reshape(-1, steps, examples))[:, :, :batch]
        return torch.from_numpy(orders.copy()).to(self.theta.device)
