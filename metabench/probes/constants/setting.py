"""The parts of a subject that the theory is about, and which assumptions it violates."""

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
from metabench.probes.constants.multi_set_estimates import averaged_over_sets
from metabench.problems.problem import Problem
from metabench.problems.samplers import withheld
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject

REDRAWABLE = ("ok", "zero")  # states of redraws that give the variance over sets


class Setting(NamedTuple):
    """A problem at theta, with the inner rate if the inner loop is plain gradient descent."""

    problem: Problem  # with the inner loop's loss, fused norms replaced if possible
    theta: Tensor  # (Q,), float64
    compute: Vectorization
    loop: Loop | None  # the whole inner loop, None for a black box
    steps: int  # K
    rate: float | None  # alpha of plain descent; None for any other step
    sets: int  # support and query sets that are drawn of each task; 1 without redraws
    start: bool  # adaptation starts at theta, which enters the losses nowhere else
    third: bool  # third derivatives are right
    exact: bool  # the algorithm is MAML on whole support sets
    effort: Effort = Effort(tolerance=1e-2, steps=60, nodes=0, exact=64)  # of extreme eigenvalues

    @property
    def sums(self) -> Problem:
        """The same problem with losses averaged over several sets of each task."""
        return averaged_over_sets(self.problem)


def read_setting(subject: Subject, sets: int, seed: int, task: Task) -> Setting:
    """Return the setting of a subject.

    Args:
        subject: whose problem and algorithm are read.
        sets: support and query sets to draw of each task.
        seed: of the tasks with which redraws are tested.
        task: one of its tasks.
    """
    setting = _of_the_problem(subject, sets if _redrawn(subject, seed) else 1)
    if isinstance(subject.algorithm, Algorithm):
        setting = _of_the_loop(setting, subject, subject.algorithm)
    return setting._replace(start=_starts(setting.problem, subject.theta, first_task(task)))


def _of_the_problem(subject: Subject, sets: int) -> Setting:
    """Return the setting of a black box, without an inner loop."""
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
    """Return the setting with the inner loop's loss, steps and rate."""
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
    """Return the inner rate if the step is plain descent with one rate and no clipping."""
    step = algorithm.inner_optimizer
    if algorithm.rates(subject.problem, subject.theta) is not None:  # learned
        return None
    unclipped = step.clip_norm == step.clip_value == math.inf
    return step.rate if step.plain and unclipped else None


def _redrawn(subject: Subject, seed: int) -> bool:
    """Whether both sets of a task can be redrawn."""
    if withheld(subject.sample):
        return False
    states = redraws(subject, seed)
    return all(states[part] in REDRAWABLE for part in ("support", "query"))


def _starts(problem: Problem, theta: Tensor, task: Task) -> bool:
    phi = problem.init(theta)
    if phi.shape != theta.shape or not bool((phi == theta).all()):
        return False
    for loss, data in ((problem.inner_loss, task.support), (problem.outer_loss, task.query)):
        if bool(derivatives.value_and_gradients(loss, phi, theta, data)[2].any()):
            return False
    return True


def known_assumptions(setting: Setting) -> list[Row]:
    """Return a row for each assumption that is known before measuring."""

    def assumption(of: str, holds: bool, value: float | None = None) -> Row:
        return Row("assumption", of=of, value=value, status="holds" if holds else "violated")

    if setting.loop is None:
        return [Row("assumption", of="an algorithm that exposes its inner loop", status="violated")]
    return [
        assumption("K = 1", setting.steps == 1, float(setting.steps)),
        assumption("plain inner descent", setting.rate is not None),
        assumption("theta is where adaptation starts", setting.start),
        assumption("MAML's own gradient", setting.exact),
        assumption("a Hessian of independent examples", False),
    ]
