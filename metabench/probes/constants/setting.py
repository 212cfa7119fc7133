"""What of a subject the theory speaks of, and which of its assumptions are known not to hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from metabench.algorithms import counterparts
from metabench.algorithms.base import Algorithm, Loop
from metabench.autodiff import derivatives
from metabench.estimation.redraws import redraws
from metabench.estimation.unfused_problem import unfused_problem
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.linalg.spectra import Effort
from metabench.probes.constants.multi_set_estimates import pooled
from metabench.problems.problem import Problem
from metabench.problems.samplers import withheld
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject

SURELY = ("ok", "zero")  # states of redraws that say what one set varies by


class Setting(NamedTuple):
    """A problem at theta, with the rate of plain inner descent where that is what is done."""

    problem: Problem  # what the inner loop descends, its fused norms written out if possible
    theta: Tensor  # (Q,), float64
    compute: Vectorization
    loop: Loop | None  # the whole inner loop, None for a black box
    steps: int  # K
    rate: float | None  # alpha of plain descent; None where the step is another
    sets: int  # support and query sets that are drawn of each task; 1 where redraws can't be had
    start: bool  # theta is where adaptation starts, and enters the losses nowhere else
    third: bool  # third derivatives can be had
    exact: bool  # the algorithm is MAML, all of it
    effort: Effort = Effort(tolerance=1e-2, steps=60, nodes=0, exact=64)  # of extreme eigenvalues

    @property
    def sums(self) -> Problem:
        """The same problem on several sets of each task."""
        return pooled(self.problem)


def setting_of(subject: Subject, sets: int, seed: int, task: Task) -> Setting:
    """Read off a subject what the theory asks about; `task` is one of its tasks."""
    setting = _of_the_problem(subject, sets if _redrawn(subject, seed) else 1)
    if isinstance(subject.algorithm, Algorithm):
        setting = _of_the_loop(setting, subject, subject.algorithm)
    return setting._replace(start=_starts(setting.problem, subject.theta, first_task(task)))


def _of_the_problem(subject: Subject, sets: int) -> Setting:
    """Give what is known of a black box's problem, with no inner loop to be seen."""
    return Setting(
        problem=subject.problem,
        theta=subject.theta,
        compute=replace(subject.compute, engine="eager"),
        loop=None,
        steps=0,
        rate=None,
        sets=sets,
        start=False,
        third=not subject.problem.fused,
        exact=False,
    )


def _of_the_loop(setting: Setting, subject: Subject, algorithm: Algorithm) -> Setting:
    """Add what an inner loop descends, and how."""
    plain = unfused_problem(subject, algorithm)
    given = plain or subject.problem
    return setting._replace(
        problem=algorithm.inner(given),
        loop=algorithm.loop(given),
        steps=algorithm.steps,
        rate=_plain_rate(subject, algorithm),
        third=plain is not None,
        exact=counterparts.is_exact(algorithm) and not algorithm.batch,
    )


def _plain_rate(subject: Subject, algorithm: Algorithm) -> float | None:
    """Give the rate of plain descent, if that is the step: one for all, and nothing clipped."""
    step = algorithm.inner_optimizer
    if algorithm.rates(subject.problem, subject.theta) is not None:  # learned
        return None
    unclipped = step.clip_norm == step.clip_value == math.inf
    return step.rate if step.plain and unclipped else None


def _redrawn(subject: Subject, seed: int) -> bool:
    """Whether both sets of a task can be drawn again."""
    if withheld(subject.sample):
        return False
    states = redraws(subject, seed)
    return all(states[part] in SURELY for part in ("support", "query"))


def _starts(problem: Problem, theta: Tensor, task: Task) -> bool:
    phi = problem.init(theta)
    if phi.shape != theta.shape or not bool((phi == theta).all()):
        return False
    for loss, data in ((problem.inner_loss, task.support), (problem.outer_loss, task.query)):
        if bool(derivatives.value_and_gradients(loss, phi, theta, data)[2].any()):
            return False
    return True


def assumptions(setting: Setting) -> list[Row]:
    """Give a row for each assumption that is known before anything is measured."""

    def says(of: str, holds: bool, value: float | None = None) -> Row:
        return Row("assumption", of=of, value=value, status="holds" if holds else "violated")

    if setting.loop is None:
        return [Row("assumption", of="an inner loop that can be seen", status="violated")]
    return [
        says("K = 1", setting.steps == 1, float(setting.steps)),
        says("plain inner descent", setting.rate is not None),
        says("theta is where adaptation starts", setting.start),
        says("MAML's own gradient", setting.exact),
        says("a Hessian of independent examples", False),
    ]
