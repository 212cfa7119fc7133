"""What a probe measures: an algorithm at a theta, with its problem and task sampler."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, Estimator, MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff.operation_counts import Work, work_of
from metabench.autodiff.vmap_trial import reason, vmap_failure
from metabench.estimation.explained_errors import explained
from metabench.estimation.loaded_theta import loaded_theta
from metabench.estimation.random_losses import raise_if_random, random_sentence
from metabench.estimation.vectorization import Vectorization, first_task, task_range
from metabench.problems import random_numbers
from metabench.problems.problem import Problem
from metabench.problems.require_function import require_function
from metabench.problems.samplers import as_task, check_drawn, withheld
from metabench.problems.tasks import Address, Sampler, Task, cast, tree_map
from metabench.settings.errors import InvalidInput

TRIED = 2  # tasks that vmap is tried on


@dataclass(frozen=True)
class Subject:
    """A meta-gradient estimator at a fixed theta `(Q,)`, with its problem and task sampler.

    Tasks are converted to theta's dtype and device. `algorithm.extend` is applied once.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> subject = mb.Subject(family.problem(), family.sample, mb.MAML(2), family.theta(seed=0))
    >>> subject.meta_gradients(mb.Address.fresh(0, 3), seed=0).grad.shape  # of 3 tasks
    torch.Size([3, 4])
    """

    problem: Problem
    sample: Sampler
    algorithm: Estimator  # one of metabench's algorithms, or a BlackBox
    theta: Tensor  # (Q,); a module, a state dict or a file is made one
    compute: Vectorization = field(default_factory=Vectorization)
    # The vectorized algorithm, once made; it caches traced and compiled functions.
    _vectorized: list[Callable[[Tensor, Task], Any]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    # Counted work of one task, by dtypes and shapes.
    _counted: dict[Any, Work] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check theta's shape and dtype, and let the algorithm extend problem and theta."""
        # A subject made from another one has a problem and theta that may be extended already.
        base = self.problem.base or self.problem
        base, theta = self._with_theta(base)
        if not torch.is_floating_point(theta):
            raise InvalidInput(f"theta is {theta.dtype}; it must be floating-point numbers.")
        given, expected = tuple(theta.shape), base.layouts.theta.size
        if given not in ((expected,), (self.problem.layouts.theta.size,)):
            blank = theta.new_zeros(expected)
            if given != tuple(self.algorithm.extend(base, blank)[1].shape):
                raise InvalidInput(
                    f"theta has shape {given}; this problem's theta is one flat "
                    f"vector of {expected} numbers. Flatten named parameters with "
                    "problem.flatten(...)."
                )
        # cloned: a view would keep the appended part in memory
        first = theta[:expected].clone() if len(theta) > expected else theta
        problem, started = self.algorithm.extend(base, first)
        trained = theta.shape == started.shape and (
            self.problem.base is None or self.problem.layouts == problem.layouts
        )
        object.__setattr__(self, "problem", problem)
        object.__setattr__(self, "theta", theta if trained else started)

    def _with_theta(self, base: Problem) -> tuple[Problem, Tensor]:
        """Return theta as a vector, whatever was given in its place, and notes on it."""
        given: Any = self.theta
        if isinstance(given, Tensor):
            return base, given.detach()
        found = loaded_theta(self.algorithm, base, given)
        return base._replace(notes=(*base.notes, *found.notes)), found.theta

    @property
    def withheld(self) -> tuple[str, ...]:
        """What this sampler and this estimator cannot provide, a sentence each."""
        return tuple(filter(None, (withheld(self.sample), self.algorithm.withheld)))

    def with_algorithm(self, algorithm: Estimator) -> Subject:
        """Return the subject with another algorithm, for the same tasks and theta."""
        return replace(self, algorithm=algorithm)

    def at(self, theta: Tensor) -> Subject:
        """Return the subject at another theta of the same length, without extending it again."""
        other = copy.copy(self)
        object.__setattr__(other, "theta", theta)
        return other

    def with_shots(self, times: int) -> Subject:
        """Return the subject with `times` times the support examples, from that many redraws."""

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
        """Draw the addressed tasks, `(T, ...)`, with their inner mini-batches."""
        with explained("drawing tasks"):
            task = cast(as_task(self.sample(address, seed)), self.theta)
        check_drawn(task, len(address.task))
        algorithm = self.algorithm
        if not isinstance(algorithm, Algorithm) or algorithm.batch == 0:
            return task
        return task._replace(noise=self._mini_batches(algorithm, task, address, seed))

    def resolved(self, tasks: Task) -> tuple[Estimator, Vectorization]:
        """Resolve `auto` settings by the counted work of the first of these tasks, and by a trial.

        Raises:
            InvalidInput: if the loss draws other random numbers in every call.
        """
        algorithm, compute = self._resolved_by_work(tasks)
        if self.compute.batching != "auto" or compute.batching == "loop":
            return algorithm, compute
        vectorized = replace(compute, engine="eager").per_task(
            lambda theta, task: algorithm(self.problem, theta, task)
        )
        failed = vmap_failure(lambda: vectorized(self.theta, task_range(tasks, 0, TRIED)))
        if failed is None:
            return algorithm, compute
        compute = compute.looped(reason(failed))
        return self._resolved_by_work(tasks, compute)[0], compute

    def _resolved_by_work(
        self, tasks: Task, compute: Vectorization | None = None
    ) -> tuple[Estimator, Vectorization]:
        """Resolve `auto` settings by work alone, of these compute settings if given."""
        compute = compute or self.compute
        if self.algorithm.loops:
            return self.algorithm, replace(compute, batching="loop", engine="eager")
        task = first_task(tasks)
        if isinstance(self.algorithm, Algorithm):
            require_function(self.problem, self.theta, task)
        work = self.work(task)
        if work.random:
            self._refuse_random(task)
        compute = compute.resolved(work, self.theta.device)
        return self.algorithm.resolved(work, compute.together), compute

    def work(self, task: Task, resolved: Estimator | None = None) -> Work:
        """Count the work of one task's meta-gradient, once for each shape and dtype.

        Args:
            task: one task.
            resolved: the algorithm with `auto` resolved; None: as given.
        """
        if resolved is not None and resolved != self.algorithm:
            return work_of(resolved, self.problem, self.theta, task)
        shapes: list[Any] = [self.theta.dtype]
        tree_map(lambda leaf: shapes.append((leaf.shape, leaf.dtype)), task)
        key = tuple(shapes)
        if key not in self._counted:
            self._counted[key] = work_of(self.algorithm, self.problem, self.theta, task)
        return self._counted[key]

    def _refuse_random(self, task: Task) -> None:
        try:
            raise_if_random(self.problem, self.theta, task)
        except RuntimeError as error:
            raise InvalidInput(random_sentence(error)) from error

    def meta_gradients(self, address: Address, seed: int) -> MetaGrad:
        """Compute the meta-gradients of the addressed tasks; each field has a leading T."""
        tasks = self.draw(address, seed)
        if self._vectorized:
            result: MetaGrad = self._vectorized[0](self.theta, tasks)
            return result
        with explained("one task"):
            algorithm, compute = self._resolved_by_work(tasks)
            vectorized = self.compute.or_loop(
                compute, lambda at, task: algorithm(self.problem, at, task)
            )
        with explained("vmap" if compute.batching == "vmap" else "one task"):
            result = vectorized(self.theta, tasks)
        self._vectorized.append(vectorized)
        return result

    def estimates(self, address: Address, seed: int, size: int) -> Iterator[Tensor]:
        """Yield the mean meta-gradients of consecutive batches of `size` tasks, `(r, Q)` at a time.

        A few batches are yielded at a time, to show progress and bound memory. compute.chunk
        changes the results by round-off only.

        Args:
            address: the tasks, a multiple of `size`.
            seed: of every draw.
            size: B, tasks in a batch.
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
        """Call an estimator of whole batches on one batch after another."""
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
