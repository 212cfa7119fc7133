"""The outer loop: draw tasks, average their meta-gradients, clip, move theta."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms.algorithm import Estimator
from metabench.blackbox import BlackBox
from metabench.engine import MANY, ONE, by_count, fast
from metabench.lift import Lift
from metabench.outer import autopsy
from metabench.outer.feed import Feed, split
from metabench.outer.move import Mover
from metabench.outer.recorder import Ring
from metabench.outer.settings import Outer
from metabench.problem import Task
from metabench.rows import Row
from metabench.stats import Estimate, Interval
from metabench.subject import Subject

WINDOW = 100  # steps whose median norm a meta-gradient is held against
REFRESHED = 20  # steps after which that median is taken anew

# theta, tasks -> means: meta-gradient (Q,), loss (), |g| (), what was shown of running averages
Means = Callable[[Tensor, Task], tuple[Tensor, Tensor, Tensor, Tensor]]


class Entry(NamedTuple):
    """What one outer step leaves in the log."""

    loss: float  # mean outer loss of its tasks, at the theta it began from
    norm: float  # |g| of the mean meta-gradient, before clipping
    clipped: float  # 1 if clipping changed the mean, else 0
    rate: float  # outer rate
    seconds: float  # sampling included


class Failure(NamedTuple):
    """Why training stopped: the step whose meta-gradient could not be used."""

    step: int
    kind: str  # diverged (not finite) or exploded
    norm: float  # |g| of the mean meta-gradient
    tasks: Task


class Trainer:
    """Trains theta; what step n does follows from theta, the optimiser's state and n alone.

    `subject` holds the problem, sampler, algorithm and the theta to start from; `validation` the
    same problem with tasks of another split, if there is one. After a step that fails, theta is
    what it was before it, and `failure` says why.
    """

    def __init__(
        self,
        subject: Subject,
        outer: Outer,
        steps: int,
        seed: int = 0,
        validation: Subject | None = None,
    ) -> None:
        """Make the optimiser and its schedule; nothing is drawn yet."""
        self.subject, self.outer, self.steps, self.seed = subject, outer, steps, seed
        self.log: list[Entry] = []
        self.failure: Failure | None = None
        first, self._held_out = split(subject, outer.held_out)
        self._validation = validation or subject
        self._feed = Feed(subject, seed, outer.batch, first)
        self.ring = Ring(address_of=self._feed.address)
        aside = subject.algorithm.aside(subject.problem)
        layout = subject.problem.layouts.theta
        self._mover = Mover(subject.theta, layout, outer, steps, aside)
        self._algorithm = subject.algorithm  # as it is in the epoch of `_means`
        self._means: Means | None = None
        self._losses: Callable[[Tensor, Task], Tensor] | None = None

    def again(self, seed: int, outer: Outer | None = None) -> Trainer:
        """Begin anew on the tasks of another seed, with what was traced or compiled already.

        Another outer loop may move theta otherwise; what it clips of which batch decides whether
        anything is traced anew.
        """
        outer = outer or self.outer
        other = Trainer(self.subject, outer, self.steps, seed, self._validation)
        other._losses = self._losses
        if _traced(outer) == _traced(self.outer):
            other._means = self._means
        return other

    @property
    def step(self) -> int:
        """Outer steps taken so far."""
        return len(self.log)

    @property
    def theta(self) -> Tensor:
        """Where training is, `(Q,)`."""
        return self._mover.theta

    @property
    def now(self) -> Subject:
        """What the next step sees: theta where training is, the algorithm as of this epoch."""
        algorithm = self.subject.algorithm.at_epoch(self.step // self.outer.epoch)
        same = algorithm == self.subject.algorithm
        subject = self.subject if same else self.subject.with_algorithm(algorithm)
        return subject.at(self.theta)

    def advance(self) -> bool:
        """Take one outer step; False, and theta stays, where its meta-gradient can't be used."""
        begun = time.perf_counter()
        tasks = self._feed(self.step, self.steps)
        theta = self.theta
        gradient, lost, length, shown = self._means_for(tasks)(theta, tasks)
        loss, norm = float(lost), float(length)
        self.ring.add(self.step, theta)
        kind = autopsy.unusable(norm, self._usual(), self.outer.explode)
        if kind:
            self.failure = Failure(self.step, kind, norm, tasks)
            return False
        cut = gradient
        if self.outer.clips and not self.outer.clip_tasks:
            cut = self.outer.clipped(gradient)
        rate = self._mover(cut, shown)
        clipped = float(cut is not gradient and not torch.equal(cut, gradient))
        self.log.append(Entry(loss, norm, clipped, rate, time.perf_counter() - begun))
        return True

    def examine(self) -> list[Row]:
        """Say at which step training stopped, and where in its batch that began."""
        if self.failure is None:
            return []
        step, kind, _, tasks = self.failure
        moment = self.ring.moments[-1]
        problem, algorithm = self.subject.problem, self.now.algorithm
        cause = autopsy.examine(problem, algorithm, moment.theta, tasks, self.ring.healthy())
        task = None if moment.address is None else int(moment.address.task[cause.task])
        return [Row("stopped", value=float(step), status=kind), autopsy.row_of(cause, task)]

    def validate(self) -> tuple[Interval, Interval | None]:
        """Give mean loss, and accuracy where classes are, after adaptation on held-out tasks.

        The intervals are of 95 %.
        """
        loss, right = self._held_out_scores(self.theta)
        return (Estimate.mean(loss).interval(), None if right is None else
                Estimate.mean(right).interval())  # fmt: skip

    def gain(self) -> Interval:
        """Give by how much that loss fell since the start, paired by task."""
        before, now = (self.held_out_losses(at) for at in (self.subject.theta, self.theta))
        return Estimate.mean(before - now).interval()

    def held_out_losses(self, theta: Tensor) -> NDArray[np.float64]:
        """Give the loss of each held-out task `(T,)` after adaptation from theta."""
        return self._held_out_scores(theta)[0]

    def _held_out_scores(
        self, theta: Tensor
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Give loss, and accuracy if there is one, of each held-out task `(T,)`, adapted."""
        held = self._validation
        tasks = held.draw(self._held_out, self.seed)
        if self._losses is None:
            algorithm, lift = held.settled(tasks)
            classes = held.problem.accuracy is not None and not isinstance(algorithm, BlackBox)
            problem = held.problem.scored() if classes else held.problem
            self._losses = replace(lift, engine="eager").per_task(
                lambda at, task: algorithm.objective(problem, at, task)
            )
        found: NDArray[np.float64] = self._losses(theta, tasks).double().cpu().numpy()
        return (found, None) if found.ndim == 1 else (found[:, 0], found[:, 1])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give all that the next step depends on: tensors, and plain values."""
        tensors, plain = self._mover.state()
        tensors["log"] = torch.tensor(self.log, dtype=torch.float64).reshape(-1, len(Entry._fields))
        return tensors, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._mover.restore(tensors, plain)
        self.log = [Entry(*line) for line in tensors["log"].tolist()]

    def _means_for(self, tasks: Task) -> Means:
        """Give what this step applies, made anew where the algorithm is another in this epoch."""
        if self._means is None or self.step % self.outer.epoch == 0:
            now = self.now
            if self._means is None or now.algorithm != self._algorithm:
                self._algorithm = now.algorithm
                self._means = means_of(now, self.outer, tasks, self.steps)
        return self._means

    def _usual(self) -> float:
        """Give the median |g| of recent steps; infinite while there are too few."""
        end = self.step - self.step % REFRESHED
        if end < REFRESHED:
            return math.inf
        if end != self._median[0]:
            recent = self.log[max(end - WINDOW, 0) : end]
            self._median = end, statistics.median(entry.norm for entry in recent)
        return self._median[1]

    _median: tuple[int, float] = (0, math.inf)


def means_of(subject: Subject, outer: Outer, tasks: Task, steps: int) -> Means:
    """Make the function that a training of so many steps applies: mean gradient, mean loss, |g|.

    Which engine, is chosen once and by their number: a compiled function rounds otherwise, and a
    training that was killed must go on to the same numbers.
    """
    problem, algorithm = subject.problem, subject.algorithm
    still = _still(subject)

    def mean(
        gradients: Tensor, losses: Tensor, shown: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gradients = gradients if still is None else gradients * still
        gradient = (outer.clipped(gradients) if outer.clip_tasks else gradients).mean(0)
        return gradient, losses.mean(), gradient.norm(), shown.mean(0)

    if isinstance(algorithm, BlackBox) and algorithm.batched:

        def estimated(theta: Tensor, tasks: Task) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            found = algorithm.estimate(problem, theta, tasks)
            return mean(found.grad[None], found.loss[None], theta.new_zeros(1, 0))

        return estimated
    chosen, lift = subject.settled(tasks)
    lift = pinned(lift, stretch(algorithm, outer, steps))

    def one(theta: Tensor, task: Task) -> tuple[Tensor, Tensor, Tensor]:
        found = chosen(problem, theta, task)
        return found.grad, found.loss, found.notes.get("shown", theta.new_zeros(0))

    if lift.how == "loop" or outer.batch > lift.chunk:
        apart = lift.per_task(one)
        return lambda theta, tasks: mean(*apart(theta, tasks))
    together = replace(lift, engine="eager").per_task(one)
    whole: Means = fast(lambda theta, tasks: mean(*together(theta, tasks)), lift.engine)
    return whole


def _traced(outer: Outer) -> tuple[object, ...]:
    """Give those settings of an outer loop that its mean meta-gradient depends on."""
    limits = (outer.clip_norm, outer.clip_value) if outer.clip_tasks else ()
    return outer.batch, outer.clip_tasks, limits


def _still(subject: Subject) -> Tensor | None:
    """Give 0 for each number of theta that is a running average, 1 for the rest, `(Q,)`, or None.

    No gradient moves an average, so none of it counts in a norm or is clipped.
    """
    averages = subject.algorithm.aside(subject.problem).averages
    if not averages:
        return None
    moved = torch.ones_like(subject.theta)
    for name, part in subject.problem.layouts.theta.segments():
        if name in averages:
            moved[part] = 0
    return moved


def stretch(algorithm: Estimator, outer: Outer, steps: int) -> int:
    """Give the steps for which one meta-gradient is applied: an epoch, where it is annealed."""
    return steps if algorithm.at_epoch(1) == algorithm else min(outer.epoch, steps)


def pinned(lift: Lift, steps: int, before: str = "") -> Lift:
    """Choose the engine, if that is left to `auto`: as before, or by the number of outer steps."""
    if lift.engine != "auto":
        return lift
    return replace(lift, engine=before or by_count(steps, ONE if lift.how == "loop" else MANY))


def log_of(trainer: Trainer) -> NDArray[np.float64]:
    """Give the log as an array, a step a line, the fields of `Entry` as columns."""
    return np.array(trainer.log, np.float64).reshape(-1, len(Entry._fields))
