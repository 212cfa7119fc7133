"""The outer loop: draw tasks, average their meta-gradients, clip, move theta."""

from __future__ import annotations

import functools
import inspect
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metabench.blackbox import BlackBox
from metabench.engine import MANY, ONE, by_count, fast
from metabench.lift import Lift
from metabench.outer import autopsy
from metabench.outer.feed import Feed, split
from metabench.outer.recorder import Ring
from metabench.outer.settings import Outer
from metabench.problem import Task
from metabench.rows import Row
from metabench.stats import Estimate, Interval
from metabench.subject import Subject

WINDOW = 100  # steps whose median norm a meta-gradient is held against
REFRESHED = 20  # steps after which that median is taken anew

# theta, tasks -> mean meta-gradient (Q,), mean loss (), |g| ()
Means = Callable[[Tensor, Task], tuple[Tensor, Tensor, Tensor]]


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
        self.ring = Ring()
        self.failure: Failure | None = None
        first, self._held_out = split(subject, outer.held_out)
        self._validation = validation or subject
        self._feed = Feed(subject, seed, outer.batch, first)
        self._theta = nn.Parameter(subject.theta.detach().clone())
        self._optimiser = outer.optimiser(self._theta)
        self._scheduler = outer.scheduler(self._optimiser, steps)
        self._move: Callable[[], Any] = self._optimiser.step
        if self._scheduler is None:
            # without torch's hooks for profilers, which cost more than a small step's arithmetic
            bare = inspect.unwrap(type(self._optimiser).step)
            self._move = torch.no_grad()(functools.partial(bare, self._optimiser))
        self._means: Means | None = None
        self._losses: Callable[[Tensor, Task], Tensor] | None = None

    @property
    def step(self) -> int:
        """Outer steps taken so far."""
        return len(self.log)

    @property
    def theta(self) -> Tensor:
        """Where training is, `(Q,)`."""
        return self._theta.detach()

    def advance(self) -> bool:
        """Take one outer step; False, and theta stays, where its meta-gradient can't be used."""
        begun = time.perf_counter()
        tasks = self._feed(self.step, self.steps)
        if self._means is None:
            self._means = means_of(self.subject, self.outer, tasks, self.steps)
        theta = self.theta
        gradient, lost, length = self._means(theta, tasks)
        loss, norm = float(lost), float(length)
        self.ring.add(self.step, theta, self._feed.address(self.step))
        kind = autopsy.unusable(norm, self._usual(), self.outer.explode)
        if kind:
            self.failure = Failure(self.step, kind, norm, tasks)
            return False
        cut = gradient
        if self.outer.clips and not self.outer.clip_tasks:
            cut = self.outer.clipped(gradient)
        self._theta.grad = cut
        rate = self._optimiser.param_groups[0]["lr"]
        self._move()
        if self._scheduler is not None:
            self._scheduler.step()
        clipped = float(cut is not gradient and not torch.equal(cut, gradient))
        self.log.append(Entry(loss, norm, clipped, rate, time.perf_counter() - begun))
        return True

    def examine(self) -> list[Row]:
        """Say at which step training stopped, and where in its batch that began."""
        if self.failure is None:
            return []
        step, kind, _, tasks = self.failure
        moment = self.ring.moments[-1]
        problem, algorithm = self.subject.problem, self.subject.algorithm
        cause = autopsy.examine(problem, algorithm, moment.theta, tasks, self.ring.healthy())
        task = None if moment.address is None else int(moment.address.task[cause.task])
        return [Row("stopped", value=float(step), status=kind), autopsy.row_of(cause, task)]

    def validate(self) -> Interval:
        """Give the mean loss after adaptation on held-out tasks, with its 95 % interval."""
        return Estimate.mean(self._held_out_losses(self.theta)).interval()

    def gain(self) -> Interval:
        """Give by how much that loss fell since the start, paired by task."""
        before, now = (self._held_out_losses(at) for at in (self.subject.theta, self.theta))
        return Estimate.mean(before - now).interval()

    def _held_out_losses(self, theta: Tensor) -> NDArray[np.float64]:
        """Give the loss of each held-out task `(T,)` after adaptation from theta."""
        held = self._validation
        tasks = held.draw(self._held_out, self.seed)
        if self._losses is None:
            algorithm, lift = held.settled(tasks)
            self._losses = replace(lift, engine="eager").per_task(
                lambda at, task: algorithm.objective(held.problem, at, task)
            )
        losses: NDArray[np.float64] = self._losses(theta, tasks).double().cpu().numpy()
        return losses

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give all that the next step depends on: tensors, and plain values."""
        held = self._optimiser.state_dict()
        slots = held["state"].get(0, {})
        tensors = {f"optimizer.{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
        tensors["theta"] = self.theta
        tensors["log"] = torch.tensor(self.log, dtype=torch.float64).reshape(-1, len(Entry._fields))
        plain = {"groups": held["param_groups"]}
        if self._scheduler is not None:
            plain["schedule"] = self._scheduler.state_dict()
        return tensors, plain

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._theta.data.copy_(tensors["theta"])
        slots = {
            name.removeprefix("optimizer."): tensor
            for name, tensor in tensors.items()
            if name.startswith("optimizer.")
        }
        held = {"state": {0: slots} if slots else {}, "param_groups": plain["groups"]}
        self._optimiser.load_state_dict(held)
        if self._scheduler is not None:
            self._scheduler.load_state_dict(plain["schedule"])
        self.log = [Entry(*line) for line in tensors["log"].tolist()]

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

    def mean(gradients: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gradient = (outer.clipped(gradients) if outer.clip_tasks else gradients).mean(0)
        return gradient, losses.mean(), gradient.norm()

    if isinstance(algorithm, BlackBox) and algorithm.batched:

        def estimated(theta: Tensor, tasks: Task) -> tuple[Tensor, Tensor, Tensor]:
            found = algorithm.estimate(problem, theta, tasks)
            return mean(found.grad[None], found.loss[None])

        return estimated
    chosen, lift = subject.settled(tasks)
    lift = pinned(lift, steps)

    def one(theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        found = chosen(problem, theta, task)
        return found.grad, found.loss

    if lift.how == "loop" or outer.batch > lift.chunk:
        apart = lift.per_task(one)
        return lambda theta, tasks: mean(*apart(theta, tasks))
    together = replace(lift, engine="eager").per_task(one)
    whole: Means = fast(lambda theta, tasks: mean(*together(theta, tasks)), lift.engine)
    return whole


def pinned(lift: Lift, steps: int, before: str = "") -> Lift:
    """Choose the engine, if that is left to `auto`: as before, or by the number of outer steps."""
    if lift.engine != "auto":
        return lift
    return replace(lift, engine=before or by_count(steps, ONE if lift.how == "loop" else MANY))


def log_of(trainer: Trainer) -> NDArray[np.float64]:
    """Give the log as an array, a step a line, the fields of `Entry` as columns."""
    return np.array(trainer.log, np.float64).reshape(-1, len(Entry._fields))
