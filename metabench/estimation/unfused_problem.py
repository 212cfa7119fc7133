"""A subject's problem where third derivatives are right, which torch has wrong of fused norms."""

from __future__ import annotations

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.problems.problem import Problem


def unfused_problem(subject: Subject, algorithm: Algorithm) -> Problem | None:
    """Give the problem with its fused norms written out, None where that isn't known."""
    problem = subject.problem
    if not problem.fused:
        return problem
    root = problem.base or problem
    if root.unfused is None:
        return None
    plain = root.unfused()
    if problem.base:
        plain, _ = algorithm.extend(plain, subject.theta[: root.layouts.theta.size])
    return plain
