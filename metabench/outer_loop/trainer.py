"""The outer loop: draw tasks, average their meta-gradients, clip, update theta."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms.black_box import BlackBox
from metabench.estimation.estimator_on_tasks import Subject
from metabench.outer_loop import divergence_report
from metabench.outer_loop.last_steps import RingBuffer
from metabench.outer_loop.mean_gradient import mean_gradients
from metabench.outer_loop.optimizer_settings import OuterOptimizer, same_step_function
from metabench.outer_loop.outer_step import OuterStep, make_outer_step
from metabench.outer_loop.task_batch import Batch
from metabench.outer_loop.task_stream import TaskStream, training_and_held_out
from metabench.outer_loop.theta_update import ThetaUpdate
from metabench.outer_loop.training_log import REFRESH_STEPS, Failure, LogEntry, recent_norm
from metabench.problems.tasks import Task
from metabench.records.rows import Row
from metabench.stats.intervals import Estimate, Interval


class Trainer:
    """Meta-training of theta, one outer step at a time.

    Step n depends only on theta, the optimizer's state and n. After a step that fails, theta is
    unchanged and `failure` holds the reason.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=2)
    >>> subject = mb.Subject(family.problem(), family.sample, mb.MAML(), family.theta(seed=0))
    >>> outer = mb.OuterOptimizer(rate=0.1, batch=8, held_out=16)
    >>> trainer = mb.Trainer(subject, outer, steps=5)
    >>> while trainer.step < trainer.steps and trainer.advance():
    ...     pass
    >>> trainer.step, trainer.theta.shape, len(trainer.held_out_losses(trainer.theta))
    (5, torch.Size([2]), 16)
    """

    def __init__(
        self,
        subject: Subject,
        outer: OuterOptimizer,
        steps: int,
        seed: int = 0,
        validation: Subject | None = None,
    ) -> None:
        """Build the optimizer and its schedule.

        Args:
            subject: problem, sampler, algorithm and the theta to start from.
            outer: settings of the outer loop.
            steps: outer steps, over which schedules run.
            seed: of the tasks.
            validation: the same problem with held-out tasks; None: `subject`'s other tasks.
        """
        self.subject, self.outer, self.steps, self.seed = subject, outer, steps, seed
        self.log: list[LogEntry] = []
        self.failure: Failure | None = None
        first, self._held_out = training_and_held_out(subject, outer.held_out)
        self._validation = validation or subject
        self._task_stream = TaskStream(subject, seed, outer.batch, first)
        self.ring = RingBuffer(address_of=self._task_stream.address)
        custom_updates = subject.algorithm.custom_updates(subject.problem)
        layout = subject.problem.layouts.theta
        self._theta_update = ThetaUpdate(subject.theta, layout, outer, steps, custom_updates)
        self._algorithm = subject.algorithm  # in the epoch for which `_outer_step` was made
        self._outer_step: OuterStep | None = None
        self._recent_norm = math.inf  # median |g| of recent steps
        self._losses: Callable[[Tensor, Task], Tensor] | None = None

    def with_seed(self, seed: int, outer: OuterOptimizer | None = None) -> Trainer:
        """Return a trainer at step 0 on tasks of another seed, with the compiled functions of this.

        With another `outer`, they are shared if only rates, schedules, epochs, held-out tasks or
        `explode` differ.
        """
        outer = outer or self.outer
        other = Trainer(self.subject, outer, self.steps, seed, self._validation)
        other._losses = self._losses
        if same_step_function(outer, self.outer):
            other._outer_step, other._algorithm = self._outer_step, self._algorithm
        return other

    @property
    def step(self) -> int:
        """Number of outer steps taken."""
        return len(self.log)

    @property
    def theta(self) -> Tensor:
        """Current theta, `(Q,)`."""
        return self._theta_update.theta

    @property
    def current_subject(self) -> Subject:
        """The subject of the next step: current theta, and the algorithm of its epoch."""
        algorithm = self.subject.algorithm.at_epoch(self.step // self.outer.epoch)
        same = algorithm == self.subject.algorithm
        subject = self.subject if same else self.subject.with_algorithm(algorithm)
        return subject.at(self.theta)

    def advance(self) -> bool:
        """Take one outer step; return False, without updating, if its gradient is unusable."""
        begun = time.perf_counter()
        step = self.step
        batch = self._task_stream(step, self.steps)
        if self._outer_step is None or step % self.outer.epoch == 0:
            self._outer_step = self._outer_step_for(batch)
        loss, norm, move = self._outer_step(step, batch, self._theta_update, self.ring)
        if step % REFRESH_STEPS == 0:
            self._recent_norm = recent_norm(self.log)
        kind = divergence_report.failure_kind(norm, self._recent_norm, self.outer.explode)
        if kind:
            self.failure = Failure(step, kind, norm, batch.tasks)
            return False
        rate, clipped = move()
        self.log.append(LogEntry(loss, norm, clipped, rate, time.perf_counter() - begun))
        return True

    def examine(self) -> list[Row]:
        """Return rows on the step at which training stopped and the operation that failed first."""
        if self.failure is None:
            return []
        step, kind, _, tasks = self.failure
        snapshot = self.ring.snapshots[-1]
        problem, algorithm = self.subject.problem, self.current_subject.algorithm
        cause = divergence_report.find_cause(
            problem, algorithm, snapshot.theta, tasks, self.ring.oldest_theta()
        )
        task = None if snapshot.address is None else int(snapshot.address.task[cause.task])
        return [
            Row("stopped", value=float(step), status=kind),
            divergence_report.cause_row(cause, task),
        ]

    def validate(self) -> tuple[Interval, Interval | None]:
        """Return mean loss and accuracy (None without classes) on held-out tasks after adaptation.

        Both with 95 % intervals.
        """
        loss, right = self._held_out_scores(self.theta)
        return (Estimate.mean(loss).interval(), None if right is None else
                Estimate.mean(right).interval())  # fmt: skip

    def gain(self) -> Interval:
        """Return how far the validation loss fell since the start, paired by task."""
        before, now = (self.held_out_losses(at) for at in (self.subject.theta, self.theta))
        return Estimate.mean(before - now).interval()

    def held_out_losses(self, theta: Tensor) -> NDArray[np.float64]:
        """Return the loss of each held-out task `(T,)` after adaptation from theta."""
        return self._held_out_scores(theta)[0]

    def held_out_tasks(self) -> Task:
        """Return the held-out tasks."""
        return self._validation.draw(self._held_out, self.seed)

    def _held_out_scores(
        self, theta: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return loss, and accuracy or None, of each held-out task `(T,)` after adaptation."""
        held, tasks = self._validation, self.held_out_tasks()
        if self._losses is None:
            algorithm, compute = held.resolved(tasks)
            classes = held.problem.accuracy is not None and not isinstance(algorithm, BlackBox)
            problem = held.problem.with_accuracy() if classes else held.problem
            self._losses = replace(compute, engine="eager").per_task(
                lambda at, task: algorithm.objective(problem, at, task)
            )
        found: NDArray[np.float64] = self._losses(theta, tasks).double().cpu().numpy()
        return (found, None) if found.ndim == 1 else (found[:, 0], found[:, 1])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything the next step depends on: tensors, and plain values."""
        tensors, plain = self._theta_update.state()
        tensors["log"] = torch.tensor(self.log, dtype=torch.float64).reshape(
            -1, len(LogEntry._fields)
        )
        return tensors, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._theta_update.restore(tensors, plain)
        self.log = [LogEntry(*line) for line in tensors["log"].tolist()]
        self._recent_norm = recent_norm(self.log[: self.step - self.step % REFRESH_STEPS])
        if self.current_subject.algorithm != self._algorithm:  # of another epoch
            self._outer_step = None

    def _outer_step_for(self, batch: Batch) -> OuterStep:
        """Return the outer step function, rebuilt if the algorithm changed with the epoch."""
        now = self.current_subject
        if self._outer_step is not None and now.algorithm == self._algorithm:
            return self._outer_step
        self._algorithm = now.algorithm
        return make_outer_step(
            mean_gradients(now, self.outer, batch.tasks, self.steps), self._theta_update
        )
